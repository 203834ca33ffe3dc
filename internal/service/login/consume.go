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
// STS gets unmodified; relay is looked at only where nobody here asked for the
// response; source is the peer's address for the audit record.
// Errors name the check that failed; then nothing is stored. A role that can't
// be had is no error.
func (s *Service) Consume(ctx context.Context, samlResponse, relay string, source netip.Addr) (_ Consumed, err error) {
	p := &posted{now: s.Now(), text: samlResponse, source: source}
	defer func() { s.refused(ctx, p, err) }()
	epoch, err := s.Feed.Epoch()
	if err != nil {
		return Consumed{}, err
	}
	if err := s.verify(ctx, p); err != nil {
		return Consumed{}, err
	}
	if p.began.Purpose == toTest {
		return s.parkTest(ctx, p, s.report(p))
	}
	a, sp := p.assertion, p.sp
	who, err := subject(a, sp)
	if err != nil {
		return Consumed{}, err
	}
	record := Record{Person: who.person(), Administrator: sp.MakesAdministrator(sp.Groups(a)), Expires: s.ends(p.now, a), Epoch: epoch, Federated: federated(a)}
	return s.settle(ctx, p, who, record, broker.Request{
		Entitlements: entitlement.Of(a, sp, s.Accounts, who.UserName), Assertion: secret.New(samlResponse), IssueInstant: a.IssueInstant}, LocalPath(relay))
}

// settle is the way of every sign-in from where its person is proven: use what
// proved them once, trade, park. r and trade hold what the identity provider
// said; the rest is filled in here.
func (s *Service) settle(ctx context.Context, p *posted, who Subject, r Record, trade broker.Request, relayPath string) (Consumed, error) {
	p.person = r.Person
	ended, err := s.admit(ctx, p, &who, trade.Entitlements)
	if err != nil {
		return Consumed{}, err
	}
	if ended != 0 {
		// What begins now is younger than what has just ended, and by no more: what is
		// taken back from here on takes this sign-in back too.
		if err := s.Feed.Confirm(ctx); err != nil {
			return Consumed{}, err
		}
		r.Epoch = ended + 1
	}
	mapped, err := s.Mapped.MappedRoles(ctx, who.ID, who.IdP)
	if err != nil {
		return Consumed{}, err
	}
	trade.Entitlements.AddMapped(mapped, p.sp, s.Accounts)
	r.ID, r.Person.ID, r.IdPName, r.Started, r.Notes = identity.NewLoginSessionID(), who.ID, p.sp.IdP.Name, p.now, trade.Entitlements.Notes
	trade.LoginSession, trade.Person, trade.Epoch, trade.Started, trade.Ends = r.ID, who.ID, r.Epoch, r.Started, r.Expires
	p.trade = trade
	if r.Hint, err = s.sealHint(r.ID, p.token); err != nil {
		return Consumed{}, err
	}
	outcomes, err := s.Broker.Exchange(ctx, p.trade)
	if err != nil {
		return Consumed{}, err
	}
	c, err := s.park(ctx, p, r, relayPath, outcomes)
	c.PassThroughError = passThroughError(outcomes, trade.Entitlements.Malformed)
	return c, err
}

// posted is one answer of an identity provider on its way through Consume or
// ConsumeCode.
type posted struct {
	now    time.Time
	text   string // as it was posted: a credential
	source netip.Addr

	// began is the request that it answers; zero where it answers none.
	began request
	sp    *federation.Speaker
	// person is who was proven; zero until then.
	person Person
	// proof names what was verified, for its one use and the trail; zero for a
	// test sign-in that failed.
	proof proof
	// assertion is what was verified; nil where that was an ID token, which is
	// token then.
	assertion *saml.Assertion
	token     secret.Text
	// trade is what the broker gets: whom the keys are for, and by what.
	trade broker.Request
	// checks and refusal are those of a test sign-in.
	checks  []Check
	refusal *fault.Fault
}

// proof is an assertion or an ID token, which counts once.
type proof struct {
	kind, id string // of onceonly
	name     string // for the trail: the assertion's id, or the jti or sid of an ID token
	until    time.Time
}

// unsolicited: nobody here asked for it.
func (p *posted) unsolicited() bool { return p.began.Purpose == 0 }

// place waits a moment for one of the places for signature work.
func (s *Service) place(ctx context.Context) (leave func(), err error) {
	wait, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	select {
	case s.verifying <- struct{}{}:
		return func() { <-s.verifying }, nil
	case <-wait.Done():
		return nil, fault.Coded(fault.Limited, "login.busy", "too many people are signing in at this moment").
			WithMend("try again in a few seconds")
	}
}

// verify finds what the response answers, and checks it as the answer to that.
func (s *Service) verify(ctx context.Context, p *posted) error {
	leave, err := s.place(ctx)
	if err != nil {
		return err
	}
	defer leave()
	raw, err := saml.Decode(p.text, saml.MaxResponse)
	if err != nil {
		return err
	}
	id, err := saml.ClaimedRequest(raw, saml.MaxResponse)
	if err != nil {
		return err
	}
	if id == "" {
		p.sp, err = s.unasked(raw)
	} else {
		p.sp, err = s.asked(id, p)
	}
	if err != nil {
		return err
	}
	want := s.expect(p, id)
	if p.began.Purpose == toTest {
		var checks []saml.CheckResult
		p.assertion, checks, err = saml.Examine(raw, p.sp.SAML, want, p.now)
		for _, c := range checks {
			p.checks = append(p.checks, Check{Code: c.Code, OK: c.OK, Detail: c.Detail})
		}
		if err != nil {
			p.refusal = fault.Of(err)
			return nil
		}
	} else if p.assertion, err = saml.Verify(raw, p.sp.SAML, want, p.now); err != nil {
		return err
	}
	if p.proof = proofOf(p); p.unsolicited() {
		return stale(p.assertion, p.now)
	}
	return nil
}

// proofOf names an assertion. It is remembered for as long as it could be taken
// again: until its request, or where there is none its own issue, is too old.
func proofOf(p *posted) proof {
	a, since := p.assertion, p.began.Began
	if p.unsolicited() {
		since = a.IssueInstant
	}
	return proof{kind: "saml-assertion", id: a.Issuer + "\x00" + a.ID, name: a.ID, until: since.Add(PreLoginLifetime + saml.DefaultSkew)}
}

// expect is what we wait for: the answer to one request, or to none. Where a
// fresh sign-in is wanted it has to be later than the request; where there is
// none, from within the time that a request has.
func (s *Service) expect(p *posted, requestID string) saml.Expect {
	since := p.began.Began
	if p.unsolicited() {
		since = p.now.Add(-PreLoginLifetime)
	}
	want := p.sp.Expect(saml.Expect{ACS: s.SAMLURL, Audience: s.SAMLURL, RequestID: requestID, Skew: saml.DefaultSkew,
		AuthnSince: since, Decrypt: s.Keys.Decrypter(p.sp.IdP.AllowCBC)})
	if p.began.Purpose == toSignInAnew {
		want.AuthnSince = since
	}
	return want
}

// asked opens the request that a response answers, and gives the identity
// provider that it went to: no other may answer it.
func (s *Service) asked(id string, p *posted) (sp *federation.Speaker, err error) {
	if p.began, err = s.open(id, p.now); err != nil {
		return nil, err
	}
	switch p.began.Purpose {
	case toSignIn, toSignInAnew:
		return s.IdPs.Speaker(p.began.IdP)
	case toTest:
		return s.IdPs.Trial(p.began.IdP)
	}
	return nil, fault.Coded(fault.Unauthenticated, saml.CheckInResponseTo, "the response answers a request that asked for no sign-in").
		WithMend("begin again at the sign-in page")
}

// admit uses the assertion up, finds the person and lets the sign-in say what roles
// are mapped to them, in one transaction: a replay gets nothing of it. ended is
// the epoch at which what the person had before has ended; 0: it has not.
func (s *Service) admit(ctx context.Context, p *posted, who *Subject, e entitlement.Entitlements) (ended uint64, err error) {
	err = s.State.Atomic(ctx, func(ctx context.Context) error {
		if err := s.useUp(ctx, p); err != nil {
			return err
		}
		if who.ID, err = s.People.Ensure(ctx, *who, p.sp.IdP.AllowAutoCreate); err != nil {
			return err
		}
		ended, err = s.sync(ctx, p, *who, e)
		return err
	})
	return ended, err
}

// useUp lets an assertion, or the answer to one request, count once.
func (s *Service) useUp(ctx context.Context, p *posted) error {
	won, err := s.Once.Consume(ctx, p.proof.kind, p.proof.id, p.proof.until)
	if err == nil && !won {
		code := "saml.replayed"
		if p.assertion == nil {
			code = "oidc.replayed"
		}
		err = fault.Coded(fault.Denied, code, "this response was used before").
			WithMend("begin again at the sign-in page")
	}
	return err
}

// federated is what single logout will speak of.
func federated(a *saml.Assertion) Federated {
	return Federated{NameID: a.NameID, NameIDFormat: a.NameIDFormat, NameQualifier: a.NameQualifier, SPNameQualifier: a.SPNameQualifier,
		SessionIndex: a.SessionIndex, AuthnContext: a.AuthnContext,
		AuthnInstant: a.AuthnInstant.UTC().Truncate(time.Millisecond), Ends: a.SessionNotOnOrAfter.UTC().Truncate(time.Millisecond)}
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

// park stores what came of a sign-in until its browser fetches it.
func (s *Service) park(ctx context.Context, p *posted, r Record, relayPath string, outcomes []broker.Outcome) (Consumed, error) {
	c := Consumed{Handle: secret.Random(32)}
	t := Ticket{Handle: c.Handle.Digest(), PreLogin: pinned(p.began.Browser), Expires: s.Now().Add(HandleLifetime)}
	if p.unsolicited() {
		c.Arrival = secret.Random(32)
		t.PreLogin, t.ReturnTo, t.Unsolicited, t.Expires = pinned(bound(c.Arrival)), relayPath, true, s.Now().Add(ArrivalLifetime)
	}
	trail := signInEvents(r, p, outcomes)
	err := s.State.Atomic(ctx, func(ctx context.Context) error {
		if err := s.Sessions.Park(ctx, r, t); err != nil {
			return err
		}
		if err := s.Broker.Keep(ctx, p.trade, outcomes); err != nil {
			return err
		}
		for _, e := range trail {
			if err := s.Audit.Record(ctx, e); err != nil {
				return err
			}
		}
		return nil
	})
	return c, err
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

// People finds people by (identity provider, NameID or sub), never by mail address.
type People interface {
	// Ensure gives the person's id. An unknown person is made when create is
	// true and otherwise a fault Denied; so is one who was switched off.
	Ensure(ctx context.Context, who Subject, create bool) (identity.PersonID, error)
}

const transient = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"

// subject reads who signed in, and holds the user name against the identity
// provider's list.
func subject(a *saml.Assertion, sp *federation.Speaker) (Subject, error) {
	if a.NameIDFormat == transient {
		return Subject{}, fault.Coded(fault.Misconfigured, "saml.nameid-transient",
			"identity provider "+sp.IdP.Name+" names people by a transient NameID, which is another one at each sign-in").
			WithMend("an administrator has to set the NameID format to emailAddress, unspecified or persistent at the identity provider")
	}
	name, err := sp.UserName(a)
	if err != nil {
		return Subject{}, err
	}
	if err := listed(name, sp); err != nil {
		return Subject{}, err
	}
	return Subject{IdP: sp.IdP.ID, NameID: a.NameID, UserName: name, DisplayName: sp.DisplayName(a), Mail: sp.Mail(a)}, nil
}

// listed holds a user name against the identity provider's list.
func listed(name string, sp *federation.Speaker) error {
	if bound := sp.MayAssertUser(name); bound != "" {
		return fault.Coded(fault.Denied, "federation.domain", string(bound)).
			WithMend("an administrator can add the domain to the identity provider's list")
	}
	return nil
}

func presentable(s string, most int) bool {
	return s != "" && len(s) <= most && utf8.ValidString(s) &&
		strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// isNotFound reports whether a store found nothing.
func isNotFound(err error) bool { return errors.Is(err, fault.New(fault.NotFound, "")) }
