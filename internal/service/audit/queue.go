package audit

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
)

// Queue records what happens too often for a transaction each (S3 requests):
// bounded in memory, written in groups. When it is full the act is refused
// (strict) or the loss is counted and the count recorded.
type Queue struct {
	writer *Writer
	strict bool
	events chan event.Event
	lost   atomic.Int64
}

// group bounds the records of one transaction.
const group = 256

// NewQueue makes a queue of size events.
func NewQueue(w *Writer, size int, strict bool) *Queue {
	return &Queue{writer: w, strict: strict, events: make(chan event.Event, size)}
}

// Put queues an event. When the queue is full: a fault Limited ("audit.full")
// if strict, else nil.
func (q *Queue) Put(e event.Event) error {
	if e.At.IsZero() {
		e.At = q.writer.Now().UTC().Truncate(time.Millisecond)
	}
	select {
	case q.events <- e:
		return nil
	default:
	}
	if q.strict {
		return fault.Coded(fault.Limited, "audit.full", "the request can't be recorded now, so it is refused").WithMend("try again in a moment")
	}
	q.lost.Add(1)
	return nil
}

// Lost gives how many events were lost and not yet recorded as lost.
func (q *Queue) Lost() int64 { return q.lost.Load() }

// lastWords is how long Run goes on after its ctx has ended, for what is left.
const lastWords = 10 * time.Second

// Run writes until ctx ends, then what is left.
func (q *Queue) Run(ctx context.Context) {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lastWords, stop) })()
	for ctx.Err() == nil {
		select {
		case e := <-q.events:
			q.write(work, q.gather(e))
		case <-ctx.Done():
		}
	}
	for {
		select {
		case e := <-q.events:
			q.write(work, q.gather(e))
		default:
			return
		}
	}
}

func (q *Queue) gather(first event.Event) []event.Event {
	events := append(make([]event.Event, 0, group), first)
	for len(events) < group {
		select {
		case e := <-q.events:
			events = append(events, e)
		default:
			return events
		}
	}
	return events
}

// write stores a group, and waits with it while the database is away: the
// queue fills up behind it and Put decides.
func (q *Queue) write(ctx context.Context, events []event.Event) {
	for ctx.Err() == nil {
		lost := q.lost.Load()
		err := q.writer.Store.Atomic(ctx, func(ctx context.Context) error {
			if lost > 0 {
				e := event.Event{Action: "audit.lost", Outcome: event.Failed, Detail: map[string]string{"records": strconv.FormatInt(lost, 10)}}
				if err := q.writer.Record(ctx, e); err != nil {
					return err
				}
			}
			for _, e := range events {
				if err := q.writer.Record(ctx, e); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil {
			q.lost.Add(-lost)
			return
		}
		q.writer.Logger.Warn("audit records wait", "error", err, "records", len(events))
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
	q.lost.Add(int64(len(events)))
}
