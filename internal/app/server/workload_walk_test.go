package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"

	"carnet.dev/carnet/internal/app/visitor"
	"carnet.dev/carnet/internal/edge/upstream/jwks/issuertest"
)

// machineWorld is an installation with a service principal, its secret, and a role
// that trusts our issuer and people's sign-ins.
type machineWorld struct {
	*installation
	sp, secret string
	ann        *visitor.Visitor
	foreign    *issuertest.Issuer
}

// words gives the field of a JSON answer of a host command.
func (in *installation) words(t *testing.T, field string, args ...string) string {
	t.Helper()
	var d map[string]any
	out := in.must(t, append(args, "--output", "json")...)
	if err := json.Unmarshal([]byte(out), &d); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return fmt.Sprint(d[field])
}

func newMachineWorld(t *testing.T, change ...func(string) string) *machineWorld {
	t.Helper()
	in := install(t, append([]func(string) string{replace(`name: analytics, kind: local}`, `name: analytics, kind: local, exchanges: [saml, web-identity]}`),
		replace("accounts:", "iam: {loopback_providers: true}\naccounts:")}, change...)...)
	w := &machineWorld{installation: in, ann: visitor.New(nil), foreign: issuertest.New(t)}
	idp, _ := identityProvider(t, in.base+"/saml/consume")
	in.write(t, "corp.xml", string(idp.Metadata()))
	in.must(t, "sso", "add", "--name", "Corp", "--metadata", in.folder+"/corp.xml", "--accounts", "111122223333", "--roles", "*", "--domains", "example.com", "--administrators", "carnet-admins")
	ours := strings.TrimPrefix(in.base, "http://") + "/oidc"
	in.write(t, "authority.yaml", fmt.Sprintf(`accounts:
  "111122223333":
    saml_providers: [{name: corp, metadata_file: corp.xml}]
    oidc_providers: [{url: "http://%s", client_ids: [sts.amazonaws.com]}]
    roles:
      - name: analyst
        trust_policy: {Version: "2012-10-17", Statement: [
          {Effect: Allow, Principal: {Federated: "arn:aws:iam::111122223333:saml-provider/corp"}, Action: "sts:AssumeRoleWithSAML", Condition: {StringEquals: {"SAML:aud": %q}}},
          {Effect: Allow, Principal: {Federated: "arn:aws:iam::111122223333:oidc-provider/%s"}, Action: ["sts:AssumeRoleWithWebIdentity", "sts:TagSession", "sts:SetSourceIdentity"],
           Condition: {StringEquals: {"%s:aud": sts.amazonaws.com}, Bool: {"sts:RoleAuthorizedByIdp": "true"}}},
          {Effect: Allow, Principal: {AWS: "arn:aws:iam::111122223333:role/analyst"}, Action: ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]}]}
        policies: [{name: sales, document: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "s3:*", Resource: ["arn:aws:s3:::sales", "arn:aws:s3:::sales/*"]}]}}]
`, ours, in.base+"/saml/consume", ours, ours))
	in.must(t, "authority", "apply", in.folder+"/authority.yaml")
	w.sp = in.words(t, "id", "people", "service-principal", "add", "nightly")
	in.must(t, "people", "map", "nightly", analyst)
	w.secret = in.words(t, "secret", "client", "secret", "add", w.sp)
	in.serve(t)
	in.signIn(t, w.ann, "ann@example.com")
	return w
}

// answered is what the token endpoint says.
type answered struct {
	status          int
	AccessToken     string `json:"access_token"`
	IDToken         string `json:"id_token"`
	TokenType       string `json:"token_type"`
	IssuedTokenType string `json:"issued_token_type"`
	ExpiresIn       int    `json:"expires_in"`
	Scope           string `json:"scope"`
	Error           string `json:"error"`
	Description     string `json:"error_description"`
	raw             string
}

// token asks the token endpoint; who is "id:secret", or empty.
func (w *machineWorld) token(t *testing.T, who string, form map[string]string) (a answered) {
	t.Helper()
	values := url.Values{}
	for name, v := range form {
		values.Set(name, v)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.base+"/oidc/v1/token", strings.NewReader(values.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if id, password, ok := strings.Cut(who, ":"); ok {
		req.SetBasicAuth(id, password)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || json.Unmarshal(raw, &a) != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	a.raw = string(raw)
	if a.status = resp.StatusCode; resp.Header.Get("Cache-Control") != "no-store" {
		t.Error("the answer may be kept")
	}
	return a
}

const (
	grantExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	grantJWT      = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	typeJWT       = "urn:ietf:params:oauth:token-type:jwt"
	typeAccess    = "urn:ietf:params:oauth:token-type:access_token"
	forAWS        = "sts.amazonaws.com"
)

func (w *machineWorld) self() string { return w.sp + ":" + w.secret }

// reads trades an ID token at STS and reads S3 with the keys. It gives who that was.
func (w *machineWorld) reads(t *testing.T, token string) (string, error) {
	t.Helper()
	o := awssts.Options{Region: "us-east-1", BaseEndpoint: aws.String("http://" + w.aws), RetryMaxAttempts: 1}
	out, err := awssts.New(o).AssumeRoleWithWebIdentity(t.Context(), &awssts.AssumeRoleWithWebIdentityInput{
		RoleArn: aws.String(analyst), RoleSessionName: aws.String("run-1"), WebIdentityToken: aws.String(token)})
	if err != nil {
		return "", err
	}
	k := out.Credentials
	keys := credentials.NewStaticCredentialsProvider(*k.AccessKeyId, *k.SecretAccessKey, *k.SessionToken)
	s3 := awss3.New(awss3.Options{Region: "us-east-1", BaseEndpoint: aws.String("http://" + w.aws), UsePathStyle: true, Credentials: keys, RetryMaxAttempts: 1})
	if _, err := s3.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: aws.String("sales"), Key: aws.String("x"), Body: strings.NewReader("y")}); err != nil {
		return "", err
	}
	return aws.ToString(out.SubjectFromWebIdentityToken) + " as " + aws.ToString(out.SourceIdentity), nil
}

// TestMachinesReadS3 is the life of machines over the wire: by a secret, by tokens
// of another issuer, as a job for a person who is away, and how each ends.
func TestMachinesReadS3(t *testing.T) {
	t.Parallel()
	w := newMachineWorld(t)
	s3 := awss3.New(awss3.Options{Region: "us-east-1", BaseEndpoint: aws.String("http://" + w.aws), UsePathStyle: true, Credentials: w.keysOf(t)})
	if _, err := s3.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: aws.String("sales")}); err != nil {
		t.Fatal(err)
	}
	t.Run("by a secret", func(t *testing.T) { bySecret(t, w) })
	t.Run("by another issuer's token", func(t *testing.T) { byForeignToken(t, w) })
	t.Run("as a job", func(t *testing.T) { asJob(t, w) })
	t.Run("ended", func(t *testing.T) { machineEnded(t, w) })
}

func (w *machineWorld) keysOf(t *testing.T) aws.CredentialsProvider {
	t.Helper()
	var keys struct {
		AccessKeyID     string `json:"access_key_id"`
		SecretAccessKey string `json:"secret_access_key"`
		SessionToken    string `json:"session_token"`
	}
	if status := ask(t, w.ann, http.MethodPost, w.base+"/api/v1/roles/credentials", `{"role":"analyst"}`, &keys); status != http.StatusOK {
		t.Fatalf("the API answers %d", status)
	}
	return credentials.NewStaticCredentialsProvider(keys.AccessKeyID, keys.SecretAccessKey, keys.SessionToken)
}

func bySecret(t *testing.T, w *machineWorld) {
	a := w.token(t, w.self(), map[string]string{"grant_type": "client_credentials", "scope": "all-apis", "audience": forAWS, "role": analyst})
	if a.status != http.StatusOK || a.TokenType != "Bearer" || a.Scope != "all-apis" || a.ExpiresIn != 3600 || a.IDToken == "" {
		t.Fatalf("%+v", a)
	}
	if who, err := w.reads(t, a.IDToken); err != nil || who != "sp:"+w.sp+" as " {
		t.Errorf("%s, %v", who, err)
	}
	if _, err := w.reads(t, a.AccessToken); err == nil {
		t.Error("an access token for our own API is taken as a web identity")
	}
	// The access token, in its turn, gives ID tokens to the one it was given to.
	trade := map[string]string{"grant_type": grantExchange, "subject_token": a.AccessToken, "subject_token_type": typeAccess, "audience": forAWS, "role": analyst}
	b := w.token(t, w.self(), trade)
	if b.status != http.StatusOK || b.TokenType != "N_A" || !strings.HasSuffix(b.IssuedTokenType, ":id_token") || b.AccessToken != b.IDToken {
		t.Errorf("%+v", b)
	}
	if _, err := w.reads(t, b.IDToken); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		who   string
		form  map[string]string
		error string
	}{
		"without a role":           {w.self(), map[string]string{"grant_type": "client_credentials", "audience": forAWS}, "invalid_request"},
		"a role it does not hold":  {w.self(), map[string]string{"grant_type": "client_credentials", "audience": forAWS, "role": analyst + "2"}, "invalid_target"},
		"an audience nobody lists": {w.self(), map[string]string{"grant_type": "client_credentials", "audience": "https://evil.example"}, "invalid_target"},
		"our own API":              {w.self(), map[string]string{"grant_type": "client_credentials", "audience": w.base + "/api"}, "invalid_target"},
		"a role without audience":  {w.self(), map[string]string{"grant_type": "client_credentials", "role": analyst}, "invalid_request"},
		"another scope":            {w.self(), map[string]string{"grant_type": "client_credentials", "scope": "openid"}, "invalid_scope"},
		"another secret":           {w.sp + ":carnet_s_x", map[string]string{"grant_type": "client_credentials"}, "invalid_client"},
		"no secret":                {"", map[string]string{"grant_type": "client_credentials", "client_id": w.sp}, "invalid_client"},
		"an ID token for access":   {w.self(), map[string]string{"grant_type": grantExchange, "subject_token": a.IDToken, "subject_token_type": typeAccess, "audience": forAWS, "role": analyst}, "invalid_grant"},
		"our ID token as foreign":  {w.self(), map[string]string{"grant_type": grantExchange, "subject_token": a.IDToken, "subject_token_type": typeJWT, "audience": forAWS, "role": analyst}, "invalid_grant"},
		"our access token too":     {w.self(), map[string]string{"grant_type": grantJWT, "assertion": a.AccessToken}, "invalid_grant"},
		"an actor token":           {w.self(), merge(trade, "actor_token", "x"), "invalid_request"},
		"an access token anew":     {w.self(), merge(trade, "requested_token_type", typeAccess), "invalid_request"},
		"a refresh token":          {w.self(), merge(trade, "requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token"), "invalid_request"},
		"a SAML assertion":         {w.self(), merge(trade, "subject_token_type", "urn:ietf:params:oauth:token-type:saml2"), "invalid_request"},
		"no subject token":         {w.self(), merge(trade, "subject_token", ""), "invalid_request"},
		"a delegation of nobody":   {w.self(), merge(trade, "delegation", "dlg_none"), "invalid_grant"},
	} {
		if got := w.token(t, c.who, c.form); got.Error != c.error || got.AccessToken+got.IDToken != "" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	status := ask(t, visitor.New(bearer{a.AccessToken}), http.MethodGet, w.base+"/api/v1/roles", "", &struct{}{})
	if status < 400 {
		t.Errorf("the API opens to a service principal with %d", status)
	}
	if status := ask(t, visitor.New(bearer{a.IDToken}), http.MethodGet, w.base+"/api/v1/roles", "", &struct{}{}); status != http.StatusUnauthorized {
		t.Errorf("the API answers an ID token with %d", status)
	}
}

// bearer sends an access token with every request.
type bearer struct{ token string }

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return http.DefaultTransport.RoundTrip(r)
}

func merge(form map[string]string, name, value string) map[string]string {
	out := map[string]string{}
	for n, v := range form {
		out[n] = v
	}
	out[name] = value
	return out
}

func byForeignToken(t *testing.T, w *machineWorld) {
	subject := "repo:acme/data:environment:prod"
	claims := func(change map[string]any) string {
		all := map[string]any{"sub": subject, "aud": w.base + "/oidc"}
		for n, v := range change {
			all[n] = v
		}
		return w.foreign.Token(t, time.Now(), all)
	}
	in := w.installation
	if o := in.carnet(t, "federation-policy", "add", "--name", "ci", "--service-principal", "nightly", "--issuer", w.foreign.URL+"/.well-known/openid-configuration", "--subject", subject); o.code == 0 || !strings.Contains(o.err, "give the issuer: "+w.foreign.URL) {
		t.Errorf("a pasted discovery address: %s", o)
	}
	out := in.must(t, "federation-policy", "add", "--name", "ci", "--service-principal", "nightly", "--issuer", w.foreign.URL, "--subject", subject)
	if !strings.Contains(out, "client_id="+w.sp) {
		t.Errorf("add says %q", out)
	}
	token := in.write(t, "given-token.jwt", claims(nil)+"\n")
	if out := in.must(t, "federation-policy", "check", "--token-file", token); !strings.Contains(out, "takes it: it proves sp:"+w.sp) {
		t.Errorf("check says %q", out)
	}
	wrong := in.write(t, "given-wrong.jwt", claims(map[string]any{"sub": "repo:acme/data:environment:dev"}))
	if o := in.carnet(t, "federation-policy", "check", "--token-file", wrong); o.code != 4 || !strings.Contains(o.out, `the policy wants "`+subject) {
		t.Errorf("check of a wrong one: %s", o)
	}
	if out := in.must(t, "federation-policy", "list"); !strings.Contains(out, w.foreign.URL) || !strings.Contains(in.must(t, "federation-policy", "show", "CI"), subject) {
		t.Errorf("list says %q", out)
	}
	exchange := map[string]string{"grant_type": grantExchange, "client_id": w.sp, "subject_token": claims(nil), "subject_token_type": typeJWT, "audience": forAWS, "role": analyst}
	soon(t, "the policy", func() bool { return w.token(t, "", exchange).status == http.StatusOK })
	for name, c := range map[string]struct {
		who  string
		form map[string]string
	}{
		"token exchange":                      {"", exchange},
		"without client_id":                   {"", merge(exchange, "client_id", "")},
		"with a credential too":               {w.self(), exchange},
		"as an ID token":                      {"", merge(exchange, "subject_token_type", "urn:ietf:params:oauth:token-type:id_token")},
		"with an access token":                {"", merge(exchange, "requested_token_type", typeAccess)},
		"as Databricks' drivers ask":          {"", merge(exchange, "return_original_token_if_authenticated", "true")},
		"assertion":                           {"", map[string]string{"grant_type": grantJWT, "assertion": claims(nil), "client_id": w.sp, "audience": forAWS, "role": analyst}},
		"assertion, as the token alone knows": {"", map[string]string{"grant_type": grantJWT, "assertion": claims(nil), "audience": forAWS, "role": analyst}},
	} {
		a := w.token(t, c.who, c.form)
		if a.status != http.StatusOK || a.IDToken == "" || a.ExpiresIn > 600 {
			t.Errorf("%s: %+v", name, a)
			continue
		}
		if who, err := w.reads(t, a.IDToken); err != nil || who != "sp:"+w.sp+" as " {
			t.Errorf("%s: %s, %v", name, who, err)
		}
	}
	a := w.token(t, "", map[string]string{"grant_type": grantExchange, "client_id": w.sp, "subject_token": claims(nil), "subject_token_type": typeJWT, "scope": "all-apis"})
	if a.status != http.StatusOK || a.TokenType != "Bearer" || !strings.HasSuffix(a.IssuedTokenType, ":access_token") || a.ExpiresIn > 600 || a.IDToken != "" {
		t.Errorf("an access token: %+v", a)
	}
	// Whoever has no credential trades the access token that it was given.
	for _, id := range []string{w.sp, ""} {
		b := w.token(t, "", map[string]string{"grant_type": grantExchange, "client_id": id, "subject_token": a.AccessToken, "subject_token_type": typeAccess, "audience": forAWS, "role": analyst})
		if _, err := w.reads(t, b.IDToken); err != nil {
			t.Errorf("traded by %q: %+v, %v", id, b, err)
		}
	}
	for name, form := range map[string]map[string]string{
		"of another subject":    merge(exchange, "subject_token", claims(map[string]any{"sub": "repo:acme/data:environment:dev"})),
		"for another audience":  merge(exchange, "subject_token", claims(map[string]any{"aud": "https://other.example"})),
		"ended":                 merge(exchange, "subject_token", claims(map[string]any{"iat": time.Now().Add(-time.Hour).Unix(), "exp": time.Now().Add(-time.Second).Unix()})),
		"as somebody else":      merge(exchange, "client_id", "spn_aaaaaaaaaaaaaaaaaaaaaaaaaa"),
		"of an unknown issuer":  merge(exchange, "subject_token", claims(map[string]any{"iss": "https://unknown.example"})),
		"no token":              merge(exchange, "subject_token", "abc"),
		"signed by a stranger":  merge(exchange, "subject_token", issuertest.NewKey(t, "rsa", "RS256").Sign(t, nil, map[string]any{"iss": w.foreign.URL, "sub": subject, "aud": w.base + "/oidc", "iat": 1, "exp": 1 << 33})),
		"traded by another one": {"grant_type": grantExchange, "client_id": "spn_aaaaaaaaaaaaaaaaaaaaaaaaaa", "subject_token": a.AccessToken, "subject_token_type": typeAccess, "audience": forAWS, "role": analyst},
	} {
		got := w.token(t, "", form)
		if got.status != http.StatusBadRequest || got.Error != "invalid_grant" || got.Description == "" || got.IDToken != "" || strings.Contains(got.Description, "environment:prod") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// asJob: ann lets the machine work as her, in her browser's login session.
func asJob(t *testing.T, w *machineWorld) {
	var d struct{ ID, State string }
	if status := ask(t, w.ann, http.MethodPost, w.base+"/api/v1/delegations", `{"role":"analyst","service_principal":"nightly","label":"nightly report"}`, &d); status != http.StatusCreated || d.State != "active" {
		t.Fatalf("%d %+v", status, d)
	}
	job := map[string]string{"grant_type": "client_credentials", "audience": forAWS, "delegation": d.ID}
	a := w.token(t, w.self(), job)
	if who, err := w.reads(t, a.IDToken); err != nil || who != "job:"+d.ID+" as ann@example.com" {
		t.Errorf("%s, %v %+v", who, err, a)
	}
	for name, form := range map[string]map[string]string{
		"another role":     merge(job, "role", analyst+"2"),
		"another audience": merge(job, "audience", w.base+"/api"),
	} {
		if got := w.token(t, w.self(), form); got.Error != "invalid_target" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if out := w.must(t, "people", "delegations", "ann@example.com"); !strings.Contains(out, d.ID) || !strings.Contains(out, "active") || !strings.Contains(out, "nightly report") {
		t.Errorf("people delegations says %q", out)
	}
	w.must(t, "revoke", "delegation", d.ID)
	if got := w.token(t, w.self(), job); got.Error != "invalid_grant" {
		t.Errorf("after its revocation: %+v", got)
	}
	if _, err := w.reads(t, a.IDToken); err == nil {
		t.Error("a token of a revoked delegation is still taken")
	}
	var list struct{ Delegations []struct{ ID, State string } }
	if status := ask(t, w.ann, http.MethodGet, w.base+"/api/v1/delegations", "", &list); status != http.StatusOK || len(list.Delegations) != 1 || list.Delegations[0].State != "revoked" {
		t.Errorf("%d %+v", status, list)
	}
	if status := ask(t, w.ann, http.MethodPost, w.base+"/api/v1/delegations", `{"role":"analyst","service_principal":"nightly","label":"again"}`, &d); status != http.StatusCreated {
		t.Fatalf("%d", status)
	}
	job["delegation"] = d.ID
	if got := w.token(t, w.self(), job); got.status != http.StatusOK {
		t.Errorf("another one: %+v", got)
	}
	w.must(t, "revoke", "person", "ann@example.com")
	if got := w.token(t, w.self(), job); got.Error != "invalid_grant" {
		t.Errorf("after the person was revoked: %+v", got)
	}
	if out := w.must(t, "people", "delegations", "nightly"); strings.Contains(out, "active") || strings.Count(out, "revoked") != 2 {
		t.Errorf("people delegations says %q", out)
	}
}

// machineEnded: switched off, it gets nothing and what it has ends; removed, it is
// nobody.
func machineEnded(t *testing.T, w *machineWorld) {
	form := map[string]string{"grant_type": "client_credentials", "audience": forAWS, "role": analyst}
	before := w.token(t, w.self(), form)
	if _, err := w.reads(t, before.IDToken); err != nil {
		t.Fatal(err)
	}
	w.must(t, "people", "service-principal", "disable", "nightly")
	if out := w.must(t, "people", "service-principal", "list"); !strings.Contains(out, "switched off") {
		t.Errorf("list says %q", out)
	}
	if got := w.token(t, w.self(), form); got.Error != "invalid_client" {
		t.Errorf("switched off: %+v", got)
	}
	exchange := map[string]string{"grant_type": grantExchange, "client_id": w.sp, "subject_token_type": typeJWT, "audience": forAWS, "role": analyst,
		"subject_token": w.foreign.Token(t, time.Now(), map[string]any{"sub": "repo:acme/data:environment:prod", "aud": w.base + "/oidc"})}
	if got := w.token(t, "", exchange); got.Error != "invalid_grant" {
		t.Errorf("switched off, by another issuer's token: %+v", got)
	}
	w.must(t, "people", "service-principal", "enable", "nightly")
	if _, err := w.reads(t, before.IDToken); err == nil {
		t.Error("a token from before is taken again")
	}
	if _, err := w.reads(t, w.token(t, w.self(), form).IDToken); err != nil {
		t.Errorf("switched on again: %v", err)
	}
	w.must(t, "revoke", "service-principal", "nightly")
	w.must(t, "people", "service-principal", "remove", "nightly")
	if got := w.token(t, w.self(), form); got.Error != "invalid_client" {
		t.Errorf("removed: %+v", got)
	}
	soon(t, "its policies are gone", func() bool { return w.token(t, "", exchange).Error == "invalid_grant" })
	if out := w.must(t, "federation-policy", "list"); !strings.Contains(out, "none yet") {
		t.Errorf("list says %q", out)
	}
}
