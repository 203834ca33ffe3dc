package audit

import (
	"context"
	"time"

	"carnet.dev/carnet/internal/core/event"
)

// Count is how many events of one outcome a span of time holds.
type Count struct {
	From    time.Time
	Outcome event.Outcome
	Events  int
}

// Counted is what a store counted.
type Counted struct {
	Counts []Count
	// Reached is where the count ended at its bound; zero: it is whole.
	Reached Place
}

// Activity is how much happened when.
type Activity struct {
	From, To time.Time
	Step     time.Duration // of each span; spans begin at whole steps
	Counts   []Count       // in order of time, then outcome; spans without events are left out
	// Since is set where there were too many events to count all: what happened
	// before is not in it.
	Since time.Time
}

// mostCounted is how many records an Activity looks at.
const mostCounted = 200_000

// steps are the spans that pictures have: the shortest that gives at most mostSpans.
var steps = [...]time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour, 28 * 24 * time.Hour}

const mostSpans = 100

// StepOf gives the span in which a picture of a time counts.
func StepOf(d time.Duration) time.Duration {
	for _, step := range steps {
		if d <= mostSpans*step {
			return step
		}
	}
	return steps[len(steps)-1]
}

// CountActivity tells how much happened when, of what q looks for; q.From and q.To must be
// set. A network that is more than one address is not looked at.
func CountActivity(ctx context.Context, t Searched, q Query) (Activity, error) {
	q.After, q.Oldest = "", false
	out := Activity{From: q.From, To: q.To, Step: StepOf(q.To.Sub(q.From))}
	_, s, err := q.plan()
	if err != nil {
		return out, err
	}
	s.Look = mostCounted
	counted, err := t.Count(ctx, s, out.Step)
	if counted.Reached != (Place{}) {
		out.Since = counted.Reached.At
	}
	out.Counts = counted.Counts
	return out, err
}
