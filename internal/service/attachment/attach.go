package attachment

import (
	"context"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/service/cluster"
)

// attach makes an attachment, after everything that it needs was asked: the cluster
// admits the person, the uid is nobody else's. also is done in the same transaction.
// It lives for life (0: the cluster's longest), and never longer than that or than
// what it rests on.
func (s *Service) attach(ctx context.Context, c cluster.Cluster, a Attachment, life time.Duration, ground time.Time, also func(context.Context) error) (Attachment, error) {
	groups, err := s.People.GroupsAround(ctx, string(a.Person))
	if err != nil {
		return Attachment{}, err
	}
	if err := s.Rules.MayAttach(c, a.Person, groups); err != nil {
		return Attachment{}, err
	}
	longest := c.Longest
	if longest == 0 {
		longest = cluster.DefaultLongest
	}
	if life == 0 || life > longest {
		life = longest
	}
	a.Made = s.now()
	a.Expires = a.Made.Add(life)
	if !ground.IsZero() && ground.Before(a.Expires) {
		a.Expires = ground
	}
	a.Expires = a.Expires.UTC().Truncate(time.Second)
	if !a.Made.Before(a.Expires) {
		return Attachment{}, fault.Coded(fault.Denied, "attachment.over", "what the attachment would rest on has ended").WithMend("sign in again")
	}
	return a, s.recorded(ctx, func(ctx context.Context) (event.Event, error) {
		if err := s.makeRoom(ctx, a); err != nil {
			return event.Event{}, err
		}
		if also != nil {
			if err := also(ctx); err != nil {
				return event.Event{}, err
			}
		}
		e := s.event(&a, "attachment.add")
		e.Detail["scope"], e.Detail["account"], e.Detail["expires"] = a.Place.Scope, a.Place.Account, a.Expires.Format(time.RFC3339)
		return e, s.Changes.Add(ctx, a)
	})
}

// makeRoom ends, in the transaction that ctx carries, what a new attachment takes the
// place of under its uid: its person's own of the same scope, and what stands no more.
func (s *Service) makeRoom(ctx context.Context, a Attachment) error {
	there, err := s.Lists.At(ctx, a.Place.Node, a.Place.UID)
	if err != nil {
		return err
	}
	for i := range there {
		old := &there[i]
		why, err := s.over(old)
		if err != nil {
			return err
		}
		if why == "" && old.Person == a.Person && old.Place.Scope == a.Place.Scope {
			why = WhyReplaced
		}
		if why == "" {
			continue
		}
		if _, err := s.endIn(ctx, old, why); err != nil {
			return err
		}
	}
	return nil
}
