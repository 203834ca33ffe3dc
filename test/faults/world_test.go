//go:build interop

package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"
	smithy "github.com/aws/smithy-go/middleware"

	"carnet.dev/carnet/internal/edge/api"
	"carnet.dev/carnet/test/fleet"
)

// world is an installation of three servers under load.
type world struct {
	t      *testing.T // of all scenarios
	fleet  *fleet.Fleet
	watch  *watch
	ledger *ledger
	proven map[string]bool // objects that were read back

	admin, alice string     // the cookies of their browsers
	root         fleet.Keys // of the account's carnet-admin
	engineer     fleet.Keys // alice's
	gateway      fleet.Keys // a gateway key of alice's
	session      string     // alice's login session
	scim, bearer string

	run context.Context // of the load

	mu    sync.Mutex
	token string // alice's ID token
	until time.Time
}

func newWorld(t *testing.T) *world {
	f := fleet.With(t, 3, fleet.Options{People: []string{"dora"}, Cables: true, Config: "audit: {writes: on}\n"})
	w := &world{t: t, fleet: f, watch: newWatch(), ledger: newLedger(), proven: map[string]bool{}}
	carol, alice := f.SignIn(t, 0, "carol"), f.SignIn(t, 1, "alice")
	var root api.Credentials
	carol.Must(t, 0, http.MethodPost, "/api/v1/accounts/"+fleet.Account+"/administrator-credentials", api.AdministratorCredentialsRequest{}, &root)
	w.root = keysOf(root)
	w.engineer = alice.Keys(t, 0, "engineer")
	var err error
	if w.admin, err = w.cookies(t.Context(), carol); err != nil {
		t.Fatal(err)
	}
	if w.alice, err = w.cookies(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	w.session = w.sessionOf(t)
	made, status := w.makeKey(t.Context(), 0)
	if status != http.StatusCreated {
		t.Fatalf("a gateway key: %d", status)
	}
	w.gateway = made.keys
	var credential struct {
		URL    string `json:"url"`
		Bearer string `json:"bearer_token"`
	}
	f.HostJSON(t, &credential, "provisioning", "credential", "add", "--idp", fleet.IdP, "--label", "load", "--owner", "tests", "--scope", "users")
	w.scim, w.bearer = credential.URL, credential.Bearer
	if err := w.freshToken(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

func keysOf(c api.Credentials) fleet.Keys {
	return fleet.Keys{ID: c.AccessKeyID, Secret: c.SecretAccessKey, Token: c.SessionToken, Until: c.Expiration}
}

// sessionOf finds alice's login session as an administrator does.
func (w *world) sessionOf(t *testing.T) string {
	t.Helper()
	for line := range bytes.Lines([]byte(w.fleet.Host(t, "audit", "export", "--event", "sign-in", "--from", "1h"))) {
		var d struct {
			Identity struct {
				UserName     string `json:"userName"`
				LoginSession string `json:"loginSession"`
			} `json:"userIdentity"`
		}
		if err := json.Unmarshal(line, &d); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(d.Identity.UserName, "alice") && d.Identity.LoginSession != "" {
			return d.Identity.LoginSession
		}
	}
	t.Fatal("the trail names no login session of alice's")
	return ""
}

type madeKey struct {
	id      string
	keys    fleet.Keys
	request string
}

// makeKey makes a gateway key for alice's login session.
func (w *world) makeKey(ctx context.Context, server int) (madeKey, int) {
	var out api.MadeGatewayKey
	r := w.api(ctx, w.admin, server, http.MethodPost, "/api/v1/gateway-keys", api.NewGatewayKey{LoginSession: w.session, Networks: []string{"127.0.0.0/8"}, Roles: []string{fleet.Engineer}}, &out)
	w.note(r, "gateway-key.make", server)
	return madeKey{id: out.GatewayKey.ID, request: r.request, keys: fleet.Keys{ID: out.GatewayKey.AccessKeyID, Secret: out.SecretAccessKey}}, r.status
}

// cookies copies those of a browser, so that several clients may use them at once.
func (w *world) cookies(ctx context.Context, b *fleet.Browser) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.fleet.Web+"/api/v1/session", nil)
	if err != nil {
		return "", err
	}
	resp, err := b.Do(req) // adds them to req
	if err != nil {
		return "", err
	}
	return req.Header.Get("Cookie"), resp.Body.Close()
}

// api calls the API at one server with a browser's cookies.
func (w *world) api(ctx context.Context, cookies string, server int, method, path string, in, out any) result {
	header := http.Header{"Content-Type": {"application/json"}, "Origin": {w.fleet.Web}, "Sec-Fetch-Site": {"same-origin"}, "Cookie": {cookies}}
	var body []byte
	if in != nil {
		body, _ = json.Marshal(in) // documents of ours marshal
	}
	return w.ask(ctx, server, method, w.fleet.Web+path, header, body, out)
}

// ask sends one request to one server.
func (w *world) ask(ctx context.Context, server int, method, address string, h http.Header, body []byte, out any) result {
	r := result{server: server, began: time.Now()}
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		r.err = err
		return r
	}
	req.Header = h
	resp, err := w.client(server).Do(req)
	if err != nil {
		r.err = err
		return r
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.err = err
		return r
	}
	r.answered(resp.StatusCode, resp.Header, text)
	if out != nil && resp.StatusCode/100 == 2 {
		if r.err = json.Unmarshal(text, out); r.err != nil {
			r.status = 0
		}
	}
	return r
}

var clients sync.Map // server: *http.Client

func (w *world) client(server int) *http.Client {
	c, ok := clients.Load(server)
	if !ok {
		c, _ = clients.LoadOrStore(server, &http.Client{Transport: w.fleet.Server(server).Transport(), Timeout: patience,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }})
	}
	return c.(*http.Client)
}

// patience is how long a request may take: nothing may hang for longer.
const patience = 30 * time.Second

func provider(k fleet.Keys) aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(k.ID, k.Secret, k.Token)
}

// s3 gives a client of a server's gateway.
func (w *world) s3(server int, k fleet.Keys) *awss3.Client {
	return awss3.New(awss3.Options{Region: "us-east-1", BaseEndpoint: &w.fleet.AWS, UsePathStyle: true, Retryer: aws.NopRetryer{}, HTTPClient: w.client(server),
		Credentials: provider(k)})
}

// sts gives a client of a server's STS.
func (w *world) sts(server int, k fleet.Keys) *awssts.Client {
	return awssts.New(awssts.Options{Region: "us-east-1", BaseEndpoint: &w.fleet.AWS, Retryer: aws.NopRetryer{}, HTTPClient: w.client(server), Credentials: provider(k)})
}

// iam gives a client of a server's IAM.
func (w *world) iam(server int) *awsiam.Client {
	return awsiam.New(awsiam.Options{Region: "us-east-1", BaseEndpoint: &w.fleet.AWS, Retryer: aws.NopRetryer{}, HTTPClient: w.client(server),
		Credentials: provider(w.root)})
}

// usersAndPolicies gives every IAM user with the text of their policies.
func (w *world) usersAndPolicies(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	pages := awsiam.NewGetAccountAuthorizationDetailsPaginator(w.iam(0), &awsiam.GetAccountAuthorizationDetailsInput{Filter: []awsUserFilter{"User"}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range page.UserDetailList {
			var text strings.Builder
			for _, p := range u.UserPolicyList {
				document, err := url.QueryUnescape(aws.ToString(p.PolicyDocument))
				if err != nil {
					t.Fatal(err)
				}
				text.WriteString(document)
			}
			out[aws.ToString(u.UserName)] = text.String()
		}
	}
	return out
}

// peopleBySCIM gives the user names that a provisioning system reads back.
func (w *world) peopleBySCIM(t *testing.T) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for start := 1; ; {
		var page struct {
			Total     int `json:"totalResults"`
			Resources []struct {
				UserName string `json:"userName"`
			} `json:"Resources"`
		}
		r := w.ask(t.Context(), 0, http.MethodGet, fmt.Sprintf("%s/Users?startIndex=%d&count=100&attributes=userName", w.scim, start), w.scimHeader(), nil, &page)
		if r.status == http.StatusTooManyRequests {
			time.Sleep(time.Second)
			continue
		}
		if r.status != http.StatusOK {
			t.Fatal(r)
		}
		for _, p := range page.Resources {
			out[p.UserName] = true
		}
		if start += len(page.Resources); len(page.Resources) == 0 || start > page.Total {
			return out
		}
	}
}

func (w *world) scimHeader() http.Header {
	return http.Header{"Authorization": {"Bearer " + w.bearer}, "Content-Type": {"application/scim+json"}}
}

// gatewayKeys gives the states of all gateway keys.
func (w *world) gatewayKeys(t *testing.T) map[string]string {
	t.Helper()
	var all api.GatewayKeyList
	if r := w.api(t.Context(), w.admin, 0, http.MethodGet, "/api/v1/gateway-keys", nil, &all); !r.ok() {
		t.Fatal(r)
	}
	out := map[string]string{}
	for _, k := range all.GatewayKeys {
		out[k.ID] = k.State
	}
	return out
}

// files is how many a server's process holds open, connections among them.
func (w *world) files(t *testing.T, server int) int {
	t.Helper()
	files, err := os.ReadDir(filepath.Join("/proc", fmt.Sprint(w.fleet.Server(server).Process().PID()), "fd"))
	if err != nil {
		t.Error(err)
	}
	return len(files)
}

// requestOf is the id of a request that an AWS client sent.
func requestOf(m smithy.Metadata) string {
	id, _ := middleware.GetRequestIDMetadata(m) // each answer has one; an empty one is missed in the trail
	return id
}
