package agent

import (
	"context"
	"runtime/debug"
	"time"
)

const (
	// collectAt is how much the heap grows before it is collected, in percent. What an
	// agent keeps is small beside what the whole binary has the collector look through.
	collectAt = 200
	// quiet is how long next to nothing is asked before memory goes back to the system.
	quiet = 2 * time.Second
	// little is next to nothing in that time; and what has to be asked before it is
	// worth while.
	little = 100
)

// tidy gives memory back when the agent has been busy and is quiet again: a node's
// memory belongs to the people's programs.
func (a *agent) tidy(ctx context.Context) {
	debug.SetGCPercent(collectAt)
	tick := time.NewTicker(quiet)
	defer tick.Stop()
	last, tidied := int64(0), int64(0)
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now := a.asked()
		if now-last < little && now-tidied >= little {
			trim()
			tidied = now
		}
		last = now
	}
}

// asked counts what was asked of the agent, and of the server.
func (a *agent) asked() int64 {
	n := a.bindings.Counts().Fetched
	if a.endpoint != nil {
		given, refused := a.endpoint.Counts()
		n += given + refused
	}
	return n
}
