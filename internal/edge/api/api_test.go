package api_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/api"
	"carnet.dev/carnet/internal/edge/api/client"
	"carnet.dev/carnet/internal/edge/httpd"
	sqldenial "carnet.dev/carnet/internal/edge/sql/denial"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/administrator"
	"carnet.dev/carnet/internal/service/audit"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/denial"
	"carnet.dev/carnet/internal/service/federation"
	"carnet.dev/carnet/internal/service/gatewaykeys"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/spkeys"
)

// The services are what the API asks for.
var (
	_ api.Login = (*login.Service)(nil)
)

var (
	start   = time.Date(2026, 11, 22, 9, 0, 0, 999e6, time.UTC)
	analyst = arn.Role{Partition: "aws", Account: "111122223333", Path: "/", Name: "analyst"}
	cloud   = arn.Role{Partition: "aws", Account: "777788889999", Path: "/", Name: "reader"}
	broken  = arn.Role{Partition: "aws", Account: "444455556666", Path: "/", Name: "pipeline"}
)

// world stands for the sign-in below the API: bob's login session and one CLI
// code. What single sign-on asks is the real thing.
type world struct {
	signedOut []string
	sso       *federation.Service
	keys      *spkeys.Service
	denials   *denial.Keeper
	trail     *audit.Writer
	reader    *audit.Reader
	gateway   *gatewaykeys.Service
	clusters  *cluster.Service
	attached  attachments
	// resumed counts how often somebody was proven; endsAfter many are, 0 all.
	resumed   atomic.Int64
	endsAfter int64
}

func (w *world) person(admin bool) login.LoginSession {
	return login.LoginSession{
		ID:      "lgn_bob",
		Person:  login.Person{ID: "psn_bob", IdP: "idp_1", UserName: "bob@example.com", DisplayName: "Bob B."},
		IdPName: "Dev IdP", Administrator: admin, Started: start, Expires: start.Add(12 * time.Hour),
		Notes: []string{"One role was dropped."},
		Roles: []login.RoleStatus{
			{Role: analyst, Account: analyst.Account, AccountName: "analytics", State: login.RoleReady, Expiration: start.Add(time.Hour),
				SessionName: "bob@example.com", AssumedRoleARN: analyst.AssumedRole("bob@example.com"), Deliver: "direct"},
			{Role: broken, Account: broken.Account, AccountName: "engineering", State: login.RoleFailed, Deliver: "direct",
				Error: &login.RoleError{Code: "AccessDenied", Message: "Not authorized to perform sts:AssumeRoleWithSAML", Mend: "Name the provider in the trust policy."}},
		},
	}
}

func (w *world) Resume(_ context.Context, c secret.Text) (login.LoginSession, error) {
	if n := w.resumed.Add(1); w.endsAfter > 0 && n > w.endsAfter {
		return login.LoginSession{}, fault.Coded(fault.Revoked, "login.revoked", "Your sign-in was revoked")
	}
	switch c.Reveal() {
	case "bob":
		return w.person(false), nil
	case "admin":
		return w.person(true), nil
	}
	return login.LoginSession{}, fault.Coded(fault.Unauthenticated, "login.unknown", "You are not signed in")
}

func (w *world) ResumeCLI(ctx context.Context, t secret.Text) (login.LoginSession, error) {
	v, _ := strings.CutPrefix(t.Reveal(), "cli-")
	return w.Resume(ctx, secret.New(v))
}

func (w *world) NeedsSetup(context.Context) (bool, error) { return false, nil }

func (w *world) SignOut(_ context.Context, id identity.LoginSessionID) error {
	w.signedOut = append(w.signedOut, string(id))
	return nil
}

func (w *world) SignOutCLI(_ context.Context, t secret.Text) error {
	w.signedOut = append(w.signedOut, t.Reveal())
	return nil
}

func (w *world) RedeemCode(_ context.Context, code secret.Text, verifier string) (login.CLIToken, error) {
	if code.Reveal() != "code" || verifier != "verifier" {
		return login.CLIToken{}, fault.Coded(fault.Unauthenticated, "cli.code", "The code is unknown, used or too old").WithMend("run `carnet login` again")
	}
	return login.CLIToken{Token: secret.New("cli-bob"), Expires: start.Add(12 * time.Hour), UserName: "bob@example.com"}, nil
}

func (w *world) Credentials(_ context.Context, s login.LoginSession, role string) (credential.RoleSession, error) {
	rs := credential.RoleSession{SessionName: s.Person.UserName, Credentials: credential.Temporary{
		AccessKeyID: "ASIAEXAMPLE", SecretAccessKey: secret.New("key"), SessionToken: secret.New("token"), Expiration: start.Add(time.Hour),
	}}
	switch role {
	case "analyst", analyst.String():
		rs.Role = analyst
	case "reader":
		rs.Role = cloud
	default:
		return credential.RoleSession{}, fault.Coded(fault.NotFound, "role.not-held", "You do not hold the role "+role).WithMend("choose one of: analyst")
	}
	return rs, nil
}

// serve starts the real table over loopback.
func serve(t *testing.T) (*world, string, []httpd.Route) {
	t.Helper()
	w := &world{}
	w.open(t)
	w.trail, w.reader = newTrail(t)
	w.denials = denial.New(denial.Config{Store: sqldenial.Store{DB: sqltest.Open(t)}, Now: func() time.Time { return start }, Name: userName})
	srv := httptest.NewUnstartedServer(nil)
	base, err := url.Parse("http://" + srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	site, err := httpd.New(httpd.Config{
		BaseURL: base, Sessions: w, AccessTokens: programs{w}, Machines: hubs{}, Page: httpd.Problem, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
	}, api.Routes(api.Config{
		Login: w, Providers: w.sso, Metadata: w.sso, Installation: w.sso, Keys: w.keys, SAMLURL: base.String() + "/saml/consume",
		Cookies: httpd.NewCookies(base), Web: base.String(),
		Home:           api.Place{Region: "us-east-1", S3: "http://127.0.0.1:8481", STS: "http://127.0.0.1:8481", IAM: "http://127.0.0.1:8482"},
		Administration: administration{},
		Elsewhere:      map[string]api.Place{cloud.Account: {Region: "eu-west-1"}},
		LocalAccounts:  []string{"111122223333"},
		IDTokens:       idTokens{base.String()},
		Delegations:    &delegations{},
		Attachments:    &w.attached, ClusterAttachments: &w.attached,
		Denials:     w.denials,
		Revocations: takings{},
		Trail:       single{w.reader},
		GatewayKeys: w.gateway, GatewayClusters: w.clusters, PrefixGrants: w.gateway, Delivery: w.gateway,
		Clusters: w.clusters, ClusterRules: w.clusters, ClusterNodes: w.clusters, Names: folk{}, GroupsAround: around, Now: func() time.Time { return start.Add(time.Hour) },
		Issuers: func() []api.Issuer {
			i, err := w.sso.Installation()
			if err != nil {
				t.Error(err)
			}
			return []api.Issuer{{Level: "workspace", Issuer: base.String() + "/oidc", Registered: i.UnifiedLogin},
				{Level: "account", Issuer: base.String() + "/oidc/accounts/1", Registered: !i.UnifiedLogin}}
		},
	}))
	if err != nil {
		t.Fatal(err)
	}
	srv.Config.Handler = site
	srv.Start()
	t.Cleanup(srv.Close)
	return w, base.String(), site.Routes()
}

// call sends one request and gives status, header and body.
func call(t *testing.T, method, target, body string, header ...string) (int, http.Header, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, b
}

// TestTable is the API's part of the table of routes, as a reviewer reads it.
func TestTable(t *testing.T) {
	t.Parallel()
	_, _, rows := serve(t)
	var b strings.Builder
	for _, r := range rows {
		b.WriteString(r.Method + " " + r.Pattern + " " + r.Access.String() + " " + r.Rate.Name)
		if r.CLIToken {
			b.WriteString(" cli-token")
		}
		if r.CrossSite || r.AnyHost {
			b.WriteString(" LOOSE")
		}
		b.WriteString("\n")
	}
	want, err := os.ReadFile("testdata/routes.txt")
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the table changed; got:\n%s", b.String())
	}
}

// TestClientAndServer walks every call with the real client.
func TestClientAndServer(t *testing.T) {
	t.Parallel()
	w, base, _ := serve(t)
	ctx := t.Context()
	stranger, err := client.New(base, secret.Text{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stranger.Session(ctx); fault.KindOf(err) != fault.Unauthenticated || len(client.RequestID(err)) != 16 {
		t.Errorf("stranger's session: %v, request id %q", err, client.RequestID(err))
	}
	if _, err := stranger.RedeemCode(ctx, secret.New("old"), secret.New("verifier")); fault.Of(err).Code != "cli.code" || fault.Of(err).Mend == "" {
		t.Errorf("old code: %v", err)
	}
	tok, err := stranger.RedeemCode(ctx, secret.New("code"), secret.New("verifier"))
	if err != nil || tok.UserName != "bob@example.com" || !tok.Expires.Equal(start.Add(12*time.Hour).Truncate(time.Second)) {
		t.Fatalf("token %+v, %v", tok, err)
	}
	c, err := client.New(base, tok.Token, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Session(ctx)
	if err != nil || s.Person.UserName != "bob@example.com" || s.Person.IdentityProvider != "Dev IdP" || s.Endpoints.Web != base || s.Region != "us-east-1" || len(s.Notes) != 1 {
		t.Errorf("session %+v, %v", s, err)
	}
	roles, err := c.Roles(ctx)
	if err != nil || len(roles) != 2 || roles[0].State != client.Ready || roles[0].Expiration == nil || roles[0].Error != nil ||
		roles[1].State != client.Failed || roles[1].Expiration != nil || roles[1].Error == nil || roles[1].Error.Code != "AccessDenied" {
		t.Errorf("roles %+v, %v", roles, err)
	}
	k, err := c.Credentials(ctx, "analyst")
	if err != nil || k.Role != analyst.String() || k.SecretAccessKey.Reveal() != "key" || k.SessionToken.Reveal() != "token" || k.Endpoints.S3 != "http://127.0.0.1:8481" {
		t.Errorf("credentials %+v, %v", k, err)
	}
	if k, err := c.Credentials(ctx, "reader"); err != nil || k.Region != "eu-west-1" || k.Endpoints.S3 != "" {
		t.Errorf("credentials of an AWS account %+v, %v", k, err)
	}
	if _, err := c.Credentials(ctx, "root"); fault.KindOf(err) != fault.NotFound || !strings.Contains(err.Error(), "choose one of") {
		t.Errorf("unheld role: %v", err)
	}
	if _, err := c.Credentials(ctx, ""); fault.Of(err).Code != "role.missing" {
		t.Errorf("no role: %v", err)
	}
	if _, err := c.IdentityProviders(ctx); fault.KindOf(err) != fault.Denied {
		t.Errorf("person lists identity providers: %v", err)
	}
	if err := c.SignOut(ctx); err != nil || len(w.signedOut) != 1 || w.signedOut[0] != "cli-bob" {
		t.Errorf("sign out: %v, %v", err, w.signedOut)
	}
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	_, base, _ := serve(t)
	creds := base + "/api/v1/roles/credentials"
	for _, c := range []struct {
		name, body string
		header     []string
		status     int
		code       string
	}{
		{"not JSON", "role=analyst", nil, 400, "request.json"},
		{"form", "role=analyst", []string{"Content-Type", "application/x-www-form-urlencoded"}, 400, "request.content-type"},
		{"text, as a form of another site can send", `{"role":"analyst"}`, []string{"Content-Type", "text/plain"}, 400, "request.content-type"},
		{"misspelt member", `{"rôle":"analyst"}`, nil, 400, "request.json"},
		{"two documents", `{"role":"analyst"}{"role":"root"}`, nil, 400, "request.json"},
		{"wrong type", `{"role":["analyst"]}`, nil, 400, "request.json"},
		{"over the limit", `{"role":"` + strings.Repeat("x", 17<<10) + `"}`, nil, 413, "request.body"},
		{"from another site", `{"role":"analyst"}`, []string{"Sec-Fetch-Site", "cross-site"}, 403, "request.cross-site"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			status, header, body := call(t, "POST", creds, c.body, append([]string{"Cookie", "carnet=bob"}, c.header...)...)
			if status != c.status || !strings.Contains(string(body), `"code":"`+c.code+`"`) || header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("status %d, body %s", status, body)
			}
			if strings.Contains(string(body), "analyst") {
				t.Error("the answer repeats the body")
			}
		})
	}
}

func TestSignOutByCookieTakesTheCookieAway(t *testing.T) {
	t.Parallel()
	w, base, _ := serve(t)
	status, header, _ := call(t, "DELETE", base+"/api/v1/session", "", "Cookie", "carnet=bob")
	if status != 204 || !strings.Contains(header.Get("Set-Cookie"), "Max-Age=0") || len(w.signedOut) != 1 || w.signedOut[0] != "lgn_bob" {
		t.Errorf("status %d, cookie %q, signed out %v", status, header.Get("Set-Cookie"), w.signedOut)
	}
}

// administration issues keys of carnet-admin in one account, to whoever got
// past the table of routes.
type administration struct{}

func (administration) Roles(login.LoginSession) []administrator.Role {
	return []administrator.Role{{Account: administrator.Account{ID: "111122223333", Name: "analytics"}, ARN: analyst}}
}

func (administration) Credentials(_ context.Context, _ login.LoginSession, account string, lifetime time.Duration) (credential.RoleSession, error) {
	return credential.RoleSession{Role: analyst, SessionName: account, Credentials: credential.Temporary{
		AccessKeyID: "ASIAEXAMPLE", SecretAccessKey: secret.New("key"), SessionToken: secret.New("token"), Expiration: start.Add(lifetime),
	}}, nil
}

func TestAdministratorCredentials(t *testing.T) {
	t.Parallel()
	_, base, _ := serve(t)
	for token, kind := range map[string]fault.Kind{"cli-bob": fault.Denied, "cli-stranger": fault.Unauthenticated} {
		c, err := client.New(base, secret.New(token), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.AdministratorCredentials(t.Context(), "analytics"); fault.KindOf(err) != kind {
			t.Errorf("%s: %v", token, err)
		}
		if _, err := c.AdministratorRoles(t.Context()); fault.KindOf(err) != kind {
			t.Errorf("%s: %v", token, err)
		}
	}
	c, err := client.New(base, secret.New("cli-admin"), nil)
	if err != nil {
		t.Fatal(err)
	}
	roles, err := c.AdministratorRoles(t.Context())
	if err != nil || len(roles) != 1 || roles[0].AccountName != "analytics" {
		t.Errorf("%+v, %v", roles, err)
	}
	k, err := c.AdministratorCredentials(t.Context(), "analytics")
	if err != nil || k.Endpoints.IAM != "http://127.0.0.1:8482" || !k.Expiration.Equal(start.Add(time.Hour).Truncate(time.Second)) {
		t.Errorf("%+v, %v", k, err)
	}
	at := base + "/api/v1/accounts/analytics/administrator-credentials"
	for body, want := range map[string]int{`{}`: 200, `{"duration_seconds":900}`: 200, `{"duration_seconds":899}`: 400, `{"duration_seconds":3601}`: 400, `{"duration_seconds":-1}`: 400} {
		if status, _, b := call(t, "POST", at, body, "Cookie", "carnet=admin"); status != want {
			t.Errorf("%s: %d %s", body, status, b)
		}
	}
	if status, _, b := call(t, "POST", at, `{}`, "Cookie", "carnet=admin", "Sec-Fetch-Site", "cross-site"); status != 403 {
		t.Errorf("from another site: %d %s", status, b)
	}
}
