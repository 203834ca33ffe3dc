//go:build interop

package idp

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// realOP is one OpenID provider that runs. Its people are those of realIdP.
type realOP interface {
	name() string
	release() string
	secret() string // alice's password, and the client's secret
	log() string
	issuer() string
	// tune changes how it speaks for one row.
	tune(testing.TB, openIDMode)
	// end is the address where a sign-out begins there.
	end() string
	// workload gives a token of the client "nightly" for an audience, and the
	// claim that names that client.
	workload(tb testing.TB, audience string) (token, claim string)
}

// openIDMode is one way to sign in by OpenID Connect.
type openIDMode struct {
	what     string   // as the table has it
	settings []string // of carnet sso set
	tuned    string   // how the provider is tuned; empty: as it is
	browser  bool
	workload bool   // no person: a workload is federated in
	logout   string // "", or who begins it: ours or theirs
}

func (m openIDMode) String() string { return "OpenID Connect, " + m.what }

// openIDModes are what each OpenID provider is asked to do.
func openIDModes() []openIDMode {
	return []openIDMode{
		{what: "roles from a claim"},
		{what: "roles from groups, by a template", settings: []string{"--roles-claim", "", "--role-template", "group=aws-{r},account=111122223333,role={r}"}},
		{what: "user name by a verified mail address", settings: []string{"--user-name-claim", "email"}},
		{what: "client secret in the form", settings: []string{"--client-auth", "post"}, tuned: "post"},
		{what: "a fresh sign-in each time (max_age 0)", settings: []string{"--max-age", "0"}},
		{what: "claims from userinfo alone", tuned: "userinfo"},
		{what: "ID token signed by ES256", tuned: "ES256"},
		{what: "logout from Carnet", logout: "ours"},
		{what: "back-channel logout by the provider", logout: "theirs"},
		{what: "in Chromium", browser: true},
		{what: "a workload trades a token of the provider for keys", workload: true},
	}
}

// openIDProduct is one OpenID provider of the table.
type openIDProduct struct {
	name  string
	begin func(testing.TB, *carnet) realOP
}

func openIDProducts() []openIDProduct {
	return []openIDProduct{
		{"oidc-provider on Node.js", func(tb testing.TB, c *carnet) realOP { return startOIDCProvider(tb, c) }},
		{"Keycloak", func(tb testing.TB, c *carnet) realOP { return startKeycloak(tb, c).(*keycloak) }},
	}
}

// signInEachByOpenID is one product in its modes.
func signInEachByOpenID(t *testing.T, p openIDProduct, rows []openIDMode, table *report) {
	began := time.Now()
	c := layFor(t, strings.NewReplacer("kind: local}", "kind: local, exchanges: [web-identity]}",
		"buckets:", "iam: {loopback_providers: true}\negress: {allow: [127.0.0.1, \"::1\"]}\nbuckets:").Replace(configuration))
	op := p.begin(t, c)
	c.beginOpenID(t, op)
	t.Logf("%s %s and Carnet are up after %.1f s", op.name(), op.release(), time.Since(began).Seconds())
	c.seed(t, opPerson{op})
	for _, m := range rows {
		passed := t.Run(m.String(), func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("%s says:\n%s\ncarnet says:\n%s", op.name(), tail(op.log()), tail(c.server.log.String()))
				}
			}()
			op.tune(t, m)
			c.host(t, append([]string{"sso", "set", "Corp"}, append(standard(), m.settings...)...)...)
			time.Sleep(1200 * time.Millisecond) // the server follows within a second
			if m.workload {
				c.federates(t, op)
				return
			}
			signInOnceByOpenID(t, c, op, m)
		})
		table.addRow(op.name(), op.release(), m.String(), map[bool]string{true: "pass", false: "FAIL"}[passed])
	}
}

// standard are the settings that each row starts from.
func standard() []string {
	return []string{"--roles-claim", "aws_roles", "--role-template", "", "--user-name-claim", "", "--client-auth", "basic", "--max-age", ""}
}

// opPerson lets an OpenID provider stand where people are made.
type opPerson struct{ realOP }

func signInOnceByOpenID(t *testing.T, c *carnet, op realOP, m openIDMode) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p := c.person(t, opPerson{op})
	defer p.close()
	if m.browser {
		p.useChromium(t)
	}
	must(t, p.visit(ctx, c.base+"/"))
	if at := p.at(ctx); at != c.base+"/" {
		t.Fatalf("the sign-in ended at %s:\n%s", at, p.text(ctx))
	}
	p.login(t)
	if strings.Contains(m.what, "template") {
		p.writesS3(t)
	} else {
		p.readsS3(t)
	}
	if m.logout != "" {
		p.leaves(ctx, t, op, m.logout)
	}
}

// leaves signs out here or there, and is signed out at both.
func (p *person) leaves(ctx context.Context, t *testing.T, op realOP, begun string) {
	t.Helper()
	if begun == "ours" {
		must(t, p.open(ctx, p.base+"/"))
		must(t, p.press(ctx, "/sign-out", nil))
		must(t, p.fill(ctx, "", ""))
		if text := p.text(ctx); !strings.HasPrefix(p.at(ctx), p.base+"/signed-out?") || !strings.Contains(text, "ended your sign-in there too") {
			t.Errorf("the sign-out ended at %s:\n%s", p.at(ctx), text)
		}
	} else {
		must(t, p.open(ctx, op.end()))
		must(t, p.fill(ctx, "", ""))
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if _, err := p.client(t, analyst); err != nil {
			break
		}
		if time.Now().After(end) {
			t.Error("keys are still given out")
			break
		}
	}
	must(t, p.open(ctx, p.base+"/"))
	if at, text := p.at(ctx), p.text(ctx); strings.HasPrefix(at, p.base) || !strings.Contains(text, `type="password"`) {
		t.Errorf("the person is still known at %s:\n%s", at, text)
	}
}

// federates has a workload trade a token of the provider for one of ours, that for
// keys, and read S3 with them.
func (c *carnet) federates(t *testing.T, op realOP) {
	t.Helper()
	token, claim := op.workload(t, c.base+"/oidc")
	sp := struct{ ID string }{}
	must(t, json.Unmarshal([]byte(c.host(t, "people", "service-principal", "add", "nightly", "--output", "json")), &sp))
	c.host(t, "people", "map", "nightly", analyst)
	c.host(t, "federation-policy", "add", "--name", "nightly", "--service-principal", "nightly", "--issuer", op.issuer(), "--subject-claim", claim, "--subject", "nightly")
	var got struct {
		IDToken string `json:"id_token"`
		Error   string `json:"error_description"`
	}
	for end := time.Now().Add(10 * time.Second); got.IDToken == ""; time.Sleep(200 * time.Millisecond) {
		resp, err := http.PostForm(c.base+"/oidc/v1/token", url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "client_id": {sp.ID},
			"subject_token": {token}, "subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"}, "audience": {"sts.amazonaws.com"}, "role": {analyst}})
		must(t, err)
		err = json.NewDecoder(resp.Body).Decode(&got)
		_ = resp.Body.Close()
		must(t, err)
		if time.Now().After(end) { // the server follows within a second
			t.Fatalf("no ID token: %s %s", resp.Status, got.Error)
		}
	}
	out, err := sts.New(sts.Options{Region: "us-east-1", BaseEndpoint: aws.String(c.aws)}).AssumeRoleWithWebIdentity(t.Context(),
		&sts.AssumeRoleWithWebIdentityInput{RoleArn: aws.String(analyst), RoleSessionName: aws.String("run-1"), WebIdentityToken: aws.String(got.IDToken)})
	must(t, err)
	if who := aws.ToString(out.SubjectFromWebIdentityToken); who != "sp:"+sp.ID {
		t.Errorf("the keys are those of %s", who)
	}
	k := out.Credentials
	client := s3.New(s3.Options{Region: "us-east-1", BaseEndpoint: aws.String(c.aws), UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(*k.AccessKeyId, *k.SecretAccessKey, *k.SessionToken)})
	object, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String(object)})
	must(t, err)
	_ = object.Body.Close()
}

// beginOpenID enters the OpenID provider and an authority that trusts our own ID
// tokens, and starts the server.
func (c *carnet) beginOpenID(tb testing.TB, op realOP) {
	tb.Helper()
	c.host(tb, append([]string{"sso", "add", "--name", "Corp", "--oidc", op.issuer(), "--client-id", "carnet",
		"--client-secret-file", c.write(tb, "secret.txt", op.secret()), "--accounts", account, "--roles", "arn:aws:iam::" + account + ":role/*", "--domains", "*"}, standard()...)...)
	name := strings.TrimPrefix(c.base, "http://") + "/oidc"
	role := func(role, actions string) string {
		return fmt.Sprintf(`
      - name: %[1]s
        max_session_duration: 12h
        trust_policy: {Version: "2012-10-17", Statement: [{Effect: Allow, Principal: {Federated: "arn:aws:iam::%[2]s:oidc-provider/%[3]s"},
          Action: ["sts:AssumeRoleWithWebIdentity", "sts:TagSession", "sts:SetSourceIdentity"],
          Condition: {StringEquals: {"%[3]s:aud": sts.amazonaws.com}, StringLike: {"%[3]s:sub": ["user:psn_*", "sp:spn_*"]}, Bool: {"sts:RoleAuthorizedByIdp": "true"}}}]}
        policies:
          - name: reports
            document: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: [%[4]s], Resource: ["arn:aws:s3:::reports", "arn:aws:s3:::reports/*"]}]}`, role, account, name, actions)
	}
	c.host(tb, "authority", "apply", c.write(tb, "authority.yaml", fmt.Sprintf(`accounts:
  %q:
    oidc_providers: [{url: "%s/oidc", client_ids: [sts.amazonaws.com]}]
    roles:`, account, c.base)+role("analyst", `"s3:GetObject", "s3:ListBucket"`)+role("engineer", `"s3:*"`)+"\n"))
	c.server = run(tb, c.folder, os.Environ(), c.binary, "server", "--config", c.config)
	c.server.await(tb, c.base+"/saml/metadata", time.Minute)
}

// oidcProvider is npm oidc-provider.
type oidcProvider struct {
	base, password, version string
	program                 *program
}

func (o *oidcProvider) name() string    { return "oidc-provider on Node.js" }
func (o *oidcProvider) release() string { return o.version }
func (o *oidcProvider) secret() string  { return o.password }
func (o *oidcProvider) log() string     { return o.program.log.String() }
func (o *oidcProvider) issuer() string  { return o.base }
func (o *oidcProvider) end() string     { return o.base + "/session/end" }

func startOIDCProvider(tb testing.TB, c *carnet) *oidcProvider {
	tb.Helper()
	folder := filepath.Join(need(tb, "CARNET_IDPS"), "oidc-provider")
	program, err := os.ReadFile("oidc-provider/server.js")
	must(tb, err)
	must(tb, os.WriteFile(filepath.Join(folder, "server.js"), program, 0o644))
	var about struct{ Version string }
	text, err := os.ReadFile(filepath.Join(folder, "node_modules/oidc-provider/package.json"))
	must(tb, err)
	must(tb, json.Unmarshal(text, &about))
	port := freePort(tb)
	o := &oidcProvider{base: fmt.Sprintf("http://localhost:%d", port), password: "correct horse battery", version: about.Version}
	o.program = run(tb, folder, append(os.Environ(), fmt.Sprintf("PORT=%d", port), "CARNET="+c.base, "CLIENT_ID=carnet", "CLIENT_SECRET="+o.password,
		"USER="+user, "PASSWORD="+o.password), "node", "server.js")
	o.program.await(tb, o.base+"/.well-known/openid-configuration", time.Minute)
	o.tune(tb, openIDMode{})
	return o
}

func (o *oidcProvider) tune(tb testing.TB, m openIDMode) {
	tb.Helper()
	s := map[string]any{"inToken": m.tuned != "userinfo", "alg": "RS256", "auth": "client_secret_basic",
		"claims": map[string]any{"aws_roles": []string{analyst, engineer}, "groups": []string{"analysts", "aws-engineer"}}}
	switch m.tuned {
	case "post":
		s["auth"] = "client_secret_post"
	case "ES256":
		s["alg"] = "ES256"
	}
	text, err := json.Marshal(s)
	must(tb, err)
	resp, err := http.Post(o.base+"/set", "application/json", strings.NewReader(string(text)))
	must(tb, err)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		tb.Fatalf("set: %s", resp.Status)
	}
}

func (o *oidcProvider) workload(tb testing.TB, audience string) (token, claim string) {
	tb.Helper()
	return clientToken(tb, o.base+"/token", o.password, url.Values{"resource": {audience}}), "client_id"
}

func (k *keycloak) workload(tb testing.TB, _ string) (token, claim string) {
	tb.Helper()
	return clientToken(tb, k.issuer()+"/protocol/openid-connect/token", k.password, url.Values{}), "azp"
}

// clientToken asks a token endpoint for a token of the client itself.
func clientToken(tb testing.TB, endpoint, password string, form url.Values) string {
	tb.Helper()
	form.Set("grant_type", "client_credentials")
	req, err := http.NewRequest(http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	must(tb, err)
	req.SetBasicAuth("nightly", url.QueryEscape(password))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(req)
	must(tb, err)
	defer resp.Body.Close()
	var got struct {
		Token       string `json:"access_token"`
		Description string `json:"error_description"`
	}
	must(tb, json.NewDecoder(resp.Body).Decode(&got))
	if strings.Count(got.Token, ".") != 2 {
		tb.Fatalf("no token: %s %s", resp.Status, got.Description)
	}
	return got.Token
}

func (k *keycloak) issuer() string { return k.base + "/realms/carnet" }
func (k *keycloak) end() string    { return k.leave(nil) }

// tune changes the client for OpenID Connect through the administrators' API.
func (k *keycloak) tune(tb testing.TB, m openIDMode) {
	tb.Helper()
	k.signOn(tb)
	var clients []map[string]any
	k.call(tb, http.MethodGet, "/admin/realms/carnet/clients?clientId=carnet", nil, &clients)
	if len(clients) != 1 {
		tb.Fatalf("%d clients", len(clients))
	}
	client := clients[0]
	attributes := client["attributes"].(map[string]any)
	attributes["id.token.signed.response.alg"] = "RS256"
	if m.tuned == "ES256" {
		attributes["id.token.signed.response.alg"] = "ES256"
	}
	for _, mapper := range client["protocolMappers"].([]any) {
		config := mapper.(map[string]any)["config"].(map[string]any)
		config["id.token.claim"], config["userinfo.token.claim"] = fmt.Sprint(m.tuned != "userinfo"), "true"
	}
	text, err := json.Marshal(client)
	must(tb, err)
	k.call(tb, http.MethodPut, "/admin/realms/carnet/clients/"+client["id"].(string), text, nil)
}
