package attachment

import (
	"context"
	"strconv"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/holder"
	"carnet.dev/carnet/internal/service/revocation"
)

// over says why an attachment does not count now; empty: it counts. It asks nothing
// but memory: its own end, its node and cluster, what was revoked since it was made,
// and whether the cluster still admits the person. A fault: it can't be said now.
func (s *Service) over(a *Attachment) (why string, err error) {
	switch {
	case !a.Ended.IsZero():
		return a.Why, nil
	case !s.Now().Before(a.Expires):
		return WhyExpired, nil
	}
	for _, g := range [...]struct{ kind, id, why string }{
		{revocation.Attachment, string(a.ID), WhyRevoked},
		{revocation.Node, string(a.Place.Node), WhyNode},
		{revocation.Cluster, string(a.Cluster), WhyNode},
		{revocation.Person, string(a.Person), WhyGround},
		{revocation.LoginSession, string(a.LoginSession), WhyGround},
		{revocation.Delegation, string(a.Delegation), WhyGround},
	} {
		if g.id == "" {
			continue
		}
		refused, err := s.Feed.Refused(g.kind, g.id, a.Epoch)
		if err != nil {
			return "", err
		}
		if refused {
			return g.why, nil
		}
	}
	c, ok := s.Clusters.Cluster(a.Cluster)
	n, there := s.Clusters.Node(a.Place.Node)
	if !ok || !there || n.Cluster != a.Cluster {
		return WhyNode, nil
	}
	groups, known := s.known.Load().groups[a.Person]
	if s.Rules.MayAttach(c, a.Person, groups) == nil {
		return "", nil
	}
	if !known && len(c.Groups) > 0 {
		return "", fault.Coded(fault.Unavailable, "attachment.groups", "the groups of the person are not known here yet").WithMend("try again")
	}
	return WhyReassign, nil
}

// of gives a live attachment of a node: of no other, whatever is asked. Faults:
// NotFound "attachment.unknown", also for another node's; NotFound
// "attachment.ended"; Unavailable.
func (s *Service) of(ctx context.Context, n cluster.Node, id identity.AttachmentID) (*Attachment, cluster.Cluster, error) {
	c, err := s.clusterOf(n)
	if err != nil {
		return nil, c, err
	}
	a := s.known.Load().byID[id]
	if a == nil { // another server may have made it a moment ago
		stored, err := s.Lists.Attachment(ctx, id)
		if err != nil {
			return nil, c, err
		}
		a = &stored
		if a.Ended.IsZero() {
			if err := s.load(ctx); err != nil {
				return nil, c, err
			}
		}
	}
	if a.Place.Node != n.ID || a.Cluster != n.Cluster {
		return nil, c, fault.Coded(fault.NotFound, "attachment.unknown", "there is no such attachment")
	}
	why, err := s.over(a)
	if err != nil {
		return nil, c, err
	}
	if why != "" {
		return nil, c, endedFault(why)
	}
	return a, c, nil
}

// Standing gives where a live attachment holds, and its end. Faults: NotFound
// "attachment.unknown", "attachment.ended"; Unavailable.
func (s *Service) Standing(ctx context.Context, id identity.AttachmentID) (identity.OnNode, time.Time, error) {
	a := s.known.Load().byID[id]
	if a == nil { // another server may have made it a moment ago
		stored, err := s.Lists.Attachment(ctx, id)
		if err != nil {
			return identity.OnNode{}, time.Time{}, err
		}
		a = &stored
	}
	why, err := s.over(a)
	if err == nil && why != "" {
		err = endedFault(why)
	}
	return a.OnNode(), a.Expires, err
}

// ProcessOwner gives who owns the processes of a live attachment, from memory; empty
// where this server knows none.
func (s *Service) ProcessOwner(id identity.AttachmentID) string {
	if a := s.known.Load().byID[id]; a != nil {
		return a.Place.Owner()
	}
	return ""
}

func endedFault(why string) *fault.Fault {
	return fault.Coded(fault.NotFound, "attachment.ended", "this attachment has ended: "+sentence(why)).WithMend("attach again: carnet attach")
}

// sentence says why an attachment ended, for people.
func sentence(why string) string {
	switch why {
	case WhyDetached:
		return "it was detached"
	case WhyScope:
		return "the login that it was bound to is over"
	case WhyUID:
		return "its uid belongs to another account now"
	case WhyReplaced:
		return "a later one of the same login took its place"
	case WhyManager:
		return "who manages the cluster ended it"
	case WhyReassign:
		return "the cluster does not admit its person any more"
	case WhyGround:
		return "its person signed out, or what it rests on was taken back"
	case WhyNode:
		return "its node, or its cluster, was removed or revoked"
	case WhyExpired:
		return "its time is over"
	}
	return "it was taken back"
}

// owner is whom an attachment has its roles from.
func (a *Attachment) owner() holder.Owner {
	if a.LoginSession != "" {
		return holder.Owner{LoginSession: a.LoginSession}
	}
	return holder.Owner{Delegation: a.Delegation, Cluster: a.Cluster}
}

// end ends one, with its record; false where it had ended. What rests on it (gateway
// keys) ends by the feed.
func (s *Service) end(ctx context.Context, a *Attachment, why string) (done bool, err error) {
	err = s.State.Atomic(ctx, func(ctx context.Context) error {
		done, err = s.endIn(ctx, a, why)
		return err
	})
	if err == nil && done {
		if err := s.load(context.WithoutCancel(ctx)); err != nil {
			s.Logger.Warn("attachments could not be read after a change", "error", err)
		}
	}
	return done && err == nil, err
}

// endIn is end within the transaction that ctx carries.
func (s *Service) endIn(ctx context.Context, a *Attachment, why string) (bool, error) {
	done, err := s.Changes.End(ctx, a.ID, why, s.now())
	if err != nil || !done {
		return false, err
	}
	if _, err := s.Feed.Revoke(ctx, revocation.Attachment, string(a.ID)); err != nil {
		return false, err
	}
	e := s.event(a, "attachment.end")
	e.Detail["why"] = why
	return true, s.Trail.Record(ctx, e)
}

func decimal(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
