package workload_test

import (
	"testing"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/revocation"
	"carnet.dev/carnet/internal/service/workload"
)

// TestAttackPersonsTokenOfADeliveredAccount: where a role's own keys stay in the
// server, a person has no token that buys them, by a policy as little as by their
// login session (TestAttackTokenOfADeliveredAccount of the broker).
func TestAttackPersonsTokenOfADeliveredAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	who, ask := workload.Principal{Person: w.alice.ID, IdP: okta}, workload.Ask{Audience: issuer.AudienceAWS, Role: analyst}
	w.must(w.dir.MapRole(t.Context(), string(w.alice.ID), role(analyst), directory.FromAdmin, ""))
	account := w.Accounts["111122223333"]
	for _, c := range []struct {
		deliver string
		local   bool
		refused bool
	}{{"direct", false, false}, {"gateway", false, true}, {"gateway", true, false}} {
		account.Deliver, account.Local = c.deliver, c.local
		w.Accounts["111122223333"] = account
		if _, err := w.ask(who, ask); (code(err) == workload.CodeTarget) != c.refused || err != nil && !c.refused {
			t.Errorf("deliver %s, local %v: %v", c.deliver, c.local, err)
		}
	}
	// A service principal trades by itself, and so does the server for its gateway keys.
	account.Deliver, account.Local = "gateway", false
	w.Accounts["111122223333"] = account
	d := w.delegation()
	if _, err := w.ask(workload.Principal{ServicePrincipal: d.ServicePrincipal, Delegation: d.ID}, workload.Ask{Audience: issuer.AudienceAWS}); err != nil {
		t.Error(err)
	}
}

// clusters knows those of its map by name and id, and one role that they don't allow.
type clusters struct {
	all    map[string]cluster.Cluster
	forbid string
}

func (c *clusters) Find(text string) (cluster.Cluster, error) {
	if found, ok := c.all[text]; ok {
		return found, nil
	}
	return cluster.Cluster{}, fault.Coded(fault.NotFound, "cluster.unknown", "no cluster is called so")
}

func (c *clusters) Cluster(id identity.ClusterID) (cluster.Cluster, bool) {
	found, ok := c.all[string(id)]
	return found, ok
}

func (c *clusters) Allows(_ cluster.Cluster, r arn.Role) bool { return r.String() != c.forbid }

// TestAttackDelegationsToClusters: what a person let a cluster do nobody else does, on
// no other cluster, in no other role, and not once the cluster is gone, forbids the role
// or was revoked.
func TestAttackDelegationsToClusters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	lab := cluster.Cluster{ID: "cls_lab", Name: "lab"}
	known := &clusters{all: map[string]cluster.Cluster{"lab": lab, "cls_lab": lab}}
	w.last.roles[w.alice.ID] = []string{analyst}
	to := workload.NewDelegation{Role: "analyst", Cluster: "lab", Label: "training"}
	delegate := func() (workload.Listed, error) { return w.Delegate(t.Context(), w.session(held(analyst)), to) }
	if _, err := delegate(); code(err) != "delegation.cluster" {
		t.Errorf("where there are no clusters: %v", err)
	}
	w.Clusters = known
	known.forbid = analyst
	if _, err := delegate(); code(err) != "delegation.cluster" {
		t.Errorf("a role that is not allowed there: %v", err)
	}
	known.forbid = ""
	to.ServicePrincipal = "nightly"
	if _, err := delegate(); code(err) != "delegation.to" {
		t.Errorf("to both: %v", err)
	}
	to.ServicePrincipal = ""
	d, err := delegate()
	w.must(err)
	if d.ClusterName != "lab" || d.MachineName != "" || d.ServicePrincipal != "" {
		t.Errorf("%+v", d)
	}
	ask := func(p workload.Principal) error {
		p.Delegation = d.ID
		_, err := w.ask(p, workload.Ask{Audience: issuer.AudienceAWS, Role: analyst})
		return err
	}
	at := workload.Principal{Cluster: "cls_lab"}
	w.must(ask(at))
	for name, p := range map[string]workload.Principal{
		"nobody": {}, "a service principal": {ServicePrincipal: w.sp.ID}, "another cluster": {Cluster: "cls_x"}, "a service principal at the cluster": {ServicePrincipal: w.sp.ID, Cluster: "cls_lab"},
	} {
		if err := ask(p); code(err) != workload.CodeGrant {
			t.Errorf("%s: %v", name, err)
		}
	}
	machine := w.delegation()
	if _, err := w.ask(workload.Principal{Delegation: machine.ID, ServicePrincipal: machine.ServicePrincipal, Cluster: "cls_lab"}, workload.Ask{Audience: issuer.AudienceAWS}); code(err) != workload.CodeGrant {
		t.Errorf("a delegation to a service principal, at a cluster: %v", err)
	}
	if _, err := w.ask(workload.Principal{Delegation: d.ID, Cluster: "cls_lab"}, workload.Ask{Audience: issuer.AudienceAWS, Role: pipeline}); err == nil {
		t.Error("another role")
	}
	known.forbid = analyst
	if err := ask(at); code(err) != workload.CodeGrant {
		t.Errorf("the cluster forbids the role: %v", err)
	}
	known.forbid = ""
	delete(known.all, "cls_lab")
	if err := ask(at); code(err) != workload.CodeGrant {
		t.Errorf("the cluster is gone: %v", err)
	}
	known.all["cls_lab"] = lab
	w.must(ask(at))
	_, err = w.feed.Revoke(t.Context(), revocation.Cluster, "cls_lab")
	w.must(err)
	w.must(w.feed.Confirm(t.Context()))
	if err := ask(at); code(err) != workload.CodeGrant {
		t.Errorf("the cluster was revoked: %v", err)
	}
}

// TestAttackDelegationsMadeAndRevoked: AWS has room for so many names in a role; what
// has none denies the keys of everybody. Nobody fills it by making delegations and
// revoking them.
func TestAttackDelegationsMadeAndRevoked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.last.roles[w.alice.ID] = []string{analyst}
	l, made := w.session(held(analyst)), 0
	for ; made <= 2*workload.MostDelegations; made++ {
		d, err := w.Delegate(t.Context(), l, workload.NewDelegation{Role: analyst, ServicePrincipal: string(w.sp.ID), Label: "again"})
		if code(err) == "delegation.lately" {
			break
		}
		w.must(err)
		w.must(w.EndOwn(t.Context(), l, d.ID))
	}
	if made != 2*workload.MostDelegations {
		t.Errorf("%d were made in a row", made)
	}
}
