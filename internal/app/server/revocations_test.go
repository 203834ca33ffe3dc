package server_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"

	"carnet.dev/carnet/internal/app/visitor"
	"carnet.dev/carnet/internal/edge/api"
	"carnet.dev/carnet/internal/edge/nodeapi/nodedoc"
)

// shelf is what somebody was given: id, secret and, of role keys, the token.
type shelf struct{ ID, Secret, Token string }

// holdings are one thing of every kind that Carnet gives, each with its use.
type holdings struct {
	*machineWorld
	t     *testing.T
	root  *visitor.Visitor
	node  *machine
	texts map[string]string // ids and tokens, by place
	keys  map[string]shelf  // by place
	away  *visitor.Visitor  // where the delegation was made
	sent  chan url.Values   // what came to the program
	there string            // the program's address
}

// decider is a place where Carnet decides: get has what is used there, use uses it.
type decider struct {
	name string
	get  func(h *holdings)
	use  func(h *holdings) error
}

func (h *holdings) s3(name string) error {
	k := h.keys[name]
	c := awss3.New(awss3.Options{Region: "us-east-1", BaseEndpoint: aws.String("http://" + h.aws), UsePathStyle: true, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(k.ID, k.Secret, k.Token)})
	_, err := c.ListObjectsV2(h.t.Context(), &awss3.ListObjectsV2Input{Bucket: aws.String("sales")})
	return err
}

// trade buys keys with an ID token.
func (h *holdings) trade(name string) error {
	o := awssts.Options{Region: "us-east-1", BaseEndpoint: aws.String("http://" + h.aws), RetryMaxAttempts: 1}
	out, err := awssts.New(o).AssumeRoleWithWebIdentity(h.t.Context(), &awssts.AssumeRoleWithWebIdentityInput{
		RoleArn: aws.String(analyst), RoleSessionName: aws.String("run-1"), WebIdentityToken: aws.String(h.texts[name])})
	if err == nil {
		h.keys[name] = shelf{*out.Credentials.AccessKeyId, *out.Credentials.SecretAccessKey, *out.Credentials.SessionToken}
	}
	return err
}

// asks calls the API and says whether it was let in.
func (h *holdings) asks(v *visitor.Visitor, method, path, body string, into any) error {
	if into == nil {
		into = &map[string]any{}
	}
	if status := ask(h.t, v, method, h.base+path, body, into); status >= 300 {
		return fmt.Errorf("%s answers %d", path, status)
	}
	return nil
}

func (h *holdings) ok(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// gets has a token, and says whether it came.
func (h *holdings) gets(who string, form map[string]string) (answered, error) {
	a := h.token(h.t, who, form)
	if a.status != http.StatusOK {
		return a, errors.New(a.Error)
	}
	return a, nil
}

func (h *holdings) posts(path string, in, out any) error {
	if p := h.node.post(h.t, path, in, out); p.Status >= 300 {
		return errors.New(p.Code)
	}
	return nil
}

// gatewayKey is one that an administrator makes.
func (h *holdings) gatewayKey(name, body string) {
	var made api.MadeGatewayKey
	h.ok(h.asks(h.root, http.MethodPost, "/api/v1/gateway-keys", body, &made))
	h.keys[name], h.texts[name] = shelf{ID: made.GatewayKey.AccessKeyID, Secret: made.SecretAccessKey}, made.GatewayKey.ID
	h.ok(h.s3(name)) // in memory, and used
}

func (h *holdings) job() map[string]string {
	return map[string]string{"grant_type": "client_credentials", "audience": forAWS, "delegation": h.texts["job"]}
}

// program has a program get tokens for ann: by the code that her browser brings it.
func (h *holdings) program() {
	verifier := rand.Text() + rand.Text()
	sum := sha256.Sum256([]byte(verifier))
	q := url.Values{"response_type": {"code"}, "client_id": {h.texts["client"]}, "redirect_uri": {h.there}, "scope": {"openid all-apis offline_access"}, "state": {"s"}, "nonce": {"n"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"}}
	go func() { _, _ = h.ann.Open(h.t.Context(), h.base+"/oidc/v1/authorize?"+q.Encode()) }()
	got := <-h.sent
	a, err := h.gets("", map[string]string{"grant_type": "authorization_code", "client_id": h.texts["client"], "code": got.Get("code"), "redirect_uri": h.there, "code_verifier": verifier})
	h.ok(err)
	var all struct {
		RefreshToken string `json:"refresh_token"`
	}
	h.ok(json.Unmarshal([]byte(a.raw), &all))
	h.texts["access-token"], h.texts["refresh-token"] = a.AccessToken, all.RefreshToken
}

// places are all of them, each after what it is had by.
var places = []decider{
	{"page", func(h *holdings) { h.signIn(h.t, h.ann, "ann@example.com") }, func(h *holdings) error {
		if p := open(h.t, h.ann, h.base+"/sign-ins"); p.URL.Path != "/sign-ins" {
			return errors.New("led to " + p.URL.Path)
		}
		return nil
	}},
	{"api", func(*holdings) {}, func(h *holdings) error {
		var s struct {
			Person struct{ ID string }
			Login  struct{ ID string } `json:"login_session"`
		}
		err := h.asks(h.ann, http.MethodGet, "/api/v1/session", "", &s)
		if err == nil {
			h.texts["person"], h.texts["login-session"] = s.Person.ID, s.Login.ID
		}
		return err
	}},
	{"broker", func(*holdings) {}, func(h *holdings) error {
		var k fetched
		err := h.asks(h.ann, http.MethodPost, "/api/v1/roles/credentials", `{"role":"analyst"}`, &k)
		h.keys["broker"] = shelf{k.AccessKeyID, k.SecretAccessKey, k.SessionToken}
		return err
	}},
	{"role-keys", func(h *holdings) { h.keys["role-keys"] = h.keys["broker"] }, func(h *holdings) error { return h.s3("role-keys") }},
	{"sts", func(*holdings) {}, func(h *holdings) error {
		k := h.keys["role-keys"]
		_, err := awssts.New(awssts.Options{Region: "us-east-1", BaseEndpoint: aws.String("http://" + h.aws), RetryMaxAttempts: 1,
			Credentials: credentials.NewStaticCredentialsProvider(k.ID, k.Secret, k.Token)}).GetCallerIdentity(h.t.Context(), &awssts.GetCallerIdentityInput{})
		return err
	}},
	{"id-token", func(h *holdings) {
		var out struct{ Token string }
		h.ok(h.asks(h.ann, http.MethodPost, "/api/v1/id-tokens", `{"audience":"`+forAWS+`","role":"analyst"}`, &out))
		h.texts["id-token"] = out.Token
	}, func(h *holdings) error { return h.trade("id-token") }},
	{"gateway-key", func(h *holdings) {
		h.gatewayKey("gateway-key", `{"login_session":"`+h.texts["login-session"]+`","roles":["`+analyst+`"],"networks":["127.0.0.0/8"]}`)
	}, func(h *holdings) error { return h.s3("gateway-key") }},
	{"cluster-key", func(h *holdings) {
		h.gatewayKey("cluster-key", `{"login_session":"`+h.texts["login-session"]+`","roles":["`+analyst+`"],"cluster":"lab"}`)
	}, func(h *holdings) error { return h.s3("cluster-key") }},
	{"access-token", (*holdings).program, func(h *holdings) error {
		req, err := http.NewRequestWithContext(h.t.Context(), http.MethodGet, h.base+"/api/v1/roles", nil)
		h.ok(err)
		req.Header.Set("Authorization", "Bearer "+h.texts["access-token"])
		resp, err := http.DefaultClient.Do(req)
		h.ok(err)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	}},
	{"refresh-token", func(*holdings) {}, func(h *holdings) error {
		a, err := h.gets("", map[string]string{"grant_type": "refresh_token", "client_id": h.texts["client"], "refresh_token": h.texts["refresh-token"]})
		if err == nil {
			var all struct {
				RefreshToken string `json:"refresh_token"`
			}
			h.ok(json.Unmarshal([]byte(a.raw), &all))
			h.texts["refresh-token"] = all.RefreshToken
		}
		return err
	}},
	{"machine-token", func(h *holdings) {
		a, err := h.gets(h.self(), map[string]string{"grant_type": "client_credentials", "scope": "all-apis", "audience": forAWS, "role": analyst})
		h.ok(err)
		h.texts["machine-token"], h.texts["machine-id"] = a.AccessToken, a.IDToken
	}, func(h *holdings) error {
		_, err := h.gets(h.self(), map[string]string{"grant_type": grantExchange, "subject_token": h.texts["machine-token"], "subject_token_type": typeAccess, "audience": forAWS, "role": analyst})
		return err
	}},
	{"machine-id", func(h *holdings) {
		a, err := h.gets(h.self(), map[string]string{"grant_type": "client_credentials", "audience": forAWS, "role": analyst})
		h.ok(err)
		h.texts["machine-id"] = a.IDToken
	}, func(h *holdings) error { return h.trade("machine-id") }},
	{"machine-keys", func(h *holdings) { h.keys["machine-keys"] = h.keys["machine-id"] }, func(h *holdings) error { return h.s3("machine-keys") }},
	{"machine-gateway", func(h *holdings) {
		h.gatewayKey("machine-gateway", `{"service_principal":"`+h.sp+`","roles":["`+analyst+`"],"networks":["127.0.0.0/8"]}`)
	}, func(h *holdings) error { return h.s3("machine-gateway") }},
	{"job", func(h *holdings) {
		h.signIn(h.t, h.away, "ann@example.com")
		var d struct{ ID string }
		h.ok(h.asks(h.away, http.MethodPost, "/api/v1/delegations", `{"role":"analyst","service_principal":"nightly","label":"nightly"}`, &d))
		h.texts["job"] = d.ID
	}, func(h *holdings) error { _, err := h.gets(h.self(), h.job()); return err }},
	{"job-id", func(h *holdings) {
		a, err := h.gets(h.self(), h.job())
		h.ok(err)
		h.texts["job-id"] = a.IDToken
	}, func(h *holdings) error { return h.trade("job-id") }},
	{"job-keys", func(h *holdings) { h.keys["job-keys"] = h.keys["job-id"] }, func(h *holdings) error { return h.s3("job-keys") }},
	{"node", func(h *holdings) { h.node.prove(h.t) }, func(h *holdings) error { return h.posts("watch", nodedoc.Watch{}, &nodedoc.View{}) }},
	{"agent", func(h *holdings) { h.texts["attachment"] = h.attach(h.t, h.node, place(1001)).ID }, func(h *holdings) error {
		var k nodedoc.Keys
		err := h.posts("credentials", nodedoc.Fetch{Attachment: h.texts["attachment"]}, &k)
		h.keys["agent"] = shelf{k.AccessKeyID, k.SecretAccessKey, k.SessionToken}
		return err
	}},
	{"agent-keys", func(h *holdings) { h.keys["agent-keys"] = h.keys["agent"] }, func(h *holdings) error { return h.s3("agent-keys") }},
	{"jdbc", func(h *holdings) {
		var out struct{ Token string }
		h.ok(h.asks(h.ann, http.MethodPost, "/api/v1/id-tokens", `{"audience":"jdbc"}`, &out))
		var c nodedoc.JDBCConnection
		h.ok(h.posts("jdbc", nodedoc.JDBC{User: "ann@example.com", Password: out.Token, Role: "analyst"}, &c))
		h.texts["jdbc"] = c.Connection
	}, func(h *holdings) error { return h.posts("jdbc", nodedoc.JDBC{Connection: h.texts["jdbc"]}, nil) }},
}

// reach is the table: what of each kind refuses, and nothing else may. id says what of
// the holdings is taken back.
var reach = []struct {
	kind    string
	id      func(h *holdings) string
	refused string
}{
	{"access-key", func(h *holdings) string { return h.keys["role-keys"].ID }, "role-keys sts"},
	{"gateway-key", func(h *holdings) string { return h.texts["gateway-key"] }, "gateway-key"},
	{"attachment", func(h *holdings) string { return h.texts["attachment"] }, "agent agent-keys"},
	{"delegation", func(h *holdings) string { return h.texts["job"] }, "job job-id job-keys"},
	{"oauth-client", func(h *holdings) string { return h.texts["client"] }, "access-token refresh-token"},
	{"node", func(h *holdings) string { return h.node.id }, "node agent agent-keys jdbc"},
	{"cluster", func(*holdings) string { return "lab" }, "cluster-key node agent agent-keys jdbc"},
	{"service-principal", func(*holdings) string { return "nightly" }, "machine-token machine-id machine-keys machine-gateway job-id job-keys"},
	{"role", func(*holdings) string { return analyst }, "broker role-keys sts id-token gateway-key cluster-key machine-id machine-keys job-id job-keys agent agent-keys jdbc"},
	{"login-session", func(h *holdings) string { return h.texts["login-session"] },
		"page api broker role-keys sts id-token gateway-key cluster-key access-token refresh-token agent agent-keys jdbc"},
	{"person", func(*holdings) string { return "ann@example.com" },
		"page api broker role-keys sts id-token gateway-key cluster-key access-token refresh-token job job-id job-keys agent agent-keys jdbc"},
	{"everything", func(*holdings) string { return "" }, "page api broker role-keys sts id-token gateway-key cluster-key access-token refresh-token machine-token machine-id machine-keys machine-gateway " +
		"job job-id job-keys node agent agent-keys jdbc"},
}

// TestAttackEveryKindAtEveryPlace takes back one thing of each kind while one of
// everything is in use: what rests on it is refused at every place, all else goes on,
// and what may be had anew works.
func TestAttackEveryKindAtEveryPlace(t *testing.T) {
	t.Parallel()
	h := newHoldings(t)
	for i, p := range places {
		p.get(h)
		if err := p.use(h); err != nil {
			t.Fatalf("%s can't be used at all: %v", p.name, err)
		}
		if i == 2 {
			h.bucket()
		}
	}
	for _, row := range reach {
		body, err := json.Marshal(api.Revocation{Kind: row.kind, ID: row.id(h)})
		h.ok(err)
		var done api.Revoked
		h.ok(h.asks(h.root, http.MethodPost, "/api/v1/revocations", string(body), &done))
		if len(done.Servers) != 1 || !done.Servers[0].Applied {
			t.Errorf("%s: %+v", row.kind, done)
		}
		gone := strings.Fields(row.refused)
		for _, p := range places {
			err := p.use(h)
			if want := slices.Contains(gone, p.name); (err != nil) != want {
				t.Errorf("after the revocation of the %s, %s: %v, refused must be %v", row.kind, p.name, err, want)
			}
		}
		if row.kind == "everything" {
			break
		}
		if slices.Contains(gone, "broker") { // what the person had by this sign-in
			h.signIn(t, h.ann, "ann@example.com")
			gone = append(gone, "page", "api", "id-token", "gateway-key", "cluster-key", "access-token", "agent", "jdbc")
		}
		for _, p := range places { // had anew, it works
			if slices.Contains(gone, p.name) {
				if p.name != "page" {
					p.get(h)
				}
				if err := p.use(h); err != nil {
					t.Fatalf("after the revocation of the %s, %s can't be had anew: %v", row.kind, p.name, err)
				}
			}
		}
	}
	past := api.PastRevocations{}
	h.signIn(t, h.root, "root@example.com")
	h.ok(h.asks(h.root, http.MethodGet, "/api/v1/revocations", "", &past))
	if n := len(past.Revocations); n < len(reach) || past.Revocations[0].Kind != "everything" || past.Revocations[0].By != "root@example.com" || !past.Revocations[0].Servers[0].Applied {
		t.Errorf("looked back on: %+v", past.Revocations)
	}
	h.installation.must(t, "audit", "verify")
}

// newHoldings is a world with a cluster, a node, a program and an administrator.
func newHoldings(t *testing.T) *holdings {
	t.Helper()
	w := newMachineWorld(t, replace("exchanges: [saml, web-identity]", "exchanges: [web-identity, saml]"))
	h := &holdings{machineWorld: w, t: t, root: visitor.New(nil), away: visitor.New(nil), texts: map[string]string{}, keys: map[string]shelf{}, sent: make(chan url.Values, 1)}
	w.must(t, "cluster", "add", "lab", "--kind", "high-concurrency", "--meta", "--network", "127.0.0.0/8")
	program := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { h.sent <- r.URL.Query() }))
	t.Cleanup(program.Close)
	h.there = program.URL + "/cb"
	h.texts["client"] = w.words(t, "id", "client", "add", "Notebook", "--public", "--trusted", "--redirect-uri", h.there, "--scope", "openid,all-apis,offline_access")
	h.node = w.join(t, "lab", "n1")
	w.signIn(t, h.root, "root@example.com")
	return h
}

func (h *holdings) bucket() {
	k := h.keys["broker"]
	c := awss3.New(awss3.Options{Region: "us-east-1", BaseEndpoint: aws.String("http://" + h.aws), UsePathStyle: true, Credentials: credentials.NewStaticCredentialsProvider(k.ID, k.Secret, k.Token)})
	_, err := c.CreateBucket(h.t.Context(), &awss3.CreateBucketInput{Bucket: aws.String("sales")})
	h.ok(err)
}

// TestThePageOfRevocation runs what docs/operations/revocation.md has people type, on
// things that are there, and holds that its table has every kind.
func TestThePageOfRevocation(t *testing.T) {
	t.Parallel()
	h := newHoldings(t)
	for i, p := range places {
		p.get(h)
		h.ok(p.use(h))
		if i == 2 {
			h.bucket()
		}
	}
	text, err := os.ReadFile("../../../docs/operations/revocation.md")
	h.ok(err)
	page := strings.NewReplacer("alice@example.com", "ann@example.com", "lgn_…", h.texts["login-session"], "ASIA…", h.keys["role-keys"].ID, "gwk_…", h.texts["gateway-key"],
		"dlg_…", h.texts["job"], "att_…", h.texts["attachment"])
	ran := map[string]bool{}
	body := regexp.MustCompile(`(?m)^curl .*-d '([^']+)' .*/api/v1/revocations$`).FindSubmatch(text)
	if body == nil {
		t.Fatal("the page has no call of the API")
	}
	h.ok(h.asks(h.root, http.MethodPost, "/api/v1/revocations", page.Replace(string(body[1])), nil))
	for _, args := range commandsOf(t, "operations/revocation.md") {
		if args[0] == "setup" { // has a test of its own
			continue
		}
		for i := range args {
			args[i] = page.Replace(args[i])
		}
		out := h.installation.must(t, args...)
		if ran[args[1]] = true; !strings.Contains(out, "has applied it") || strings.Contains(out, "not applied") {
			t.Errorf("%v says %q", args, out)
		}
	}
	for _, row := range reach {
		if !ran[row.kind] || !strings.Contains(string(text), "`"+row.kind+"`") {
			t.Errorf("the page does not say how to revoke a %s, or what it reaches", row.kind)
		}
	}
	for wrong, says := range map[string]string{
		"revoke role nothing": "no local account has a role", "revoke role arn:aws:iam::999999999999:role/x": "not configured here", "revoke access-key AKIAEXAMPLE000000000": "update-access-key",
		"revoke access-key x": "not the id of temporary keys", "revoke gateway-key gwk_x": "there is no gateway key", "revoke oauth-client x": "there is no client",
		"revoke login-session lgn_x": "people show", "revoke attachment x": "attachment list", "revoke cluster x": "cluster", "revoke everything now": "unknown command",
	} {
		if o := h.carnet(t, strings.Fields(wrong)...); o.code == 0 || !strings.Contains(o.err, says) {
			t.Errorf("%s: %s", wrong, o)
		}
	}
}
