package audit

import (
	"context"
	"log/slog"
	"net/url"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/identity"
)

// The events by which the trail says that it was read.
const (
	ActionRead   = "audit.read"
	ActionExport = "audit.export"
)

// Recorder writes the trail.
type Recorder interface {
	Record(ctx context.Context, e event.Event) error
}

// ReaderConfig is what a Reader stands on.
type ReaderConfig struct {
	Trail    Searched
	Recorder Recorder
	Now      func() time.Time
	Logger   *slog.Logger
}

// Reader lets administrators read the trail, and records that they do: what can't be
// recorded isn't read. Who looks for the same thing again within a while, page by
// page, leaves one record and a number. Safe for concurrent use.
type Reader struct {
	ReaderConfig
	repeats *Repeats
}

// sameReading is how long reading the same thing again is one reading.
const sameReading = 10 * time.Minute

// NewReader makes a Reader.
func NewReader(c ReaderConfig) *Reader {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Reader{c, NewRepeats(sameReading)}
}

// Search gives one page. Faults: Invalid.
func (r *Reader) Search(ctx context.Context, q Query) (Found, error) {
	if err := q.Check(); err != nil {
		return Found{}, err
	}
	if err := r.say(ctx, q); err != nil {
		return Found{}, err
	}
	return Search(ctx, r.Trail, q)
}

// Activity counts what a search looks for. It is part of a reading that Search has
// recorded.
func (r *Reader) Activity(ctx context.Context, q Query) (Activity, error) {
	return CountActivity(ctx, r.Trail, q)
}

// say records that the trail is read.
func (r *Reader) say(ctx context.Context, q Query) error {
	e := r.event(ctx, ActionRead, q)
	what := q
	what.From, what.To, what.After, what.Most = time.Time{}, time.Time{}, "", 0
	k := Kind{Actor: string(e.LoginSession) + " " + string(e.Person), Source: e.Source, Action: e.Action, Object: what.Values().Encode()}
	if r.repeats.Again(k, e) {
		return nil
	}
	if err := r.Recorder.Record(ctx, e); err != nil {
		return err
	}
	r.repeats.Begin(k, e)
	return nil
}

func (r *Reader) event(ctx context.Context, action string, q Query) event.Event {
	q.After, q.Most = "", 0
	if action == ActionExport {
		q.Oldest = false // as all of them
	}
	e := event.Event{At: r.Now().UTC().Truncate(time.Millisecond), Action: action, Outcome: event.Done, Request: identity.RequestIDFrom(ctx), Source: identity.SourceFrom(ctx)}
	a := identity.ActorFrom(ctx)
	e.Person, e.UserName, e.LoginSession = a.Person, a.UserName, a.LoginSession
	if filter, err := url.QueryUnescape(q.Values().Encode()); err == nil && filter != "" {
		e.Detail = map[string]string{"filter": filter}
	}
	return e
}

// Export gives all events that a query finds to each, oldest first, up to now. It
// rests as long as it reads, so that an export never takes the database to itself.
func (r *Reader) Export(ctx context.Context, q Query, each func([]Document) error) error {
	q.Oldest, q.Most = true, MostFound
	if now := r.Now(); q.To.IsZero() || q.To.After(now) {
		q.To = now
	}
	if err := q.Check(); err != nil {
		return err
	}
	if err := r.Recorder.Record(ctx, r.event(ctx, ActionExport, q)); err != nil {
		return err
	}
	for {
		began := r.Now()
		found, err := Search(ctx, r.Trail, q)
		if err != nil {
			return err
		}
		if err := each(found.Documents); err != nil {
			return err
		}
		if q.After = found.Next; q.After == "" {
			return nil
		}
		select {
		case <-time.After(min(r.Now().Sub(began), mostRest)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// mostRest bounds one rest of an export.
const mostRest = 5 * time.Second

// Run records how often the same was read again, until ctx ends.
func (r *Reader) Run(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.record(ctx, r.repeats.Ended(r.Now()))
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			r.record(last, r.repeats.All(r.Now()))
			return
		}
	}
}

func (r *Reader) record(ctx context.Context, all []event.Event) {
	for _, e := range all {
		if err := r.Recorder.Record(ctx, e); err != nil {
			r.Logger.Warn("how often the audit trail was read can't be recorded", "error", err, "login_session", e.LoginSession, "detail", e.Detail)
		}
	}
}
