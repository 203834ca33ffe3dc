package server

import (
	"context"

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
}

// Issues reports whether an issuer is one of ours.
func (o *own) Issues(issuerURL string) bool {
	_, ours := o.issuer.LevelOf(issuerURL)
	return ours
}

// Standing gives all who stand behind the subject of a token of ours, as the
// database has them now: switched on, and their identity provider too.
func (o *own) Standing(ctx context.Context, s sts.OwnSubject) (sts.OwnSubject, error) {
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
