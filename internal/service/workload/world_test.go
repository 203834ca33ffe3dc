package workload_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/egress"
	"carnet.dev/carnet/internal/edge/sql"
	sqldirectory "carnet.dev/carnet/internal/edge/sql/directory"
	sqlrevocation "carnet.dev/carnet/internal/edge/sql/revocation"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	sqlworkload "carnet.dev/carnet/internal/edge/sql/workload"
	"carnet.dev/carnet/internal/edge/upstream/jwks"
	"carnet.dev/carnet/internal/edge/upstream/jwks/issuertest"
	"carnet.dev/carnet/internal/protocol/oidc"
	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/entitlement"
	"carnet.dev/carnet/internal/service/federation"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/revocation"
	"carnet.dev/carnet/internal/service/workload"
)

const (
	analyst  = "arn:aws:iam::111122223333:role/analyst"
	pipeline = "arn:aws:iam::111122223333:role/pipeline"
	samlOnly = "arn:aws:iam::444455556666:role/analyst"
	base     = "https://carnet.example.com"
	org      = "0b0c9fa4-9d3e-4a0e-8a3d-2a8e8f4c5d6e"
	listed   = "https://api.example.com"
	okta     = identity.IdPID("idp_okta")
)

func role(text string) arn.Role {
	r, err := arn.ParseRole(text)
	if err != nil {
		panic(err)
	}
	return r
}

// world is a workload service on real stores, with a real issuer of ours and
// another issuer on loopback. Identity providers and the last word of one are
// tables.
type world struct {
	*workload.Service
	t       testing.TB
	db      *sql.DB
	store   sqlworkload.Store
	dir     *directory.Directory
	feed    *revocation.Feed
	issuer  *issuer.Service
	foreign *issuertest.Issuer
	sp      directory.ServicePrincipal
	alice   directory.Person
	idps    speakers
	last    *lastWord
	trail   *trail

	mu  sync.Mutex
	now time.Time
}

type asked struct {
	sqldirectory.Store
	*directory.Directory
}

func (a asked) Person(ctx context.Context, id identity.PersonID) (directory.Person, error) {
	return a.Store.Person(ctx, id)
}
func (a asked) ServicePrincipal(ctx context.Context, id identity.ServicePrincipalID) (directory.ServicePrincipal, error) {
	return a.Store.ServicePrincipal(ctx, id)
}
func (a asked) ServicePrincipals(ctx context.Context) ([]directory.ServicePrincipal, error) {
	return a.Store.ServicePrincipals(ctx)
}

// speakers are identity providers by id; an absent one is switched off.
type speakers map[identity.IdPID]*federation.Speaker

func (s speakers) Speaker(id identity.IdPID) (*federation.Speaker, error) {
	if sp := s[id]; sp != nil {
		return sp, nil
	}
	return nil, fault.New(fault.Denied, "the identity provider is switched off")
}

// lastWord is the last word of an identity provider: the roles of each person.
type lastWord struct {
	roles map[identity.PersonID][]string
}

func (l *lastWord) StillEntitled(_ context.Context, p identity.PersonID, _ identity.IdPID, r arn.Role) error {
	if slices.Contains(l.roles[p], r.String()) {
		return nil
	}
	return fault.Coded(fault.Denied, "entitlement.ended", "the last sign-in did not bring role "+r.String())
}

// trail keeps the records; with broken set it records nothing and says so.
type trail struct {
	mu     sync.Mutex
	events []event.Event
	broken bool
}

func (t *trail) Record(_ context.Context, e event.Event) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.broken {
		return errors.New("the trail can't be written")
	}
	t.events = append(t.events, e)
	return nil
}

func (t *trail) last() event.Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.events) == 0 {
		return event.Event{}
	}
	return t.events[len(t.events)-1]
}

func (w *world) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// pass moves the time, and lets this server see the revocations.
func (w *world) pass(d time.Duration) {
	w.t.Helper()
	w.mu.Lock()
	w.now = w.now.Add(d)
	w.mu.Unlock()
	w.must(w.feed.Confirm(w.t.Context()))
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// ownKeys holds the keys of our issuers for all tests: keys are slow to make.
var ownKeys keptKeys

// foreignKey are those of the other issuer, kid "rsa" and "ec".
var (
	foreignKeys sync.Once
	foreignKey  [2]issuertest.Key
)

// keptKeys is an issuer.Store that forgets nothing and tells nobody.
type keptKeys struct {
	mu   sync.Mutex
	rows []issuer.Row
}

func (k *keptKeys) All(context.Context) ([]issuer.Row, issuer.Stop, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.rows), issuer.Stop{}, nil
}

func (k *keptKeys) Change(_ context.Context, c issuer.Change) (bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	last := 0
	for _, r := range k.rows {
		if r.Level == c.Level && r.Algorithm == c.Algorithm {
			last = max(last, r.Serial)
		}
	}
	if c.Add == nil || last != c.Last {
		return false, nil
	}
	k.rows = append(k.rows, *c.Add)
	return true, nil
}

func (k *keptKeys) SetStop(context.Context, issuer.Stop) (bool, error) { return false, nil }
func (k *keptKeys) Watch(context.Context, func()) error                { return nil }

// open seals nothing: the keys are the tests' own.
type open struct{}

func (open) Seal(_ string, _, plain []byte) ([]byte, error)  { return plain, nil }
func (open) Open(_ string, _, sealed []byte) ([]byte, error) { return sealed, nil }

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC), trail: &trail{}, last: &lastWord{roles: map[identity.PersonID][]string{}}}
	ctx := t.Context()
	w.db = sqltest.Open(t)
	w.store, w.dir = sqlworkload.Store{DB: w.db}, sqldirectory.On(w.db, w.Now)
	var err error
	w.feed, err = revocation.Open(ctx, revocation.Config{Store: sqlrevocation.Store{DB: w.db}, Server: "srv_test", Now: w.Now})
	w.must(err)
	w.issuer, err = issuer.Open(ctx, issuer.Config{Store: &ownKeys, Sealer: open{}, State: w.db, Trail: &trail{}, Now: w.Now,
		BaseURL: base, AccountID: org, Audiences: []string{listed}})
	w.must(err)
	foreignKeys.Do(func() {
		foreignKey[0], foreignKey[1] = issuertest.NewKey(t, "rsa", "RS256"), issuertest.NewKey(t, "ec", "ES256")
	})
	w.foreign = issuertest.With(t, foreignKey[0], foreignKey[1])
	w.idps = speakers{okta: {IdP: federation.IdP{ID: okta, Name: "Okta", Enabled: true, Accounts: []string{"111122223333", "444455556666"},
		RolePatterns: []string{"*"}, UserNameDomains: []string{"example.com"}}}}
	allow, err := egress.ParseAllow([]string{"127.0.0.1", "::1"})
	w.must(err)
	w.Service, err = workload.Open(ctx, workload.Config{
		Policies: w.store, Delegations: w.store, Directory: asked{sqldirectory.Store{DB: w.db}, w.dir}, IdPs: w.idps,
		Accounts: entitlement.Accounts{
			"111122223333": {ID: "111122223333", Name: "analytics", Partition: "aws", WebIdentity: true, Tags: true, SourceIdentity: true},
			"444455556666": {ID: "444455556666", Name: "engineering", Partition: "aws", SAML: true},
		},
		KeySets: jwks.New(jwks.Config{Client: egress.New(egress.Config{}), Loopback: egress.New(egress.Config{Allow: allow}), Now: w.Now}),
		Issuer:  w.issuer, Entitled: w.last, Feed: w.feed, State: w.db, Trail: w.trail, Organisation: org, Loopback: true, Now: w.Now,
	})
	w.must(err)
	w.sp, err = w.dir.NewServicePrincipal(ctx, "nightly", "")
	w.must(err)
	w.must(w.dir.MapRole(ctx, string(w.sp.ID), role(pipeline), directory.FromAdmin, ""))
	w.must(w.dir.MapRole(ctx, string(w.sp.ID), role(samlOnly), directory.FromAdmin, ""))
	w.alice, _, err = w.dir.EnsurePerson(ctx, okta, "subject-of-alice", "alice@example.com", "Alice", "mail@example.com")
	w.must(err)
	return w
}

// policy is a good policy for the service principal.
func (w *world) policy() workload.FederationPolicy {
	return workload.FederationPolicy{Name: "ci", Issuer: w.foreign.URL, Subject: "repo:acme/data:environment:prod", ServicePrincipal: w.sp.ID}
}

func (w *world) add(p workload.FederationPolicy) workload.FederationPolicy {
	w.t.Helper()
	p, err := w.Add(w.t.Context(), p)
	w.must(err)
	return p
}

// claims are those of a good token for policy, with changes.
func (w *world) claims(change map[string]any) map[string]any {
	all := map[string]any{"iss": w.foreign.URL, "sub": "repo:acme/data:environment:prod", "aud": org, "iat": w.Now().Unix(),
		"exp": w.Now().Add(10 * time.Minute).Unix(), "jti": "run-1"}
	for name, v := range change {
		if all[name] = v; v == issuertest.Absent {
			delete(all, name)
		}
	}
	return all
}

// token signs such claims with the issuer's first key.
func (w *world) token(change map[string]any) string {
	return w.foreign.Keys[0].Sign(w.t, nil, w.claims(change))
}

func (w *world) resolve(token string, sp identity.ServicePrincipalID) (workload.Proven, error) {
	return w.Resolve(w.t.Context(), workload.Foreign{Token: secret.New(token), ServicePrincipal: sp})
}

// taken holds that a token proves the service principal.
func (w *world) taken(name, token string) {
	w.t.Helper()
	p, err := w.resolve(token, w.sp.ID)
	if err != nil || p.Principal != (workload.Principal{ServicePrincipal: w.sp.ID}) {
		w.t.Errorf("%s: %+v, %v", name, p.Principal, err)
	}
}

// refused holds that a token proves nobody, and that the caller is told so in the
// way of OAuth.
func (w *world) refused(name, token string) {
	w.t.Helper()
	for _, sp := range []identity.ServicePrincipalID{w.sp.ID, ""} {
		p, err := w.resolve(token, sp)
		if f := fault.Of(err); err == nil || f.Code != workload.CodeGrant || p.Principal != (workload.Principal{}) {
			w.t.Errorf("%s: %+v, %v", name, p.Principal, err)
		}
	}
}

// session is a login session of alice with roles.
func (w *world) session(roles ...login.RoleStatus) login.LoginSession {
	return login.LoginSession{ID: "lgn_alice", Person: login.Person{ID: w.alice.ID, IdP: okta, UserName: w.alice.UserName},
		Started: w.Now(), Expires: w.Now().Add(12 * time.Hour), Roles: roles}
}

func held(text string) login.RoleStatus {
	r := role(text)
	return login.RoleStatus{Role: r, Account: r.Account, AccountName: "analytics", State: login.RoleReady}
}

// delegation is one of alice to the service principal, for analyst.
func (w *world) delegation() workload.Delegation {
	w.t.Helper()
	w.last.roles[w.alice.ID] = []string{analyst}
	d, err := w.Delegate(w.t.Context(), w.session(held(analyst)), workload.NewDelegation{Role: "analyst", ServicePrincipal: "nightly", Label: "nightly report"})
	w.must(err)
	return d.Delegation
}

func (w *world) ask(p workload.Principal, a workload.Ask) (issuer.Minted, error) {
	return w.Token(w.t.Context(), p, a)
}

// read verifies a token of ours with our own keys, and gives its claims.
func (w *world) read(m issuer.Minted, audience string) *oidc.Claims {
	w.t.Helper()
	token, err := oidc.Parse(m.Token.Reveal())
	w.must(err)
	keys, ok := w.issuer.KeySet(m.Issuer)
	if !ok {
		w.t.Fatal("not our issuer:", m.Issuer)
	}
	c, err := token.Verify(keys, oidc.Expect{Issuer: base + "/oidc", Audiences: []string{audience}}, w.Now())
	w.must(err)
	return c
}

func asJSON(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func code(err error) string {
	if err == nil {
		return ""
	}
	return fault.Of(err).Code
}
