package cluster_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	sqlcluster "carnet.dev/carnet/internal/edge/sql/cluster"
	sqldirectory "carnet.dev/carnet/internal/edge/sql/directory"
	sqlkeyring "carnet.dev/carnet/internal/edge/sql/keyring"
	sqlonceonly "carnet.dev/carnet/internal/edge/sql/onceonly"
	sqlrevocation "carnet.dev/carnet/internal/edge/sql/revocation"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/protocol/oidc"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/federation"
	"carnet.dev/carnet/internal/service/keyring"
	"carnet.dev/carnet/internal/service/onceonly"
	"carnet.dev/carnet/internal/service/revocation"
)

const audience = "https://carnet.example.com"

// world is the service on real stores, with a real key ring and a real feed.
type world struct {
	*cluster.Service
	t         testing.TB
	db        *sql.DB
	ring      *keyring.Keyring
	feed      *revocation.Feed
	directory *directory.Directory
	trail     trail

	mu  sync.Mutex
	now time.Time
}

type trail struct {
	mu     sync.Mutex
	events []event.Event
	broken error
}

func (r *trail) Record(_ context.Context, e event.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken != nil {
		return r.broken
	}
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

func (w *world) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// sleep lets time pass, with the feed confirmed.
func (w *world) sleep(d time.Duration) {
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

type noProviders struct{}

func (noProviders) Get(_ context.Context, id identity.IdPID) (federation.IdP, error) {
	if id == "idp_corp" {
		return federation.IdP{ID: id, Name: "Corp"}, nil
	}
	return federation.IdP{}, fault.New(fault.NotFound, "there is no such identity provider")
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, db: sqltest.Open(t), now: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)}
	w.directory = sqldirectory.On(w.db, w.Now)
	keks, err := keyring.ParseKEKs(keyring.NewKEKFile())
	w.must(err)
	w.ring, err = keyring.Open(t.Context(), keyring.Config{Store: sqlkeyring.Store{DB: w.db}, KEKs: keks, Now: w.Now})
	w.must(err)
	w.feed, err = revocation.Open(t.Context(), revocation.Config{Store: sqlrevocation.Store{DB: w.db}, Now: w.Now})
	w.must(err)
	w.Service = w.server()
	return w
}

// server is one more server on the same database.
func (w *world) server() *cluster.Service {
	w.t.Helper()
	store := sqlcluster.Store{DB: w.db}
	s, err := cluster.Open(w.t.Context(), cluster.Config{Clusters: store, Nodes: store, Healths: store, JoinTokens: store, Directory: sqldirectory.Store{DB: w.db}, Providers: noProviders{},
		Once: onceonly.New(sqlonceonly.Store{DB: w.db}, 1000, w.Now), Sealer: w.ring, Feed: w.feed, State: w.db, Trail: &w.trail, Now: w.Now})
	w.must(err)
	return s
}

func (w *world) person(name string) directory.Person {
	w.t.Helper()
	p, _, err := w.directory.EnsurePerson(w.t.Context(), "idp_corp", name, name, name, "")
	w.must(err)
	return p
}

func (w *world) add(c cluster.Cluster) cluster.Cluster {
	w.t.Helper()
	c, err := w.Add(w.t.Context(), c)
	w.must(err)
	return c
}

// machine is a node, or what wants to be one: its key, and the clock that it has.
type machine struct {
	t    testing.TB
	node cluster.Node
	key  *ecdsa.PrivateKey
	now  func() time.Time
}

func newKey(t testing.TB) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return k, spki
}

// join makes a node of a cluster.
func (w *world) join(of cluster.Cluster, name string) *machine {
	w.t.Helper()
	token, err := w.NewJoinToken(w.t.Context(), of.ID, "", 0)
	w.must(err)
	k, spki := newKey(w.t)
	n, got, err := w.Join(w.t.Context(), token, name, spki, "1.0")
	w.must(err)
	if got.ID != of.ID || n.Cluster != of.ID {
		w.t.Fatalf("joined %s", got.Name)
	}
	return &machine{t: w.t, node: n, key: k, now: w.Now}
}

// assert signs claims; change may spoil them.
func (m *machine) assert(change ...func(claims map[string]any)) string {
	m.t.Helper()
	return m.sign(m.key, string(m.node.ID), change...)
}

func (m *machine) sign(k *ecdsa.PrivateKey, kid string, change ...func(claims map[string]any)) string {
	m.t.Helper()
	now := m.now()
	claims := map[string]any{"iss": string(m.node.ID), "sub": string(m.node.ID), "aud": audience, "iat": now.Unix(), "exp": now.Add(cluster.AssertionLife).Unix(), "jti": rand.Text()}
	for _, c := range change {
		c(claims)
	}
	text, err := oidc.SigningKey{ID: kid, Algorithm: oidc.ES256, Private: k}.Sign(oidc.TypeIDToken, claims)
	if err != nil {
		m.t.Fatal(err)
	}
	return text
}

func wantCode(t *testing.T, what string, err error, kind fault.Kind, code string) {
	t.Helper()
	if !errors.Is(err, fault.Coded(kind, code, "")) {
		t.Errorf("%s: %v, want %s %s", what, err, kind, code)
	}
}
