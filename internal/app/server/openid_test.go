package server_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/app/visitor"
	"carnet.dev/carnet/internal/edge/upstream/jwks/issuertest"
)

// TestOpenIDOverTheWire: from `carnet sso add --oidc` to the first object and to
// the logout that the provider asks for, over real HTTP.
func TestOpenIDOverTheWire(t *testing.T) {
	t.Parallel()
	in := install(t, replace(`{id: "111122223333", name: analytics, kind: local}`, both),
		replace("buckets:", "iam: {loopback_providers: true}\negress: {allow: [127.0.0.1]}\nbuckets:"))
	op := issuertest.NewOP(t, in.base+"/sign-in/oidc/callback", time.Now)
	op.Person(map[string]any{"roles": []string{analyst}, "groups": []string{"staff"}})
	file := in.write(t, "secret.txt", op.Secret+"\n")
	add := func(more ...string) []string {
		return append([]string{"sso", "add", "--name", "OP", "--oidc", op.URL, "--client-id", op.ClientID, "--client-secret-file", file,
			"--accounts", "111122223333", "--roles", "arn:aws:iam::1*:role/*", "--domains", "example.com"}, more...)
	}
	for name, tt := range map[string]struct {
		args []string
		says string
	}{
		"a flag of SAML":  {add("--allow-sha1"), "--allow-sha1: only SAML identity providers have that"},
		"no such file":    {add("--client-secret-file", "/nowhere"), "cannot read the client secret file"},
		"the document":    {add("--oidc", op.URL+issuertest.Discovery), "enter the issuer: " + op.URL},
		"no seconds":      {add("--max-age", "soon"), "no number of seconds"},
		"SAML's provider": {add("--role-template", "group=a-{r},account=111122223333,role={r},provider=p"), "have none"},
	} {
		if o := in.carnet(t, tt.args...); o.code == 0 || !strings.Contains(o.err, tt.says) {
			t.Errorf("%s: %s", name, o)
		}
	}
	out := in.must(t, add("--roles-claim", "roles")...)
	for _, want := range []string{in.base + "/sign-in/oidc/callback", in.base + "/sign-in/oidc/logout", in.base + "/signed-out"} {
		if !strings.Contains(out, want) {
			t.Errorf("sso add does not say %s:\n%s", want, out)
		}
	}
	in.must(t, "sso", "set", "OP", "--administrators", "admins", "--role-template", "group=aws-{r},account=111122223333,role={r}")
	if out = in.must(t, "sso", "show", "OP"); !strings.Contains(out, "is stored, sent by basic") || !strings.Contains(out, "group=aws-{r},account=111122223333,role={r}") || strings.Contains(out, "s3cret") {
		t.Errorf("sso show says %s", out)
	}
	if out = in.must(t, "sso", "url", "--oidc"); strings.TrimSpace(out) != in.base+"/sign-in/oidc/callback" {
		t.Errorf("sso url says %s", out)
	}
	in.must(t, "authority", "apply", in.write(t, "authority.yaml", webAuthority(in.base)))
	r := in.serve(t)

	alice := visitor.New(nil)
	page := open(t, alice, in.base+"/sign-in")
	if page.Status != http.StatusOK || page.URL.Path != "/" || !strings.Contains(page.Body, "Alice Example") {
		t.Fatalf("the sign-in ends at %s, which answers %d\n%s\n%s", page.URL, page.Status, page.Body, r.log)
	}
	firstObject(t, in, "http://"+in.aws, alice)

	sid := ""
	op.Bend(func(g *issuertest.Grant) { sid, _ = g.Claims["sid"].(string) })
	bob := visitor.New(nil)
	if page = open(t, bob, in.base+"/sign-in"); page.URL.Path != "/" {
		t.Fatalf("bob ends at %s\n%s", page.URL, page.Body)
	}
	said := func(token string) int {
		resp, err := http.PostForm(in.base+"/sign-in/oidc/logout", url.Values{"logout_token": {token}})
		must(t, err)
		defer func() { _ = resp.Body.Close() }()
		return resp.StatusCode
	}
	token := op.LogoutToken(map[string]any{"sid": sid})
	if got := said(token); got != http.StatusOK {
		t.Errorf("the logout token is answered with %d", got)
	}
	if got := said(token); got != http.StatusBadRequest {
		t.Errorf("a second time it is answered with %d", got)
	}
	soon(t, "bob to be signed out", func() bool {
		return ask(t, bob, http.MethodGet, in.base+"/api/v1/session", "", &json.RawMessage{}) == http.StatusUnauthorized
	})
	if ask(t, alice, http.MethodGet, in.base+"/api/v1/session", "", &json.RawMessage{}) != http.StatusOK {
		t.Error("alice was signed out too")
	}
	log := r.log.String()
	for _, what := range []string{"s3cret", token, "code="} {
		if strings.Contains(log, what) {
			t.Errorf("the log holds %q", what)
		}
	}
}

// webAuthority is an authority whose role takes our own ID tokens alone.
func webAuthority(base string) string {
	name := strings.TrimPrefix(base, "http://") + "/oidc"
	return `accounts:
  "111122223333":
    oidc_providers: [{url: "` + base + `/oidc", client_ids: [sts.amazonaws.com]}]
    roles:
      - name: analyst
        trust_policy: {Version: "2012-10-17", Statement: [{Effect: Allow, Principal: {Federated: "arn:aws:iam::111122223333:oidc-provider/` + name + `"},
          Action: ["sts:AssumeRoleWithWebIdentity", "sts:TagSession", "sts:SetSourceIdentity"], Condition: {StringEquals: {"` + name + `:aud": sts.amazonaws.com}, StringLike: {"` + name + `:sub": "user:psn_*"}, Bool: {"sts:RoleAuthorizedByIdp": "true"}}}]}
        policies: [{name: sales, document: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "s3:*", Resource: ["arn:aws:s3:::sales", "arn:aws:s3:::sales/*"]}]}}]
`
}
