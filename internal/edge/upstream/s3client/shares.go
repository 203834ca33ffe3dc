package s3client

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// shares gives out the places for requests under way at one store: one caller may
// hold no more of them than are left free. So whoever asks alone has half, two have a
// third each, and there is room for one more whatever the others do: slow readers fill
// their own share.
//
// What is remembered of a caller goes with their last request.
type shares struct {
	mu    sync.Mutex
	free  int
	held  map[string]int    // by caller; who holds none is not there
	waits map[string]*queue // by caller; none is empty
	turns list.List         // of *queue: whose turn is next
	slot  time.Duration     // how long a request waits
	most  int
}

// queue is the requests of one caller that wait: of *waiter, the first comes first.
type queue struct {
	list.List
	caller string
	turn   *list.Element
}

// waiter is one request that waits for a place. It is granted one under the lock.
type waiter struct {
	ready   chan struct{}
	granted bool
}

func newShares(most int, slot time.Duration) *shares {
	return &shares{free: most, most: most, slot: slot, held: map[string]int{}, waits: map[string]*queue{}}
}

// take waits for a place of a caller, who gives it back. The error is a *Busy, or that
// of the context.
func (p *shares) take(ctx context.Context, caller string) error {
	p.mu.Lock()
	if p.waits[caller] == nil && p.grant(caller) {
		p.mu.Unlock()
		return nil
	}
	w := &waiter{ready: make(chan struct{})}
	q, at := p.wait(caller, w)
	p.mu.Unlock()
	late := time.NewTimer(p.slot)
	defer late.Stop()
	select {
	case <-w.ready:
		return nil
	case <-late.C:
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.granted {
		return nil // at the same moment; a context that has ended ends what comes next
	}
	p.leave(q, at)
	if err := ctx.Err(); err != nil {
		return err
	}
	busy := &Busy{Why: "too many requests to the store are under way", After: time.Second, Theirs: p.free > 0}
	if busy.Theirs {
		busy.Why = "the caller has their share of the places for requests to the store"
	}
	return busy
}

// give gives a caller's place back, and hands out what is free then, to each of those
// who wait in turn.
func (p *shares) give(caller string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free++
	if p.held[caller]--; p.held[caller] == 0 {
		delete(p.held, caller)
	}
	for turn := p.turns.Front(); turn != nil && p.free > 0; {
		q, _ := turn.Value.(*queue)
		next := turn.Next()
		if p.grant(q.caller) {
			w, _ := q.Front().Value.(*waiter)
			w.granted = true
			close(w.ready)
			p.turns.MoveToBack(turn)
			p.leave(q, q.Front())
		}
		turn = next
	}
}

// grant gives a caller a place, where there is one for them. p is locked.
func (p *shares) grant(caller string) bool {
	held := p.held[caller]
	if held >= p.free {
		return false
	}
	p.held[caller] = held + 1
	p.free--
	return true
}

// wait puts a request behind the others of its caller. p is locked.
func (p *shares) wait(caller string, w *waiter) (*queue, *list.Element) {
	q := p.waits[caller]
	if q == nil {
		q = &queue{caller: caller}
		p.waits[caller], q.turn = q, p.turns.PushBack(q)
	}
	return q, q.PushBack(w)
}

// leave takes a request out of its queue. p is locked.
func (p *shares) leave(q *queue, at *list.Element) {
	if q.Remove(at); q.Len() == 0 {
		p.turns.Remove(q.turn)
		delete(p.waits, q.caller)
	}
}

// taken is how many are held.
func (p *shares) taken() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.most - p.free
}
