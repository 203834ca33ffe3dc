package iam

import (
	"context"
	"errors"
	"maps"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
)

// mostEdits bounds how often Edit begins again because another server was
// quicker.
const mostEdits = 20

// Edit changes the authority: it gives fn the newest state as a Draft, then
// stores what fn changed and the event in one transaction, and takes it into
// the snapshot before it returns. fn may run again when another server changed
// the state meanwhile, so it must only compute. An error of fn changes and
// records nothing. What would not compile is refused. It must not be called
// inside another transaction.
//
// Errors: fn's own; Conflict "ConcurrentModification" when others were always
// quicker.
func (s *Service) Edit(ctx context.Context, e event.Event, fn func(*Draft) error) error {
	s.edits.Lock()
	defer s.edits.Unlock()
	if e.At.IsZero() {
		e.At = s.Now()
	}
	if e.Outcome == "" {
		e.Outcome = event.Done
	}
	if e.Request == "" {
		e.Request = identity.RequestIDFrom(ctx)
	}
	for range mostEdits {
		if err := s.Reload(ctx); err != nil {
			return err
		}
		d := s.draft(s.current.Load().View())
		if err := fn(d); err != nil {
			return err
		}
		if err := d.leavesAdministrator(); err != nil {
			return err
		}
		done := d.describe(e)
		err := s.commit(ctx, d.change(), func(ctx context.Context) error { return s.record(ctx, done) })
		if !errors.Is(err, errChanged) {
			return err
		}
	}
	return fault.Coded(fault.Conflict, "ConcurrentModification",
		"The request was rejected because multiple requests to change this object were submitted simultaneously. Wait a few minutes and submit your request again.")
}

// describe completes the event with what fn said of it.
func (d *Draft) describe(e event.Event) event.Event {
	if d.target != "" {
		e.Target = d.target
	}
	if len(d.detail) > 0 {
		e.Detail = maps.Clone(e.Detail)
		if e.Detail == nil {
			e.Detail = map[string]string{}
		}
		maps.Copy(e.Detail, d.detail)
	}
	return e
}

var errChanged = fault.Coded(fault.Conflict, "iam.changed", "")

func (s *Service) record(ctx context.Context, e event.Event) error {
	if s.Trail == nil {
		return nil
	}
	return s.Trail.Record(ctx, e)
}

// commit compiles what the state will be, refuses what doesn't compile among
// what changed, stores the change, and decides with it from now on.
func (s *Service) commit(ctx context.Context, c Change, note func(context.Context) error) error {
	before := s.current.Load()
	if before.revision != c.Revision {
		return fault.Coded(fault.Conflict, "iam.changed", "the authority was changed since the plan was made").
			WithMend("make the plan again")
	}
	next := s.compile(before.view.with(c, c.Revision+1), before)
	if err := next.newlyBroken(before, c); err != nil {
		return err
	}
	if err := s.Store.Apply(ctx, c, note); err != nil {
		return err
	}
	s.reload.Lock()
	defer s.reload.Unlock()
	if s.current.Load() == before {
		s.current.Store(next)
	}
	return nil
}

// newlyBroken gives the error of a record that compiled before, or is new; of
// those that the change writes, if any.
func (s *Snapshot) newlyBroken(before *Snapshot, c Change) error {
	for _, r := range c.Put {
		if err := s.broken[r.Ref()]; err != nil {
			return err
		}
	}
	for ref, err := range s.broken {
		if before.broken[ref] == nil {
			kind, name := describe(s.view.record(ref))
			f := fault.Of(err)
			return f.WithCause(errors.New(kind + " " + name + " would no longer compile"))
		}
	}
	return nil
}
