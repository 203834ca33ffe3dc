package gatewaykeys_test

import (
	"context"
	"net/netip"
	"slices"
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
	sqlcluster "carnet.dev/carnet/internal/edge/sql/cluster"
	sqlgatewaykeys "carnet.dev/carnet/internal/edge/sql/gatewaykeys"
	sqlkeyring "carnet.dev/carnet/internal/edge/sql/keyring"
	sqlrevocation "carnet.dev/carnet/internal/edge/sql/revocation"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/broker"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/entitlement"
	"carnet.dev/carnet/internal/service/gatewaykeys"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/keyring"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/revocation"
	"carnet.dev/carnet/internal/service/workload"
)

// role reads account/name: "1/analyst" is of the local account, "7/reader" of the
// one at AWS.
func role(text string) arn.Role {
	account, name, _ := strings.Cut(text, "/")
	return arn.Role{Partition: "aws", Account: strings.Repeat(account, 12), Path: "/", Name: name}
}

func roles(texts ...string) (out []arn.Role) {
	for _, t := range texts {
		out = append(out, role(t))
	}
	return out
}

// world is the service on real stores, with a real key ring and a real feed. Who
// is signed in, what the identity provider said last, and STS are tables; it counts
// how often each was asked.
type world struct {
	*gatewaykeys.Service
	t    testing.TB
	db   *sql.DB
	ring *keyring.Keyring
	// clusters is the real service, too.
	clusters *cluster.Service
	feed     *revocation.Feed
	trail    trail

	mu      sync.Mutex
	session login.LoginSession
	heard   []arn.Role
	job     workload.Delegation
	machine []arn.Role
	away    error // what everything answers while it is set
	slow    time.Duration
	asked   map[string]int
	life    time.Duration // of STS's keys
	around  []identity.GroupID
}

type trail struct {
	mu     sync.Mutex
	events []event.Event
}

func (r *trail) Record(_ context.Context, e event.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
	return nil
}

func (r *trail) count(action string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.Action == action {
			n++
		}
	}
	return n
}

// ask counts a question, and makes it wait or fail as is set.
func (w *world) ask(what string) error {
	w.mu.Lock()
	w.asked[what]++
	slow, away := w.slow, w.away
	w.mu.Unlock()
	time.Sleep(slow)
	return away
}

func (w *world) count(what string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked[what]
}

// set changes the tables.
func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

func (w *world) ResumeID(_ context.Context, id identity.LoginSessionID) (login.LoginSession, error) {
	if err := w.ask("session"); err != nil {
		return login.LoginSession{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.session.ID != id || !time.Now().Before(w.session.Expires) {
		return login.LoginSession{}, fault.Coded(fault.Unauthenticated, "login.required", "you are not signed in")
	}
	return w.session, nil
}

func (w *world) Credentials(_ context.Context, _ login.LoginSession, r string) (credential.RoleSession, error) {
	err := w.ask("credentials")
	return credential.RoleSession{Credentials: credential.Temporary{AccessKeyID: "ASIA" + r[len(r)-2:], SecretAccessKey: secret.New("s"), SessionToken: secret.New(r + " (token)"),
		Expiration: time.Now().Add(w.life)}}, err
}

func (w *world) Heard(_ context.Context, _ identity.PersonID, _ identity.IdPID, of []arn.Role) (held []arn.Role, err error) {
	if err := w.ask("heard"); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range of {
		if slices.Contains(w.heard, r) {
			held = append(held, r)
		}
	}
	return held, nil
}

func (w *world) Behind(_ context.Context, id identity.DelegationID) (workload.Delegation, directory.Person, error) {
	if err := w.ask("delegation"); err != nil {
		return workload.Delegation{}, directory.Person{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.job.ID != id {
		return workload.Delegation{}, directory.Person{}, fault.Coded(fault.Denied, "invalid_grant", "there is no such delegation")
	}
	return w.job, directory.Person{UserName: "ann"}, nil
}

func (w *world) Held(_ context.Context, id identity.ServicePrincipalID) (directory.ServicePrincipal, []arn.Role, error) {
	if err := w.ask("machine"); err != nil {
		return directory.ServicePrincipal{}, nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return directory.ServicePrincipal{ID: id, Name: "nightly"}, slices.Clone(w.machine), nil
}

func (w *world) Token(_ context.Context, who workload.Principal, a workload.Ask) (issuer.Minted, error) {
	err := w.ask("token")
	return issuer.Minted{Token: secret.New(who.Subject() + " " + a.Role + " (token)")}, err
}

func (w *world) AssumeRoleWithWebIdentity(_ context.Context, c broker.WebCall) (broker.Assumed, error) {
	err := w.ask("sts")
	return broker.Assumed{AssumedRoleARN: c.Role.AssumedRole(c.SessionName), Credentials: credential.Temporary{AccessKeyID: "ASIAMACHINE", SecretAccessKey: secret.New("s"),
		SessionToken: c.Token, Expiration: time.Now().Add(min(c.Duration, w.life))}}, err
}

func (w *world) GroupsAround(context.Context, string) ([]identity.GroupID, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.around), nil
}

// newWorld signs ann in for twelve hours, with the roles 1/analyst, 1/hr and
// 7/reader.
func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, db: sqltest.Open(t), asked: map[string]int{}, heard: roles("1/analyst", "1/hr", "7/reader"), life: time.Hour}
	w.session = login.LoginSession{ID: "lgn_ann", Person: login.Person{ID: "psn_ann", IdP: "idp_x", UserName: "ann"}, Expires: time.Now().Add(12 * time.Hour).Truncate(time.Second)}
	for _, r := range w.heard {
		w.session.Roles = append(w.session.Roles, login.RoleStatus{Role: r, State: login.RoleReady})
	}
	w.session.Roles = append(w.session.Roles, login.RoleStatus{Role: role("1/failed"), State: login.RoleFailed})
	w.job = workload.Delegation{ID: "dlg_ann", Person: "psn_ann", IdP: "idp_x", ServicePrincipal: "spn_n", Role: role("1/hr"), Expires: time.Now().Add(2 * time.Hour)}
	w.machine = roles("1/analyst", "7/reader")
	keks, err := keyring.ParseKEKs(keyring.NewKEKFile())
	w.must(err)
	w.ring, err = keyring.Open(t.Context(), keyring.Config{Store: sqlkeyring.Store{DB: w.db}, KEKs: keks, Now: time.Now})
	w.must(err)
	w.feed, err = revocation.Open(t.Context(), revocation.Config{Store: sqlrevocation.Store{DB: w.db}, Now: time.Now})
	w.must(err)
	clusters := sqlcluster.Store{DB: w.db}
	w.clusters, err = cluster.Open(t.Context(), cluster.Config{Clusters: clusters, Nodes: clusters, Healths: clusters, JoinTokens: clusters, Directory: anybody{}, Feed: w.feed, State: w.db, Trail: &w.trail, Now: time.Now})
	w.must(err)
	w.Service = w.server()
	return w
}

// server is one more server on the same database.
func (w *world) server() *gatewaykeys.Service {
	return w.serverOn(sqlgatewaykeys.Store{DB: w.db})
}

func (w *world) serverOn(keys gatewaykeys.Keys) *gatewaykeys.Service {
	w.t.Helper()
	store := sqlgatewaykeys.Store{DB: w.db}
	s, err := gatewaykeys.Open(w.t.Context(), gatewaykeys.Config{Store: keys, Clusters: w.clusters, Groups: w, Grants: store, Sealer: w.ring, Sessions: w, Entitled: w, Machines: w, STS: w,
		Accounts: entitlement.Accounts{"111111111111": {Partition: "aws", Local: true, WebIdentity: true}, "777777777777": {Partition: "aws"}},
		BucketAccount: func(bucket string) (string, bool) {
			return map[string]string{"sales": "111111111111", "lake": "777777777777"}[bucket], bucket == "sales" || bucket == "lake"
		},
		Feed: w.feed, State: w.db, Trail: &w.trail, Now: time.Now})
	w.must(err)
	return s
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

var home = netip.MustParsePrefix("10.1.0.0/16")

// ann is a new key of hers.
func (w *world) ann(of ...string) gatewaykeys.NewKey {
	return gatewaykeys.NewKey{Owner: gatewaykeys.Owner{LoginSession: "lgn_ann"}, Binding: gatewaykeys.Binding{Networks: []netip.Prefix{home}}, Roles: roles(of...)}
}

func (w *world) make(n gatewaykeys.NewKey) gatewaykeys.Made {
	w.t.Helper()
	m, err := w.Make(w.t.Context(), n)
	w.must(err)
	return m
}

// holder proves a key, as the gateway does.
func (w *world) holder(m gatewaykeys.Made) *gatewaykeys.Holder {
	w.t.Helper()
	h, key, err := w.Find(w.t.Context(), m.AccessKeyID)
	w.must(err)
	if key.Reveal() != m.Secret.Reveal() {
		w.t.Fatal("the secret is another one")
	}
	w.must(w.Admit(w.t.Context(), h, from("10.1.2.3")))
	return h
}

func from(address string) gatewaykeys.Peer {
	return gatewaykeys.Peer{Source: netip.MustParseAddr(address)}
}

// chosen gives the name of the role that is chosen, or the refusal.
func (w *world) chosen(h *gatewaykeys.Holder, bucket, part string) string {
	account := map[string]string{"sales": "111111111111", "lake": "777777777777"}[bucket]
	c, err := w.Choose(w.t.Context(), h, gatewaykeys.Want{Bucket: bucket, Account: account, Part: part})
	if err != nil {
		return fault.Of(err).Code + ": " + fault.Of(err).Public
	}
	if c.AWS != (c.Role.Account == "777777777777") {
		w.t.Errorf("%s is at AWS: %v", c.Role, c.AWS)
	}
	return c.Role.Account[:1] + "/" + c.Role.Name
}

func wantFault(t *testing.T, what string, err error, code string) {
	t.Helper()
	if err == nil || fault.Of(err).Code != code {
		t.Errorf("%s: %v, want %s", what, err, code)
	}
}
