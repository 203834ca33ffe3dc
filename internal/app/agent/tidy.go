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
	// slack is what the heap may keep beside what is in use while nobody asks, and often
	// how often it is looked for more: to look after thousands of logins leaves some too.
	slack = 1 << 20
	often = 10 * time.Second
)

// tidy gives memory back when the agent has been busy and is quiet again: a node's
// memory belongs to the people's programs.
func (a *agent) tidy(ctx context.Context) {
	heap := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/free:bytes"}}
	tick := time.NewTicker(quiet)
	defer tick.Stop()
	last, tidied, at := int64(0), int64(0), time.Now()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		metrics.Read(heap)
		live := heap[0].Value.Uint64()
		debug.SetGCPercent(int(min(200, max(30, headroom*100/max(1, live)))))
		now := a.asked()
		more := heap[1].Value.Uint64()+heap[2].Value.Uint64() > live+slack && time.Since(at) >= often
		if now-last < little && (now-tidied >= little || more) {
			trim()
			tidied, at = now, time.Now()
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
