package login

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/saml"
	"carnet.dev/carnet/internal/service/entitlement"
)

// Report is what a test sign-in found. It holds no assertion, only what one
// said, cut to what a person reads.
type Report struct {
	IdP     identity.IdPID
	IdPName string
	// Protocol is "saml" or "oidc". For the latter NameID is sub, AuthnContext acr,
	// and the attributes are claims.
	Protocol string
	At       time.Time
	// Checks are those that were made, in their order; those behind a failed
	// one were not.
	Checks []Check
	// Refusal is why the sign-in would fail; nil: it would work.
	Refusal *Refusal

	// What follows is from a verified assertion alone.
	Person        Person
	Mail          string
	NameID        string
	NameIDFormat  string
	AuthnContext  string
	Administrator bool
	Encrypted     bool
	// SingleLogout: the identity provider named the sign-in (SessionIndex, sid),
	// so that it can end this one alone.
	SingleLogout bool
	Ends         time.Time // SessionNotOnOrAfter; zero: none
	Certificate  Certificate
	Attributes   []Attribute
	Roles        []TestRole
	// Notes say what was dropped, or accepted with a remark.
	Notes []string
	// NoRoles says why no role at all could be traded; empty: nothing stands
	// against it.
	NoRoles string
}

// Check is one check with what it found.
type Check struct {
	Code   string
	OK     bool
	Detail string
}

// Refusal is a fault, as it would be shown to the person.
type Refusal struct{ Code, Cause, Mend string }

// Certificate is the signing certificate that verified.
type Certificate struct {
	Subject, SHA256     string
	NotBefore, NotAfter time.Time
}

// Attribute is one attribute, clipped. More values than are shown are counted.
type Attribute struct {
	Name, FriendlyName string
	Values             []string
	More               int
}

// TestRole is one role that a sign-in would try.
type TestRole struct {
	ARN, Provider, Account, AccountName string
	Derived                             bool   // by a template, from a group
	Problem                             string // why it would not be tried; empty: it would
}

// Limits of a report: what a person reads, and a row holds.
const (
	mostReportAttributes = 100
	mostReportValues     = 20
	mostReportRoles      = 100
	mostReportText       = 256
)

const reportPurpose = "login-test-report"

// parkTest stores the report of a test sign-in for the administrator's browser
// that began it. Nothing else comes of a test: no login session, no person, no
// keys. Its response can't be used for a sign-in either: the request that it
// answers says that it is a test.
func (s *Service) parkTest(ctx context.Context, p *posted, report Report) (Consumed, error) {
	plain, err := json.Marshal(report)
	if err != nil {
		return Consumed{}, err
	}
	c := Consumed{Handle: secret.Random(32), Test: true}
	digest := c.Handle.Digest()
	sealed, err := s.Sealer.Seal(reportPurpose, digest[:], plain)
	if err != nil {
		return Consumed{}, err
	}
	e := Event{Action: "test-sign-in", Outcome: event.Done, IdP: report.IdP, UserName: report.Person.UserName, Source: p.source.String()}
	if r := report.Refusal; r != nil {
		e.Outcome, e.Code = event.Denied, r.Code
	}
	return c, s.State.Atomic(ctx, func(ctx context.Context) error {
		if p.proof.kind != "" {
			if err := s.useUp(ctx, p); err != nil {
				return err
			}
		}
		err := s.Parked.PutTest(ctx, TestTicket{Handle: digest, PreLogin: pinned(p.began.Browser), Sealed: sealed, Expires: s.Now().Add(ReportLifetime)})
		if err != nil {
			return err
		}
		return s.Audit.Record(ctx, e)
	})
}

// Report gives the report of a test sign-in to the browser that began it, as
// often as it asks. Whoever calls this has admitted an administrator. Errors:
// Unauthenticated "login.handle" or "login.browser".
func (s *Service) Report(ctx context.Context, handle, preLogin secret.Text) (Report, error) {
	digest := handle.Digest()
	t, err := s.Parked.Test(ctx, digest)
	if isNotFound(err) {
		return Report{}, staleHandle()
	}
	if err != nil {
		return Report{}, err
	}
	if err := s.checkTicket(Ticket{PreLogin: t.PreLogin, Expires: t.Expires}, preLogin, false); err != nil {
		return Report{}, err
	}
	var r Report
	plain, err := s.Sealer.Open(reportPurpose, digest[:], t.Sealed)
	if err == nil {
		err = json.Unmarshal(plain, &r)
	}
	return r, err
}

// newReport has what every report begins with; done where there is no more.
func newReport(p *posted) (r Report, done bool) {
	r = Report{IdP: p.sp.IdP.ID, IdPName: p.sp.IdP.Name, Protocol: p.sp.IdP.Protocol.String(), At: p.now}
	for _, c := range p.checks {
		r.Checks = append(r.Checks, Check{Code: c.Code, OK: c.OK, Detail: shorten(c.Detail)})
	}
	if p.refusal != nil {
		r.Refusal = refusalOf(p.refusal)
	}
	return r, p.refusal != nil
}

func (s *Service) report(p *posted) Report {
	r, done := newReport(p)
	if done {
		return r
	}
	a, sp := p.assertion, p.sp
	r.NameID, r.NameIDFormat, r.AuthnContext = shorten(a.NameID), shorten(a.NameIDFormat), shorten(a.AuthnContext)
	r.Encrypted, r.SingleLogout, r.Ends = a.Encrypted, a.SessionIndex != "", a.SessionNotOnOrAfter
	r.Certificate, r.Attributes = certificateOf(a.Certificate), attributesOf(a)
	who, err := subject(a, sp)
	r.check("login.subject", err, "signs in as "+who.UserName)
	if err != nil {
		return r
	}
	r.Person, r.Mail, r.Administrator = who.person(), who.Mail, sp.MakesAdministrator(sp.Groups(a))
	r.entitled(entitlement.Of(a, sp, s.Accounts, who.UserName))
	return r
}

// entitled tells what the sign-in would entitle to.
func (r *Report) entitled(entitled entitlement.Entitlements) {
	r.Notes = entitled.Notes
	if f := entitled.Refusal; f != nil {
		r.NoRoles = f.Public
		r.check(f.Code, nil, "")
		r.Checks[len(r.Checks)-1] = Check{Code: "login.session-name", Detail: shorten(f.Public)}
	} else {
		r.Checks = append(r.Checks, Check{Code: "login.session-name", OK: true, Detail: entitled.SessionName})
	}
	r.Roles = testRoles(entitled)
}

// check adds one of our own checks; its refusal is that of the sign-in.
func (r *Report) check(code string, err error, found string) {
	if err == nil {
		r.Checks = append(r.Checks, Check{Code: code, OK: true, Detail: shorten(found)})
		return
	}
	f := fault.Of(err)
	r.Refusal = refusalOf(f)
	r.Checks = append(r.Checks, Check{Code: f.Code, Detail: shorten(f.Public)})
}

func refusalOf(f *fault.Fault) *Refusal {
	return &Refusal{Code: f.Code, Cause: shorten(f.Public), Mend: shorten(f.Mend)}
}

func certificateOf(c *x509.Certificate) Certificate {
	if c == nil {
		return Certificate{}
	}
	sum := sha256.Sum256(c.Raw)
	return Certificate{Subject: shorten(c.Subject.String()), SHA256: hex.EncodeToString(sum[:]), NotBefore: c.NotBefore, NotAfter: c.NotAfter}
}

func attributesOf(a *saml.Assertion) []Attribute {
	var all []Attribute
	for _, at := range a.Attributes[:min(len(a.Attributes), mostReportAttributes)] {
		out := Attribute{Name: shorten(at.Name), FriendlyName: shorten(at.FriendlyName), More: max(0, len(at.Values)-mostReportValues)}
		for _, v := range at.Values[:min(len(at.Values), mostReportValues)] {
			out.Values = append(out.Values, shorten(v))
		}
		all = append(all, out)
	}
	return all
}

// shorten cuts a text to what a page shows.
func shorten(s string) string {
	if len(s) <= mostReportText {
		return s
	}
	return strings.ToValidUTF8(s[:mostReportText], "") + "…"
}

// testRoles says of each candidate whether it would be tried.
func testRoles(e entitlement.Entitlements) []TestRole {
	var all []TestRole
	for _, c := range e.Candidates[:min(len(e.Candidates), mostReportRoles)] {
		r := TestRole{ARN: shorten(c.Role.String()), Account: c.Role.Account, AccountName: c.Account.Name, Derived: c.Derived}
		if c.Provider.Name != "" {
			r.Provider = shorten(c.Provider.String())
		}
		if c.Refusal != nil {
			r.Problem = shorten(c.Refusal.Public)
		}
		all = append(all, r)
	}
	return all
}
