package cluster_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/cluster"
)

// TestWhoMayAttach: a standard cluster is its assigned person's alone, whoever made it
// or manages it; one of many people is for those on its list, and their groups.
func TestWhoMayAttach(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann, bob, eve := w.person("ann"), w.person("bob"), w.person("eve")
	staff, err := w.directory.NewGroup(t.Context(), "staff", "")
	w.must(err)
	lab := cluster.Defaults("lab", cluster.Standard)
	lab.Managers = []identity.PersonID{eve.ID}
	lab = w.add(lab)
	open := w.add(cluster.Defaults("open", cluster.HighConcurrency))
	closed := cluster.Defaults("closed", cluster.HighConcurrency)
	closed.People, closed.Groups = []identity.PersonID{bob.ID}, []identity.GroupID{staff.ID}
	closed = w.add(closed)
	given := lab
	given.Assigned = ann.ID
	strange := open
	strange.Kind = "single-user"
	for what, c := range map[string]struct {
		of     cluster.Cluster
		who    identity.PersonID
		groups []identity.GroupID
		code   string
	}{
		"nobody is assigned":           {lab, ann.ID, nil, "cluster.unassigned"},
		"its person":                   {given, ann.ID, nil, ""},
		"another":                      {given, bob.ID, nil, "cluster.assigned"},
		"who manages it":               {given, eve.ID, nil, "cluster.assigned"},
		"everybody":                    {open, eve.ID, nil, ""},
		"nobody who is known":          {open, "", nil, "cluster.nobody"},
		"on the list":                  {closed, bob.ID, nil, ""},
		"of a group":                   {closed, ann.ID, []identity.GroupID{"grp_x", staff.ID}, ""},
		"not on the list":              {closed, ann.ID, []identity.GroupID{"grp_x"}, "cluster.not-listed"},
		"a kind that nobody knows yet": {strange, ann.ID, nil, "cluster.kind"},
	} {
		err := w.MayAttach(c.of, c.who, c.groups)
		if c.code == "" {
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
			continue
		}
		wantCode(t, what, err, fault.Denied, c.code)
	}
	if !w.MayManage(lab, eve.ID) || w.MayManage(lab, ann.ID) || w.MayManage(lab, "") || w.MayManage(open, "") {
		t.Error("who manages a cluster is whom it names")
	}
	role := func(name string) arn.Role {
		return arn.Role{Partition: "aws", Account: "111122223333", Path: "/", Name: name}
	}
	bound := open
	bound.Roles = []string{"arn:aws:iam::111122223333:role/data-*"}
	if !w.Allows(open, role("any")) || !w.Allows(bound, role("data-a")) || w.Allows(bound, role("admin-data-a")) || w.Allows(bound, role("any")) || w.Allows(open, arn.Role{}) {
		t.Error("the roles of a cluster are those of its patterns")
	}
	bound.Orchestrators = []identity.ServicePrincipalID{"spn_hub"}
	if !w.MayOrchestrate(bound, "spn_hub") || w.MayOrchestrate(bound, "spn_x") || w.MayOrchestrate(open, "") {
		t.Error("orchestrators are whom it names")
	}
}

// TestChanges: each is made of the revision that was seen, is recorded with it, and
// reaches other servers.
func TestChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.server()
	ctx := t.Context()
	ann, bob := w.person("ann"), w.person("bob")
	lab := w.add(cluster.Defaults("lab", cluster.Standard))
	if !lab.InstanceMetadata || cluster.Defaults("x", cluster.HighConcurrency).InstanceMetadata || lab.Revision != 1 {
		t.Errorf("defaults: %+v", lab)
	}
	first, err := w.Assign(ctx, lab.ID, ann.ID)
	w.must(err)
	if _, err := w.Assign(ctx, lab.ID, bob.ID); err != nil {
		t.Fatal(err)
	}
	first.Meta = true
	_, err = w.Update(ctx, first)
	wantCode(t, "an older revision", err, fault.Conflict, "cluster.changed")
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		if c, err := other.Find("LAB"); err == nil && c.Assigned == bob.ID && c.Revision == 3 {
			break
		}
		if time.Since(began) > 10*time.Second {
			t.Fatal("another server does not follow")
		}
	}
	now, _ := w.Cluster(lab.ID)
	for what, change := range map[string]func(*cluster.Cluster){
		"cluster.renamed":      func(c *cluster.Cluster) { c.Name = "lab2" },
		"cluster.kind-changed": func(c *cluster.Cluster) { c.Kind = cluster.HighConcurrency },
		"cluster.people":       func(c *cluster.Cluster) { c.People = []identity.PersonID{ann.ID} },
		"cluster.roles":        func(c *cluster.Cluster) { c.Roles = []string{"arn:aws:iam::1:role/ x"} },
		"cluster.longest":      func(c *cluster.Cluster) { c.Longest = time.Minute },
		"cluster.entries":      func(c *cluster.Cluster) { c.Managers = make([]identity.PersonID, 1001) },
	} {
		c := now
		change(&c)
		_, err := w.Update(ctx, c)
		wantCode(t, what, err, fault.Invalid, what)
	}
	for _, bad := range []func(*cluster.Cluster){
		func(c *cluster.Cluster) { c.Managers = []identity.PersonID{"psn_gone"} },
		func(c *cluster.Cluster) { c.Assigned = "psn_gone" },
		func(c *cluster.Cluster) { c.Orchestrators = []identity.ServicePrincipalID{"spn_gone"} },
		func(c *cluster.Cluster) { c.LoginNames = "idp_gone" },
	} {
		c := now
		bad(&c)
		_, err := w.Update(ctx, c)
		wantCode(t, "who is not there", err, fault.NotFound, "cluster.who")
	}
	// Who has gone since does not stand in the way of other changes.
	w.must(w.directory.People.Delete(ctx, bob.ID))
	now.LoginNames, now.Meta = "idp_corp", true
	if now, err = w.Update(ctx, now); err != nil || !slices.ContainsFunc(now.Warnings(), func(s string) bool { return strings.Contains(s, "login names") }) {
		t.Errorf("%v %v", now.Warnings(), err)
	}
	_, err = w.Add(ctx, cluster.Defaults("LAB", cluster.Standard))
	wantCode(t, "a name that is taken", err, fault.Conflict, "cluster.name")
	for _, name := range []string{"", "-x", "a b", "x/y", "cls_x", strings.Repeat("x", 65), "ä"} {
		_, err = w.Add(ctx, cluster.Defaults(name, cluster.Standard))
		wantCode(t, "the name "+name, err, fault.Invalid, "cluster.name")
	}
	if a, u := w.trail.count("cluster.add"), w.trail.count("cluster.update"); a != 1 || u != 3 {
		t.Errorf("%d additions and %d changes are recorded", a, u)
	}
	// What can't be recorded doesn't happen.
	w.trail.broken = errors.New("the disk is full")
	if err := w.Remove(ctx, lab.ID); err == nil {
		t.Error("removed without a record")
	}
	w.trail.broken = nil
	if _, err := w.Find("lab"); err != nil {
		t.Error("it is gone all the same")
	}
	w.must(w.Remove(ctx, lab.ID))
	wantCode(t, "removed twice", w.Remove(ctx, lab.ID), fault.NotFound, "cluster.unknown")
}

// TestNodeLife: a node joins, proves itself, changes its key within a grace, reports and
// is removed.
func TestNodeLife(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	lab := w.add(cluster.Defaults("lab", cluster.HighConcurrency))
	m := w.join(lab, "worker-1")
	n, err := w.Prove(ctx, m.assert(), audience)
	w.must(err)
	token, expires, err := w.IssueNodeToken(n)
	w.must(err)
	if want := w.Now().Add(cluster.TokenLife); !expires.Equal(want) || !strings.HasPrefix(token.Reveal(), "carnet-node-") {
		t.Errorf("a token until %s: want %s", expires, want)
	}
	// At a server that never heard of the node, too.
	other := w.server()
	for _, s := range []*cluster.Service{w.Service, other} {
		if got, err := s.NodeOf(ctx, token); err != nil || got.ID != m.node.ID || got.Cluster != lab.ID || got.Name != "worker-1" {
			t.Errorf("%+v %v", got, err)
		}
	}
	// A new key: the old one counts for ten more minutes, at every server.
	old := m.key
	next, spki := newKey(t)
	keyAudience := audience + "/api/v1/node/key"
	w.must(w.NewKey(ctx, n, spki, m.sign(next, string(n.ID), func(c map[string]any) { c["aud"] = keyAudience }), keyAudience))
	w.must(w.NewKey(ctx, n, spki, m.sign(next, string(n.ID), func(c map[string]any) { c["aud"] = keyAudience }), keyAudience)) // the answer was lost
	for _, s := range []*cluster.Service{w.Service, other} {
		w.sleep(time.Second) // a server reads anew for a key that it does not know, not at any rate
		if _, err := s.Prove(ctx, m.sign(next, string(n.ID)), audience); err != nil {
			t.Errorf("the new key: %v", err)
		}
		if _, err := s.Prove(ctx, m.sign(old, string(n.ID)), audience); err != nil {
			t.Errorf("the old key, within its grace: %v", err)
		}
	}
	w.sleep(cluster.KeyGrace)
	_, err = w.Prove(ctx, m.sign(old, string(n.ID)), audience)
	wantCode(t, "the old key after its grace", err, fault.Unauthenticated, "node.unproven")
	_, err = w.NodeOf(ctx, token)
	wantCode(t, "an access token after its life", err, fault.Expired, "node.token-expired")
	m.key = next
	n, err = w.Prove(ctx, m.assert(), audience)
	w.must(err)
	token, _, err = w.IssueNodeToken(n)
	w.must(err)

	report := cluster.Report{Version: "1.1\x07", Faces: []string{"container", strings.Repeat("f", 99)}, Troubles: []string{"the socket is gone\n"}, MetadataReachable: true}
	w.must(w.Reported(ctx, n, report))
	w.must(w.Reported(ctx, n, report))
	list, err := w.ListNodes(ctx, lab.ID)
	w.must(err)
	if len(list) != 1 || list[0].Health.Report.Version != "1.1" || list[0].Health.Report.Troubles[0] != "the socket is gone" || len(list[0].Health.Report.Faces[1]) > 40 ||
		list[0].State(w.Now()) != cluster.Troubled || list[0].State(w.Now().Add(time.Hour)) != cluster.Silent {
		t.Errorf("%+v", list)
	}
	w.must(w.RemoveNode(ctx, n.ID))
	w.must(w.feed.Confirm(ctx))
	for _, s := range []*cluster.Service{w.Service, other} {
		_, err = s.NodeOf(ctx, token)
		wantCode(t, "the token of a node that was removed", err, fault.Revoked, "node.removed")
		_, err = s.Prove(ctx, m.assert(), audience)
		wantCode(t, "a node that was removed", err, fault.Unauthenticated, "node.unproven")
	}
	wantCode(t, "a report of a node that was removed", w.Reported(ctx, n, cluster.Report{}), fault.Revoked, "node.removed")
	for action, want := range map[string]int{"node.join": 1, "node.key": 1, "node.remove": 1} {
		if got := w.trail.count(action); got != want {
			t.Errorf("%s is recorded %d times", action, got)
		}
	}
	// Its name is free again, and the next is another node.
	if again := w.join(lab, "worker-1"); again.node.ID == n.ID {
		t.Error("an id is used again")
	}
}

// TestRemovedClusterTakesItsNodes: removing a cluster ends its nodes everywhere.
func TestRemovedClusterTakesItsNodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	lab := w.add(cluster.Defaults("lab", cluster.Standard))
	m := w.join(lab, "worker-1")
	n, err := w.Prove(t.Context(), m.assert(), audience)
	w.must(err)
	token, _, err := w.IssueNodeToken(n)
	w.must(err)
	w.must(w.Remove(t.Context(), lab.ID))
	w.must(w.feed.Confirm(t.Context()))
	_, err = w.NodeOf(t.Context(), token)
	wantCode(t, "a node of a cluster that was removed", err, fault.Revoked, "node.removed")
	_, err = w.Prove(t.Context(), m.assert(), audience)
	wantCode(t, "its key", err, fault.Unauthenticated, "node.unproven")
}

// TestNothingFromAnOldView: a server that can't confirm what was revoked takes no node's
// word.
func TestNothingFromAnOldView(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.join(w.add(cluster.Defaults("lab", cluster.Standard)), "worker-1")
	n, err := w.Prove(t.Context(), m.assert(), audience)
	w.must(err)
	token, _, err := w.IssueNodeToken(n)
	w.must(err)
	w.mu.Lock()
	w.now = w.now.Add(viewBound + time.Second)
	w.mu.Unlock()
	_, err = w.NodeOf(t.Context(), token)
	wantCode(t, "an access token", err, fault.Unavailable, "revocation.unconfirmed")
	_, err = w.Prove(t.Context(), m.assert(), audience)
	wantCode(t, "a proof", err, fault.Unavailable, "revocation.unconfirmed")
}

// TestAttackJoinTokens: a join token is good once, for its time, for its cluster.
func TestAttackJoinTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	lab := w.add(cluster.Defaults("lab", cluster.Standard))
	_, spki := newKey(t)
	join := func(s *cluster.Service, text, name string) error {
		_, _, err := s.Join(ctx, secretOf(text), name, spki, "1.0")
		return err
	}
	token, err := w.NewJoinToken(ctx, lab.ID, "", 0)
	w.must(err)
	for what, text := range map[string]string{"none": "", "a guess": "carnet-join-" + strings.Repeat("a", 32), "another case": strings.ToUpper(token.Reveal()),
		"one with more": token.Reveal() + "a", "a long one": strings.Repeat("carnet-join-", 1e5)} {
		wantCode(t, what, join(w.Service, text, "worker-1"), fault.Denied, "join-token.refused")
	}
	// Eight machines at two servers at once: one of them joins.
	servers := []*cluster.Service{w.Service, w.server()}
	errs := make([]error, 8)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() { errs[i] = join(servers[i%2], token.Reveal(), fmt.Sprintf("worker-%d", i)) })
	}
	all.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
			continue
		}
		wantCode(t, "a second machine", err, fault.Denied, "join-token.refused")
	}
	if nodes := w.NodesOf(lab.ID); won != 1 || len(nodes) > 1 {
		t.Errorf("%d machines joined by one token: %v", won, nodes)
	}
	// A name that is taken costs nothing but the attempt: the token stays good.
	taken := ""
	w.must(w.Refresh(ctx))
	taken = w.NodesOf(lab.ID)[0].Name
	second, err := w.NewJoinToken(ctx, lab.ID, "", time.Minute)
	w.must(err)
	wantCode(t, "a name that is taken", join(w.Service, second.Reveal(), taken), fault.Conflict, "node.name")
	wantCode(t, "no name", join(w.Service, second.Reveal(), "a b"), fault.Invalid, "node.name")
	w.must(join(w.Service, second.Reveal(), "late"))
	third, err := w.NewJoinToken(ctx, lab.ID, "", time.Minute)
	w.must(err)
	w.sleep(time.Minute)
	wantCode(t, "one that has expired", join(w.Service, third.Reveal(), "later"), fault.Denied, "join-token.refused")
	for _, life := range []time.Duration{time.Second, -time.Minute, 25 * time.Hour} {
		_, err = w.NewJoinToken(ctx, lab.ID, "", life)
		wantCode(t, life.String(), err, fault.Invalid, "join-token.life")
	}
	fourth, err := w.NewJoinToken(ctx, lab.ID, "", 0)
	w.must(err)
	w.must(w.Remove(ctx, lab.ID))
	wantCode(t, "one of a cluster that is gone", join(w.Service, fourth.Reveal(), "last"), fault.Denied, "join-token.refused")
}

// TestAttackNodeProofs: a node's word counts when its own key says it, now, here and
// once.
func TestAttackNodeProofs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	lab := w.add(cluster.Defaults("lab", cluster.Standard))
	m, other := w.join(lab, "worker-1"), w.join(lab, "worker-2")
	stranger, _ := newKey(t)
	set := func(name string, value any) func(map[string]any) {
		return func(c map[string]any) { c[name] = value }
	}
	id, now := string(m.node.ID), w.Now()
	for what, text := range map[string]string{
		"nothing":                      "",
		"no token":                     "a.b.c",
		"a long one":                   strings.Repeat("a", 5000),
		"another key":                  m.sign(stranger, id),
		"the key of another node":      m.sign(other.key, id),
		"another node's name":          m.assert(set("iss", string(other.node.ID)), set("sub", string(other.node.ID))),
		"another subject":              m.assert(set("sub", string(other.node.ID))),
		"another kid":                  m.sign(m.key, string(other.node.ID)),
		"no kid":                       m.sign(m.key, ""),
		"another audience":             m.assert(set("aud", "https://elsewhere.example.com")),
		"the audience of key changes":  m.assert(set("aud", audience+"/api/v1/node/key")),
		"two audiences":                m.assert(set("aud", []string{audience, "https://elsewhere.example.com"})),
		"no audience":                  m.assert(func(c map[string]any) { delete(c, "aud") }),
		"no end":                       m.assert(func(c map[string]any) { delete(c, "exp") }),
		"a late end":                   m.assert(set("exp", now.Add(5*time.Minute).Unix())),
		"an end that has been":         m.assert(set("exp", now.Add(-time.Minute).Unix()), set("iat", now.Add(-2*time.Minute).Unix())),
		"a time to come":               m.assert(set("iat", now.Add(time.Hour).Unix())),
		"no id":                        m.assert(func(c map[string]any) { delete(c, "jti") }),
		"a long id":                    m.assert(set("jti", strings.Repeat("j", 300))),
		"a node that never was":        m.assert(set("iss", "nod_x"), set("sub", "nod_x")),
		"algorithm none":               noneOf(m.assert()),
		"a signature that was changed": changed(m.assert()),
	} {
		_, err := w.Prove(ctx, text, audience)
		wantCode(t, what, err, fault.Unauthenticated, "node.unproven")
	}
	// Replay, at this server and at another.
	once := m.assert()
	if _, err := w.Prove(ctx, once, audience); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*cluster.Service{w.Service, w.server()} {
		_, err := s.Prove(ctx, once, audience)
		wantCode(t, "a proof that was used", err, fault.Unauthenticated, "node.unproven")
	}
	// A node changes nobody's key but its own, and proves the new one.
	n, err := w.Prove(ctx, m.assert(), audience)
	w.must(err)
	next, spki := newKey(t)
	const keyAudience = audience + "/api/v1/node/key"
	forKey := set("aud", keyAudience)
	for what, proof := range map[string]string{
		"signed by the old key":    m.assert(forKey),
		"for another audience":     m.sign(next, id),
		"of another node":          other.sign(next, string(other.node.ID), forKey),
		"no proof":                 "",
		"by a key that is nowhere": m.sign(stranger, id, forKey),
	} {
		wantCode(t, "a new key "+what, w.NewKey(ctx, n, spki, proof, keyAudience), fault.Unauthenticated, "node.unproven")
	}
	wantCode(t, "no key", w.NewKey(ctx, n, []byte("x"), m.sign(next, id, forKey), keyAudience), fault.Invalid, "node.key")
}

// TestAttackNodeTokens: an access token opens with our key alone, and is a node's.
func TestAttackNodeTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.join(w.add(cluster.Defaults("lab", cluster.Standard)), "worker-1")
	n, err := w.Prove(t.Context(), m.assert(), audience)
	w.must(err)
	token, _, err := w.IssueNodeToken(n)
	w.must(err)
	text := token.Reveal()
	elsewhere := newWorld(t)
	foreign, _, err := elsewhere.IssueNodeToken(n)
	w.must(err)
	// Sealed by the same key ring, for another purpose.
	sealed, err := w.ring.Seal("cli-token", nil, []byte(`{"n":"`+string(n.ID)+`","c":"`+string(n.Cluster)+`","x":99999999999,"e":99}`))
	w.must(err)
	for what, bad := range map[string]string{
		"none": "", "its head": "carnet-node-", "another head": "carnet-join-" + strings.TrimPrefix(text, "carnet-node-"), "half": text[:len(text)/2], "changed": flip(text),
		"of another installation": foreign.Reveal(), "of another purpose": "carnet-node-" + encode(sealed), "a long one": "carnet-node-" + strings.Repeat("a", 1e6), "an assertion": m.assert(),
	} {
		_, err := w.NodeOf(t.Context(), secretOf(bad))
		wantCode(t, what, err, fault.Unauthenticated, "node.token")
	}
}
