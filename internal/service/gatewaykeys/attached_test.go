package gatewaykeys_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	sqlcluster "carnet.dev/carnet/internal/edge/sql/cluster"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/gatewaykeys"
)

// anybody is a directory where everybody who is named is there.
type anybody struct{}

func (anybody) Person(_ context.Context, id identity.PersonID) (directory.Person, error) {
	return directory.Person{ID: id, Active: true}, nil
}

func (anybody) Group(_ context.Context, id identity.GroupID) (directory.Group, error) {
	return directory.Group{ID: id}, nil
}

func (anybody) ServicePrincipal(_ context.Context, id identity.ServicePrincipalID) (directory.ServicePrincipal, error) {
	return directory.ServicePrincipal{ID: id}, nil
}

// delivered gives ann the key of 1/analyst on a node of a cluster, for a connection
// that no attachment stands behind.
func (w *world) delivered(c cluster.Cluster, n cluster.Node, ends time.Time) gatewaykeys.Made {
	w.t.Helper()
	m, err := w.DeliverAttached(w.t.Context(), gatewaykeys.Attached{Owner: gatewaykeys.Owner{LoginSession: "lgn_ann"}, Cluster: c, Node: n.ID, Ends: ends},
		role("1/analyst"), netip.MustParseAddr("10.1.2.3"))
	w.must(err)
	return m
}

func (w *world) lab(c cluster.Cluster) (cluster.Cluster, cluster.Node) {
	w.t.Helper()
	c, err := w.clusters.Add(w.t.Context(), c)
	w.must(err)
	epoch, err := w.feed.Epoch()
	w.must(err)
	n := cluster.Node{ID: identity.NewNodeID(), Cluster: c.ID, Name: "n1", Key: []byte("n1"), Joined: time.Now().UTC().Truncate(time.Millisecond), Epoch: epoch}
	w.must(sqlcluster.Store{DB: w.db}.AddNode(w.t.Context(), n, 100))
	w.must(w.clusters.Refresh(w.t.Context()))
	return c, n
}

func TestAttackGatewayKeyAfterItsNodeWasRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, n := w.lab(cluster.Defaults("lab", cluster.HighConcurrency))
	m := w.delivered(c, n, time.Time{})
	if got := w.chosen(w.holder(m), "sales", "x"); got != "1/analyst" {
		t.Fatalf("before: %s", got)
	}
	w.must(w.clusters.RemoveNode(t.Context(), n.ID))
	w.must(w.feed.Confirm(t.Context()))
	_, _, err := w.Find(t.Context(), m.AccessKeyID)
	wantFault(t, "the key of a node that was removed", err, "ExpiredToken")
}

// Whoever is taken off a cluster keeps no key of one of its nodes, nor does a role that
// the cluster no longer allows, for as long as what is known of the owner is kept.
func TestAttackGatewayKeyOfWhoMayNotWorkThereAnyMore(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(c *cluster.Cluster){
		"reassigned": func(c *cluster.Cluster) { c.Assigned = "psn_bob" },
		"role":       func(c *cluster.Cluster) { c.Roles = []string{"arn:aws:iam::111111111111:role/hr"} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			d := cluster.Defaults("own", cluster.Standard)
			d.Assigned = "psn_ann"
			c, n := w.lab(d)
			h := w.holder(w.delivered(c, n, time.Time{}))
			if got := w.chosen(h, "sales", "x"); got != "1/analyst" {
				t.Fatalf("before: %s", got)
			}
			change(&c)
			_, err := w.clusters.Update(t.Context(), c)
			w.must(err)
			if got := w.chosen(h, "sales", "x"); got == "1/analyst" {
				t.Errorf("the key still works as %s", got)
			}
			if _, err := w.Keys(t.Context(), h, role("1/analyst")); fault.KindOf(err) != fault.Denied {
				t.Errorf("keys of the role: %v", err)
			}
		})
	}
}

// A person in a group that a cluster lists works there by that.
func TestDeliveredKeyOfAGroup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.set(func() { w.around = []identity.GroupID{"grp_data"} })
	d := cluster.Defaults("lab", cluster.HighConcurrency)
	d.Groups = []identity.GroupID{"grp_data"}
	c, n := w.lab(d)
	h := w.holder(w.delivered(c, n, time.Time{}))
	if got := w.chosen(h, "sales", "x"); got != "1/analyst" {
		t.Errorf("in the group: %s", got)
	}
	c.Groups = []identity.GroupID{"grp_other"}
	_, err := w.clusters.Update(t.Context(), c)
	w.must(err)
	if got := w.chosen(h, "sales", "x"); got == "1/analyst" {
		t.Error("the key works though the cluster is for another group now")
	}
}

func TestDeliveredKeyEndsWithWhatItIsFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, n := w.lab(cluster.Defaults("lab", cluster.HighConcurrency))
	ends := time.Now().Add(5 * time.Minute).UTC().Truncate(time.Second)
	if m := w.delivered(c, n, ends); m.Expires.After(ends) {
		t.Errorf("the key lives until %s, what it is for until %s", m.Expires, ends)
	}
}

// The rules of one node hold no key that was made for another: that would work on when
// this one is removed.
func TestAttackTrinoKeyOfAnotherNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := cluster.Defaults("lab", cluster.HighConcurrency)
	d.Binding.Networks = []netip.Prefix{home}
	c, n := w.lab(d)
	rules := func(node identity.NodeID) string {
		t.Helper()
		out, err := w.TrinoRulesFor(t.Context(), c, []gatewaykeys.TrinoUser{{
			Attached: gatewaykeys.Attached{Owner: gatewaykeys.Owner{LoginSession: "lgn_ann", Person: "psn_ann", Name: "ann"}, Attachment: identity.AttachmentID("att_" + string(node)), Cluster: c, Node: node},
			Roles:    func(context.Context) ([]arn.Role, arn.Role, error) { return roles("1/analyst"), role("1/analyst"), nil },
		}})
		w.must(err)
		if len(out.Rules) != 1 {
			t.Fatalf("%d rules, %q", len(out.Rules), out.Notes)
		}
		return out.Rules[0].AccessKeyID
	}
	other := identity.NewNodeID()
	first, second := rules(n.ID), rules(other)
	if first == second {
		t.Error("two nodes have the same key")
	}
	if again := rules(n.ID); again != first {
		t.Error("the rules of the first node are other ones now")
	}
	w.must(w.clusters.RemoveNode(t.Context(), n.ID))
	w.must(w.feed.Confirm(t.Context()))
	_, _, err := w.Find(t.Context(), first)
	wantFault(t, "the key of a node that was removed", err, "ExpiredToken")
	if _, _, err := w.Find(t.Context(), second); err != nil {
		t.Errorf("the other node's key: %v", err)
	}
}
