package api_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"net/http"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/api"
	"carnet.dev/carnet/internal/edge/api/client"
	"carnet.dev/carnet/internal/edge/api/clusterdoc"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/directory"
)

var (
	_ api.Clusters     = (*cluster.Service)(nil)
	_ api.ClusterRules = (*cluster.Service)(nil)
	_ api.ClusterNodes = (*cluster.Service)(nil)
)

// folk is who there is, for the API and for the clusters below it.
type folk struct{}

func nobody() error { return fault.New(fault.NotFound, "nobody is called that") }

func (folk) Person(_ context.Context, id identity.PersonID) (directory.Person, error) {
	name, ok := map[identity.PersonID]string{"psn_bob": "bob@example.com", "psn_dan": "dan@example.com"}[id]
	if !ok {
		return directory.Person{}, nobody()
	}
	return directory.Person{ID: id, UserName: name}, nil
}

func (folk) Group(context.Context, identity.GroupID) (directory.Group, error) {
	return directory.Group{}, nobody()
}

func (folk) ServicePrincipal(context.Context, identity.ServicePrincipalID) (directory.ServicePrincipal, error) {
	return directory.ServicePrincipal{}, nobody()
}

func (f folk) PersonID(ctx context.Context, text string) (identity.PersonID, error) {
	for _, id := range []identity.PersonID{"psn_bob", "psn_dan"} {
		if p, _ := f.Person(ctx, id); text == p.UserName || text == string(id) {
			return id, nil
		}
	}
	return "", nobody()
}

func (folk) GroupID(context.Context, string) (identity.GroupID, error) { return "", nobody() }

func (folk) ServicePrincipalID(context.Context, string) (identity.ServicePrincipalID, error) {
	return "", nobody()
}

func (folk) ProviderID(string) (identity.IdPID, error) { return "", nobody() }

func (f folk) NameOf(ctx context.Context, id string) (string, error) {
	p, _ := f.Person(ctx, identity.PersonID(id))
	return p.UserName, nil
}

// around says that nobody is in any group.
func around(context.Context, string) ([]identity.GroupID, error) { return nil, nil }

// TestClustersByAPI: administrators add and change, who manages a cluster assigns it and
// lets nodes join, and others see that it is there for them, or not at all.
func TestClustersByAPI(t *testing.T) {
	t.Parallel()
	w, base, _ := serve(t)
	ctx := t.Context()
	base += "/api/v1/"
	var lab, many clusterdoc.Cluster
	if status := by(t, "admin", http.MethodPost, base+"clusters", `{"name":"lab","kind":"standard","settings":{"assigned":"dan@example.com"}}`, &lab); status != http.StatusCreated ||
		lab.Assigned == nil || *lab.Assigned != (clusterdoc.ClusterMember{ID: "psn_dan", Name: "dan@example.com"}) || !lab.InstanceMetadata || !lab.Manages || lab.Revision != 1 {
		t.Fatal(status, lab)
	}
	if status := by(t, "admin", http.MethodPost, base+"clusters", `{"name":"many","kind":"high-concurrency","settings":{"roles":["arn:aws:iam::111122223333:role/a*"],"networks":["10.4.0.0/16"],"longest_seconds":3600}}`, &many); status != http.StatusCreated ||
		many.InstanceMetadata || many.LongestSeconds != 3600 || many.Networks[0] != "10.4.0.0/16" {
		t.Fatal(status, many)
	}
	for name, c := range map[string]struct {
		body   string
		status int
	}{
		"a name that is taken":        {`{"name":"LAB","kind":"standard","settings":{}}`, 409},
		"no kind":                     {`{"name":"x","settings":{}}`, 400},
		"a stranger":                  {`{"name":"x","kind":"standard","settings":{"assigned":"nobody"}}`, 404},
		"people of a standard one":    {`{"name":"x","kind":"standard","settings":{"people":["dan@example.com"]}}`, 400},
		"a person of many":            {`{"name":"x","kind":"high-concurrency","settings":{"assigned":"dan@example.com"}}`, 400},
		"everybody's network":         {`{"name":"x","kind":"high-concurrency","settings":{"networks":["0.0.0.0/0"]}}`, 400},
		"an attachment without end":   {`{"name":"x","kind":"high-concurrency","settings":{"longest_seconds":9223372036854775807}}`, 400},
		"an attachment of one second": {`{"name":"x","kind":"high-concurrency","settings":{"longest_seconds":1}}`, 400},
		"no role pattern":             {`{"name":"x","kind":"high-concurrency","settings":{"roles":["data-*"]}}`, 400},
		"a member that is not known":  {`{"name":"x","kind":"high-concurrency","settings":{},"owner":"me"}`, 400},
	} {
		if status := by(t, "admin", http.MethodPost, base+"clusters", c.body, nil); status != c.status {
			t.Errorf("%s: %d, want %d", name, status, c.status)
		}
	}
	// bob is no administrator, and manages nothing yet.
	var seen clusterdoc.ClusterList
	if status := by(t, "bob", http.MethodGet, base+"clusters", "", &seen); status != http.StatusOK || len(seen.Clusters) != 1 || seen.Clusters[0].Name != "many" || len(seen.Clusters[0].Networks) != 0 || seen.Clusters[0].Manages {
		t.Errorf("bob sees %d %+v", status, seen)
	}
	for what, call := range map[string][3]string{
		"adds":    {http.MethodPost, "clusters", `{"name":"x","kind":"standard","settings":{}}`},
		"changes": {http.MethodPatch, "clusters/lab", `{"revision":1,"settings":{}}`},
		"removes": {http.MethodDelete, "clusters/lab", ""},
		"assigns": {http.MethodPost, "clusters/lab/assign", `{"person":"psn_bob"}`},
		"invites": {http.MethodPost, "clusters/many/join-tokens", `{}`},
		"looks":   {http.MethodGet, "clusters/many/nodes", ""},
		"reads":   {http.MethodGet, "clusters/lab", ""},
	} {
		if status := by(t, "bob", call[0], base+call[1], call[2], nil); status != http.StatusForbidden {
			t.Errorf("a person who manages nothing %s: %d", what, status)
		}
	}
	// An administrator makes him a manager; an older revision is refused.
	if status := by(t, "admin", http.MethodPatch, base+"clusters/lab", `{"revision":1,"settings":{"managers":["bob@example.com"]}}`, &lab); status != http.StatusOK || lab.Revision != 2 || len(lab.Managers) != 1 {
		t.Fatal(status, lab)
	}
	if status := by(t, "admin", http.MethodPatch, base+"clusters/lab", `{"revision":1,"settings":{"meta":true}}`, nil); status != http.StatusConflict {
		t.Errorf("an older revision: %d", status)
	}
	manager, err := client.New(strings.TrimSuffix(base, "/api/v1/"), secret.New("cli-bob"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := manager.Cluster(ctx, "LAB"); err != nil || !c.Manages || c.Assigned == nil {
		t.Errorf("%+v %v", c, err)
	}
	if c, err := manager.AssignCluster(ctx, "lab", "psn_bob"); err != nil || c.Assigned == nil || c.Assigned.ID != "psn_bob" || c.Revision != 3 {
		t.Errorf("%+v %v", c, err)
	}
	token, err := manager.NewJoinToken(ctx, lab.ID, 600)
	if err != nil || !strings.HasPrefix(token.JoinToken, "carnet-join-") || token.Cluster != "lab" {
		t.Fatal(token, err)
	}
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	n, _, err := w.clusters.Join(ctx, secret.New(token.JoinToken), "worker-1", spki, "1.0")
	if err != nil {
		t.Fatal(err)
	}
	nodes, err := manager.Nodes(ctx, "lab")
	if err != nil || len(nodes) != 1 || nodes[0].ID != string(n.ID) || nodes[0].Version != "1.0" || nodes[0].State != "well" {
		t.Errorf("%+v %v", nodes, err)
	}
	if err := manager.RemoveNode(ctx, "lab", "WORKER-1"); err != nil {
		t.Error(err)
	}
	if err := manager.RemoveCluster(ctx, "lab"); fault.KindOf(err) != fault.Denied {
		t.Errorf("a manager removes the cluster: %v", err)
	}
	if status := by(t, "admin", http.MethodDelete, base+"clusters/lab", "", nil); status != http.StatusNoContent {
		t.Error(status)
	}
}
