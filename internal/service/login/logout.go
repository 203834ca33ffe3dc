package login

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/saml"
	"carnet.dev/carnet/internal/service/federation"
)

// Errand is where a browser has to take a message of ours. The zero value is
// no errand.
type Errand struct {
	RedirectURL string
	Form        *PostForm
}

// IsZero reports whether there is nothing to take anywhere.
func (e Errand) IsZero() bool { return e.RedirectURL == "" && e.Form == nil }

// Leaving is what is left to do after a sign-out.
type Leaving struct {
	// IdPName is the identity provider that the person signed in with; empty
	// for the bearer of a set-up link.
	IdPName string
	// Errand takes the LogoutRequest there; none where it offers no single
	// logout, or can't be told.
	Errand Errand
	// KeysUntil is when the last keys end that AWS gave; zero: none are out.
	KeysUntil time.Time
}

// LoggedOut is what a logout message did.
type LoggedOut struct {
	IdPName string
	// Asked: the identity provider asked for it, and Ended login sessions
	// ended. Answer takes our LogoutResponse back, none where it named no place
	// for one.
	Asked  bool
	Ended  int
	Answer Errand
	// Complete: the identity provider answered our request, and ended its
	// sign-in with everyone. False with Asked false: it did not, or not
	// everywhere.
	Complete  bool
	KeysUntil time.Time // as in Leaving
}

// Leave signs out, and then says how to end the sign-in at the identity
// provider too. The login session has ended whatever becomes of the rest.
func (s *Service) Leave(ctx context.Context, session LoginSession) (Leaving, error) {
	hint := s.hint(ctx, session.ID) // gone with the login session
	out := Leaving{IdPName: session.IdPName, KeysUntil: s.keysOut(ctx, session)}
	if err := s.SignOut(ctx, session.ID); err != nil {
		return Leaving{}, err
	}
	if session.live == nil || session.live.Federated.NameID == "" {
		return out, nil
	}
	var err error
	if out.Errand, err = s.farewell(ctx, session.live.Record, hint, out.KeysUntil); err != nil {
		s.Logger.Warn("the identity provider can't be told of a sign-out", "identity_provider", session.IdPName, "error", err)
	}
	return out, nil
}

// farewell makes the signed LogoutRequest for one login session. Its state is
// sealed into its ID, like that of a sign-in.
func (s *Service) farewell(ctx context.Context, r Record, hint secret.Text, keysUntil time.Time) (Errand, error) {
	sp, err := s.IdPs.Speaker(r.Person.IdP)
	if err != nil {
		return Errand{}, err
	}
	if sp.IdP.Protocol == federation.OIDC {
		return s.farewellOIDC(ctx, sp, hint, SignedOut{IdPName: r.IdPName, KeysUntil: keysUntil})
	}
	place, binding := logoutPlace(sp.SAML, false)
	if place == "" {
		return Errand{}, nil
	}
	now, f := s.Now(), r.Federated
	ask := request{Purpose: toLogOut, IdP: r.Person.IdP, Began: now}
	if !keysUntil.IsZero() { // no browser is bound here: the place serves the page after the way back
		binary.BigEndian.PutUint64(ask.Browser[:], uint64(keysUntil.Unix()))
	}
	id, err := s.seal(ask)
	if err != nil {
		return Errand{}, err
	}
	m := saml.LogoutRequest{ID: id, Issuer: s.SAMLURL, Destination: place, IssueInstant: now, NotOnOrAfter: now.Add(saml.MaxLogoutAge),
		NameID: f.NameID, NameIDFormat: f.NameIDFormat, NameQualifier: f.NameQualifier, SPNameQualifier: f.SPNameQualifier}
	if f.SessionIndex != "" {
		m.SessionIndexes = []string{f.SessionIndex}
	}
	return s.errand(m, "SAMLRequest", place, binding, "")
}

// message is a logout message of ours.
type message interface {
	RedirectURL(relayState string, s *saml.Signer) (string, error)
	PostForm(s *saml.Signer) (string, error)
}

func (s *Service) errand(m message, field, place, binding, relay string) (Errand, error) {
	signer := s.Keys.Signer() // nil: refused by name
	if binding == saml.BindingRedirect {
		to, err := m.RedirectURL(relay, signer)
		return Errand{RedirectURL: to}, err
	}
	text, err := m.PostForm(signer)
	if err != nil {
		return Errand{}, err
	}
	form := &PostForm{Action: place, Fields: []Field{{field, text}}}
	if relay != "" {
		form.Fields = append(form.Fields, Field{"RelayState", relay})
	}
	return Errand{Form: form}, nil
}

// logoutPlace gives where logout messages go. A redirect is taken first: it
// works in the frames too that some identity providers log out by, where our
// forms are not shown. SOAP is not offered.
func logoutPlace(m *saml.Metadata, response bool) (place, binding string) {
	find := m.SLOLocation
	if response {
		find = m.SLOResponseLocation
	}
	for _, binding := range []string{saml.BindingRedirect, saml.BindingPOST} {
		if place, ok := find(binding); ok {
			return place, binding
		}
	}
	return "", ""
}

// ConsumeLogout takes a logout message that an identity provider had a browser
// bring: its request, or its answer to ours. Errors name the check that failed;
// then nothing has ended by it.
func (s *Service) ConsumeLogout(ctx context.Context, in saml.LogoutInput, relay string, source netip.Addr) (LoggedOut, error) {
	leave, err := s.place(ctx)
	if err != nil {
		return LoggedOut{}, err
	}
	defer leave()
	raw, err := in.Document()
	if err != nil {
		return LoggedOut{}, err
	}
	kind, err := saml.MessageKind(raw)
	if err != nil {
		return LoggedOut{}, err
	}
	switch kind {
	case saml.KindLogoutRequest:
		return s.loggedOutBy(ctx, in, raw, relay, source)
	case saml.KindLogoutResponse:
		return s.loggedOutThere(in, raw)
	}
	return LoggedOut{}, fault.Coded(fault.Invalid, saml.CheckShape, "this is no logout message").
		WithMend("set the identity provider to send responses by HTTP-POST")
}

// loggedOutThere reads the answer to our own request. Our login session had
// ended before that was sent; only what the page says depends on it.
func (s *Service) loggedOutThere(in saml.LogoutInput, raw []byte) (LoggedOut, error) {
	now := s.Now()
	id, err := saml.ClaimedRequest(raw, saml.MaxLogout)
	if err != nil {
		return LoggedOut{}, err
	}
	asked, err := s.open(id, now)
	if err != nil {
		return LoggedOut{}, err
	}
	if asked.Purpose != toLogOut {
		return LoggedOut{}, fault.Coded(fault.Unauthenticated, saml.CheckInResponseTo, "the logout response answers a request that asked for something else")
	}
	sp, err := s.IdPs.Speaker(asked.IdP)
	if err != nil {
		return LoggedOut{}, err
	}
	r, err := saml.VerifyLogoutResponse(in, sp.SAML, s.logoutExpect(sp, id), now)
	if err != nil {
		return LoggedOut{}, err
	}
	out := LoggedOut{IdPName: sp.IdP.Name, Complete: r.Status == saml.StatusSuccess && r.SubStatus == ""}
	if at := binary.BigEndian.Uint64(asked.Browser[:]); at != 0 {
		out.KeysUntil = time.Unix(int64(at), 0).UTC()
	}
	return out, nil
}

func (s *Service) logoutExpect(sp *federation.Speaker, requestID string) saml.LogoutExpect {
	return sp.ExpectLogout(saml.LogoutExpect{URL: s.SAMLURL, RequestID: requestID, Skew: saml.DefaultSkew})
}

// loggedOutBy does what a signed request of the identity provider asks: it
// ends the login sessions of its own person that it names, and no others.
func (s *Service) loggedOutBy(ctx context.Context, in saml.LogoutInput, raw []byte, relay string, source netip.Addr) (LoggedOut, error) {
	issuer, err := saml.ClaimedIssuer(raw, saml.MaxLogout)
	if err != nil {
		return LoggedOut{}, err
	}
	idp, known, err := s.IdPs.ByEntityID(issuer)
	if err != nil {
		return LoggedOut{}, err
	}
	if !known {
		return LoggedOut{}, unknownIssuer(issuer)
	}
	sp, err := s.IdPs.Speaker(idp.ID)
	if err != nil {
		return LoggedOut{}, err
	}
	r, err := saml.VerifyLogoutRequest(in, sp.SAML, s.logoutExpect(sp, ""), s.Now())
	if err != nil {
		return LoggedOut{}, err
	}
	out := LoggedOut{IdPName: sp.IdP.Name, Asked: true}
	if out.Ended, err = s.endNamed(ctx, sp, r, source); err != nil {
		return LoggedOut{}, err
	}
	out.Answer, err = s.answer(sp, r, relay)
	if err != nil {
		s.Logger.Warn("a logout request can't be answered", "identity_provider", sp.IdP.Name, "error", err)
	}
	return out, nil
}

// endNamed ends what a request names, in one transaction with its one use and
// its record.
func (s *Service) endNamed(ctx context.Context, sp *federation.Speaker, r *saml.LogoutRequest, source netip.Addr) (ended int, err error) {
	until := r.IssueInstant.Add(saml.MaxLogoutAge + saml.DefaultSkew)
	err = s.State.Atomic(ctx, func(ctx context.Context) error {
		ended = 0
		won, err := s.Once.Consume(ctx, "saml-logout", r.Issuer+"\x00"+r.ID, until)
		if err != nil {
			return err
		}
		if !won {
			return fault.Coded(fault.Denied, "saml.replayed", "this logout request was used before").
				WithMend("sign out again at the identity provider")
		}
		sessions, err := s.Named.OfSubject(ctx, sp.IdP.ID, r.NameID)
		if err != nil {
			return err
		}
		for _, l := range sessions {
			if !meant(r, l.Federated) {
				continue
			}
			if err := s.endBy(ctx, l, source); err != nil {
				return err
			}
			ended++
		}
		return s.Audit.Record(ctx, Event{Action: "single-logout", Outcome: event.Done, IdP: sp.IdP.ID, Source: source.String(),
			Target: clip(r.ID), Detail: map[string]string{"ended": strconv.Itoa(ended)}})
	})
	s.memory.clear()
	return ended, err
}

func (s *Service) endBy(ctx context.Context, l Record, source netip.Addr) error {
	if err := s.discard(ctx, l.ID); err != nil {
		return err
	}
	e := act("sign-out", l)
	e.Source, e.Detail = source.String(), map[string]string{"cause": "the identity provider asked for it"}
	return s.Audit.Record(ctx, e)
}

const unspecified = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"

// meant reports whether a request, whose NameID is that of the login session,
// speaks of it. What one side leaves open does not tell them apart
// (saml-core-2.0-os section 3.3.4).
func meant(r *saml.LogoutRequest, f Federated) bool {
	alike := func(a, b, open string) bool { return a == b || a == "" || b == "" || a == open || b == open }
	return r.NameID == f.NameID &&
		alike(r.NameIDFormat, f.NameIDFormat, unspecified) && alike(r.NameQualifier, f.NameQualifier, "") && alike(r.SPNameQualifier, f.SPNameQualifier, "") &&
		(len(r.SessionIndexes) == 0 || f.SessionIndex == "" || slices.Contains(r.SessionIndexes, f.SessionIndex))
}

// maxRelay bounds a relay state that is sent back.
const maxRelay = 1024

// answer makes the signed LogoutResponse. Its relay state is the request's.
func (s *Service) answer(sp *federation.Speaker, r *saml.LogoutRequest, relay string) (Errand, error) {
	place, binding := logoutPlace(sp.SAML, true)
	if place == "" {
		return Errand{}, nil
	}
	if len(relay) > maxRelay {
		relay = ""
	}
	m := saml.LogoutResponse{ID: newMessageID(), InResponseTo: r.ID, Issuer: s.SAMLURL, Destination: place,
		IssueInstant: s.Now(), Status: saml.StatusSuccess}
	return s.errand(m, "SAMLResponse", place, binding, relay)
}

func newMessageID() string { return "_" + secret.Random(20).Reveal() }

// SignedOut is what the page after a sign-out says, sealed into its address so
// that no link of a stranger's can say it.
type SignedOut struct {
	IdPName string `json:"i,omitempty"`
	// There says what is known of the sign-in at the identity provider.
	There There `json:"t,omitempty"`
	// Code is the check that the identity provider's answer failed.
	Code string `json:"c,omitempty"`
	// KeysUntil is when the last keys end that AWS gave; zero: none are out.
	KeysUntil time.Time `json:"k,omitzero"`
	At        time.Time `json:"a"`
}

// There is what is known of the sign-in at the identity provider.
type There string

// What may be known.
const (
	ThereUnknown There = ""        // nobody told it
	ThereEnded   There = "ended"   // it says that it ended everything
	TherePartly  There = "partly"  // it says that it did not, or not everything
	ThereUnclear There = "unclear" // its answer can't be believed; see Code
)

const (
	saidPurpose  = "login-signed-out"
	saidLifetime = 10 * time.Minute
)

// Say seals what the page is to say.
func (s *Service) Say(what SignedOut) (string, error) {
	what.At = s.Now()
	plain, err := json.Marshal(what)
	if err != nil {
		return "", err
	}
	box, err := s.Sealer.Seal(saidPurpose, []byte(s.SAMLURL), plain)
	return base64.RawURLEncoding.EncodeToString(box), err
}

// Said opens what Say sealed; false for anything else, and once it is old.
func (s *Service) Said(text string) (what SignedOut, ok bool) {
	if len(text) > maxRelay {
		return SignedOut{}, false
	}
	box, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return SignedOut{}, false
	}
	plain, err := s.Sealer.Open(saidPurpose, []byte(s.SAMLURL), box)
	if err != nil || json.Unmarshal(plain, &what) != nil || s.Now().Sub(what.At) > saidLifetime {
		return SignedOut{}, false
	}
	return what, true
}

// keysOut says when the last keys end that this login session's person may
// hold of AWS: nobody can take those back before. It asks before the session
// ends, and whichever server renewed them.
func (s *Service) keysOut(ctx context.Context, session LoginSession) (last time.Time) {
	outcomes, err := s.Broker.Kept(ctx, session.ID)
	if err != nil {
		s.Logger.Warn("the keys of a login session that ends can't be read", "login_session", session.ID, "error", err)
	}
	for _, o := range outcomes {
		if keys := o.Session.Credentials; s.Accounts[o.Role.Account].Deliver == "direct" && keys.Live(s.Now()) && keys.Expiration.After(last) {
			last = keys.Expiration
		}
	}
	return last
}
