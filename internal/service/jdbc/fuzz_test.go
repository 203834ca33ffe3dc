package jdbc_test

import (
	"net/netip"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/sql"
	sqlkeyring "carnet.dev/carnet/internal/edge/sql/keyring"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/jdbc"
	"carnet.dev/carnet/internal/service/keyring"
)

// lab is the one cluster, which serves connections.
type lab struct{}

func (lab) Cluster(id identity.ClusterID) (cluster.Cluster, bool) {
	return cluster.Cluster{ID: id, Name: "lab", Meta: true}, true
}

func (lab) MayAttach(cluster.Cluster, identity.PersonID, []identity.GroupID) error { return nil }

func (lab) Allows(cluster.Cluster, arn.Role) bool { return true }

// FuzzRenew: whatever comes as a connection, and was not sealed for it by this
// installation, is none; so is what was sealed for anything else.
func FuzzRenew(f *testing.F) {
	db := sqltest.OpenWith(f, sql.Config{SQLite: f.TempDir() + "/carnet.db"})
	keks, err := keyring.ParseKEKs(keyring.NewKEKFile())
	if err != nil {
		f.Fatal(err)
	}
	ring, err := keyring.Open(f.Context(), keyring.Config{Store: sqlkeyring.Store{DB: db}, KEKs: keks, Now: time.Now})
	if err != nil {
		f.Fatal(err)
	}
	s := jdbc.New(jdbc.Config{Clusters: lab{}, Sealer: ring, Now: time.Now})
	sealed, err := ring.Seal("node-token", nil, []byte(`{"s":"lgn_a","p":"psn_a","c":"cls_a","n":"nod_a","r":"arn:aws:iam::111122223333:role/a","e":9}`))
	if err != nil {
		f.Fatal(err)
	}
	for _, text := range []string{"", "carnet-jdbc-", "carnet-jdbc-AAAA", "carnet-node-AAAA", "carnet-jdbc-" + string(sealed), "a.b.c"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := s.Renew(t.Context(), cluster.Node{ID: "nod_a", Cluster: "cls_a"}, secret.New(text), netip.MustParseAddr("127.0.0.1"))
		if fault.KindOf(err) != fault.Denied || fault.Of(err).Code != "jdbc.refused" || !c.Secret.IsZero() {
			t.Errorf("%q: %v", text, err)
		}
	})
}
