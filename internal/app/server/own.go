package server

import (
	"context"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/sts"
	"carnet.dev/carnet/internal/service/workload"
)

// own is issuer and directory as STS asks them of a token that we issued.
type own struct {
	*state
	// delegations answers for jobs; nil refuses them. It is set before the first
	// request.
	delegations interface {
		Behind(ctx context.Context, id identity.DelegationID) (workload.Delegation, directory.Person, error)
	}
	// attachments answers for tokens that were made for one; nil refuses them. As
	// delegations.
	attachments interface {
		Standing(ctx context.Context, id identity.AttachmentID) (identity.OnNode, time.Time, error)
	}
}

// Issues reports whether an issuer is one of ours.
func (o *own) Issues(issuerURL string) bool {
	_, ours := o.issuer.LevelOf(issuerURL)
	return ours
}

// Standing gives all who stand behind the subject of a token of ours, as the
// database has them now: switched on, and their identity provider too.
func (o *own) Standing(ctx context.Context, s sts.OwnSubject) (_ sts.OwnSubject, err error) {
	if s.Attachment != "" {
		if s.Ends, err = o.attached(ctx, s.OnNode); err != nil {
			return s, err
		}
	}
	switch {
	case s.Delegation != "" && o.delegations == nil:
		return s, fault.New(fault.Denied, "this installation has no delegations")
	case s.Delegation != "":
		d, _, err := o.delegations.Behind(ctx, s.Delegation)
		if err != nil {
			return s, refused(err)
		}
		s.Person, s.ServicePrincipal = d.Person, d.ServicePrincipal
	case s.ServicePrincipal != "":
		p, err := o.directory.ServicePrincipals.ServicePrincipal(ctx, s.ServicePrincipal)
		if err != nil {
			return s, refused(err)
		}
		if !p.Active {
			return s, fault.New(fault.Denied, "the service principal "+p.Name+" is switched off")
		}
	default:
		p, err := o.directory.People.Person(ctx, s.Person)
		if err != nil {
			return s, refused(err)
		}
		if !p.Active {
			return s, fault.New(fault.Denied, "the person "+p.UserName+" is switched off")
		}
		if _, err := o.federation.Speaker(p.IdP); err != nil {
			return s, refused(err)
		}
	}
	return s, nil
}

// attached gives the end of an attachment that a token was made for, if it still stands
// where it did.
func (o *own) attached(ctx context.Context, on identity.OnNode) (time.Time, error) {
	if o.attachments == nil {
		return time.Time{}, fault.New(fault.Denied, "this installation has no attachments")
	}
	is, ends, err := o.attachments.Standing(ctx, on.Attachment)
	if err != nil {
		return ends, refused(err)
	}
	if is != on {
		return ends, fault.New(fault.Denied, "the token was made for another attachment")
	}
	return ends, nil
}

// clusterName gives the name of a cluster; its id where this server knows none.
func (s *state) clusterName(id identity.ClusterID) string {
	if c, ok := s.clusters.Cluster(id); ok {
		return c.Name
	}
	return string(id)
}
