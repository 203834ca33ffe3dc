package agent

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// headroom is how much the heap grows before it is collected: an amount, and no
	// share of what is kept, within bounds in percent.
	headroom = 6 << 20
	// quiet is how long next to nothing is asked before memory goes back to the system.
	quiet = 2 * time.Second
	// little is next to nothing in that time; and what has to be asked before it is
	// worth while.
	little = 100
)

// tidy gives memory back when the agent has been busy and is quiet again: a node's
// memory belongs to the people's programs.
func (a *agent) tidy(ctx context.Context) {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	tick := time.NewTicker(quiet)
	defer tick.Stop()
	last, tidied := int64(0), int64(0)
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		metrics.Read(live)
		if live[0].Value.Kind() == metrics.KindUint64 {
			debug.SetGCPercent(int(min(200, max(30, headroom*100/max(1, live[0].Value.Uint64())))))
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
