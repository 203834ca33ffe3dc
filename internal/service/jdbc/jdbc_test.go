package jdbc_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/entitlement"
	"carnet.dev/carnet/internal/service/holder"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/jdbc"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/meta"
)

var analyst = arn.Role{Partition: "aws", Account: "111122223333", Path: "/", Name: "analyst"}

// world stands for everything that a connection rests on. during runs while keys are
// fetched, which may take an STS a while.
type world struct {
	off     map[string]bool // revoked, by kind
	out     bool            // the person may not work on the cluster
	during  func()
	records int
}

func (w *world) VerifyID(t secret.Text, audience string) (issuer.ProvenID, error) {
	if t.Reveal() != "password" || audience != issuer.AudienceJDBC {
		return issuer.ProvenID{}, fault.New(fault.Unauthenticated, "no token")
	}
	return issuer.ProvenID{ID: "jti", Subject: "user:psn_ann", LoginSession: "lgn_ann", Epoch: 1}, nil
}

func (w *world) ResumeID(_ context.Context, id identity.LoginSessionID) (login.LoginSession, error) {
	return login.LoginSession{ID: id, Person: login.Person{ID: "psn_ann", IdP: "idp_a", UserName: "ann"}, Expires: time.Now().Add(time.Hour)}, nil
}

func (w *world) Cluster(id identity.ClusterID) (cluster.Cluster, bool) {
	return cluster.Cluster{ID: id, Name: "lab", Meta: true}, true
}

func (w *world) MayAttach(cluster.Cluster, identity.PersonID, []identity.GroupID) error {
	if w.out {
		return fault.Coded(fault.Denied, "cluster.not-listed", "you are not on its list")
	}
	return nil
}

func (w *world) Allows(cluster.Cluster, arn.Role) bool { return true }

func (w *world) GroupsAround(context.Context, string) ([]identity.GroupID, error) { return nil, nil }

func (w *world) Standing(context.Context, holder.Owner, []arn.Role) (holder.Standing, error) {
	return holder.Standing{Held: []arn.Role{analyst}, Owner: holder.Owner{LoginSession: "lgn_ann", Person: "psn_ann", Name: "ann"}}, nil
}

func (w *world) Keys(context.Context, holder.Owner, arn.Role, string) (credential.Temporary, error) {
	w.during()
	return credential.Temporary{AccessKeyID: "ASIA", SecretAccessKey: secret.New("s"), SessionToken: secret.New("t"), Expiration: time.Now().Add(time.Hour)}, nil
}

func (w *world) Epoch() (uint64, error) { return 1, nil }

func (w *world) Refused(kind, _ string, _ uint64) (bool, error) { return w.off[kind], nil }

func (w *world) Seal(_ string, _, plain []byte) ([]byte, error) { return plain, nil }

func (w *world) Open(_ string, _, sealed []byte) ([]byte, error) { return sealed, nil }

func (w *world) Atomic(ctx context.Context, fn func(context.Context) error) error { return fn(ctx) }

func (w *world) Record(context.Context, event.Event) error {
	w.records++
	return nil
}

// What is taken back while keys are fetched is not handed out: an STS may take longer
// than the two seconds within which a revocation counts.
func TestAttackKeysForAConnectionThatWasRevokedMeanwhile(t *testing.T) {
	t.Parallel()
	for name, takeBack := range map[string]func(w *world){
		"login-session": func(w *world) { w.off["login-session"] = true },
		"person":        func(w *world) { w.off["person"] = true },
		"node":          func(w *world) { w.off["node"] = true },
		"cluster list":  func(w *world) { w.out = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &world{off: map[string]bool{}, during: func() {}}
			s := jdbc.New(jdbc.Config{Proofs: w, Sessions: w, Clusters: w, Groups: w, Holders: w, Accounts: entitlement.Accounts{analyst.Account: {Partition: "aws"}},
				ByGateway: func(string) bool { return false }, Sealer: w, Feed: w, State: w, Trail: w, Now: time.Now})
			node, from := cluster.Node{ID: "nod_a", Cluster: "cls_a"}, netip.MustParseAddr("127.0.0.1")
			first, err := s.Connect(t.Context(), node, "ann", secret.New("password"), "", from)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Renew(t.Context(), node, first.Secret, from); err != nil {
				t.Fatal(err)
			}
			w.records = 0
			w.during = func() { takeBack(w) }
			if c, err := s.Renew(t.Context(), node, first.Secret, from); fault.KindOf(err) != fault.Denied || c.Keys.AccessKeyID != "" {
				t.Errorf("renewed: %v, %q", err, c.Keys.AccessKeyID)
			}
			w.off, w.out = map[string]bool{}, false
			if c, err := s.Connect(t.Context(), node, "ann", secret.New("password"), "", from); fault.KindOf(err) != fault.Denied || c.Keys.AccessKeyID != "" {
				t.Errorf("connected: %v, %q", err, c.Keys.AccessKeyID)
			}
			if w.records > 0 {
				t.Errorf("%d records of keys that were not handed out", w.records)
			}
		})
	}
}

// byMeta is Carnet's own AWS identity, and what an account asks of sign-ins.
type byMeta struct {
	refuses bool
	taken   int
}

func (m *byMeta) StillEntitled(_ context.Context, _ identity.PersonID, _ identity.IdPID, r arn.Role) error {
	if m.refuses {
		return fault.Coded(fault.Denied, "bridge.authn-context", "account "+r.Account+" asks for another way to sign in")
	}
	return nil
}

func (m *byMeta) Keys(_ context.Context, a meta.Ask) (credential.Temporary, error) {
	m.taken++
	return credential.Temporary{AccessKeyID: "ASIA" + a.Name, Expiration: time.Now().Add(time.Hour)}, nil
}

// An account that asks for a second factor before Carnet's own tokens count asks for it
// before Carnet's own AWS identity takes its roles, too.
func TestAttackConnectionByASignInThatTheAccountDoesNotTake(t *testing.T) {
	t.Parallel()
	w, m := &world{off: map[string]bool{}, during: func() {}}, &byMeta{}
	s := jdbc.New(jdbc.Config{Proofs: w, Sessions: w, Clusters: w, Groups: w, Holders: w, Meta: m, Entitled: m,
		Accounts:  entitlement.Accounts{analyst.Account: {Partition: "aws", AssumeRole: true, AuthnContexts: []string{"mfa"}}},
		ByGateway: func(string) bool { return false }, Sealer: w, Feed: w, State: w, Trail: w, Now: time.Now})
	node, from := cluster.Node{ID: "nod_a", Cluster: "cls_a"}, netip.MustParseAddr("127.0.0.1")
	first, err := s.Connect(t.Context(), node, "ann", secret.New("password"), "", from)
	if err != nil || first.Keys.AccessKeyID != "ASIAann" {
		t.Fatal(first.Keys.AccessKeyID, err)
	}
	m.refuses = true
	if _, err := s.Connect(t.Context(), node, "ann", secret.New("password"), "", from); fault.Of(err).Code != "bridge.authn-context" {
		t.Errorf("connected: %v", err)
	}
	if _, err := s.Renew(t.Context(), node, first.Secret, from); fault.Of(err).Code != "bridge.authn-context" {
		t.Errorf("renewed: %v", err)
	}
	if m.taken != 1 {
		t.Errorf("the role was taken %d times", m.taken)
	}
}
