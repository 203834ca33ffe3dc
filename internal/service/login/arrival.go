package login

import (
	"context"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/saml"
	"carnet.dev/carnet/internal/service/federation"
)

// Arrival is a sign-in that began at the identity provider and waits for its
// person to say that they mean it: anybody can have a browser post a response
// of their own.
type Arrival struct {
	Person   Person
	IdPName  string
	ReturnTo string // a path on our own host
}

// unasked finds who sent a response that answers no request, and refuses it
// unless that is switched on for this identity provider. Every other check
// stays on.
func (s *Service) unasked(raw []byte) (*federation.Speaker, error) {
	issuer, err := saml.ClaimedIssuer(raw, saml.MaxResponse)
	if err != nil {
		return nil, err
	}
	idp, known, err := s.IdPs.ByEntityID(issuer)
	if err != nil {
		return nil, err
	}
	if !known {
		return nil, unknownIssuer(issuer)
	}
	if !idp.AllowUnsolicited {
		return nil, fault.Coded(fault.Denied, saml.CheckUnsolicited, "the response answers no sign-in that Carnet began").
			WithMend("begin at Carnet's sign-in page; sign-in begun at identity provider " + idp.Name + " is switched off, and an administrator can allow it")
	}
	return s.IdPs.Speaker(idp.ID)
}

func unknownIssuer(issuer string) error {
	return fault.Coded(fault.Unauthenticated, saml.CheckIssuer, "the message is from "+quoted(issuer)+", which nobody entered here").
		WithMend("an administrator enters the metadata of the identity provider, whose entityID has to be just that")
}

// stale bounds for how long an unsolicited response counts: no request does.
func stale(a *saml.Assertion, now time.Time) error {
	if now.Sub(a.IssueInstant) <= PreLoginLifetime+saml.DefaultSkew {
		return nil
	}
	return fault.Coded(fault.Expired, "saml.unsolicited-old", "the response was issued more than 10 minutes ago").
		WithMend("begin again at the identity provider, or at Carnet's sign-in page")
}

// Arrival gives a parked unsolicited sign-in to the browser that brought it,
// and leaves it parked. Errors: Unauthenticated "login.handle" or
// "login.browser".
func (s *Service) Arrival(ctx context.Context, handle, arrival secret.Text) (Arrival, error) {
	r, t, err := s.Parked.Look(ctx, handle.Digest())
	if isNotFound(err) {
		err = staleHandle()
	}
	if err == nil {
		err = s.checkTicket(t, arrival, true)
	}
	if err != nil {
		return Arrival{}, err
	}
	return Arrival{Person: r.Person, IdPName: r.IdPName, ReturnTo: LocalPath(t.ReturnTo)}, nil
}

// Continue opens a parked unsolicited sign-in: its person said yes. Whoever
// calls this has seen to it that no login session is live in this browser.
// Errors as for Complete.
func (s *Service) Continue(ctx context.Context, handle, arrival secret.Text) (SignedIn, error) {
	in, t, err := s.claim(ctx, handle, arrival, true)
	in.ReturnTo = LocalPath(t.ReturnTo)
	return in, err
}
