//go:build interop

package revocationbench

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

// every is how often a place is asked, and most how many answers one round takes of it.
// A trade at STS writes a record: the database would have nothing else to do.
const (
	every      = 10 * time.Millisecond
	everyTrade = 50 * time.Millisecond
	most       = 3000
)

// What a place answers. Everything else is the code of a refusal.
const (
	yes = ""
	// odd begins what is neither a yes nor a refusal: no answer, too many questions.
	odd = "odd: "
)

// answer is one answer of a place.
type answer struct {
	sent, got time.Time
	said      string
}

// watch follows one place through one round.
type watch struct {
	place string // as the table has it
	where string // server or node
	// ask asks once; nil: another process asks, and its answers come by take.
	ask func(context.Context) string

	mu      sync.Mutex
	answers int
	lastYes time.Time // when the last question was sent that was answered with yes
	yeses   int
	firstNo time.Time // when the first refusal came
	no      string
	flap    string // a yes to a question that was sent after that
	strange string
}

func (w *watch) take(a answer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers++
	switch {
	case strings.HasPrefix(a.said, odd):
		w.strange = a.said
	case a.said == yes:
		w.yeses++
		if a.sent.After(w.lastYes) {
			w.lastYes = a.sent
		}
		if !w.firstNo.IsZero() && a.sent.After(w.firstNo) {
			w.flap = fmt.Sprintf("it permits again %s after it refused", a.sent.Sub(w.firstNo).Round(time.Millisecond))
		}
	case w.firstNo.IsZero():
		w.firstNo, w.no = a.got, a.said
	}
}

// follow asks until ctx ends, at most so often.
func (w *watch) follow(ctx context.Context) {
	pace := every
	if w.place == atTrade {
		pace = everyTrade
	}
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for range most {
		sent := time.Now()
		said := w.ask(ctx)
		if ctx.Err() != nil {
			return
		}
		w.take(answer{sent, time.Now(), said})
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// permits reports that the place has said yes some times, and has not refused.
func (w *watch) permits() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.yeses >= 3 && w.firstNo.IsZero()
}

func (w *watch) refuses() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.firstNo.IsZero()
}

// outcome is what a round showed of one place.
type outcome struct {
	kind, place, where string
	took               time.Duration
	trouble            string // empty: good
}

// bound is what a revocation may take.
const bound = 2 * time.Second

// judge says how long it took until the first refusal since the request was sent that
// took something back: its own time is in that, and no server is favoured that answers
// late.
func (w *watch) judge(kind string, asked time.Time) outcome {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := outcome{kind: kind, place: w.place, where: w.where, took: w.firstNo.Sub(asked)}
	switch {
	case w.firstNo.IsZero():
		o.trouble = "it never refused" + w.also()
	case w.firstNo.Before(asked):
		o.trouble = "it refused before anything was revoked: " + w.no
	case w.flap != "":
		o.trouble = w.flap
	case w.lastYes.After(asked.Add(bound)):
		o.trouble = "it still permitted after " + bound.String()
	}
	return o
}

func (w *watch) also() string {
	if w.strange == "" {
		return ""
	}
	return "; it said " + w.strange
}
