package web_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	sqlcluster "carnet.dev/carnet/internal/edge/sql/cluster"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/edge/web"
	"carnet.dev/carnet/internal/service/attachment"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/federation"
	"carnet.dev/carnet/internal/service/login"
)

var (
	_ web.Attaching     = (*attachment.Service)(nil)
	_ web.ClusterLogins = (*attachment.Service)(nil)
	_ web.Clusters      = (*cluster.Service)(nil)
	_ web.ClusterCare   = (*cluster.Service)(nil)
	_ web.Managing      = (*cluster.Service)(nil)
)

// shared are real clusters on a database, with people by hand and logins that wait
// and work without a node.
type shared struct {
	*cluster.Service
	store  sqlcluster.Store
	names  map[string]string // id → name
	asks   map[string]attachment.Review
	said   map[string]string // code → word
	logins []attachment.Listed
	away   error
}

func newShared(t *testing.T) *shared {
	t.Helper()
	db := sqltest.Open(t)
	s := &shared{store: sqlcluster.Store{DB: db}, asks: map[string]attachment.Review{}, said: map[string]string{}, names: map[string]string{
		"psn_x": "alice@example.com", "psn_bob": "bob@example.com", "grp_data": "Data Engineers", "spn_hub": "jupyterhub",
	}}
	var err error
	s.Service, err = cluster.Open(t.Context(), cluster.Config{Clusters: s.store, Nodes: s.store, Healths: s.store, JoinTokens: s.store, Directory: s, Providers: s,
		Feed: s, State: db, Trail: s, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *shared) known(id string) error {
	if s.names[id] == "" {
		return fault.New(fault.NotFound, "nobody is "+id)
	}
	return nil
}

func (s *shared) Person(_ context.Context, id identity.PersonID) (directory.Person, error) {
	return directory.Person{ID: id}, s.known(string(id))
}

func (s *shared) Group(_ context.Context, id identity.GroupID) (directory.Group, error) {
	return directory.Group{ID: id}, s.known(string(id))
}

func (s *shared) ServicePrincipal(_ context.Context, id identity.ServicePrincipalID) (directory.ServicePrincipal, error) {
	return directory.ServicePrincipal{ID: id}, s.known(string(id))
}

func (s *shared) Get(context.Context, identity.IdPID) (federation.IdP, error) { return devIdP(), nil }

func (s *shared) Epoch() (uint64, error)                                 { return 1, nil }
func (s *shared) Refused(string, string, uint64) (bool, error)           { return false, nil }
func (s *shared) Revoke(context.Context, string, string) (uint64, error) { return 2, nil }
func (s *shared) Record(context.Context, event.Event) error              { return nil }

func (s *shared) SubjectName(_ context.Context, id string) string {
	if n := s.names[id]; n != "" {
		return n
	}
	return id
}

func (s *shared) FindSubject(_ context.Context, kind, text string) (string, error) {
	prefix := map[string]string{"person": "psn_", "group": "grp_", "service-principal": "spn_"}[kind]
	for id, name := range s.names {
		if strings.HasPrefix(id, prefix) && (id == text || name == text) {
			return id, nil
		}
	}
	return "", fault.New(fault.NotFound, "nobody is called \""+text+"\"").WithMend("list who there is: carnet people list")
}

// wait has a login of a node wait for its person.
func (s *shared) wait(c cluster.Cluster, code string) {
	s.asks[code] = attachment.Review{UserCode: code, Cluster: c, Node: cluster.Node{Name: "login-1 <b>"}, UID: 1000, Account: "alice",
		Scope: "/user.slice/user-1000.slice/session-3.scope", Asked: time.Now(), Expires: time.Now().Add(attachment.Lifetime)}
}

func (s *shared) Review(_ context.Context, _ login.LoginSession, _ netip.Addr, code string) (attachment.Review, error) {
	v, ok := s.asks[strings.ToUpper(code)]
	if !ok {
		return v, fault.Coded(fault.NotFound, "attachment.code", "no login waits under this code").WithMend("look at the code in your terminal, or begin again: carnet attach")
	}
	return v, nil
}

func (s *shared) Decide(ctx context.Context, l login.LoginSession, from netip.Addr, code string, yes bool) (attachment.Review, error) {
	v, err := s.Review(ctx, l, from, code)
	if err == nil {
		s.said[code] = map[bool]string{true: "yes", false: "no"}[yes] + " of " + string(l.Person.ID)
	}
	return v, err
}

func (s *shared) Own(context.Context, login.LoginSession) ([]attachment.Listed, error) {
	return s.logins, s.away
}

func (s *shared) EndOwn(ctx context.Context, l login.LoginSession, id identity.AttachmentID) error {
	return s.EndOne(ctx, l, "", id)
}

// logins are the attachments of a cluster.
type logins struct{ *shared }

func (s logins) List(_ context.Context, _ login.LoginSession, of string) (found []attachment.Listed, err error) {
	for _, x := range s.logins {
		if string(x.Cluster) == of {
			found = append(found, x)
		}
	}
	return found, s.away
}

func (s *shared) EndOne(_ context.Context, _ login.LoginSession, _ string, id identity.AttachmentID) error {
	for i := range s.logins {
		if x := &s.logins[i]; x.ID == id && x.Live {
			x.Live, x.Why, x.Ended = false, attachment.WhyDetached, time.Now()
			return nil
		}
	}
	return fault.Coded(fault.NotFound, "attachment.unknown", "there is no such attachment")
}

// populate makes clusters with everything that pages show.
func (s *shared) populate(t *testing.T) (many, one cluster.Cluster) {
	t.Helper()
	c := cluster.Defaults("research", cluster.HighConcurrency)
	c.People, c.Groups, c.Managers, c.Orchestrators = []identity.PersonID{"psn_x"}, []identity.GroupID{"grp_data"}, []identity.PersonID{"psn_bob"}, []identity.ServicePrincipalID{"spn_hub"}
	c.Roles = []string{"arn:aws:iam::111122223333:role/*"}
	many, err := s.Add(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if one, err = s.Add(t.Context(), cluster.Defaults("bench-of-alice", cluster.Standard)); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for _, n := range []struct {
		name string
		seen time.Duration
		rep  cluster.Report
	}{
		{"login-1", time.Second, cluster.Report{Version: "1.2.0", Faces: []string{"socket", "container"}}},
		{"login-2", time.Second, cluster.Report{Version: "1.2.0", Faces: []string{"socket"}, Troubles: []string{"the kernel does not tell the control group of a loopback socket: unix sockets are offered alone"}}},
		{"login-3", time.Second, cluster.Report{Version: "1.1.0", MetadataReachable: true}},
		{"login-4", time.Hour, cluster.Report{Version: "1.1.0"}},
	} {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		spki, err := x509.MarshalPKIXPublicKey(&k.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		node := cluster.Node{ID: identity.NewNodeID(), Cluster: many.ID, Name: n.name, Key: spki, Joined: now.Add(-72 * time.Hour), Epoch: 1}
		if err := s.store.AddNode(t.Context(), node, 100); err != nil {
			t.Fatal(err)
		}
		if _, err := s.store.SetHealth(t.Context(), cluster.Health{Node: node.ID, Report: n.rep, Seen: now.Add(-n.seen)}); err != nil {
			t.Fatal(err)
		}
	}
	listed := func(id, why string, live bool, how attachment.How) attachment.Listed {
		return attachment.Listed{Live: live, ClusterName: "research", NodeName: "login-1", Orchestrator: "jupyterhub", Attachment: attachment.Attachment{
			ID: identity.AttachmentID(id), Cluster: many.ID, Person: "psn_x", Name: "alice@example.com", How: how, Role: role("111122223333", "analyst"), Why: why,
			Place: attachment.Place{UID: 1000, Account: "alice", Scope: "/user.slice/session-3.scope"}, Made: now.Add(-time.Hour), Expires: now.Add(7*time.Hour + time.Minute)}}
	}
	s.logins = []attachment.Listed{listed("att_1", "", true, attachment.Approved), listed("att_2", "", true, attachment.OnBehalf), listed("att_3", attachment.WhyScope, false, attachment.LoginNamed)}
	s.wait(many, "BCDF-GHJK")
	return many, one
}

func TestALoginIsAttached(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	many, _ := w.shared.populate(t)
	b := newBrowser(t)
	if p := b.signIn(w, "/attach"); p.to() != "/attach" { // a stranger signs in first
		t.Fatalf("back at %q", p.to())
	}
	contains(t, b.get(w.base+"/attach"), "Attach a login", `name="user_code"`, "Alice Example", strings.TrimPrefix(w.base, "http://"))
	p := b.post(w.base+"/attach", url.Values{"user_code": {"bcdf-ghjk"}})
	contains(t, p, "Let this login work as you?", "BCDF-GHJK", "research", "many people work there", "login-1 &lt;b&gt;", "alice", "uid 1000", "session-3.scope", "<li>analyst</li>", "Approve only if this code stands in your own terminal")
	if len(w.shared.said) != 0 {
		t.Errorf("looking said something: %v", w.shared.said)
	}
	contains(t, b.post(w.base+"/attach/decide", url.Values{"user_code": {"BCDF-GHJK"}, "decision": {"approve"}}), "The login is attached", "ends with that login")
	if w.shared.said["BCDF-GHJK"] != "yes of psn_x" {
		t.Errorf("said %v", w.shared.said)
	}
	contains(t, b.post(w.base+"/attach/decide", url.Values{"user_code": {"BCDF-GHJK"}, "decision": {"refuse"}}), "The login was refused", "uid 1000")
	if p := b.post(w.base+"/attach/decide", url.Values{"user_code": {"BCDF-GHJK"}, "decision": {"maybe"}}); p.status != 400 {
		t.Errorf("an unclear word: %d", p.status)
	}
	p = b.post(w.base+"/attach", url.Values{"user_code": {"BBBB-BBBB"}})
	contains(t, p, `role="alert"`, "No login waits under this code", "Look at the code in your terminal")
	if p.status != 404 {
		t.Errorf("a wrong code: %d", p.status)
	}
	many.Roles = []string{"arn:aws:iam::444455556666:role/*"}
	w.shared.wait(many, "CCCC-CCCC")
	contains(t, b.post(w.base+"/attach", url.Values{"user_code": {"CCCC-CCCC"}}), "those that you hold may not be used on this cluster")
}

// TestAttackPrefilledCode: a link can't fill the code in for the person who follows it.
func TestAttackPrefilledCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.shared.populate(t)
	b := newBrowser(t)
	b.signIn(w, "/attach")
	for _, link := range []string{"/attach?user_code=BCDF-GHJK", "/attach?code=BCDF-GHJK"} {
		if p := b.get(w.base + link); strings.Contains(p.body, "BCDF") {
			t.Errorf("%s fills the code in", link)
		}
	}
}

func TestOwnLoginsAreShownAndEnded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	b := newBrowser(t)
	b.signIn(w, "/")
	if p := b.get(w.base + "/"); strings.Contains(p.body, `id="attachments"`) {
		t.Error("logins are shown to somebody who has none")
	}
	w.shared.populate(t)
	contains(t, b.get(w.base+"/"), "Logins that work as you", "<strong>alice</strong> on <strong>login-1</strong>", "Cluster research, uid 1000, approved with a code", "by jupyterhub",
		"for another 7 h 0 min", "Current role <code>analyst</code>", "the login to the machine ended", "by the account’s name")
	b.post(w.base+"/attachments/end", url.Values{"id": {"att_1"}})
	contains(t, b.get(w.base+"/?done=detached"), "The login works as you no more", "detached")
	if p := b.post(w.base+"/attachments/end", url.Values{"id": {"att_1"}}); p.status != 404 {
		t.Errorf("ended twice: %d", p.status)
	}
	w.shared.away = fault.New(fault.Unavailable, "the database doesn't answer")
	p := b.get(w.base + "/")
	contains(t, p, "My access", "They can’t be shown now. The database doesn&#39;t answer.", "Ready")
	if p.status != 200 {
		t.Errorf("status %d", p.status)
	}
}

func TestClustersAreKept(t *testing.T) {
	t.Parallel()
	w, b := administrator(t, func(*world) {})
	contains(t, b.get(w.base+"/admin/clusters"), "None yet", "Add a cluster")
	p := b.post(w.base+"/admin/clusters", url.Values{"name": {"bad name"}, "kind": {"standard"}})
	contains(t, p, `role="alert"`, "is not a name", `value="bad name"`, `<option value="standard" selected>`)
	if p.status != 400 {
		t.Errorf("status %d", p.status)
	}
	p = b.post(w.base+"/admin/clusters", url.Values{"name": {"research"}, "kind": {"high-concurrency"}})
	if !strings.HasPrefix(p.to(), "/admin/clusters/cls_") {
		t.Fatalf("led to %q", p.to())
	}
	here := w.base + strings.TrimSuffix(p.to(), "?done=cluster-added")
	contains(t, b.get(w.base+p.to()), "The cluster is there", "No machine has joined", "Nobody.")
	id := identity.ClusterID(here[strings.LastIndexByte(here, '/')+1:])
	form := url.Values{"revision": {"1"}, "longest": {"8"}, "people": {"alice@example.com\r\npsn_bob\r\n"}, "groups": {"Data Engineers"}, "managers": {"bob@example.com"},
		"orchestrators": {"jupyterhub"}, "roles": {"arn:aws:iam::111122223333:role/*"}, "signing_proxy": {"on"}}
	if p := b.post(here, form); p.to() != strings.TrimPrefix(here, w.base)+"?done=cluster-saved" {
		t.Fatalf("saved: %d %q", p.status, p.to())
	}
	c, _ := w.shared.Cluster(id)
	if len(c.People) != 2 || c.People[1] != "psn_bob" || c.Groups[0] != "grp_data" || c.Managers[0] != "psn_bob" || c.Orchestrators[0] != "spn_hub" ||
		c.Longest != 8*time.Hour || !c.SigningProxy || c.InstanceMetadata || len(c.Roles) != 1 {
		t.Errorf("kept %+v", c)
	}
	contains(t, b.get(here), "alice@example.com\nbob@example.com", "Data Engineers", `<option value="8" selected>8 h`, `name="signing_proxy" checked`)
	p = b.post(here, form) // made of what was there before
	contains(t, p, `role="alert"`, "was changed meanwhile")
	form.Set("revision", "2")
	form.Set("people", "nobody@example.com")
	contains(t, b.post(here, form), `role="alert"`, "Nobody is called", "nobody@example.com</textarea>")
	for name, form := range map[string]url.Values{"no act": {}, "an act that is none": {"act": {"explode"}}, "not sure": {"act": {"remove"}}} {
		if p := b.post(here+"/act", form); p.status != 400 {
			t.Errorf("%s: %d", name, p.status)
		}
	}
	if p := b.post(here+"/act", url.Values{"act": {"remove"}, "sure": {"yes"}}); p.to() != "/admin/clusters?done=cluster-removed" {
		t.Errorf("removed: %d %q", p.status, p.to())
	}
	if p := b.get(here); p.status != 404 {
		t.Errorf("it is still there: %d", p.status)
	}
}

func TestMachinesAndLoginsOfACluster(t *testing.T) {
	t.Parallel()
	w, b := administrator(t, func(*world) {})
	many, one := w.shared.populate(t)
	if err := w.shared.reload(t); err != nil {
		t.Fatal(err)
	}
	contains(t, b.get(w.base+"/admin/clusters"), "research", "1 of 4 not heard of", "its people and groups alone", "2 logins work there now", "bench-of-alice", "nobody is assigned", "No machines")
	here := w.base + "/admin/clusters/" + string(many.ID)
	p := b.get(here)
	contains(t, p, "login-1", "Well", "answers by socket, container", "login-2", "In trouble", "unix sockets are offered alone", "login-3", "carnet agent metadata-rule --install", "login-4", "Not heard of",
		"<strong>alice@example.com</strong> as alice on login-1", "Ended lately")
	p = b.post(here+"/act", url.Values{"act": {"join"}})
	contains(t, p, "The join token, this once", "<code>carnet-join-", "carnet agent join --server "+w.base)
	if strings.Contains(b.get(here).body, "carnet-join-") {
		t.Error("the token is shown a second time")
	}
	b.post(here+"/act", url.Values{"act": {"end"}, "attachment": {"att_1"}})
	if w.shared.logins[0].Live {
		t.Error("the login goes on")
	}
	nodes := w.shared.NodesOf(many.ID)
	if p := b.post(w.base+"/admin/clusters/"+string(one.ID)+"/act", url.Values{"act": {"remove-node"}, "node": {string(nodes[0].ID)}}); p.status != 404 {
		t.Errorf("a machine of another cluster was removed: %d", p.status)
	}
	b.post(here+"/act", url.Values{"act": {"remove-node"}, "node": {string(nodes[0].ID)}})
	if left := w.shared.NodesOf(many.ID); len(left) != 3 {
		t.Errorf("%d machines are left", len(left))
	}
	theirs := w.base + "/admin/clusters/" + string(one.ID)
	b.post(theirs, url.Values{"revision": {"1"}, "longest": {"0"}, "assigned": {"bob@example.com"}})
	contains(t, b.get(theirs), `value="bob@example.com"`, "For one person")
	w.shared.away = fault.New(fault.Unavailable, "the database doesn't answer")
	contains(t, b.get(here), "Not everything can be shown now. Who works there: the database doesn&#39;t answer.", "login-2")
	contains(t, b.get(w.base+"/admin/clusters"), "Can’t be shown")
}

// reload has the service read what was put past it.
func (s *shared) reload(t *testing.T) error {
	c, err := s.Add(t.Context(), cluster.Defaults("reload", cluster.Standard))
	if err != nil {
		return err
	}
	return s.Remove(t.Context(), c.ID)
}

// TestClustersAreForAdministrators: nobody else sees or changes anything of them.
func TestClustersAreForAdministrators(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	many, _ := w.shared.populate(t)
	b := newBrowser(t)
	b.signIn(w, "/")
	for _, path := range []string{"/admin/clusters", "/admin/clusters/" + string(many.ID)} {
		if p := b.get(w.base + path); p.status != 403 || strings.Contains(p.body, "login-1") {
			t.Errorf("%s: %d", path, p.status)
		}
	}
	for _, path := range []string{"/admin/clusters", "/admin/clusters/" + string(many.ID), "/admin/clusters/" + string(many.ID) + "/act"} {
		if p := b.post(w.base+path, url.Values{"act": {"join"}, "name": {"x"}, "kind": {"standard"}}); p.status != 403 {
			t.Errorf("POST %s: %d", path, p.status)
		}
	}
}
