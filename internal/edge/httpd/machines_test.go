package httpd_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/provisioning"
)

// engines knows one node and one service principal, each by its token.
type engines struct{}

func (engines) NodeOf(_ context.Context, token secret.Text) (cluster.Node, error) {
	if token.Reveal() != "carnet-node-1" {
		return cluster.Node{}, fault.Coded(fault.Unauthenticated, "node.token", "no access token of a node")
	}
	return cluster.Node{ID: "nod_1", Cluster: "cls_1"}, nil
}

func (engines) MachineOf(_ context.Context, token secret.Text) (identity.ServicePrincipalID, error) {
	if token.Reveal() != "a.b.hub" {
		return "", fault.Coded(fault.Unauthenticated, "invalid_token", "no access token of ours")
	}
	return "spn_hub", nil
}

func (engines) Authenticate(_ context.Context, token secret.Text) (provisioning.Caller, error) {
	if token.Reveal() != "carnet-scim-1" {
		return provisioning.Caller{}, fault.Coded(fault.Unauthenticated, "provisioning.credential", "no token of a provisioning system")
	}
	return provisioning.Caller{IdP: "idp_1", Credential: "crd_1"}, nil
}

// TestAttackRowsOfMachines: each rule opens to its own kind of caller alone, and no
// cookie, token of another kind or second header helps.
func TestAttackRowsOfMachines(t *testing.T) {
	t.Parallel()
	who := func(w http.ResponseWriter, r *http.Request) error {
		c := httpd.CallerOf(r)
		_, err := fmt.Fprintf(w, "%s %s %s %s %v", c.Node.ID, c.Machine, c.Provisioner.Credential, c.Session.ID, identity.ActorFrom(r.Context()).IsZero())
		return err
	}
	row := func(path string, a httpd.Access) httpd.Route {
		return httpd.Route{Method: "POST", Pattern: path, Access: a, CLIToken: a == httpd.Person, Rate: httpd.RateNode, Errors: httpd.Problem, Handler: who}
	}
	table := []httpd.Route{row("/node", httpd.Node), row("/machine", httpd.Machine), row("/scim", httpd.Provisioner), row("/person", httpd.Person)}
	base, err := url.Parse("http://127.0.0.1:8480")
	if err != nil {
		t.Fatal(err)
	}
	s := &sessions{}
	site := func(c httpd.Config) *httpd.Site {
		c.BaseURL, c.Sessions, c.AccessTokens, c.Page, c.Now, c.Logger = base, s, s, plainPage, time.Now, slog.New(slog.DiscardHandler)
		out, err := httpd.New(c, table)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	full, empty := site(httpd.Config{Nodes: engines{}, Machines: engines{}, Provisioners: engines{}}), site(httpd.Config{})
	const node, hub, okta, ada = "Bearer carnet-node-1", "Bearer a.b.hub", "Bearer carnet-scim-1", "Bearer a.b.person"
	for _, c := range []struct {
		path   string
		header []string
		want   string // empty: 401
	}{
		{"/node", []string{"Authorization", node}, "nod_1    true"},
		{"/node", []string{"Authorization", hub}, ""},
		{"/node", []string{"Authorization", ada}, ""},
		{"/node", []string{"Cookie", "carnet=admin"}, ""},
		{"/node", []string{"Authorization", node, "Authorization", node}, ""},
		{"/node", []string{"Authorization", "Basic carnet-node-1"}, ""},
		{"/node", []string{"Authorization", "Bearer "}, ""},
		{"/machine", []string{"Authorization", hub}, " spn_hub   true"},
		{"/node", []string{"Authorization", okta}, ""},
		{"/machine", []string{"Authorization", node}, ""},
		{"/machine", []string{"Authorization", okta}, ""},
		{"/machine", []string{"Authorization", ada}, ""},
		{"/machine", []string{"Cookie", "carnet=admin"}, ""},
		{"/scim", []string{"Authorization", okta}, "  crd_1  true"},
		{"/scim", []string{"Authorization", "bearer carnet-scim-1"}, "  crd_1  true"},
		{"/scim", []string{"Authorization", node}, ""},
		{"/scim", []string{"Authorization", hub}, ""},
		{"/scim", []string{"Authorization", ada}, ""},
		{"/scim", []string{"Cookie", "carnet=admin"}, ""},
		{"/scim", []string{"Authorization", okta, "Authorization", okta}, ""},
		{"/person", []string{"Authorization", node}, ""},
		{"/person", []string{"Authorization", okta}, ""},
		{"/person", []string{"Authorization", hub}, ""},
		{"/person", []string{"Authorization", ada}, "   lgn_person false"},
	} {
		got := ask(full, "POST", c.path, append([]string{"Host", "127.0.0.1:8480"}, c.header...)...)
		if c.want == "" && got.Code != 401 || c.want != "" && (got.Code != 200 || got.Body.String() != c.want) {
			t.Errorf("%s with %v: %d %s, want %q", c.path, c.header, got.Code, got.Body, c.want)
		}
		if c.path == "/person" {
			continue
		}
		if got := ask(empty, "POST", c.path, append([]string{"Host", "127.0.0.1:8480"}, c.header...)...); got.Code != 401 {
			t.Errorf("%s where there are none: %d", c.path, got.Code)
		}
	}
	s.waiting = true
	if got := ask(site(httpd.Config{Nodes: engines{}}), "POST", "/node", "Host", "127.0.0.1:8480", "Authorization", node); got.Code != 503 {
		t.Errorf("before set-up: %d", got.Code)
	}
	bad := row("/bad", httpd.Node)
	bad.CLIToken = true
	if _, err := httpd.New(httpd.Config{BaseURL: base, Sessions: s, Page: plainPage, Now: time.Now, Logger: slog.New(slog.DiscardHandler)}, []httpd.Route{bad}); err == nil {
		t.Error("a node's route takes a CLI token")
	}
}
