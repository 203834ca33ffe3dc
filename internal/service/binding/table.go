package binding

import (
	"context"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
)

// The codes of refusals.
const (
	// CodeUnattached: nobody is attached under this uid.
	CodeUnattached = "binding.unattached"
	// CodeScope: somebody is, in another login scope.
	CodeScope = "binding.scope"
	// CodeStale: the server has not been reached for too long.
	CodeStale = "binding.stale"
)

// table is replaced as a whole.
type table struct {
	revision int64
	byUID    map[uint32][]*live
	byID     map[identity.AttachmentID]*live
}

// live is an attachment with what was fetched for it. What was fetched goes on into
// the next table as long as the attachment lives.
type live struct {
	Attachment
	kept *shelf
}

// ending is an attachment that ended here, of which the server has yet to hear.
type ending struct {
	why  Why
	told bool
	next time.Time // when it is told again
}

// Confirm takes a view that the server just gave or confirmed. It replaces what was
// known: attachments that are not in it are gone, and their keys with them.
func (s *Service) Confirm(v View) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.c.Now()
	was := s.fresh(now)
	old := s.table.Load()
	if v.Revision != old.revision || old.byID == nil {
		s.replace(old, v)
		s.takeBack(v.Revoked)
	}
	if !was {
		s.spread(now) // before anybody sees that the server is back
	}
	s.confirmed.Store(&now)
}

func (s *Service) replace(old *table, v View) {
	next := &table{revision: v.Revision, byUID: map[uint32][]*live{}, byID: map[identity.AttachmentID]*live{}}
	for id := range s.ended {
		s.ended[id].next = time.Time{}
	}
	named := map[identity.AttachmentID]bool{}
	roles := map[string]string{} // each is kept once, however many have it
	for _, a := range v.Attachments {
		named[a.ID] = true
		if s.former {
			s.ended[a.ID] = &ending{why: ScopeEnded}
		}
		if s.ended[a.ID] != nil || next.byID[a.ID] != nil {
			continue
		}
		if known, ok := roles[a.Role]; ok {
			a.Role = known
		} else {
			roles[a.Role] = a.Role
		}
		l := &live{Attachment: a}
		if had := old.byID[a.ID]; had != nil && samePlace(had.Attachment, a) {
			l.Token, l.kept = had.Token, had.kept
			if had.Role != a.Role {
				l.kept.choose(a.Role)
			}
		} else {
			l.Token, l.kept = s.token(a.ID), &shelf{}
		}
		next.byUID[a.UID] = append(next.byUID[a.UID], l)
		next.byID[a.ID] = l
	}
	s.former = false
	for id := range s.ended {
		if !named[id] {
			delete(s.ended, id) // the server knows
		}
	}
	s.put(next)
}

// takeBack drops what was kept of roles and keys that were taken back since the last
// view. A server that is behind tells of fewer: what was heard once stays heard.
func (s *Service) takeBack(all []Revoked) {
	fresh := map[Revoked]bool{}
	for _, r := range all {
		what := Revoked{Kind: r.Kind, ID: r.ID}
		if r.Epoch > s.revoked[what] {
			s.revoked[what], fresh[what] = r.Epoch, true
		}
	}
	if len(fresh) == 0 {
		return
	}
	for _, l := range s.table.Load().byID {
		l.kept.drop(func(role, accessKeyID string) bool {
			return fresh[Revoked{Kind: "role", ID: role}] || fresh[Revoked{Kind: "access-key", ID: accessKeyID}]
		})
	}
}

// samePlace reports whether an attachment still binds the same processes: what was
// fetched for it stays theirs.
func samePlace(a, b Attachment) bool {
	return a.UID == b.UID && a.Scope == b.Scope && a.ScopeID == b.ScopeID
}

// put shows a table to everybody, and wakes who waits for one.
func (s *Service) put(t *table) {
	s.table.Store(t)
	close(s.changed)
	s.changed = make(chan struct{})
}

// Dismiss forgets everything: the server does not know this node any more.
func (s *Service) Dismiss() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.confirmed.Store(nil)
	s.put(&table{})
}

// Attachments are those that live, in no order. The list is the caller's.
func (s *Service) Attachments() []Attachment {
	t := s.table.Load()
	out := make([]Attachment, 0, len(t.byID))
	for _, l := range t.byID {
		out = append(out, l.Attachment)
	}
	return out
}

// Each shows all that live, in no order. What is shown must not be changed.
func (s *Service) Each(show func(a *Attachment)) {
	for _, l := range s.table.Load().byID {
		show(&l.Attachment)
	}
}

// Known reports whether somebody is attached under a uid.
func (s *Service) Known(uid uint32) bool { return len(s.table.Load().byUID[uid]) > 0 }

// Changed gives a channel that is closed with the next change of the attachments.
func (s *Service) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// Await waits until an attachment is known here. The fault is Unavailable where the
// context ends first.
func (s *Service) Await(ctx context.Context, id identity.AttachmentID) (*Attachment, error) {
	for {
		changed := s.Changed()
		if l := s.table.Load().byID[id]; l != nil {
			return &l.Attachment, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fault.Wrap(ctx.Err(), fault.Unavailable, "The attachment is made, and this node has not heard of it yet").WithMend("try again in a moment")
		}
	}
}

// Of finds whose processes a caller belongs to: the attachment of its uid whose scope
// holds its control group, and of several the innermost. It says nothing about whether
// the view is fresh: Keys and IDToken do. Faults: Denied with one of the codes here.
// What it gives must not be changed.
func (s *Service) Of(c Caller) (*Attachment, error) {
	t := s.table.Load()
	now := s.c.Now()
	var found *live
	others := false
	for _, l := range t.byUID[c.UID] {
		if !now.Before(l.Expires) {
			continue
		}
		if others = true; (found == nil || len(l.Scope) > len(found.Scope)) && s.holds(l, c) {
			found = l
		}
	}
	switch {
	case found != nil:
		return &found.Attachment, nil
	case t.byID == nil && !s.Fresh():
		return nil, stale()
	case !others:
		return nil, fault.Coded(fault.Denied, CodeUnattached, "Nobody is attached to this account on this machine").
			WithMend("run: carnet attach")
	}
	return nil, fault.Coded(fault.Denied, CodeScope, "Somebody is attached to this account on this machine, but in another login or container").
		WithMend("run here: carnet attach")
}

// holds reports whether a caller is in the scope of an attachment of its uid.
func (s *Service) holds(l *live, c Caller) bool {
	switch {
	case l.ScopeID == 0 || c.Cgroup == 0:
		return false
	case c.Cgroup == l.ScopeID:
		return true
	case l.Scope == "/":
		return false
	}
	return s.c.Groups.Within(c.Cgroup, l.Scope, l.ScopeID)
}

func stale() error {
	return fault.Coded(fault.Unavailable, CodeStale, "This node has not reached its server for too long to give out anything new").
		WithMend("try again in a minute; if it lasts, tell the administrator of this machine")
}
