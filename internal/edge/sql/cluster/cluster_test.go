package cluster_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	sqlcluster "carnet.dev/carnet/internal/edge/sql/cluster"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/cluster"
)

func at(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

func both(t *testing.T, test func(t *testing.T, s, other sqlcluster.Store)) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		test(t, sqlcluster.Store{DB: sqltest.OpenWith(t, c)}, sqlcluster.Store{DB: sqltest.OpenWith(t, c)})
	})
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func refused(t *testing.T, what string, err error, kind fault.Kind, code string) {
	t.Helper()
	if !errors.Is(err, fault.Coded(kind, code, "")) {
		t.Errorf("%s: %v, want %s %s", what, err, kind, code)
	}
}

var exact = cmp.Options{cmpopts.EquateComparable(netip.Prefix{})}

func full(name string) cluster.Cluster {
	return cluster.Cluster{ID: identity.NewClusterID(), Name: name, Kind: cluster.HighConcurrency, Managers: []identity.PersonID{"psn_m"},
		People: []identity.PersonID{"psn_a", "psn_b"}, Groups: []identity.GroupID{"grp_a"}, Orchestrators: []identity.ServicePrincipalID{"spn_hub"},
		Roles: []string{"arn:aws:iam::111122223333:role/data-*"}, LoginNames: "idp_a", Meta: true, InstanceMetadata: true, SigningProxy: true, Longest: 8 * time.Hour,
		Binding:  cluster.Binding{Networks: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("2001:db8::/48")}, Certificates: []cluster.Fingerprint{{9}, {0xff}}},
		Revision: 1, Made: at(5)}
}

// TestClusters is the conformance suite of cluster.Clusters.
func TestClusters(t *testing.T) {
	both(t, func(t *testing.T, s, other sqlcluster.Store) {
		ctx := t.Context()
		changed := make(chan struct{}, 20)
		if err := other.Watch(ctx, func() { changed <- struct{}{} }); err != nil {
			t.Fatal(err)
		}
		zoo, lab := full("Zoo"), cluster.Cluster{ID: identity.NewClusterID(), Name: "lab", Kind: cluster.Standard, Assigned: "psn_a", Revision: 1, Made: at(9)}
		for _, c := range []cluster.Cluster{zoo, lab} {
			if err := s.AddCluster(ctx, c); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case <-changed:
		case <-time.After(5 * time.Second):
			t.Error("another server was not told")
		}
		refused(t, "a name that is taken", other.AddCluster(ctx, full("ZOO")), fault.Conflict, "cluster.name")
		list := must[[]cluster.Cluster](t)
		if diff := cmp.Diff([]cluster.Cluster{lab, zoo}, list(other.Clusters(ctx)), exact); diff != "" {
			t.Errorf("what was stored is read otherwise:\n%s", diff)
		}
		next := lab
		next.Revision, next.Assigned, next.Roles = 2, "psn_b", []string{"*"}
		for _, want := range []bool{true, false} { // the second was made of a revision that is gone
			if got := must[bool](t)(other.UpdateCluster(ctx, next)); got != want {
				t.Errorf("updated: %v, want %v", got, want)
			}
		}
		if diff := cmp.Diff([]cluster.Cluster{next, zoo}, list(s.Clusters(ctx)), exact); diff != "" {
			t.Error(diff)
		}
		for _, want := range []bool{true, false} {
			if got := must[bool](t)(s.RemoveCluster(ctx, zoo.ID)); got != want {
				t.Errorf("removed: %v, want %v", got, want)
			}
		}
		if got := list(other.Clusters(ctx)); len(got) != 1 {
			t.Errorf("left: %v", got)
		}
	})
}

// TestUnknownSettings: a rule that this release does not know is not left out.
func TestUnknownSettings(t *testing.T) {
	both(t, func(t *testing.T, s, _ sqlcluster.Store) {
		ctx := t.Context()
		if err := s.AddCluster(ctx, full("lab")); err != nil {
			t.Fatal(err)
		}
		if err := s.DB.Write(ctx, func(tx *sql.Tx) error {
			_, err := tx.Exec(`UPDATE cluster SET settings = '{"only_on_sundays":true}'`)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Clusters(ctx); err == nil || !strings.Contains(err.Error(), "only_on_sundays") {
			t.Errorf("%v, %v", got, err)
		}
	})
}

func node(of cluster.Cluster, name string) cluster.Node {
	return cluster.Node{ID: identity.NewNodeID(), Cluster: of.ID, Name: name, Key: []byte("\x00key of " + name), Joined: at(7), Epoch: 3}
}

// TestNodes is the conformance suite of cluster.Nodes and cluster.Healths.
func TestNodes(t *testing.T) {
	both(t, func(t *testing.T, s, other sqlcluster.Store) {
		ctx := t.Context()
		lab, zoo := full("lab"), full("zoo")
		for _, c := range []cluster.Cluster{lab, zoo} {
			if err := s.AddCluster(ctx, c); err != nil {
				t.Fatal(err)
			}
		}
		first, second, third := node(lab, "worker-1"), node(lab, "worker-2"), node(zoo, "worker-1")
		for _, n := range []cluster.Node{first, second, third} {
			if err := s.AddNode(ctx, n, 2); err != nil {
				t.Fatal(err)
			}
		}
		refused(t, "one too many", s.AddNode(ctx, node(lab, "worker-3"), 2), fault.Limited, "node.most")
		refused(t, "a name that is taken", other.AddNode(ctx, node(lab, "WORKER-1"), 9), fault.Conflict, "node.name")
		refused(t, "no cluster", s.AddNode(ctx, node(full("gone"), "w"), 9), fault.NotFound, "cluster.unknown")
		nodes := must[[]cluster.Node](t)
		got := map[identity.NodeID]cluster.Node{}
		for _, n := range nodes(other.Nodes(ctx)) {
			got[n.ID] = n
		}
		if diff := cmp.Diff(map[identity.NodeID]cluster.Node{first.ID: first, second.ID: second, third.ID: third}, got); diff != "" {
			t.Errorf("what was stored is read otherwise:\n%s", diff)
		}
		next := first
		next.Before, next.Key, next.BeforeEnds = first.Key, []byte("next"), at(99)
		for _, want := range []bool{true, false} { // the second replaces a key that is gone
			if got := must[bool](t)(other.SetNodeKey(ctx, next)); got != want {
				t.Errorf("key replaced: %v, want %v", got, want)
			}
		}
		for _, n := range nodes(s.Nodes(ctx)) {
			if n.ID == first.ID {
				if diff := cmp.Diff(next, n); diff != "" {
					t.Error(diff)
				}
			}
		}

		yes := must[bool](t)
		health := cluster.Health{Node: second.ID, Seen: at(50), Report: cluster.Report{Version: "1.2", Faces: []string{"container", "socket"}, Troubles: []string{"no cgroup"}, MetadataReachable: true}}
		if !yes(s.SetHealth(ctx, health)) || !yes(s.SetSeen(ctx, second.ID, at(60))) || yes(s.SetSeen(ctx, "nod_gone", at(60))) {
			t.Error("health is kept for the nodes that there are")
		}
		health.Seen = at(60)
		if diff := cmp.Diff([]cluster.Health{{Node: first.ID, Seen: at(7)}, health}, must[[]cluster.Health](t)(other.Healths(ctx, lab.ID))); diff != "" {
			t.Error(diff)
		}
		if !yes(s.RemoveNode(ctx, second.ID)) || yes(s.RemoveNode(ctx, second.ID)) || yes(s.SetHealth(ctx, health)) {
			t.Error("a node that was removed")
		}
		if !yes(s.RemoveCluster(ctx, lab.ID)) {
			t.Error("the cluster stays")
		}
		if diff := cmp.Diff([]cluster.Node{third}, nodes(s.Nodes(ctx))); diff != "" {
			t.Errorf("nodes go with their cluster:\n%s", diff)
		}
	})
}

// TestJoinTokens is the conformance suite of cluster.JoinTokens.
func TestJoinTokens(t *testing.T) {
	both(t, func(t *testing.T, s, other sqlcluster.Store) {
		ctx := t.Context()
		lab := full("lab")
		if err := s.AddCluster(ctx, lab); err != nil {
			t.Fatal(err)
		}
		first := cluster.JoinToken{Digest: [32]byte{1}, Cluster: lab.ID, By: "psn_a", Made: at(10), Expires: at(20)}
		second := cluster.JoinToken{Digest: [32]byte{2}, Cluster: lab.ID, Made: at(15), Expires: at(40)}
		for _, j := range []cluster.JoinToken{first, second} {
			if err := s.AddJoinToken(ctx, j, 2); err != nil {
				t.Fatal(err)
			}
		}
		refused(t, "one too many", s.AddJoinToken(ctx, cluster.JoinToken{Digest: [32]byte{3}, Cluster: lab.ID, Made: at(19), Expires: at(40)}, 2), fault.Limited, "join-token.most")
		refused(t, "no cluster", s.AddJoinToken(ctx, cluster.JoinToken{Digest: [32]byte{3}, Cluster: "cls_gone", Made: at(21), Expires: at(40)}, 2), fault.NotFound, "cluster.unknown")
		if err := s.AddJoinToken(ctx, cluster.JoinToken{Digest: [32]byte{3}, Cluster: lab.ID, Made: at(20), Expires: at(40)}, 2); err != nil {
			t.Errorf("once one has expired: %v", err)
		}
		for digest, want := range map[[32]byte]*cluster.JoinToken{{1}: &first, {2}: &second, {9}: nil} {
			got, found, err := other.JoinToken(ctx, digest)
			if err != nil || found != (want != nil) || found && got != *want {
				t.Errorf("%v %v %v, want %v", got, found, err, want)
			}
		}
		if err := s.SweepJoinTokens(ctx, at(30)); err != nil {
			t.Fatal(err)
		}
		if _, found, _ := s.JoinToken(ctx, first.Digest); found {
			t.Error("what expired is kept")
		}
		if !must[bool](t)(s.RemoveCluster(ctx, lab.ID)) {
			t.Error("the cluster stays")
		}
		if _, found, _ := s.JoinToken(ctx, second.Digest); found {
			t.Error("join tokens go with their cluster")
		}
	})
}

// TestPlacesOfGatewayKeysBecomeClusters: what the release before stored is a cluster
// after the migration.
func TestPlacesOfGatewayKeysBecomeClusters(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		ctx := t.Context()
		schema := map[string]string{}
		if err := sqltest.Open(t).Read(ctx, func(tx *sql.Tx) (err error) {
			schema, err = tx.Schema()
			return err
		}); err != nil {
			t.Fatal(err)
		}
		for step := range schema {
			if step >= "0080" {
				delete(schema, step)
			}
		}
		db, err := sql.Open(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		err = db.Rebuild(ctx, schema, func(tx *sql.Tx) error {
			_, err := tx.Exec(`INSERT INTO gateway_cluster (name_fold, name, networks, certificates, made) VALUES ('TRINO', 'Trino', '["10.4.0.0/16"]', '[]', 77), ('ZOO', 'zoo', '[]', '["` + strings.Repeat("09", 32) + `"]', 78)`)
			return err
		}, func(*sql.Tx) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		got := must[[]cluster.Cluster](t)(sqlcluster.Store{DB: db}.Clusters(ctx))
		if len(got) != 2 || got[0].Name != "Trino" || !strings.HasPrefix(string(got[0].ID), "cls_") || len(got[0].ID) != len(identity.NewClusterID()) || got[0].ID == got[1].ID ||
			got[0].Kind != cluster.HighConcurrency || got[0].Binding.Networks[0].String() != "10.4.0.0/16" || !got[0].Made.Equal(at(77)) || len(got[1].Binding.Certificates) != 1 {
			t.Errorf("%+v", got)
		}
	})
}
