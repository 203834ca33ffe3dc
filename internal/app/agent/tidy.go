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
	// quiet is how long nothing is asked before memory goes back to the system.
	quiet = 2 * time.Second
)

// tidy gives memory back when the agent has been busy and is quiet again: a node's
// memory belongs to the people's programs.
func (a *agent) tidy(ctx context.Context) {
	debug.SetGCPercent(collectAt)
	tick := time.NewTicker(quiet)
	defer tick.Stop()
	last, tidied := int64(0), int64(-1)
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now := a.asked()
		if now == last && now != tidied {
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
