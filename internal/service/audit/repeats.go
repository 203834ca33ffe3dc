package audit

import (
	"maps"
	"strconv"
	"sync"
	"time"

	"carnet.dev/carnet/internal/core/event"
)

// Kind says which events are one and the same noise.
type Kind struct {
	Actor  string // an access key id and its principal: who makes the noise
	Source string // address
	Action string
	Object string // what was acted on, coarsely: a bucket
	Why    string // code, statement
}

// Repeats keeps one who asks for the same thing over and over from filling the
// trail: the first event of a kind is recorded at once, those that follow within
// the window are counted, and the count is recorded when it ends. A kind that goes
// on so costs one record for each window. Safe for concurrent use.
type Repeats struct {
	window time.Duration

	mu     sync.Mutex
	kinds  map[Kind]*repeated
	actors map[string]int // kinds of each
}

type repeated struct {
	ends  time.Time
	since time.Time
	count int
	last  event.Event
}

// The most kinds at a time: those beyond are counted together, for the actor or
// for all.
const (
	mostKindsEach = 64
	mostKinds     = 20_000
)

// NewRepeats makes Repeats.
func NewRepeats(window time.Duration) *Repeats {
	return &Repeats{window: window, kinds: map[Kind]*repeated{}, actors: map[string]int{}}
}

// First reports whether an event is to be recorded now, as the first of its kind;
// else it was counted.
func (r *Repeats) First(k Kind, e event.Event) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if known := r.kinds[k]; known != nil {
		known.again(e)
		return false
	}
	switch {
	case len(r.kinds) >= mostKinds:
		k = Kind{}
	case r.actors[k.Actor] >= mostKindsEach:
		k = Kind{Actor: k.Actor}
	}
	if known := r.kinds[k]; known != nil {
		known.again(e)
		return false
	}
	r.begin(k, e)
	return true
}

// Again counts an event whose very kind was recorded in this window, and reports
// whether it was.
func (r *Repeats) Again(k Kind, e event.Event) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.kinds[k]
	if known != nil {
		known.again(e)
	}
	return known != nil
}

// Begin notes that an event was recorded as the first of its kind, so that Again counts
// those that follow. Where there are too many kinds it notes nothing.
func (r *Repeats) Begin(k Kind, e event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.kinds[k] == nil && len(r.kinds) < mostKinds && r.actors[k.Actor] < mostKindsEach {
		r.begin(k, e)
	}
}

func (r *Repeats) begin(k Kind, e event.Event) {
	r.kinds[k] = &repeated{ends: e.At.Add(r.window)}
	r.actors[k.Actor]++
}

func (x *repeated) again(e event.Event) {
	if x.count == 0 {
		x.since = e.At
	}
	x.count++
	x.last = e
}

// Ended gives one event for each kind that was repeated in a window that has
// ended: the last of them, with their number. A kind of many is a kind of its own.
func (r *Repeats) Ended(now time.Time) (all []event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, x := range r.kinds {
		if now.Before(x.ends) {
			continue
		}
		if x.count == 0 {
			delete(r.kinds, k)
			if r.actors[k.Actor]--; r.actors[k.Actor] == 0 {
				delete(r.actors, k.Actor)
			}
			continue
		}
		all = append(all, x.event(k))
		x.count, x.ends = 0, now.Add(r.window)
	}
	return all
}

// All is Ended for every window, before the process ends.
func (r *Repeats) All(now time.Time) []event.Event {
	return r.Ended(now.Add(r.window))
}

func (x *repeated) event(k Kind) event.Event {
	e := x.last
	detail := map[string]string{"repeated": strconv.Itoa(x.count), "since": x.since.UTC().Format(time.RFC3339)}
	if k.Action == "" {
		detail["kinds"] = "many" // the event shows the last of them
	}
	maps.Copy(detail, e.Detail)
	e.Detail = detail
	return e
}
