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
// (strict) or the loss is counted and the count recorded. Safe for concurrent
// use.
type Queue struct {
	writer *Writer
	strict bool
	events chan event.Event
	free   atomic.Int64 // places that hold no event and are not reserved
	lost   atomic.Int64 // and not yet recorded as lost
	ever   atomic.Int64 // lost since the start
}

// group bounds the records of one transaction.
const group = 256

// NewQueue makes a queue of size events.
func NewQueue(w *Writer, size int, strict bool) *Queue {
	q := &Queue{writer: w, strict: strict, events: make(chan event.Event, size)}
	q.free.Store(int64(size))
	return q
}

// Put queues an event. When the queue is full: a fault Limited ("audit.full")
// if strict, else nil.
func (q *Queue) Put(e event.Event) error {
	reserved, err := q.Reserve()
	switch {
	case err != nil:
		return err
	case !reserved:
		q.lose(1)
	default:
		q.PutReserved(e)
	}
	return nil
}

// Reserve keeps a place for an event, before the act: then its record can't fail
// for want of room. It gives none when the queue is full, and a fault as Put does
// if strict. Each place goes to PutReserved or Release, once.
func (q *Queue) Reserve() (bool, error) {
	if q.free.Add(-1) >= 0 {
		return true, nil
	}
	q.free.Add(1)
	if q.strict {
		return false, fault.Coded(fault.Limited, "audit.full", "the request can't be recorded now, so it is refused").WithMend("try again in a moment")
	}
	return false, nil
}

// Release gives a place back.
func (q *Queue) Release() { q.free.Add(1) }

// PutReserved queues an event in a place that was kept for it.
func (q *Queue) PutReserved(e event.Event) {
	if e.At.IsZero() {
		e.At = q.writer.Now().UTC().Truncate(time.Millisecond)
	}
	q.events <- e // there are as many places in the channel
}

func (q *Queue) lose(n int) {
	q.lost.Add(int64(n))
	q.ever.Add(int64(n))
}

// Lost gives how many events were lost and not yet recorded as lost.
func (q *Queue) Lost() int64 { return q.lost.Load() }

// LostEver gives how many events this process lost.
func (q *Queue) LostEver() int64 { return q.ever.Load() }

// Depth gives how many events wait, and Size how many may.
func (q *Queue) Depth() int { return len(q.events) }

// Size gives how many events may wait.
func (q *Queue) Size() int { return cap(q.events) }

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

// gather takes what waits, with the first, as one group of records.
func (q *Queue) gather(first event.Event) []Record {
	records := q.prepared(make([]Record, 0, group), first)
	for range group - 1 {
		select {
		case e := <-q.events:
			records = q.prepared(records, e)
		default:
			return records
		}
	}
	return records
}

func (q *Queue) prepared(records []Record, e event.Event) []Record {
	q.free.Add(1)
	r, err := q.writer.prepare(context.Background(), e)
	if err != nil {
		q.writer.Logger.Error("an audit record can't be made", "action", e.Action, "request", e.Request, "error", err)
		q.lose(1)
		return records
	}
	return append(records, r)
}

// write stores a group, and waits with it while the database is away: the
// queue fills up behind it and Put decides.
func (q *Queue) write(ctx context.Context, records []Record) {
	for ctx.Err() == nil {
		lost := q.lost.Load()
		all, err := q.withLoss(records, lost)
		if err == nil {
			err = q.writer.append(ctx, all)
		}
		if err == nil {
			q.lost.Add(-lost)
			return
		}
		q.writer.Logger.Warn("audit records wait", "error", err, "records", len(records))
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
	q.lose(len(records))
}

// withLoss puts the record of what was lost before the others.
func (q *Queue) withLoss(records []Record, lost int64) ([]Record, error) {
	if lost == 0 {
		return records, nil
	}
	r, err := q.writer.prepare(context.Background(), event.Event{
		Action: "audit.lost", Outcome: event.Failed, Detail: map[string]string{"records": strconv.FormatInt(lost, 10)},
	})
	return append([]Record{r}, records...), err
}
