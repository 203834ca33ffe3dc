package audit

import (
	"context"
	"sync"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
)

// Group records acts that stand in no other transaction, such as exchanges at
// STS: those that come while a commit is under way share the next one. Nobody is
// answered before the commit that holds their record. Safe for concurrent use.
type Group struct {
	writer *Writer

	mu      sync.Mutex
	waiting []*waiting
	writing bool
}

type waiting struct {
	record Record
	done   chan error // buffered
}

const (
	mostGrouped = 128
	// groupTime bounds one commit; what lasts longer fails, and so do the acts.
	groupTime = 15 * time.Second
)

// NewGroup makes a Group that writes the chain of w.
func NewGroup(w *Writer) *Group { return &Group{writer: w} }

// Record appends an event to the chain and returns when it is committed. When it
// fails the act must not happen. When ctx ends first the act must not happen
// either, though its record may be written.
func (g *Group) Record(ctx context.Context, e event.Event) error {
	r, err := g.writer.prepare(ctx, e)
	if err != nil {
		return err
	}
	mine := &waiting{record: r, done: make(chan error, 1)}
	g.mu.Lock()
	g.waiting = append(g.waiting, mine)
	if !g.writing {
		g.writing = true
		go g.write()
	}
	g.mu.Unlock()
	select {
	case err := <-mine.done:
		return err
	case <-ctx.Done():
		return fault.Wrap(ctx.Err(), fault.Unavailable, "The client went away before the act was recorded.")
	}
}

// write commits what waits, until nothing does.
func (g *Group) write() {
	for {
		g.mu.Lock()
		next := g.waiting[:min(len(g.waiting), mostGrouped)]
		g.waiting = g.waiting[len(next):]
		if len(next) == 0 {
			g.writing, g.waiting = false, nil
			g.mu.Unlock()
			return
		}
		g.mu.Unlock()
		err := g.commit(next)
		for _, w := range next {
			w.done <- err
		}
	}
}

func (g *Group) commit(all []*waiting) error {
	ctx, cancel := context.WithTimeout(context.Background(), groupTime)
	defer cancel()
	records := make([]Record, len(all))
	for i, w := range all {
		records[i] = w.record
	}
	return g.writer.append(ctx, records)
}
