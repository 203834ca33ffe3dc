package sts

import (
	"context"
	"errors"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/protocol/oidc"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/revocation"
)

// ours holds a token of Carnet's own issuers to what was taken back since it was
// made, and puts whom it speaks of into the claims to come, so that what is taken
// back later reaches the keys. Tokens of other issuers pass as they are. What the
// broker says must agree.
func (s *Service) ours(ctx context.Context, x *exchange, c *oidc.Claims) error {
	if s.Own == nil || !s.Own.Issues(c.Issuer) {
		return nil
	}
	subject, ok := ownSubject(c)
	if ok {
		subject.OnNode, ok = issuer.OnNodeOf(c)
	}
	if !ok {
		return deny(x.action(), "the token of our own issuer names nobody who acts: subject "+clip(c.Subject))
	}
	epoch, ok := oidc.Whole(c.All()[issuer.ClaimEpoch])
	if !ok {
		return deny(x.action(), "the token of our own issuer carries no revocation epoch")
	}
	subject, err := s.Own.Standing(ctx, subject)
	if errors.Is(err, fault.New(fault.Denied, "")) {
		return fault.Coded(fault.Denied, "AccessDenied", "Not authorized to perform "+x.action()).WithCause(err)
	}
	if err != nil {
		return err
	}
	if err := s.notRevoked(x, &subject, epoch); err != nil {
		return err
	}
	if said := &x.caller.OwnSubject; said.Person != "" && said.Person != subject.Person || said.LoginSession != "" && said.LoginSession != subject.LoginSession {
		return deny(x.action(), "the token speaks of another person or login session than the broker")
	}
	x.caller.OwnSubject = subject
	return nil
}

// ownSubject reads whom a token of ours speaks of: its sub, and sid.
func ownSubject(c *oidc.Claims) (s OwnSubject, ok bool) {
	kind, id, _ := strings.Cut(c.Subject, ":")
	sid, _ := c.All()["sid"].(string)
	if _, there := c.All()["sid"]; there && sid == "" {
		return s, false
	}
	s.LoginSession = identity.LoginSessionID(sid)
	switch form, _, _ := strings.Cut(id, "_"); kind + " " + form {
	case "user psn":
		s.Person = identity.PersonID(id)
	case "sp spn":
		s.ServicePrincipal = identity.ServicePrincipalID(id)
	case "job dlg":
		s.Delegation = identity.DelegationID(id)
	default:
		return s, false
	}
	return s, true
}

// notRevoked asks of everything that a token of ours rests on.
func (s *Service) notRevoked(x *exchange, o *OwnSubject, epoch uint64) error {
	for _, r := range [...]struct{ kind, id string }{
		{revocation.Everything, revocation.Everything},
		{revocation.LoginSession, string(o.LoginSession)},
		{revocation.Person, string(o.Person)},
		{revocation.ServicePrincipal, string(o.ServicePrincipal)},
		{revocation.Delegation, string(o.Delegation)},
		{revocation.Role, x.role.String()},
		{revocation.Attachment, string(o.Attachment)},
		{revocation.Node, string(o.Node)},
		{revocation.Cluster, string(o.Cluster)},
	} {
		if r.id == "" {
			continue
		}
		refused, err := s.Revocations.Refused(r.kind, r.id, epoch)
		if err != nil {
			return err
		}
		if refused {
			return fault.Coded(fault.Revoked, "AccessDenied", "Not authorized to perform "+x.action()).
				WithMend("what this token rests on was ended: sign in again, or ask for a new token").
				WithCause(errors.New("revoked since the token was made: " + r.kind + " " + r.id))
		}
	}
	return nil
}
