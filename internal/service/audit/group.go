package audit

import (
	"context"
	"sync"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
)

// Group records acts that stand in no other transaction, such as exchanges at
// STS: those that come while a commit is under way share the next one. A commit
// costs far more than a record, so while many come the next one waits, for a
// moment, until as many wait as the last ones show to be right. Nobody is answered
// before the commit that holds their record. Safe for concurrent use.
type Group struct {
	writer *Writer
	enough chan struct{} // holds a word once as many wait as are wanted

	mu      sync.Mutex
	waiting []*waiting
	wanted  int // by the next commit
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
	// company is how long a commit waits for as many as are wanted.
	company = time.Millisecond
)

// NewGroup makes a Group that writes the chain of w.
func NewGroup(w *Writer) *Group { return &Group{writer: w, enough: make(chan struct{}, 1)} }

// Record appends an event to the chain and returns when it is committed. When it
// fails the act must not happen. When ctx ends first the act must not happen
// either, though its record may be written.
func (g *Group) Record(ctx context.Context, e event.Event) error {
	r, err := g.writer.prepare(ctx, e)
	if err != nil {
		return err
	}
	mine := &waiting{record: r, done: make(chan error, 1)}
	g.add(mine)
	select {
	case err := <-mine.done:
		return err
	case <-ctx.Done():
		return fault.Wrap(ctx.Err(), fault.Unavailable, "The client went away before the act was recorded.")
	}
}

func (g *Group) add(mine *waiting) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = append(g.waiting, mine)
	if !g.writing {
		g.writing = true
		go g.write()
	}
	if len(g.waiting) == g.wanted {
		select {
		case g.enough <- struct{}{}:
		default:
		}
	}
}

// write commits what waits, until nothing does.
func (g *Group) write() {
	for {
		next := g.take()
		if len(next) == 0 {
			return
		}
		err := g.commit(next)
		g.learn(len(next))
		for _, w := range next {
			w.done <- err
		}
	}
}

// take gives what the next commit holds; nothing once nothing waits.
func (g *Group) take() []*waiting {
	g.mu.Lock()
	defer g.mu.Unlock()
	if n := len(g.waiting); n > 0 && n < g.wanted {
		select {
		case <-g.enough: // of an earlier commit
		default:
		}
		g.mu.Unlock()
		late := time.NewTimer(company)
		select {
		case <-g.enough:
		case <-late.C:
		}
		late.Stop()
		g.mu.Lock()
	}
	next := g.waiting[:min(len(g.waiting), mostGrouped)]
	g.waiting = g.waiting[len(next):]
	if len(next) == 0 {
		g.writing, g.waiting = false, nil
	}
	return next
}

// learn finds out how many belong into one commit, from how many came while n
// were committed. Where many did, there is work enough meanwhile for the next to
// be larger; where few did, most of them were in it, and nobody worked.
func (g *Group) learn(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch came := len(g.waiting); {
	case 2*came >= n:
		g.wanted = min(n+1, mostGrouped)
	case 4*came < n:
		g.wanted = max(1, n*3/4)
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
