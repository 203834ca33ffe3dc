package audit

import (
	"context"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/identity"
)

// Refusals records what was refused where no act is: sign-ins, exchanges, calls of the
// local authority. The refusal doesn't wait for the record: there is nothing that
// could be taken back. The first of a kind is recorded at once; those that follow
// within the window are counted. Strangers make one noise together, whoever and
// wherever they are, so that they can't fill the trail. Safe for concurrent use.
type Refusals struct {
	queue   *Queue
	repeats *Repeats
	now     func() time.Time
}

const (
	refusalWindow = time.Minute
	mostRefusals  = 1024 // that wait to be written
)

// NewRefusals makes Refusals that write the chain of w.
func NewRefusals(w *Writer) *Refusals {
	return &Refusals{queue: NewQueue(w, mostRefusals, false), repeats: NewRepeats(refusalWindow), now: w.Now}
}

// Refuse notes one refusal. Who is named in e was proven; an event that names nobody
// is of a stranger. Request and source come from ctx where e leaves them out.
func (r *Refusals) Refuse(ctx context.Context, e event.Event) {
	if r == nil {
		return
	}
	if e.At.IsZero() {
		e.At = r.now().UTC().Truncate(time.Millisecond)
	}
	if e.Outcome == "" {
		e.Outcome = event.Denied
	}
	if e.Request == "" {
		e.Request = identity.RequestIDFrom(ctx)
	}
	if e.Source == "" {
		e.Source = identity.SourceFrom(ctx)
	}
	k := Kind{Action: e.Action, Object: string(e.IdP), Why: e.Code}
	if who := string(e.Person) + string(e.ServicePrincipal) + e.Principal + e.UserName; who != "" {
		k.Actor, k.Source, k.Object = e.AccessKeyID+" "+who, e.Source, k.Object+e.Role
	}
	if r.repeats.First(k, e) {
		_ = r.queue.Put(e) // the queue counts what it can't take
	}
}

// Run writes until ctx ends, then what is left.
func (r *Refusals) Run(ctx context.Context) {
	last, stop := context.WithCancel(context.WithoutCancel(ctx))
	written := make(chan struct{})
	go func() { r.queue.Run(last); close(written) }()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
			r.put(r.repeats.Ended(r.now()))
		case <-ctx.Done():
		}
	}
	r.put(r.repeats.All(r.now()))
	stop()
	<-written
}

func (r *Refusals) put(all []event.Event) {
	for _, e := range all {
		_ = r.queue.Put(e)
	}
}

// LostEver gives how many records this process lost.
func (r *Refusals) LostEver() int64 { return r.queue.LostEver() }
