package login

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/saml"
	"carnet.dev/carnet/internal/service/broker"
	"carnet.dev/carnet/internal/service/entitlement"
	"carnet.dev/carnet/internal/service/federation"
)

// Consume takes the response that an identity provider had a browser post to
// us: verify, use once, trade, park. samlResponse is the posted field, which
// STS gets unmodified; source is the peer's address for the audit record.
// Errors name the check that failed; then nothing is stored. A role that can't
// be had is no error.
func (s *Service) Consume(ctx context.Context, samlResponse, relay string, source netip.Addr) (Consumed, error) {
	now := s.Now()
	began, err := s.openRelay(relay, now)
	if err != nil {
		return Consumed{}, err
	}
	epoch, err := s.Feed.Epoch()
	if err != nil {
		return Consumed{}, err
	}
	sp, err := s.IdPs.Speaker(began.IdP)
	if err != nil {
		return Consumed{}, err
	}
	a, err := s.verify(ctx, samlResponse, began, sp, now)
	if err != nil {
		return Consumed{}, err
	}
	who, err := subject(a, sp)
	if err != nil {
		return Consumed{}, err
	}
	if err := s.admit(ctx, a, &who, sp, began); err != nil {
		return Consumed{}, err
	}
	record := Record{ID: identity.NewLoginSessionID(), Person: who.person(), IdPName: sp.IdP.Name,
		Administrator: sp.MakesAdministrator(a.Values(sp.GroupsAttribute())),
		Started:       now, Expires: s.ends(now, a), Epoch: epoch}
	entitled := entitlement.Of(a, sp, s.Accounts, who.UserName)
	record.Notes = entitled.Notes
	outcomes, err := s.Broker.Exchange(ctx, broker.Request{LoginSession: record.ID, Person: who.ID, Ends: record.Expires,
		Entitlements: entitled, Assertion: secret.New(samlResponse), IssueInstant: a.IssueInstant})
	if err != nil {
		return Consumed{}, err
	}
	handle, err := s.park(ctx, record, began, outcomes, signInEvents(record, a, source, outcomes))
	if err != nil {
		return Consumed{}, err
	}
	return Consumed{Handle: handle, PassThroughError: passThroughError(outcomes, entitled.Malformed)}, nil
}

// verify checks the response as an answer to the request that began this
// sign-in. It waits a moment for one of the places for signature work.
func (s *Service) verify(ctx context.Context, posted string, began relayState, sp *federation.Speaker, now time.Time) (*saml.Assertion, error) {
	wait, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	select {
	case s.verifying <- struct{}{}:
		defer func() { <-s.verifying }()
	case <-wait.Done():
		return nil, fault.Coded(fault.Limited, "login.busy", "too many people are signing in at this moment").
			WithMend("try again in a few seconds")
	}
	raw, err := saml.Decode(posted, saml.MaxResponse)
	if err != nil {
		return nil, err
	}
	return saml.Verify(raw, sp.SAML, saml.Expect{ACS: s.SAMLURL, Audience: s.SAMLURL, RequestID: began.RequestID, Skew: saml.DefaultSkew}, now)
}

// admit uses the assertion up and finds the person, in one transaction: a
// replay gets neither.
func (s *Service) admit(ctx context.Context, a *saml.Assertion, who *Subject, sp *federation.Speaker, began relayState) error {
	// A replay must carry this sign-in's relay state, which is good for ten
	// minutes; after that the id need not be remembered.
	until := time.UnixMilli(began.Began).Add(PreLoginLifetime + saml.DefaultSkew)
	return s.State.Atomic(ctx, func(ctx context.Context) error {
		won, err := s.Once.Consume(ctx, "saml-assertion", a.Issuer+"\x00"+a.ID, until)
		if err != nil {
			return err
		}
		if !won {
			return fault.Coded(fault.Denied, "saml.replayed", "this response was used before").
				WithMend("begin again at the sign-in page")
		}
		who.ID, err = s.People.Ensure(ctx, *who, sp.IdP.AllowAutoCreate)
		return err
	})
}

// ends bounds the login session by our setting and by the identity provider's
// word (SessionNotOnOrAfter, saml-core-2.0-os section 2.7.2).
func (s *Service) ends(now time.Time, a *saml.Assertion) time.Time {
	ends := now.Add(s.Lifetime)
	if bound := a.SessionNotOnOrAfter; !bound.IsZero() && bound.Before(ends) {
		ends = bound
	}
	return ends.UTC().Truncate(time.Second)
}

func (s *Service) park(ctx context.Context, r Record, began relayState, outcomes []broker.Outcome, trail []Event) (secret.Text, error) {
	handle := secret.Random(32)
	t := Ticket{Handle: handle.Digest(), PreLogin: [32]byte(began.PreLogin), ReturnTo: began.ReturnTo, Expires: s.Now().Add(HandleLifetime)}
	err := s.State.Atomic(ctx, func(ctx context.Context) error {
		if err := s.Sessions.Park(ctx, r, t); err != nil {
			return err
		}
		if err := s.Broker.Keep(ctx, r.ID, r.Expires, outcomes); err != nil {
			return err
		}
		for _, e := range trail {
			if err := s.Audit.Record(ctx, e); err != nil {
				return err
			}
		}
		return nil
	})
	return handle, err
}

// passThroughError gives the classic header value of the first role, in the
// order of the assertion, that can't be had.
func passThroughError(outcomes []broker.Outcome, malformed []saml.Malformed) string {
	first, value := -1, ""
	for _, o := range outcomes {
		if o.Failure != nil && (first < 0 || o.Index < first) {
			first, value = o.Index, o.Failure.Classic()
		}
	}
	for _, m := range malformed {
		if first < 0 || m.Index < first {
			first, value = m.Index, broker.ClassicMalformed
		}
	}
	return value
}

// Subject is who an identity provider named. ID is set once it is known.
type Subject struct {
	ID          identity.PersonID
	IdP         identity.IdPID
	NameID      string
	UserName    string
	DisplayName string
	Mail        string
}

func (w Subject) person() Person {
	return Person{ID: w.ID, IdP: w.IdP, UserName: w.UserName, DisplayName: w.DisplayName}
}

// People finds people by (identity provider, NameID), never by mail address.
type People interface {
	// Ensure gives the person's id. An unknown person is made when create is
	// true and otherwise a fault Denied; so is one who was switched off.
	Ensure(ctx context.Context, who Subject, create bool) (identity.PersonID, error)
}

const transient = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"

// subject reads who signed in, and holds the user name against the identity
// provider's list.
func subject(a *saml.Assertion, sp *federation.Speaker) (Subject, error) {
	who := Subject{IdP: sp.IdP.ID, NameID: a.NameID, UserName: a.NameID,
		DisplayName: firstOf(a, "displayName", "urn:oid:2.16.840.1.113730.3.1.241", "http://schemas.microsoft.com/identity/claims/displayname"),
		Mail:        firstOf(a, "mail", "email", "urn:oid:0.9.2342.19200300.100.1.3", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress")}
	if a.NameIDFormat == transient {
		return Subject{}, fault.Coded(fault.Misconfigured, "saml.nameid-transient",
			"identity provider "+sp.IdP.Name+" names people by a transient NameID, which is another one at each sign-in").
			WithMend("an administrator has to set the NameID format to emailAddress, unspecified or persistent at the identity provider")
	}
	if !presentable(who.UserName, 256) || who.UserName != strings.TrimSpace(who.UserName) {
		return Subject{}, fault.Coded(fault.Misconfigured, "saml.nameid",
			"the NameID of the response is not a user name of 1 to 256 printable characters")
	}
	if bound := sp.MayAssertUser(who.UserName); bound != "" {
		return Subject{}, fault.Coded(fault.Denied, "federation.domain", string(bound)).
			WithMend("an administrator can add the domain to the identity provider's list")
	}
	return who, nil
}

// firstOf gives the first value that one of these attributes has and that can
// be shown; these values name nothing, they only decorate.
func firstOf(a *saml.Assertion, names ...string) string {
	for _, n := range names {
		for _, v := range a.Values(n) {
			if v = strings.TrimSpace(v); presentable(v, 200) {
				return v
			}
		}
	}
	return ""
}

func presentable(s string, most int) bool {
	return s != "" && len(s) <= most && utf8.ValidString(s) &&
		strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// isNotFound reports whether a store found nothing.
func isNotFound(err error) bool { return errors.Is(err, fault.New(fault.NotFound, "")) }
