//go:build interop

// Package revocationbench measures how soon what was taken back is refused, at every
// place that decides: three real servers on a real PostgreSQL and two nodes with real
// agents, while other people work. It is started by make bench-revocation; without what
// it needs it fails, it does not skip.
package revocationbench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"

	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/oauthclient"
	"carnet.dev/carnet/test/fleet"
	"carnet.dev/carnet/test/nodes"
)

// clusterName is that of the cluster of both nodes.
const clusterName = "shared-1"

// machineName is a service principal, which may attach people there.
const machineName = "nightly"

// subject is who loses what they have; others work beside them.
const subject = "alice"

// world is one fleet with two nodes.
type world struct {
	*fleet.Fleet
	nodes []*nodes.Node
	seats []*seat // of the subject, one a node

	cluster string // id
	admin   *fleet.Browser
	person  *fleet.Browser // nil: the subject has to sign in
	scim    string         // bearer
	machine machine
	from    byte           // the last source address
	clients []*http.Client // of this round
}

// machine is a service principal.
type machine struct {
	id     string
	secret secret.Text
	issuer *oauthclient.Endpoint
}

func start(t *testing.T) *world {
	t.Helper()
	w := &world{Fleet: fleet.New(t, 3)}
	w.makeMachine(t)
	site := nodes.On(t, w.World, nodes.Options{Cluster: map[string]any{"orchestrators": []string{machineName}}})
	w.cluster = site.Cluster
	self := filepath.Join(site.Folder, "poller")
	copySelf(t, self)
	for i := range 2 {
		n := site.Node(t, nodes.NodeOptions{To: w.Server(i).Via})
		w.nodes, w.seats = append(w.nodes, n), append(w.seats, newSeat(t, n, self))
	}
	var made struct {
		Bearer string `json:"bearer_token"`
	}
	w.HostJSON(t, &made, "provisioning", "credential", "add", "--idp", fleet.IdP, "--label", "bench", "--owner", "tests")
	w.scim = "Bearer " + made.Bearer
	nodes.Until(t, "the servers know what was made", func() error {
		for i := range w.Servers() {
			if _, err := w.provision(t.Context(), i, http.MethodGet, "Users?count=1", nil, nil); err != nil {
				return err
			}
			if _, err := w.proof(t, ""); err != nil {
				return err
			}
		}
		return nil
	})
	w.person = w.SignIn(t, 0, subject) // known from then on
	// The cluster is also where an engine with gateway keys is.
	w.administrator(t).Must(t, 0, http.MethodPost, "/api/v1/gateway-clusters", map[string]any{"name": clusterName, "networks": []string{"127.0.0.0/8"}}, nil)
	return w
}

// copySelf puts this binary where every account may run it.
func copySelf(t *testing.T, to string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o755); err != nil {
		t.Fatal(err)
	}
}

func (w *world) makeMachine(t *testing.T) {
	t.Helper()
	w.Host(t, "people", "service-principal", "add", machineName)
	w.Host(t, "people", "map", machineName, fleet.Analyst)
	var shown struct {
		Secret   string `json:"secret"`
		ClientID string `json:"client_id"`
	}
	w.HostJSON(t, &shown, "client", "secret", "add", machineName)
	w.machine = machine{id: shown.ClientID, secret: secret.New(shown.Secret)}
	issuer, err := oauthclient.Discover(t.Context(), w.Web+"/oidc", http.DefaultClient)
	if err != nil {
		t.Fatal(err)
	}
	w.machine.issuer = issuer
}

// proof is a token of Carnet's own for the machine, or for a job under a delegation.
func (w *world) proof(t *testing.T, delegation string) (string, error) {
	token, err := w.machine.issuer.IDToken(t.Context(), oauthclient.Proof{ClientID: w.machine.id, Secret: w.machine.secret, Now: time.Now()},
		oauthclient.Ask{Audience: "sts.amazonaws.com", Role: fleet.Analyst, Delegation: delegation})
	return token.Reveal(), err
}

// access is an access token of the machine for the API.
func (w *world) access(t *testing.T) (string, error) {
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {"all-apis"}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.Web+"/oidc/v1/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(w.machine.id, w.machine.secret.Reveal())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var out struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil || out.Token == "" {
		return "", fmt.Errorf("no access token: %d %w", resp.StatusCode, err)
	}
	return out.Token, nil
}

// as posts to the API of a server with an access token.
func (w *world) as(t *testing.T, at int, token, path string, in any) (int, []byte, error) {
	text, err := json.Marshal(in)
	if err != nil {
		return 0, nil, err
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.Web+path, bytes.NewReader(text))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	by := w.Server(at).Client(nil)
	defer by.CloseIdleConnections()
	resp, err := by.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// trade trades a token of Carnet's own for role keys at one server.
func (w *world) trade(ctx context.Context, at int, by *http.Client, token string) (fleet.Keys, error) {
	out, err := w.Server(at).STS(by, fleet.Keys{}).AssumeRoleWithWebIdentity(ctx, &awssts.AssumeRoleWithWebIdentityInput{
		RoleArn: aws.String(fleet.Analyst), RoleSessionName: aws.String("bench"), WebIdentityToken: &token})
	if err != nil {
		return fleet.Keys{}, err
	}
	return fleet.Keys{ID: *out.Credentials.AccessKeyId, Secret: *out.Credentials.SecretAccessKey, Token: *out.Credentials.SessionToken}, nil
}

// mustTrade is trade that has to succeed.
func (w *world) mustTrade(t *testing.T, token string) fleet.Keys {
	t.Helper()
	by := w.client(0)
	k, err := w.trade(t.Context(), 0, by, token)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// client asks one server from an address that no other has: what each may ask in a
// second is limited.
func (w *world) client(at int) *http.Client {
	w.from++
	by := w.Server(at).Client(net.IPv4(127, 0, byte(1+at), w.from))
	w.clients = append(w.clients, by)
	return by
}

// provision speaks SCIM at one server.
func (w *world) provision(ctx context.Context, at int, method, path string, in, out any) (int, error) {
	var body *strings.Reader
	text, err := json.Marshal(in)
	if err != nil {
		return 0, err
	}
	if body = strings.NewReader(string(text)); in == nil {
		body = strings.NewReader("")
	}
	req, err := http.NewRequestWithContext(ctx, method, w.Web+"/scim/v2/"+path, body)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", w.scim)
	if in != nil {
		req.Header.Set("Content-Type", "application/scim+json")
	}
	by := w.Server(at).Client(nil)
	defer by.CloseIdleConnections()
	resp, err := by.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return resp.StatusCode, fmt.Errorf("SCIM answers %d to %s %s", resp.StatusCode, method, path)
	}
	if out != nil {
		err = json.NewDecoder(resp.Body).Decode(out)
	}
	return resp.StatusCode, err
}

// provisioned is the subject's id at SCIM.
func (w *world) provisioned(ctx context.Context, at int) (string, error) {
	var found struct{ Resources []struct{ ID string } }
	if _, err := w.provision(ctx, at, http.MethodGet, "Users?filter="+url.QueryEscape(`userName eq "`+subject+`"`), nil, &found); err != nil {
		return "", err
	}
	if len(found.Resources) != 1 {
		return "", fmt.Errorf("SCIM knows %d of %s", len(found.Resources), subject)
	}
	return found.Resources[0].ID, nil
}

// activate says by SCIM at one server whether somebody is active.
func (w *world) activate(ctx context.Context, at int, id string, active bool) error {
	_, err := w.provision(ctx, at, http.MethodPatch, "Users/"+id, map[string]any{
		"schemas":    []string{"urn:ietf:params:scim:api:messages:2.0:PatchOp"},
		"Operations": []any{map[string]any{"op": "replace", "path": "active", "value": active}}}, nil)
	return err
}

// administrator is carol's browser, signed in.
func (w *world) administrator(t *testing.T) *fleet.Browser {
	t.Helper()
	if w.admin != nil {
		if status, _, err := w.admin.Ask(t.Context(), 0, http.MethodGet, "/api/v1/session", nil, nil); err == nil && status == http.StatusOK {
			return w.admin
		}
	}
	w.admin = w.SignIn(t, 0, "carol")
	return w.admin
}

// revoke takes something back by the API of one server.
func (w *world) revoke(t *testing.T, at int, kind, id string) error {
	return wanted(w.admin.Ask(t.Context(), at, http.MethodPost, "/api/v1/revocations", map[string]string{"kind": kind, "id": id}, nil))
}

// wanted makes an error of an answer that is no success.
func wanted(status int, body []byte, err error) error {
	if err == nil && status/100 != 2 {
		err = fmt.Errorf("it is answered with %d %s", status, body)
	}
	return err
}

// others work beside the subject until the test ends: bob reads through all gateways.
func (w *world) others(t *testing.T) {
	t.Helper()
	keys := w.SignIn(t, 1, "bob").Keys(t, 1, "engineer")
	for i, s := range w.Servers() {
		go func() {
			by := s.S3(w.Server(i).Client(net.IPv4(127, 0, 9, byte(1+i))), keys)
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
					_ = fleet.Read(t.Context(), by) // refused after everything was revoked: work for the gateway, too
				case <-t.Context().Done():
					return
				}
			}
		}()
	}
}

// nodeIDs gives the ids of the nodes by their names.
func (w *world) nodeIDs(t *testing.T) map[string]string {
	t.Helper()
	var list struct {
		Nodes []struct{ ID, Name string }
	}
	w.administrator(t).Must(t, 0, http.MethodGet, "/api/v1/clusters/"+w.cluster+"/nodes", nil, &list)
	ids := map[string]string{}
	for _, n := range list.Nodes {
		ids[n.Name] = n.ID
	}
	return ids
}
