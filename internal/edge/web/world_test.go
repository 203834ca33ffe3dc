package web_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/devidp"
	"carnet.dev/carnet/internal/edge/httpd"
	sqldenial "carnet.dev/carnet/internal/edge/sql/denial"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/edge/web"
	"carnet.dev/carnet/internal/protocol/openid"
	"carnet.dev/carnet/internal/protocol/saml"
	"carnet.dev/carnet/internal/service/audit"
	"carnet.dev/carnet/internal/service/denial"
	"carnet.dev/carnet/internal/service/federation"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/spkeys"
)

// world stands for the services below the pages and for the identity provider
// on another site. It keeps the rules that pages rely on: the handle works
// once, and only with the pre-login cookie of the browser that began.
type world struct {
	mu        sync.Mutex
	idps      []federation.IdP
	denials   *denial.Keeper
	trail     *audit.Writer
	reader    *audit.Reader
	waiting   bool
	notReady  error
	passError string
	person    string               // who signs in at the identity provider
	parked    map[string][2]string // handle → pre-login value, return path
	sessions  map[string]login.LoginSession
	codes     []string // challenge and redirect of each CLI code
	consumed  []string // RelayState as it came
	signedOut []string
	base, idp string
	log       bytes.Buffer
	post      bool         // requests go by POST
	errand    login.Errand // after a sign-out
	prepared  map[string]login.Report
	refuse    *fault.Fault // every response
	switches  federation.Switches
	nextKey   bool
	programs  *programs
	machinery *machinery
	shared    *shared
	folk      folk
	oidc      web.OIDC
}

func role(account, name string) arn.Role {
	return arn.Role{Partition: "aws", Account: account, Path: "/", Name: name}
}

// people are the login sessions that the identity provider's people get.
func people(name string, now time.Time) login.LoginSession {
	ready := func(account, accountName, name, user string) login.RoleStatus {
		r := role(account, name)
		return login.RoleStatus{Role: r, Account: account, AccountName: accountName, State: login.RoleReady,
			Expiration: now.Add(59*time.Minute + 30*time.Second), SessionName: user, AssumedRoleARN: r.AssumedRole(user), Deliver: "direct"}
	}
	s := login.LoginSession{
		ID: identity.NewLoginSessionID(), IdPName: "Dev IdP", Started: now, Expires: now.Add(12*time.Hour - time.Second),
		Person: login.Person{ID: "psn_x", IdP: "idp_dev", UserName: name + "@example.com", DisplayName: strings.ToUpper(name[:1]) + name[1:] + " Example"},
	}
	switch name {
	case "alice":
		s.Roles = []login.RoleStatus{ready("111122223333", "analytics", "analyst", "alice@example.com")}
	case "bob":
		expired := ready("444455556666", "engineering", "nightly", "bob@example.com")
		expired.State, expired.Expiration = login.RoleExpired, now.Add(-time.Minute)
		short := ready("111122223333", "analytics", "analyst", "bob@example.com")
		short.Warning = login.RoleWarning{Message: "the keys of this role last 1 hour at most", Command: "aws iam update-role --role-name analyst --max-session-duration 14400"}
		s.Roles = []login.RoleStatus{
			short,
			ready("111122223333", "analytics", "engineer", "bob@example.com"),
			{Role: role("444455556666", "pipeline"), Account: "444455556666", AccountName: "engineering", State: login.RoleFailed, Deliver: "direct",
				Error: &login.RoleError{Code: "AccessDenied", Message: "Not authorized to perform sts:AssumeRoleWithSAML",
					Mend: "let the trust policy of the role name arn:aws:iam::444455556666:saml-provider/dev-idp as principal, with SAML:aud " + "http://127.0.0.1:8480/saml/consume"}},
			expired,
		}
		s.Notes = []string{"The role arn:aws:iam::999988887777:role/other was dropped: its account is not configured here."}
	case "erin":
		served := func(st login.RoleStatus, by string, renewable bool, needed time.Duration) login.RoleStatus {
			st.Served, st.Renewable, st.NeededBy = by, renewable, now.Add(needed)
			return st
		}
		soon := served(ready("111122223333", "analytics", "analyst", "erin@example.com"), "saml", false, 20*time.Minute)
		soon.Expiration, soon.Warning = soon.NeededBy, login.RoleWarning{Message: "these keys end at 10:00 UTC, and account 111122223333 takes SAML alone: sign in again before then to go on"}
		unused := served(ready("444455556666", "engineering", "nightly", "erin@example.com"), "web-identity", true, 12*time.Hour)
		unused.State, unused.Expiration = login.RoleAvailable, time.Time{}
		s.Roles = []login.RoleStatus{soon, served(ready("444455556666", "engineering", "pipeline", "erin@example.com"), "bridge", true, 12*time.Hour), unused}
	case "carol":
		s.Administrator = true
	case "setup":
		s.Person, s.IdPName, s.Administrator = login.Person{}, "", true
	}
	return s
}

func (w *world) Begin(_ context.Context, idp identity.IdPID, returnTo string, o login.Options) (login.Started, error) {
	if w.post {
		return login.Started{PreLogin: secret.Random(16), Form: &login.PostForm{Action: w.idp + "/sso", Fields: []login.Field{{Name: "SAMLRequest", Value: "a+b"}}}}, nil
	}
	if o.Test {
		returnTo = "test"
	}
	pre := secret.Random(16)
	q := url.Values{"SAMLRequest": {"x"}, "RelayState": {pre.Reveal() + "|" + returnTo}}
	return login.Started{RedirectURL: w.idp + "/sso?" + q.Encode(), PreLogin: pre}, nil
}

func (w *world) Consume(_ context.Context, response, relayState string, source netip.Addr) (login.Consumed, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.consumed = append(w.consumed, relayState)
	if w.refuse != nil {
		return login.Consumed{}, w.refuse
	}
	pre, returnTo, ok := strings.Cut(relayState, "|")
	if !ok || !source.IsLoopback() {
		return login.Consumed{}, fault.Coded(fault.Denied, "saml.unsolicited", "The response answers no request of this server").WithMend("start from the sign-in page")
	}
	if response == "unasked" {
		h, arrival := secret.Random(16), secret.Random(16)
		w.parked[h.Reveal()] = [2]string{arrival.Reveal(), returnTo}
		return login.Consumed{Handle: h, Arrival: arrival}, nil
	}
	if response == "test" {
		h := secret.Random(16)
		w.parked[h.Reveal()] = [2]string{pre, returnTo}
		return login.Consumed{Handle: h, Test: true}, nil
	}
	if response != "good" {
		return login.Consumed{}, fault.Coded(fault.Unauthenticated, "saml.signature", "The response is not signed by the identity provider “Dev IdP”").
			WithMend("compare the signing certificate at the identity provider with the metadata entered here")
	}
	h := secret.Random(16)
	w.parked[h.Reveal()] = [2]string{pre, returnTo}
	return login.Consumed{Handle: h, PassThroughError: w.passError}, nil
}

func (w *world) Complete(_ context.Context, handle, preLogin secret.Text) (login.SignedIn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p, ok := w.parked[handle.Reveal()]
	if !ok || p[0] != preLogin.Reveal() {
		return login.SignedIn{}, fault.Coded(fault.Unauthenticated, "login.other-browser", "This sign-in belongs to another browser")
	}
	delete(w.parked, handle.Reveal())
	return w.open(w.person, p[1]), nil
}

// open needs the lock.
func (w *world) open(person, returnTo string) login.SignedIn {
	cookie := secret.Random(16)
	s := people(person, time.Now())
	w.sessions[cookie.Reveal()] = s
	return login.SignedIn{Cookie: cookie, Session: s, ReturnTo: returnTo}
}

func (w *world) RedeemSetup(_ context.Context, code secret.Text) (login.SignedIn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if code.Reveal() != "once" {
		return login.SignedIn{}, fault.Coded(fault.Expired, "setup.code", "This set-up link was used already or is too old").WithMend("run `carnet admin recover` on the server")
	}
	return w.open("setup", "/"), nil
}

func (w *world) Resume(_ context.Context, cookie secret.Text) (login.LoginSession, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s, ok := w.sessions[cookie.Reveal()]; ok {
		return s, nil
	}
	return login.LoginSession{}, fault.Coded(fault.Expired, "login.expired", "The sign-in has ended")
}

func (w *world) ResumeCLI(ctx context.Context, t secret.Text) (login.LoginSession, error) {
	return w.Resume(ctx, t)
}

func (w *world) NeedsSetup(context.Context) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.waiting, nil
}

// parkedFor gives what waits under a handle, for the browser with the cookie.
func (w *world) parkedFor(handle, cookie secret.Text) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p, ok := w.parked[handle.Reveal()]; !ok || p[0] != cookie.Reveal() {
		return fault.Coded(fault.Unauthenticated, "login.browser", "This sign-in belongs to another browser")
	}
	return nil
}

func (w *world) Arrival(_ context.Context, handle, arrival secret.Text) (login.Arrival, error) {
	return login.Arrival{Person: people(w.person, time.Now()).Person, IdPName: "Dev IdP", ReturnTo: "/"}, w.parkedFor(handle, arrival)
}

func (w *world) Continue(ctx context.Context, handle, arrival secret.Text) (login.SignedIn, error) {
	return w.Complete(ctx, handle, arrival)
}

// Report gives what reports has prepared, and what waits for its browser.
func (w *world) Report(_ context.Context, handle, preLogin secret.Text) (login.Report, error) {
	w.mu.Lock()
	found, ok := w.prepared[handle.Reveal()]
	w.mu.Unlock()
	if ok {
		return found, nil
	}
	return w.prepared["good"], w.parkedFor(handle, preLogin)
}

// reports prepares two reports of test sign-ins and gives the handle of one.
func (w *world) reports(which string) string {
	good := login.Report{IdP: "idp_dev", IdPName: "Dev IdP", At: time.Now(), Person: people("alice", time.Now()).Person, NameID: "alice@example.com",
		NameIDFormat: "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress", AuthnContext: "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport",
		Mail: "alice@example.com", SingleLogout: true, Ends: time.Now().Add(8 * time.Hour),
		Certificate: login.Certificate{Subject: "CN=dev-idp", SHA256: strings.Repeat("ab", 32), NotAfter: time.Now().Add(4000 * time.Hour)},
		Attributes: []login.Attribute{
			{Name: "https://aws.amazon.com/SAML/Attributes/Role", Values: []string{"arn:aws:iam::111122223333:role/analyst,arn:aws:iam::111122223333:saml-provider/dev-idp"}},
			{Name: "groups", FriendlyName: "memberOf", Values: []string{"staff", "analysts <all>", strings.Repeat("long-group-name-", 16)}, More: 17}},
		Roles: []login.TestRole{
			{ARN: "arn:aws:iam::111122223333:role/analyst", Provider: "arn:aws:iam::111122223333:saml-provider/dev-idp", Account: "111122223333", AccountName: "analytics"},
			{ARN: "arn:aws:iam::444455556666:role/pipeline", Provider: "arn:aws:iam::444455556666:saml-provider/dev-idp", Account: "444455556666", AccountName: "engineering",
				Derived: true, Problem: "role is derived from group \"x\"; AWS takes only roles that stand in the assertion"}},
		Notes: []string{"role arn:aws:iam::999988887777:role/other was dropped: its account is not configured"}}
	bad := login.Report{IdP: "idp_dev", IdPName: "Dev IdP", At: time.Now(),
		Refusal: &login.Refusal{Code: "saml.audience", Cause: "The assertion was made for \"https://other.example\"", Mend: "set the SAML URL of this installation as audience at the identity provider"}}
	for _, code := range []string{"saml.xml", "saml.shape", "saml.unsigned", "saml.signature", "saml.certificate", "saml.issuer", "saml.destination", "saml.in-response-to", "saml.subject", "saml.audience"} {
		check := login.Check{Code: code, OK: true, Detail: "what was found for " + code}
		good.Checks = append(good.Checks, check)
		check.OK = code != "saml.audience"
		bad.Checks = append(bad.Checks, check)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.prepared = map[string]login.Report{"good": good, "bad": bad}
	return which
}

func (w *world) Leave(_ context.Context, gone login.LoginSession) (login.Leaving, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c, s := range w.sessions {
		if s.ID == gone.ID {
			delete(w.sessions, c)
			w.signedOut = append(w.signedOut, string(s.ID))
		}
	}
	return login.Leaving{IdPName: gone.IdPName, KeysUntil: time.Now().Add(90 * time.Minute), Errand: w.errand}, nil
}

func (w *world) ConsumeLogout(_ context.Context, in saml.LogoutInput, _ string, _ netip.Addr) (login.LoggedOut, error) {
	switch {
	case strings.Contains(in.RawQuery+string(in.XML), "bad"):
		return login.LoggedOut{}, fault.Coded(fault.Unauthenticated, "saml.signature", "The message is not signed by the identity provider")
	case strings.Contains(in.RawQuery+string(in.XML), "LogoutResponse"):
		return login.LoggedOut{IdPName: "Dev IdP", Complete: true}, nil
	}
	return login.LoggedOut{IdPName: "Dev IdP", Asked: true, Ended: 1, Answer: w.errand}, nil
}

func (w *world) ConsumeCode(ctx context.Context, a openid.Answer, preLogin secret.Text, source netip.Addr) (login.Consumed, error) {
	pre, _, _ := strings.Cut(a.State, "|")
	if pre != preLogin.Reveal() || a.Error != "" {
		return login.Consumed{}, fault.Coded(fault.Denied, "oidc.answer", "identity provider Dev IdP refused the sign-in: "+a.Error).WithMend("begin again")
	}
	return w.Consume(ctx, a.Code.Reveal(), a.State, source)
}

func (w *world) BackChannelLogout(_ context.Context, token secret.Text, _ netip.Addr) (int, error) {
	switch token.Reveal() {
	case "good":
		return 1, nil
	case "away":
		return 0, fault.New(fault.Unavailable, "the identity provider can't be reached")
	}
	return 0, fault.Coded(fault.Unauthenticated, "oidc.signature", "the logout token's signature does not hold")
}

func (w *world) Say(what login.SignedOut) (string, error) {
	b, err := json.Marshal(what)
	return base64.RawURLEncoding.EncodeToString(b), err
}

func (w *world) Said(text string) (what login.SignedOut, ok bool) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	return what, err == nil && json.Unmarshal(b, &what) == nil
}

func (w *world) StartCode(_ context.Context, _ login.LoginSession, challenge, redirect string) (secret.Text, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.codes = append(w.codes, challenge+" "+redirect)
	return secret.New("the&code"), nil
}

func (w *world) List() []federation.IdP {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]federation.IdP(nil), w.idps...)
}

func (w *world) Add(_ context.Context, p federation.IdP) (federation.IdP, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p.Protocol == federation.OIDC {
		p.ID, p.EntityID = identity.NewIdPID(), p.OIDC.Issuer
		w.idps = append(w.idps, p)
		return p, nil
	}
	if !bytes.HasPrefix(bytes.TrimSpace(p.Metadata), []byte("<")) {
		return federation.IdP{}, fault.Coded(fault.Invalid, "metadata.xml", "The metadata is not an XML document").WithMend("download it from the identity provider again")
	}
	p.ID, p.EntityID = identity.NewIdPID(), "https://idp.example.com/metadata"
	w.idps = append(w.idps, p)
	return p, nil
}

func (w *world) Get(_ context.Context, id identity.IdPID) (federation.IdP, error) {
	for _, p := range w.List() {
		if p.ID == id {
			return p, nil
		}
	}
	return federation.IdP{}, fault.New(fault.NotFound, "there is no such identity provider")
}

func (w *world) Update(_ context.Context, p federation.IdP) (federation.IdP, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, old := range w.idps {
		switch {
		case old.ID != p.ID:
		case old.Revision != p.Revision:
			return federation.IdP{}, fault.Coded(fault.Conflict, "federation.changed", "identity provider "+old.Name+" was changed by somebody else meanwhile")
		default:
			p.Revision++
			w.idps[i] = p
			return p, nil
		}
	}
	return federation.IdP{}, fault.New(fault.NotFound, "there is no such identity provider")
}

func (w *world) Remove(_ context.Context, id identity.IdPID) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.idps = slices.DeleteFunc(w.idps, func(p federation.IdP) bool { return p.ID == id })
	return nil
}

func (w *world) SetEnabled(ctx context.Context, id identity.IdPID, on bool) (federation.IdP, error) {
	p, err := w.Get(ctx, id)
	if err != nil {
		return p, err
	}
	p.Enabled = on
	return w.Update(ctx, p)
}

// listed reads the certificates of a metadata document.
func listed(metadata []byte, fresh bool) (all []federation.Certificate) {
	m, err := saml.ParseMetadata(metadata)
	if err != nil {
		return nil
	}
	for _, c := range m.Certificates {
		all = append(all, federation.Certificate{Subject: c.Subject.String(), SHA256: federation.Fingerprint(c), NotBefore: c.NotBefore, NotAfter: c.NotAfter,
			ExpiresSoon: time.Now().After(c.NotAfter.Add(-federation.Soon)), New: fresh})
	}
	return all
}

func (w *world) State(id identity.IdPID) (federation.MetadataState, error) {
	p, err := w.Get(context.Background(), id)
	st := federation.MetadataState{URL: p.MetadataURL, Fetched: p.Kept.Fetched, Error: p.Kept.Error, SignOnURL: w.idp + "/sso", Certificates: listed(p.Metadata, false)}
	if len(p.Kept.Pending) > 0 {
		st.Pending = &federation.PendingMetadata{Since: p.Kept.PendingSince, Why: p.Kept.Why, EntityID: p.EntityID, SignOnURL: w.idp + "/sso", Certificates: listed(p.Kept.Pending, true)}
		st.Remarks = []string{"The signing certificate 97e13bcba8819458… of sts.corp.example.com ends on 27 November 2026."}
	}
	return st, err
}

func (w *world) Refresh(ctx context.Context, id identity.IdPID) (federation.IdP, error) {
	p, err := w.Get(ctx, id)
	if err == nil {
		p.Kept.Fetched = time.Now()
		return w.Update(ctx, p)
	}
	return p, err
}

// settle ends what waits, as an administrator says.
func (w *world) settle(ctx context.Context, id identity.IdPID, revision int64, accept bool) (federation.IdP, error) {
	p, err := w.Get(ctx, id)
	if err != nil {
		return p, err
	}
	if accept {
		p.Metadata = p.Kept.Pending
	}
	p.Kept.Pending, p.Revision = nil, revision
	return w.Update(ctx, p)
}

func (w *world) AcceptPending(ctx context.Context, id identity.IdPID, revision int64) (federation.IdP, error) {
	return w.settle(ctx, id, revision, true)
}

func (w *world) RefusePending(ctx context.Context, id identity.IdPID, revision int64) (federation.IdP, error) {
	return w.settle(ctx, id, revision, false)
}

func (w *world) Warnings(p federation.IdP) []string { return federation.Warnings(p, nil) }

func (w *world) Installation() (federation.Installation, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return federation.Installation{Organisation: "6b1f7b0e-8a53-4c5c-9d0a-1f2e3d4c5b6a", Switches: w.switches}, nil
}

func (w *world) SetSwitches(_ context.Context, s federation.Switches) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.switches = s
	return nil
}

// ours are our own keys.
type ours struct{ *world }

func (o ours) List() []spkeys.Key {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := []spkeys.Key{
		{ID: "spk_1", Purpose: spkeys.Signing, State: spkeys.Current, Certificate: certificate()},
		{ID: "spk_2", Purpose: spkeys.Encryption, State: spkeys.Current, Certificate: certificate()},
	}
	if o.nextKey {
		all = append(all, spkeys.Key{ID: "spk_3", Purpose: spkeys.Encryption, State: spkeys.Next, Certificate: certificate()})
	}
	return all
}

func (o ours) Add(context.Context, spkeys.Purpose) (spkeys.Key, error) {
	o.nextKey = true
	return spkeys.Key{}, nil
}

func (o ours) Promote(_ context.Context, p spkeys.Purpose) (spkeys.Key, error) {
	return spkeys.Key{}, fault.New(fault.Conflict, "there is no next "+string(p)+" key")
}

func (o ours) Remove(_ context.Context, id string) error {
	o.nextKey = o.nextKey && id != "spk_3"
	return nil
}

// certificate is one that holds for ten years.
var certificate = sync.OnceValue(func() *x509.Certificate {
	_, pem, err := devidp.NewKey(time.Now())
	if err != nil {
		panic(err)
	}
	all, err := saml.ParseCertificates(pem)
	if err != nil {
		panic(err)
	}
	return all[0]
})

func devIdP() federation.IdP {
	return federation.IdP{ID: "idp_dev", Name: "Dev IdP", EntityID: "http://localhost:8482/metadata", Enabled: true, Revision: 1,
		Metadata: devidp.Describe("http://localhost:8482/metadata", "http://localhost:8482/sso", certificate()),
		Accounts: []string{"111122223333", "444455556666"}, RolePatterns: []string{"*"}, UserNameDomains: []string{"example.com"},
		AdministratorGroups: []string{"carnet-admins"}, AllowAutoCreate: true}
}

// idpHandler is another site that posts a response to the assertion consumer,
// by a button and by script.
func (w *world) idpHandler(rw http.ResponseWriter, r *http.Request) {
	response := "good"
	if strings.HasSuffix(r.URL.Query().Get("RelayState"), "|test") {
		response = "test"
	}
	for _, kind := range []string{"bad", "unasked"} {
		if r.URL.Query().Has(kind) {
			response = kind
		}
	}
	fmt.Fprintf(rw, `<!doctype html><form method="post" action="%s/saml/consume"><input type="hidden" name="SAMLResponse" value="%s">
<input type="hidden" name="RelayState" value="%s"><button id="go">Go on</button></form>`,
		w.base, response, html.EscapeString(r.URL.Query().Get("RelayState")))
}

func (w *world) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(b)
}

// newWorld serves the real table of pages on 127.0.0.1, and an identity
// provider on localhost: two sites, as in life.
func newWorld(t *testing.T, change func(*world)) *world {
	t.Helper()
	w := &world{idps: []federation.IdP{devIdP()}, person: "alice", parked: map[string][2]string{}, sessions: map[string]login.LoginSession{}}
	srv := httptest.NewUnstartedServer(nil)
	w.base = "http://" + srv.Listener.Addr().String()
	idp := httptest.NewServer(http.HandlerFunc(w.idpHandler))
	t.Cleanup(idp.Close)
	w.idp = strings.Replace(idp.URL, "127.0.0.1", "localhost", 1)
	w.programs, w.machinery = newPrograms(t), &machinery{}
	w.shared = newShared(t)
	w.trail, w.reader = newTrail(t)
	w.denials = denial.New(denial.Config{Store: sqldenial.Store{DB: sqltest.Open(t)}, Now: time.Now, Name: func(context.Context, identity.PersonID) (string, error) { return "bob@example.com", nil }})
	if change != nil {
		change(w)
	}
	w.machinery.url = w.base
	base, err := url.Parse(w.base)
	if err != nil {
		t.Fatal(err)
	}
	pages, err := web.New(web.Config{
		Login: w, Arrivals: w, Logouts: w, LoginSessions: w, Providers: w, ProviderCare: w, Metadata: w, Installation: w, Keys: ours{w}, Devices: w.programs, Consents: w.programs,
		OwnIssuers: w.machinery, Clients: w.machinery, Machines: w.machinery, Policies: policies{w.machinery}, Delegations: delegations{w.machinery}, Denials: w.denials, Trail: w.reader, OIDC: w.oidc,
		Attaching: w.shared, Clusters: w.shared, ClusterCare: w.shared, ClusterLogins: logins{w.shared}, Managing: w.shared, Subjects: w.shared,
		People: &w.folk, OwnSignIns: &w.folk, GatewayKeys: &w.folk, OwnGatewayKeys: &w.folk,

		BaseURL: base, SAMLURL: w.base + "/saml/consume", Issuers: federation.IssuerURLs{Workspace: w.base + "/oidc", Account: w.base + "/oidc/accounts/6b1f7b0e"},
		Trusts: func(issuer string) []string { return []string{"Role nightly, which trusts " + issuer} }, Now: time.Now,
		SAMLMetadata: func() ([]byte, error) { return []byte("<EntityDescriptor/>"), nil },
		Accounts: []web.Account{
			{ID: "111122223333", Name: "analytics", S3: "http://127.0.0.1:8481", Region: "us-east-1"},
			{ID: "444455556666", Name: "engineering", S3: "http://127.0.0.1:8481", Region: "us-east-1"},
		},
		Ready: func(context.Context) error { return w.notReady },
	})
	if err != nil {
		t.Fatal(err)
	}
	site, err := httpd.New(httpd.Config{
		BaseURL: base, AlsoHosts: []string{"other.test"}, Sessions: w, Page: pages.ErrorPage, Now: time.Now,
		Logger: slog.New(slog.NewTextHandler(w, nil)),
	}, pages.Routes())
	if err != nil {
		t.Fatal(err)
	}
	srv.Config.Handler = site
	srv.Start()
	t.Cleanup(srv.Close)
	return w
}

// browser keeps cookies and follows no redirect by itself.
type browser struct {
	t    *testing.T
	http *http.Client
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// page is an answer, read.
type page struct {
	status int
	header http.Header
	body   string
}

func (p page) to() string { return p.header.Get("Location") }

func (b *browser) do(r *http.Request) page {
	b.t.Helper()
	res, err := b.http.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return page{res.StatusCode, res.Header, string(body)}
}

func (b *browser) get(target string) page {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, target, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.do(r)
}

// post sends a form; header pairs may say where it came from.
func (b *browser) post(target string, form url.Values, header ...string) page {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, target, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return b.do(r)
}

// signIn walks the whole sign-in and gives the last answer.
func (b *browser) signIn(w *world, path string) page {
	b.t.Helper()
	p := b.get(w.base + path)
	if p.status != 303 {
		b.t.Fatalf("GET %s: status %d", path, p.status)
	}
	p = b.get(w.base + p.to())
	if p.status != 303 || !strings.HasPrefix(p.to(), w.idp) {
		b.t.Fatalf("sign-in: status %d to %q", p.status, p.to())
	}
	u, err := url.Parse(p.to())
	if err != nil {
		b.t.Fatal(err)
	}
	p = b.post(w.base+"/saml/consume", url.Values{"SAMLResponse": {"good"}, "RelayState": {u.Query().Get("RelayState")}},
		"Sec-Fetch-Site", "cross-site", "Origin", w.idp)
	if p.status != 303 {
		b.t.Fatalf("consume: status %d: %s", p.status, p.body)
	}
	return b.get(w.base + p.to())
}
