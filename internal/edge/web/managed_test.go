package web_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/cluster"
)

// managedBy lets the person who signs in manage a cluster.
func (s *shared) managedBy(t *testing.T, c cluster.Cluster, people ...identity.PersonID) cluster.Cluster {
	t.Helper()
	c, _ = s.Cluster(c.ID)
	c.Managers = people
	c, err := s.Update(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestManagersTendTheirClusters: who manages a cluster sees it whole and does what
// managers may, on pages too.
func TestManagersTendTheirClusters(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	b := newBrowser(t)
	b.signIn(w, "/")
	if p := b.get(w.base + "/"); strings.Contains(p.body, `href="/clusters"`) {
		t.Error("clusters are offered to somebody who manages none")
	}
	contains(t, b.get(w.base+"/clusters"), "You manage no cluster", "ask one of them")
	many, one := w.shared.populate(t)
	many, one = w.shared.managedBy(t, many, "psn_x", "psn_bob"), w.shared.managedBy(t, one, "psn_x")
	contains(t, b.get(w.base+"/"), `<a href="/clusters">Clusters</a>`)
	contains(t, b.get(w.base+"/clusters"), `<a href="/clusters" aria-current="page">`, `<a href="/clusters/`+string(many.ID)+`">research</a>`, "1 of 4 not heard of", "2 logins work there now", "bench-of-alice")
	here := w.base + "/clusters/" + string(many.ID)
	p := b.get(here)
	contains(t, p, "research", "For many people", "login-1", "In trouble", "Not heard of", "<strong>alice@example.com</strong> as alice on login-1", "Ended lately",
		"Data Engineers", "arn:aws:iam::111122223333:role/*", "12 h", "bob@example.com", "jupyterhub", "Administrators change this")
	for _, not := range []string{"/admin/", `name="people"`, `name="roles"`, `name="managers"`, "Remove the cluster", `value="assign"`} {
		if strings.Contains(p.body, not) {
			t.Errorf("a manager's page holds %q", not)
		}
	}
	contains(t, b.post(here, url.Values{"act": {"join"}}), "The join token, this once", "<code>carnet-join-")
	if strings.Contains(b.get(here).body, "carnet-join-") {
		t.Error("the token is shown a second time")
	}
	if p := b.post(here, url.Values{"act": {"end"}, "attachment": {"att_1"}}); p.to() != "/clusters/"+string(many.ID)+"?done=login-ended#logins" || w.shared.logins[0].Live {
		t.Errorf("ended: %d %q", p.status, p.to())
	}
	node := string(w.shared.NodesOf(many.ID)[0].ID)
	theirs := w.base + "/clusters/" + string(one.ID)
	if p := b.post(theirs, url.Values{"act": {"remove-node"}, "node": {node}}); p.status != 404 {
		t.Errorf("a machine of another cluster was removed: %d", p.status)
	}
	if p := b.post(here, url.Values{"act": {"remove-node"}, "node": {node}}); p.status != 303 || len(w.shared.NodesOf(many.ID)) != 3 {
		t.Errorf("removed: %d", p.status)
	}
	contains(t, b.get(theirs), "Its person", "Nobody.", "No machine has joined")
	if p := b.post(theirs, url.Values{"act": {"assign"}, "assigned": {"bob@example.com"}}); p.to() != "/clusters/"+string(one.ID)+"?done=cluster-assigned" {
		t.Errorf("assigned: %d %q", p.status, p.to())
	}
	contains(t, b.get(theirs+"?done=cluster-assigned"), `value="bob@example.com"`, "It is assigned")
	p = b.post(theirs, url.Values{"act": {"assign"}, "assigned": {"nobody@example.com"}})
	contains(t, p, `role="alert"`, "Nobody is called", `value="nobody@example.com"`)
	if p.status != 404 {
		t.Errorf("status %d", p.status)
	}
	b.post(theirs, url.Values{"act": {"assign"}, "assigned": {""}})
	if c, _ := w.shared.Cluster(one.ID); c.Assigned != "" {
		t.Errorf("it is still assigned to %s", c.Assigned)
	}
	if p := b.post(here, url.Values{"act": {"assign"}, "assigned": {"bob@example.com"}}); p.status != 400 {
		t.Errorf("a cluster for many was assigned: %d", p.status)
	}
	w.shared.away = fault.New(fault.Unavailable, "the database doesn't answer")
	contains(t, b.get(here), "Not everything can be shown now. Who works there: the database doesn&#39;t answer.", "login-2")
	contains(t, b.get(w.base+"/clusters"), "Can’t be shown")
}

// TestAttackClustersOfOthers: who manages nothing, or another cluster, learns not even
// that a cluster is there, and a manager can do nothing that is an administrator's.
func TestAttackClustersOfOthers(t *testing.T) {
	t.Parallel()
	for _, who := range []string{"manages nothing", "manages another cluster", "managed it once"} {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			many, one := w.shared.populate(t)
			switch who {
			case "manages another cluster":
				w.shared.managedBy(t, one, "psn_x")
			case "managed it once":
				w.shared.managedBy(t, many, "psn_x")
			}
			b := newBrowser(t)
			b.signIn(w, "/")
			if who == "managed it once" {
				if p := b.get(w.base + "/clusters/" + string(many.ID)); p.status != 200 {
					t.Fatal(p.status)
				}
				w.shared.managedBy(t, many, "psn_bob")
			}
			before, _ := w.shared.Cluster(many.ID)
			node := string(w.shared.NodesOf(many.ID)[0].ID)
			here := w.base + "/clusters/" + string(many.ID)
			none := b.get(w.base + "/clusters/" + string(identity.NewClusterID()))
			p := b.get(here)
			if p.status != 404 || none.status != 404 || strings.Contains(p.body, "login-1") || strings.Contains(p.body, "research") {
				t.Errorf("seen: %d, and %d of one that is not there", p.status, none.status)
			}
			contains(t, none, "You manage no such cluster")
			contains(t, p, "You manage no such cluster")
			if p := b.get(w.base + "/clusters"); p.status != 200 || strings.Contains(p.body, "research") {
				t.Errorf("the list: %d", p.status)
			}
			for _, form := range []url.Values{{"act": {"join"}}, {"act": {"end"}, "attachment": {"att_1"}}, {"act": {"remove-node"}, "node": {node}}, {"act": {"assign"}, "assigned": {"psn_x"}}, {"act": {"remove"}, "sure": {"yes"}}} {
				if p := b.post(here, form); p.status != 404 || strings.Contains(p.body, "carnet-join-") {
					t.Errorf("%v: %d", form, p.status)
				}
			}
			for _, path := range []string{"/admin/clusters/" + string(one.ID), "/admin/clusters/" + string(one.ID) + "/act", "/admin/clusters"} {
				if p := b.post(w.base+path, url.Values{"act": {"join"}, "name": {"x"}, "kind": {"standard"}, "revision": {"1"}, "longest": {"0"}}); p.status != 403 {
					t.Errorf("POST %s: %d", path, p.status)
				}
			}
			after, ok := w.shared.Cluster(many.ID)
			if !ok || after.Revision != before.Revision || len(w.shared.NodesOf(many.ID)) != 4 || !w.shared.logins[0].Live {
				t.Errorf("something was changed: %+v", after)
			}
		})
	}
}

// TestManagersDoNothingElse: what is an administrator's is refused to who manages the
// very cluster, and another site's form does nothing.
func TestManagersDoNothingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	many, _ := w.shared.populate(t)
	many = w.shared.managedBy(t, many, "psn_x")
	b := newBrowser(t)
	b.signIn(w, "/")
	here := w.base + "/clusters/" + string(many.ID)
	for _, form := range []url.Values{{"act": {"remove"}, "sure": {"yes"}}, {}, {"act": {"explode"}}, {"revision": {"2"}, "longest": {"0"}, "managers": {"psn_x"}, "roles": {"*"}}} {
		if p := b.post(here, form); p.status != 400 {
			t.Errorf("%v: %d", form, p.status)
		}
	}
	if p := b.post(here, url.Values{"act": {"join"}}, "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"); p.status != 403 || strings.Contains(p.body, "carnet-join-") {
		t.Errorf("another site's form: %d", p.status)
	}
	c, ok := w.shared.Cluster(many.ID)
	if !ok || c.Revision != many.Revision || !slices.Equal(c.Roles, many.Roles) {
		t.Errorf("something was changed: %+v", c)
	}
	w.person = "carol" // an administrator has the page of all
	a := newBrowser(t)
	a.signIn(w, "/")
	if p := a.get(here); p.to() != "/admin/clusters/"+string(many.ID) {
		t.Errorf("led to %q", p.to())
	}
	if p := a.get(w.base + "/clusters"); p.to() != "/admin/clusters" {
		t.Errorf("led to %q", p.to())
	}
}
