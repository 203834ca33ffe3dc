package attachment_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
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
	sqlattachment "carnet.dev/carnet/internal/edge/sql/attachment"
	sqlcluster "carnet.dev/carnet/internal/edge/sql/cluster"
	sqldevice "carnet.dev/carnet/internal/edge/sql/device"
	sqlrevocation "carnet.dev/carnet/internal/edge/sql/revocation"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/attachment"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/entitlement"
	"carnet.dev/carnet/internal/service/gatewaykeys"
	"carnet.dev/carnet/internal/service/holder"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/revocation"
	"carnet.dev/carnet/internal/service/workload"
)

// world is attachments on a real database with real clusters and revocations. People,
// sign-ins and what they hold are the test's: world stands for the rest.
type world struct {
	*attachment.Service
	t        testing.TB
	db       *sql.DB
	clusters *cluster.Service
	feed     *revocation.Feed
	lab      cluster.Cluster
	node     cluster.Node

	mu      sync.Mutex
	held    []arn.Role
	groups  map[string][]identity.GroupID
	session map[identity.LoginSessionID]login.LoginSession
	events  []event.Event
	deaf    bool   // the trail takes nothing
	during  func() // runs while keys are fetched
	gateway string // account that is delivered by the gateway
	swapped bool   // what is asked for is somebody else's
}

func role(name string) arn.Role {
	return arn.Role{Partition: "aws", Account: "111122223333", Path: "/", Name: name}
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, db: sqltest.Open(t), held: []arn.Role{role("analyst"), role("hr")}, groups: map[string][]identity.GroupID{}, session: map[identity.LoginSessionID]login.LoginSession{}}
	for _, name := range []string{"ann", "bob"} {
		w.session[identity.LoginSessionID("lgn_"+name)] = login.LoginSession{ID: identity.LoginSessionID("lgn_" + name),
			Person: login.Person{ID: identity.PersonID("psn_" + name), IdP: "idp_1", UserName: name}, Expires: time.Now().Add(24 * time.Hour)}
	}
	var err error
	w.feed, err = revocation.Open(t.Context(), revocation.Config{Store: sqlrevocation.Store{DB: w.db}, Now: time.Now})
	w.must(err)
	store := sqlcluster.Store{DB: w.db}
	w.clusters, err = cluster.Open(t.Context(), cluster.Config{Clusters: store, Nodes: store, Healths: store, JoinTokens: store, Directory: w, Feed: w.feed, State: w.db, Trail: w, Now: time.Now})
	w.must(err)
	w.lab, err = w.clusters.Add(t.Context(), cluster.Defaults("lab", cluster.HighConcurrency))
	w.must(err)
	w.node = w.join("n1")
	w.Service = w.server()
	return w
}

// join stores a node.
func (w *world) join(name string) cluster.Node {
	w.t.Helper()
	epoch, err := w.feed.Epoch()
	w.must(err)
	n := cluster.Node{ID: identity.NewNodeID(), Cluster: w.lab.ID, Name: name, Key: []byte(name), Joined: time.Now().UTC().Truncate(time.Millisecond), Epoch: epoch}
	w.must(sqlcluster.Store{DB: w.db}.AddNode(w.t.Context(), n, 100))
	w.must(w.clusters.Refresh(w.t.Context()))
	return n
}

// server is one more server on the same database.
func (w *world) server() *attachment.Service {
	w.t.Helper()
	store := sqlattachment.Store{DB: w.db}
	s, err := attachment.Open(w.t.Context(), attachment.Config{Requests: store, Changes: store, Lists: store, Clusters: w.clusters, Rules: w.clusters, People: w, Sessions: w,
		Delegations: w, Holders: w, Tokens: tokens{w}, Binder: w, GatewayKeys: w, Accounts: entitlement.Accounts{"111122223333": {Name: "analytics", Local: true}}, ByGateway: func(a string) bool { return a == w.gateway },
		Counts: sqldevice.Store{DB: w.db}, Feed: w.feed, State: w.db, Trail: w, Now: time.Now, Page: "https://carnet.example.com/attach"})
	w.must(err)
	return s
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) set(fn func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fn()
}

// Record is the trail.
func (w *world) Record(_ context.Context, e event.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.deaf {
		return errors.New("the trail is full")
	}
	w.events = append(w.events, e)
	return nil
}

func (w *world) last(action string) (e event.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, x := range w.events {
		if x.Action == action {
			e = x
		}
	}
	return e
}

func (w *world) Person(_ context.Context, id identity.PersonID) (directory.Person, error) {
	if id != "psn_ann" && id != "psn_bob" {
		return directory.Person{}, fault.New(fault.NotFound, "nobody")
	}
	return directory.Person{ID: id, IdP: "idp_1", UserName: string(id[4:]), Active: true}, nil
}

func (w *world) Group(_ context.Context, id identity.GroupID) (directory.Group, error) {
	return directory.Group{ID: id}, nil
}

func (w *world) ServicePrincipal(_ context.Context, id identity.ServicePrincipalID) (directory.ServicePrincipal, error) {
	return directory.ServicePrincipal{ID: id, Active: true}, nil
}

func (w *world) ByUserName(ctx context.Context, _ identity.IdPID, name string) (directory.Person, error) {
	return w.Person(ctx, identity.PersonID("psn_"+name))
}

func (w *world) Named(ctx context.Context, name string) ([]directory.Person, error) {
	p, err := w.Person(ctx, identity.PersonID("psn_"+name))
	if err != nil {
		return nil, nil
	}
	return []directory.Person{p}, nil
}

func (w *world) GroupsAround(_ context.Context, subject string) ([]identity.GroupID, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.groups[subject], nil
}

func (w *world) ResumeID(_ context.Context, id identity.LoginSessionID) (login.LoginSession, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l, ok := w.session[id]
	if !ok || !time.Now().Before(l.Expires) {
		return login.LoginSession{}, fault.Coded(fault.Unauthenticated, "login.required", "you are not signed in")
	}
	return l, nil
}

func (w *world) Latest(ctx context.Context, person identity.PersonID) (login.LoginSession, error) {
	return w.ResumeID(ctx, identity.LoginSessionID("lgn_"+person[4:]))
}

func (w *world) ListNamed(context.Context, workload.Of) ([]workload.Listed, error) { return nil, nil }

func (w *world) Behind(context.Context, identity.DelegationID) (workload.Delegation, directory.Person, error) {
	return workload.Delegation{}, directory.Person{}, fault.New(fault.Denied, "no delegation")
}

func (w *world) Token(context.Context, workload.Principal, workload.Ask) (issuer.Minted, error) {
	return issuer.Minted{}, fault.New(fault.Denied, "no delegation")
}

// tokens says in a token for whom it was made, and where it is good.
type tokens struct{ *world }

func (w tokens) IDToken(_ context.Context, id identity.LoginSessionID, r arn.Role, on identity.OnNode) (issuer.Minted, error) {
	return issuer.Minted{ID: "jti", Token: secret.New(fmt.Sprint(w.session[id].Person.UserName, " ", on, " ", r, " (token)")), Expires: time.Now().Add(5 * time.Minute)}, nil
}

// Bind notes in the session token where keys are good.
func (w *world) Bind(_ context.Context, k credential.Temporary, on identity.OnNode, ends time.Time) (credential.Temporary, error) {
	k.SessionToken = secret.New(fmt.Sprint(k.SessionToken.Reveal(), " ", on))
	if ends.Before(k.Expiration) {
		k.Expiration = ends
	}
	return k, nil
}

// Standing says what the person of a login session holds.
func (w *world) Standing(ctx context.Context, o holder.Owner, _ []arn.Role) (holder.Standing, error) {
	l, err := w.ResumeID(ctx, o.LoginSession)
	if err != nil {
		return holder.Standing{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	o.Person, o.Name = l.Person.ID, l.Person.UserName
	if w.swapped {
		o.Person = "psn_mallory"
	}
	return holder.Standing{Owner: o, Held: slices.Clone(w.held), Ends: l.Expires}, nil
}

func (w *world) Keys(_ context.Context, o holder.Owner, r arn.Role, _ string) (credential.Temporary, error) {
	w.mu.Lock()
	during := w.during
	w.mu.Unlock()
	if during != nil {
		during()
	}
	return credential.Temporary{AccessKeyID: "ASIA" + r.Name, SecretAccessKey: secret.New(o.Name), SessionToken: secret.New("t"), Expiration: time.Now().Add(time.Hour)}, nil
}

func (w *world) DeliverAttached(_ context.Context, a gatewaykeys.Attached, r arn.Role, from netip.Addr) (gatewaykeys.Made, error) {
	return gatewaykeys.Made{Key: gatewaykeys.Key{AccessKeyID: "GWKA " + string(a.Attachment) + " " + a.Cluster.Name + " " + r.Name + " " + from.String(), Expires: time.Now().Add(time.Hour)}, Secret: secret.New("s")}, nil
}

func (w *world) TrinoRulesFor(_ context.Context, _ cluster.Cluster, users []gatewaykeys.TrinoUser) (out gatewaykeys.TrinoRules, err error) {
	for _, u := range users {
		out.Notes = append(out.Notes, u.Owner.Name)
	}
	return out, nil
}

var here = netip.MustParseAddr("10.1.2.3")

func place(uid uint32) attachment.Place {
	return attachment.Place{UID: uid, Scope: "/user.slice/session-3.scope", ScopeID: 7, Account: "ann"}
}

// attach attaches somebody under a uid by a code.
func (w *world) attach(who string, n cluster.Node, uid uint32) attachment.Attachment {
	w.t.Helper()
	b, err := w.Begin(w.t.Context(), n, place(uid), false)
	w.must(err)
	_, err = w.Decide(w.t.Context(), w.session[identity.LoginSessionID("lgn_"+who)], here, b.UserCode, true)
	w.must(err)
	p, err := w.Poll(w.t.Context(), n, b.Request)
	w.must(err)
	if p.State != attachment.Attached {
		w.t.Fatalf("%+v", p)
	}
	return p.Attachment
}

func (w *world) keys(id identity.AttachmentID, r string) (attachment.Keys, error) {
	return w.Credentials(w.t.Context(), w.node, id, r, here)
}

func wants(t testing.TB, what string, err error, code string) {
	t.Helper()
	if err == nil || fault.Of(err).Code != code || fault.Of(err).Public == "" {
		t.Errorf("%s: %v, want %s", what, err, code)
	}
}
