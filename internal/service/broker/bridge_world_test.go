package broker_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/sql"
	sqlbroker "carnet.dev/carnet/internal/edge/sql/broker"
	sqlkeyring "carnet.dev/carnet/internal/edge/sql/keyring"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/protocol/saml"
	"carnet.dev/carnet/internal/service/broker"
	"carnet.dev/carnet/internal/service/entitlement"
	"carnet.dev/carnet/internal/service/federation"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/keyring"
)

const (
	ours   = "111122223333" // both exchanges, the bridge accepted
	strict = "444455556666" // SAML alone
	web    = "777788889999" // web identity alone
)

// bridge is an installation with one person, whose clock is the test's. Store and
// sealer are real; STS answers as it is told.
type bridge struct {
	*broker.Broker
	t     testing.TB
	db    *sql.DB
	store sqlbroker.Store
	ring  broker.Sealer

	mu       sync.Mutex
	now      time.Time
	granted  []broker.Call    // AssumeRoleWithSAML
	calls    []broker.WebCall // AssumeRoleWithWebIdentity
	minted   []issuer.IDToken
	refusal  error // of web identity
	wrong    func(*broker.Assumed)
	lasts    time.Duration // what SAML grants
	inactive bool
	revoked  map[string]uint64
	epoch    uint64
	idp      federation.IdP
	idpAway  error
	trail    []event.Event
	noTrail  error
	accounts entitlement.Accounts
}

func newBridge(t testing.TB) *bridge {
	t.Helper()
	w := &bridge{t: t, db: sqltest.Open(t), now: time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC), lasts: time.Hour, revoked: map[string]uint64{}, epoch: 7}
	keks, err := keyring.ParseKEKs(keyring.NewKEKFile())
	if err != nil {
		t.Fatal(err)
	}
	w.store = sqlbroker.Store{DB: w.db}
	if w.ring, err = keyring.Open(t.Context(), keyring.Config{Store: sqlkeyring.Store{DB: w.db}, KEKs: keks, Server: "a", Now: w.clock}); err != nil {
		t.Fatal(err)
	}
	w.idp = federation.IdP{ID: "idp_a", Name: "Corp", Enabled: true, Accounts: []string{ours, strict, web}, RolePatterns: []string{"*"}, UserNameDomains: []string{"*"},
		Settings: federation.Settings{RoleTemplates: []federation.RoleTemplate{{Group: "aws-{role}", Account: ours, Role: "{role}", Provider: "corp"}}}}
	w.accounts = entitlement.Accounts{
		ours:   {ID: ours, Partition: "aws", SAML: true, WebIdentity: true, Bridge: true, Cap: 12 * time.Hour, Tags: true, SourceIdentity: true, Local: true},
		strict: {ID: strict, Partition: "aws", SAML: true, Local: true},
		web:    {ID: web, Partition: "aws", WebIdentity: true, Tags: true, SourceIdentity: true},
	}
	w.Broker = w.server()
	return w
}

// server is one server of the installation.
func (w *bridge) server() *broker.Broker {
	return broker.New(broker.Config{STS: w, Store: w.store, Sealer: w.ring, Now: w.clock, Patience: time.Minute,
		Bridge: broker.Bridge{Tokens: w, Accounts: w.accounts, Standing: w, Renewals: w.store, State: w.db, Trail: w, Wait: time.Minute}})
}

func (w *bridge) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *bridge) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *bridge) AssumeRoleWithSAML(_ context.Context, c broker.Call) (broker.Assumed, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.granted = append(w.granted, c)
	if c.Role.Name == "refused" {
		return broker.Assumed{}, fault.Coded(fault.Denied, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithSAML")
	}
	return w.keys(c.Role, "ann", "", min(c.Duration, w.lasts)), nil
}

func (w *bridge) AssumeRoleWithWebIdentity(_ context.Context, c broker.WebCall) (broker.Assumed, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, c)
	if w.refusal != nil {
		return broker.Assumed{}, w.refusal
	}
	a := w.keys(c.Role, c.SessionName, w.minted[len(w.minted)-1].SourceIdentity, c.Duration)
	if w.wrong != nil {
		w.wrong(&a)
	}
	return a, nil
}

func (w *bridge) keys(r arn.Role, name, source string, life time.Duration) broker.Assumed {
	n := len(w.granted) + len(w.calls)
	return broker.Assumed{AssumedRoleARN: r.AssumedRole(name), SourceIdentity: source, Credentials: credential.Temporary{
		AccessKeyID: fmt.Sprintf("ASIA%d", n), SecretAccessKey: secret.New("secret key"), SessionToken: secret.New("session token"), Expiration: w.now.Add(life)}}
}

func (w *bridge) MintID(t issuer.IDToken) (issuer.Minted, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.minted = append(w.minted, t)
	return issuer.Minted{Token: secret.New("an.id.token"), ID: fmt.Sprintf("jti-%d", len(w.minted)), Issuer: "https://carnet.example.com/oidc",
		Issued: w.now, Expires: w.now.Add(t.Lifetime)}, nil
}

func (w *bridge) Active(_ context.Context, id identity.PersonID) error {
	if w.inactive || id != "psn_ann" {
		return fault.Coded(fault.Denied, "directory.inactive", "this person was switched off")
	}
	return nil
}

func (w *bridge) Speaker(id identity.IdPID) (*federation.Speaker, error) {
	switch {
	case w.idpAway != nil:
		return nil, w.idpAway
	case id != w.idp.ID:
		return nil, fault.New(fault.NotFound, "there is no such identity provider")
	case !w.idp.Enabled:
		return nil, fault.Coded(fault.Denied, "federation.disabled", "identity provider Corp is switched off")
	}
	return &federation.Speaker{IdP: w.idp}, nil
}

func (w *bridge) Refused(kind, id string, epoch uint64) (bool, error) {
	return epoch <= w.revoked[kind+" "+id], nil
}

func (w *bridge) Epoch() (uint64, error) { return w.epoch, nil }

func (w *bridge) Record(_ context.Context, e event.Event) error {
	if w.noTrail != nil {
		return w.noTrail
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trail = append(w.trail, e)
	return nil
}

func bridged(t testing.TB, account, name string) arn.Role {
	t.Helper()
	r, err := arn.ParseRole("arn:aws:iam::" + account + ":role/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func pair(account, name string) string {
	return "arn:aws:iam::" + account + ":role/" + name + ",arn:aws:iam::" + account + ":saml-provider/corp"
}

// assertion is what the identity provider says of ann.
func (w *bridge) assertion(roles ...string) *saml.Assertion {
	return &saml.Assertion{ID: "_assertion1", IssueInstant: w.now, AuthnInstant: w.now.Add(-time.Minute), NameID: "ann",
		AuthnContext: "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport",
		Attributes:   []saml.Attribute{{Name: saml.AttrRole, Values: roles}, {Name: saml.AttrRoleSessionName, Values: []string{"ann"}}}}
}

// signIn signs ann in, as login does, and gives what became of each role.
func (w *bridge) signIn(id identity.LoginSessionID, a *saml.Assertion, change ...func(*broker.Request)) []broker.Outcome {
	w.t.Helper()
	r := broker.Request{LoginSession: id, Person: "psn_ann", Epoch: w.epoch, Started: w.now, Ends: w.now.Add(12 * time.Hour),
		Entitlements: entitlement.Of(a, &federation.Speaker{IdP: w.idp}, w.accounts, "ann"),
		Assertion:    secret.New(strings.Repeat("PHNhbWw+", 40)), IssueInstant: a.IssueInstant}
	for _, c := range change {
		c(&r)
	}
	out, err := w.Exchange(w.t.Context(), r)
	if err == nil {
		err = w.Keep(w.t.Context(), r, out)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// analyst signs ann in with one role of the account that takes both.
func (w *bridge) analyst(change ...func(*saml.Assertion)) broker.Outcome {
	w.t.Helper()
	a := w.assertion(pair(ours, "analyst"))
	for _, c := range change {
		c(a)
	}
	return w.signIn("lgn_1", a)[0]
}

// fresh wants keys that are not those of o.
func (w *bridge) fresh(o broker.Outcome) broker.Outcome {
	w.t.Helper()
	got, err := w.Fresh(w.t.Context(), "lgn_1", o)
	if err != nil {
		w.t.Fatalf("not renewed: %v", err)
	}
	if got.Session.Credentials.AccessKeyID == o.Session.Credentials.AccessKeyID {
		w.t.Fatalf("not renewed: %+v", w.Status("lgn_1", o))
	}
	return got
}

// renews wants the next renewal to succeed.
func (w *bridge) renews(o broker.Outcome) broker.Outcome {
	w.t.Helper()
	w.pass(50 * time.Minute)
	return w.fresh(o)
}

// refuses wants the next renewal to be refused with a code, without a call, while
// the kept keys serve on; once they have ended there are none.
func (w *bridge) refuses(o broker.Outcome, code string) {
	w.t.Helper()
	asked := len(w.calls)
	w.pass(50 * time.Minute)
	got, err := w.Fresh(w.t.Context(), "lgn_1", o)
	if err != nil || got.Session.Credentials.AccessKeyID != o.Session.Credentials.AccessKeyID {
		w.t.Errorf("while the kept keys live: %s, %v", got.Session.Credentials.AccessKeyID, err)
	}
	w.pass(30 * time.Minute)
	if _, err = w.Fresh(w.t.Context(), "lgn_1", o); fault.Of(err) == nil || fault.Of(err).Code != code {
		w.t.Errorf("refused with %v, want %s", err, code)
	}
	if len(w.calls) != asked {
		w.t.Errorf("STS was asked %d times", len(w.calls)-asked)
	}
	for _, e := range w.trail {
		if e.Action == "renewal" && e.Outcome == event.Done {
			w.t.Errorf("a renewal was recorded: %+v", e)
		}
	}
}

// never wants that no renewal is ever tried: the keys simply end.
func (w *bridge) never(o broker.Outcome) {
	w.t.Helper()
	if st := w.Status("lgn_1", o); st.Renewable {
		w.t.Errorf("said to be renewable: %+v", st)
	}
	for range 20 {
		w.pass(10 * time.Minute)
		got, err := w.Fresh(w.t.Context(), "lgn_1", o)
		if err != nil || got.Session.Credentials.AccessKeyID != o.Session.Credentials.AccessKeyID {
			w.t.Fatalf("%+v, %v", got, err)
		}
	}
	if len(w.calls)+len(w.minted) != 0 {
		w.t.Errorf("%d tokens, %d calls", len(w.minted), len(w.calls))
	}
}

type (
	sqlTx              = sql.Tx
	account            = entitlement.Account
	federationTemplate = federation.RoleTemplate
)

// assertionOf names one role of an account.
func assertionOf(account string) *saml.Assertion {
	return &saml.Assertion{ID: "_assertion1", IssueInstant: time.Now(), NameID: "ann", Attributes: []saml.Attribute{
		{Name: saml.AttrRole, Values: []string{pair(account, "analyst")}}, {Name: saml.AttrRoleSessionName, Values: []string{"ann"}}}}
}

// config changes an account of the configuration.
func (w *bridge) config(id string, change func(*account)) {
	a := w.accounts[id]
	change(&a)
	w.accounts[id] = a
}

// recalls makes the identity provider one that tells us when a person has to go.
func (w *bridge) recalls() {
	w.idp.Protocol, w.idp.OIDC.BackChannelLogout = federation.OIDC, true
}

func (w *bridge) speaker(t testing.TB) *federation.Speaker {
	t.Helper()
	sp, err := w.Speaker(w.idp.ID)
	if err != nil {
		t.Fatal(err)
	}
	return sp
}

// nothing wants that no token was made.
func (w *bridge) nothing(t testing.TB) {
	t.Helper()
	if len(w.minted)+len(w.calls) != 0 {
		t.Errorf("%d tokens, %d calls", len(w.minted), len(w.calls))
	}
}

// refusesAny wants a refusal for whatever reason.
func (w *bridge) refusesAny(o broker.Outcome) {
	w.t.Helper()
	w.pass(70 * time.Minute)
	if got, err := w.Fresh(w.t.Context(), "lgn_1", o); err == nil {
		w.t.Errorf("given %+v", got)
	}
	w.nothing(w.t)
}

// needed wants the person to be needed a time after now, and renewals until then
// and not after.
func (w *bridge) needed(o broker.Outcome, after time.Duration) {
	w.t.Helper()
	at := w.now.Add(after)
	if st := w.Status("lgn_1", o); !st.Renewable || !st.NeededBy.Equal(at) || st.Served != broker.ServedBridge {
		w.t.Fatalf("%s, renewable %t, needed at %s; want %s", st.Served, st.Renewable, st.NeededBy, at)
	}
	for w.now.Before(at.Add(-time.Minute)) {
		got, err := w.Fresh(w.t.Context(), "lgn_1", o)
		if err != nil {
			w.t.Fatalf("%s before the deadline: %v", at.Sub(w.now), err)
		}
		if got.Session.Credentials.Expiration.After(at) {
			w.t.Fatalf("keys until %s, %s past the deadline", got.Session.Credentials.Expiration, got.Session.Credentials.Expiration.Sub(at))
		}
		w.pass(time.Minute)
	}
	w.ends(o, "bridge.deadline")
}

// ends wants no keys once those there are have ended.
func (w *bridge) ends(o broker.Outcome, code string) {
	w.t.Helper()
	w.pass(2 * time.Hour)
	got, err := w.Fresh(w.t.Context(), "lgn_1", o)
	if f := fault.Of(err); f == nil || f.Code != code {
		w.t.Errorf("%+v, %v; want %s", got.Session, err, code)
	}
	if code == "bridge.deadline" && !strings.HasSuffix(fault.Of(err).Public, " at the latest") {
		w.t.Errorf("it says %v", err)
	}
}

// Recalled asks the provider alone: nothing provisions here.
func (w *bridge) Recalled(p *federation.Speaker) bool { return p.Recalls() }
