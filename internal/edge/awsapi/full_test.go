package awsapi_test

//lint:file-ignore SA1019 PackedPolicySize is the field that every older client reads

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/awsapi"
	"carnet.dev/carnet/internal/edge/devidp/forge"
	"carnet.dev/carnet/internal/edge/egress"
	"carnet.dev/carnet/internal/edge/upstream/jwks"
	"carnet.dev/carnet/internal/edge/upstream/jwks/issuertest"
	"carnet.dev/carnet/internal/service/access"
	"carnet.dev/carnet/internal/service/iam"
	"carnet.dev/carnet/internal/service/sts"
	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
)

const (
	here      = "111122223333"
	bobKey    = "AKIA2222222222222222"
	bobSecret = "bobs-long-term-secret"
	loaderARN = "arn:aws:iam::" + here + ":role/loader"
	dataARN   = "arn:aws:iam::" + here + ":role/data"
)

// full is the AWS port with all of STS behind it: a SAML provider, an OpenID
// provider that serves on loopback, a user with keys, and roles.
type full struct {
	*world
	issuer *issuertest.Issuer
	state  iam.State
	now    func() time.Time
	fail   error // of the trail
}

type plain struct{}

func (plain) Seal(_ string, _, p []byte) ([]byte, error) { return p, nil }
func (plain) Open(_ string, _, p []byte) ([]byte, error) { return p, nil }

func (f *full) Current() (*iam.Snapshot, error) {
	return iam.CompileSealed(f.state, []iam.Account{{ID: here}}, plain{}), nil
}

func (f *full) Record(context.Context, event.Event) error { return f.fail }

func policyOf(statement string) iam.Policy {
	return iam.Policy{Name: "p", Document: `{"Version":"2012-10-17","Statement":` + statement + `}`}
}

func newFull(t testing.TB, change func(*awsapi.STSConfig)) *full {
	t.Helper()
	f := &full{issuer: issuertest.New(t), now: time.Now}
	provider := "arn:aws:iam::" + here + ":oidc-provider/" + strings.TrimPrefix(f.issuer.URL, "http://")
	idp := forge.NewECDSA(t, time.Now())
	metadata := string(idp.Metadata())
	f.state = iam.State{
		Providers:     []iam.ProviderRecord{{Account: here, Name: "dev-idp", Metadata: metadata + strings.Repeat("\n", max(0, 1000-len(metadata)))}},
		OIDCProviders: []iam.OIDCProviderRecord{{Account: here, URL: f.issuer.URL, ClientIDs: []string{"sts.amazonaws.com"}}},
		Users:         []iam.UserRecord{{ID: "AIDABOB", Account: here, Path: "/", Name: "bob", Policies: []iam.Policy{policyOf(`{"Effect":"Allow","Action":"sts:*","Resource":"*"}`)}}},
		AccessKeys:    []iam.AccessKeyRecord{{ID: bobKey, Account: here, User: "AIDABOB", Sealed: []byte(bobSecret), Active: true}},
		Roles: []iam.RoleRecord{
			{ID: "AROAEXAMPLEEXAMPLE000", Account: here, Path: "/", Name: "analyst", Trust: iam.Policy{Name: "trust", Document: trust}, MaxSession: 4 * time.Hour},
			{ID: "AROALOADER", Account: here, Path: "/", Name: "loader", MaxSession: 2 * time.Hour,
				Trust: policyOf(`{"Effect":"Allow","Principal":{"Federated":"` + provider + `"},"Action":["sts:AssumeRoleWithWebIdentity","sts:TagSession","sts:SetSourceIdentity"]}`)},
			{ID: "AROADATA", Account: here, Path: "/", Name: "data", MaxSession: 4 * time.Hour,
				Trust: policyOf(`{"Effect":"Allow","Principal":{"AWS":"` + here + `"},"Action":["sts:AssumeRole","sts:TagSession","sts:SetSourceIdentity"]}`)},
		},
	}
	f.world = newWorld(t, func(c *awsapi.STSConfig) {
		allow, err := egress.ParseAllow([]string{"127.0.0.1"})
		if err != nil {
			t.Fatal(err)
		}
		now := func() time.Time { return f.now() }
		may := access.New(access.Config{Authority: f, Keys: ring{}, Revocations: &world{}, StaticKeys: true, Now: now, Region: "us-east-1"})
		c.Keys, c.Now = may, now
		c.Authority = sts.New(sts.Config{
			IAM: f, Keys: ring{}, Revocations: &world{}, Access: may, Trail: f, Now: now,
			KeySets: jwks.New(jwks.Config{Client: egress.New(egress.Config{}), Loopback: egress.New(egress.Config{Allow: allow, Timeout: time.Second}), Now: now}),
		})
		if change != nil {
			change(c)
		}
	})
	f.idp = idp
	f.assertion = f.respond(t, nil)
	return f
}

func (f *full) bob() aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(bobKey, bobSecret, "")
}

func of(c *types.Credentials) aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(*c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken)
}

func (f *full) who(t testing.TB, keys aws.CredentialsProvider) string {
	t.Helper()
	out, err := f.client(keys).GetCallerIdentity(t.Context(), &awssts.GetCallerIdentityInput{})
	if err != nil {
		t.Fatal(err)
	}
	return *out.Account + " " + *out.UserId + " " + *out.Arn
}

// TestSDKWalksAllOperations: the AWS SDK for Go sends every parameter and reads
// every field of each operation.
func TestSDKWalksAllOperations(t *testing.T) {
	t.Parallel()
	f := newFull(t, nil)
	ctx, now := t.Context(), time.Now()
	policies := []types.PolicyDescriptorType{{Arn: aws.String("arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")}}
	policy := aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`)
	web, err := f.client(aws.AnonymousCredentials{}).AssumeRoleWithWebIdentity(ctx, &awssts.AssumeRoleWithWebIdentityInput{
		RoleArn: aws.String(loaderARN), RoleSessionName: aws.String("nightly"), DurationSeconds: aws.Int32(7200), Policy: policy, PolicyArns: policies,
		WebIdentityToken: aws.String(f.issuer.Token(t, now, map[string]any{
			"https://aws.amazon.com/tags":            map[string]any{"principal_tags": map[string]any{"team": []string{"blue"}}, "transitive_tag_keys": []string{"team"}},
			"https://aws.amazon.com/source_identity": "alice", "https://aws.amazon.com/roles": []string{loaderARN},
		})),
	})
	if err != nil {
		t.Fatal(err)
	}
	if *web.SubjectFromWebIdentityToken != "job:nightly" || *web.Audience != "sts.amazonaws.com" || !strings.HasSuffix(*web.Provider, ":oidc-provider/"+strings.TrimPrefix(f.issuer.URL, "http://")) ||
		*web.SourceIdentity != "alice" || *web.PackedPolicySize < 1 || *web.AssumedRoleUser.AssumedRoleId != "AROALOADER:nightly" || time.Until(*web.Credentials.Expiration) < 119*time.Minute {
		t.Errorf("%+v", web)
	}
	if got := f.who(t, of(web.Credentials)); got != here+" AROALOADER:nightly arn:aws:sts::111122223333:assumed-role/loader/nightly" {
		t.Error(got)
	}
	role, err := f.client(f.bob()).AssumeRole(ctx, &awssts.AssumeRoleInput{
		RoleArn: aws.String(dataARN), RoleSessionName: aws.String("etl"), ExternalId: aws.String("tenant:7"), SourceIdentity: aws.String("bob"),
		Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("blue")}, {Key: aws.String("empty"), Value: aws.String("")}}, TransitiveTagKeys: []string{"team"},
		DurationSeconds: aws.Int32(14400), Policy: policy, PolicyArns: policies,
	})
	if err != nil {
		t.Fatal(err)
	}
	if *role.SourceIdentity != "bob" || *role.PackedPolicySize < 1 || *role.AssumedRoleUser.Arn != "arn:aws:sts::111122223333:assumed-role/data/etl" {
		t.Errorf("%+v", role)
	}
	session, err := f.client(f.bob()).GetSessionToken(ctx, &awssts.GetSessionTokenInput{DurationSeconds: aws.Int32(129600)})
	if err != nil {
		t.Fatal(err)
	}
	if got := f.who(t, of(session.Credentials)); got != here+" AIDABOB arn:aws:iam::111122223333:user/bob" {
		t.Error(got)
	}
	federated, err := f.client(f.bob()).GetFederationToken(ctx, &awssts.GetFederationTokenInput{
		Name: aws.String("visitor"), Policy: policy, PolicyArns: policies, Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("blue")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if *federated.FederatedUser.FederatedUserId != here+":visitor" || *federated.FederatedUser.Arn != "arn:aws:sts::111122223333:federated-user/visitor" || *federated.PackedPolicySize < 1 {
		t.Errorf("%+v", federated)
	}
	if got := f.who(t, of(federated.Credentials)); got != here+" "+here+":visitor arn:aws:sts::111122223333:federated-user/visitor" {
		t.Error(got)
	}
	if got := f.who(t, f.bob()); got != here+" AIDABOB arn:aws:iam::111122223333:user/bob" {
		t.Error(got)
	}
	_, err = f.client(of(role.Credentials)).AssumeRole(ctx, &awssts.AssumeRoleInput{RoleArn: aws.String(dataARN), RoleSessionName: aws.String("etl"), DurationSeconds: aws.Int32(3601)})
	if got := code(t, err); got != "AccessDenied" { // the session policies allow no sts:AssumeRole
		t.Errorf("a chain past its session policy: %s", got)
	}
	for _, hidden := range []string{bobSecret, *web.Credentials.SecretAccessKey, (*role.Credentials.SessionToken)[:80]} {
		if strings.Contains(f.log.String(), hidden) {
			t.Error("the log carries a credential")
		}
	}
}

// TestThreeWaysToSend: a form, a query, and a query on an empty POST; and never
// the same parameter twice.
func TestThreeWaysToSend(t *testing.T) {
	t.Parallel()
	f := newFull(t, nil)
	call := form("Action", "AssumeRoleWithWebIdentity", "Version", "2011-06-15", "RoleArn", loaderARN, "RoleSessionName", "nightly",
		"WebIdentityToken", f.issuer.Token(t, time.Now(), nil))
	for name, tc := range map[string]struct {
		method, target string
		header         http.Header
		body, want     string
	}{
		"form":                {"POST", "/", formHeader, call, "<AssumeRoleWithWebIdentityResult>"},
		"query":               {"GET", "/?" + call, nil, "", "<AssumeRoleWithWebIdentityResult>"},
		"query of empty POST": {"POST", "/?" + call, nil, "", "<AssumeRoleWithWebIdentityResult>"},
		"in two halves":       {"POST", "/?DurationSeconds=900", formHeader, call, "<AssumeRoleWithWebIdentityResult>"},
		"twice in the form":   {"POST", "/", formHeader, call + "&RoleArn=" + url.QueryEscape(dataARN), "<Code>InvalidParameterValue</Code>"},
		"in form and query":   {"POST", "/?RoleArn=" + url.QueryEscape(dataARN), formHeader, call, "<Code>InvalidParameterValue</Code>"},
		"two actions":         {"POST", "/?Action=GetCallerIdentity", formHeader, call, "AccessDenied"},
		"unknown parameter":   {"POST", "/", formHeader, call + "&Extra=1", "<Code>ValidationError</Code>"},
		"list with a gap":     {"POST", "/", formHeader, call + "&PolicyArns.member.2.arn=x", "<Code>ValidationError</Code>"},
	} {
		status, body := f.send(t, tc.method, tc.target, tc.header, tc.body)
		if !strings.Contains(body, tc.want) && (tc.want != "AccessDenied" || status != 403) {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
}

// TestPresignedGetCallerIdentity is how EKS and Vault know who asks.
func TestPresignedGetCallerIdentity(t *testing.T) {
	t.Parallel()
	f := newFull(t, nil)
	client := awssts.NewPresignClient(f.client(f.bob()))
	signed, err := client.PresignGetCallerIdentity(t.Context(), &awssts.GetCallerIdentityInput{})
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Get(signed.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || res.StatusCode != 200 || !strings.Contains(string(body), "<Arn>arn:aws:iam::111122223333:user/bob</Arn>") {
		t.Errorf("%d %s %v", res.StatusCode, body, err)
	}
}

// TestEveryErrorCode produces each code that STS documents and that has a cause
// in a local account, over the wire. What has no cause is listed with its reason
// in test/conformance/errors.json.
func TestEveryErrorCode(t *testing.T) {
	t.Parallel()
	hashOf := func(body string) string {
		sum := sha256.Sum256([]byte(body))
		return hex.EncodeToString(sum[:])
	}
	bob := aws.Credentials{AccessKeyID: bobKey, SecretAccessKey: bobSecret}
	signed := func(t *testing.T, f *full, keys aws.Credentials, at time.Time, change func(*http.Request)) (int, string) {
		t.Helper()
		body := form("Action", "GetCallerIdentity", "Version", "2011-06-15")
		r, err := http.NewRequest("POST", f.url+"/", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if err := v4.NewSigner().SignHTTP(t.Context(), keys, r, hashOf(body), "sts", "us-east-1", at); err != nil {
			t.Fatal(err)
		}
		if change != nil {
			change(r)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		raw, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(raw)
	}
	web := func(t *testing.T, f *full, change map[string]any, more ...string) (int, string) {
		t.Helper()
		all := append([]string{"Action", "AssumeRoleWithWebIdentity", "Version", "2011-06-15", "RoleSessionName", "nightly",
			"WebIdentityToken", f.issuer.Token(t, time.Now(), change)}, more...)
		if !strings.Contains(strings.Join(more, " "), "RoleArn") {
			all = append(all, "RoleArn", loaderARN)
		}
		return f.send(t, "POST", "/", formHeader, form(all...))
	}
	for name, produce := range map[string]struct {
		status int
		cause  func(*testing.T, *full) (int, string)
	}{
		"AccessDenied": {403, func(t *testing.T, f *full) (int, string) { return web(t, f, nil, "RoleArn", dataARN) }},
		"ExpiredTokenException": {400, func(t *testing.T, f *full) (int, string) {
			return web(t, f, map[string]any{"exp": time.Now().Add(-6 * time.Minute).Unix()})
		}},
		"IDPCommunicationError": {400, func(t *testing.T, f *full) (int, string) {
			f.issuer.Answer(issuertest.KeySet, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusBadGateway) })
			return web(t, f, nil)
		}},
		"IDPRejectedClaim": {403, func(t *testing.T, f *full) (int, string) {
			a := f.idp.Answer("_r1", time.Now())
			a.SignAssertion, a.SignReply = true, false
			raw := strings.Replace(string(f.idp.Respond(t, a)), "status:Success", "status:Responder", 1)
			f.assertion = forge.Encode([]byte(raw))
			return f.send(t, "POST", "/", formHeader, f.call())
		}},
		"InvalidIdentityToken": {400, func(t *testing.T, f *full) (int, string) { return web(t, f, map[string]any{"aud": "x"}) }},
		"MalformedPolicyDocument": {400, func(t *testing.T, f *full) (int, string) {
			return web(t, f, nil, "Policy", `{"Statement":[{}]}`)
		}},
		"PackedPolicyTooLarge": {400, func(t *testing.T, f *full) (int, string) {
			return web(t, f, nil, "Policy", strings.Repeat(" ", 2040), "PolicyArns.member.1.arn", "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")
		}},
		"ValidationError": {400, func(t *testing.T, f *full) (int, string) { return web(t, f, nil, "DurationSeconds", "899") }},
		"ExpiredToken": {403, func(t *testing.T, f *full) (int, string) {
			out, err := f.client(f.bob()).GetSessionToken(t.Context(), &awssts.GetSessionTokenInput{DurationSeconds: aws.Int32(900)})
			if err != nil {
				t.Fatal(err)
			}
			at := time.Now().Add(15 * time.Minute)
			f.now = func() time.Time { return at }
			c := out.Credentials
			return signed(t, f, aws.Credentials{AccessKeyID: *c.AccessKeyId, SecretAccessKey: *c.SecretAccessKey, SessionToken: *c.SessionToken}, at, nil)
		}},
		"IncompleteSignature": {400, func(t *testing.T, f *full) (int, string) {
			return signed(t, f, bob, time.Now(), func(r *http.Request) {
				r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "SignedHeaders=", "Signed=", 1))
			})
		}},
		"InternalFailure": {500, func(t *testing.T, f *full) (int, string) {
			f.fail = errors.New("a bug")
			return web(t, f, nil)
		}},
		"InvalidAction": {400, func(t *testing.T, f *full) (int, string) {
			_, err := f.client(f.bob()).DecodeAuthorizationMessage(t.Context(), &awssts.DecodeAuthorizationMessageInput{EncodedMessage: aws.String("x")})
			return 400, "<Code>" + code(t, err) + "</Code>"
		}},
		"InvalidClientTokenId": {403, func(t *testing.T, f *full) (int, string) {
			return refusalOf(t, f.client(credentials.NewStaticCredentialsProvider("AKIA7777777777777777", "x", "")))
		}},
		"InvalidParameterValue": {400, func(t *testing.T, f *full) (int, string) {
			return web(t, f, nil, "RoleArn", loaderARN, "RoleArn", loaderARN)
		}},
		"MalformedQueryString": {404, func(t *testing.T, f *full) (int, string) {
			return web(t, f, nil, "RoleArn", loaderARN+"\xff")
		}},
		"MissingAction": {400, func(t *testing.T, f *full) (int, string) {
			return post(t, f, "Version=2011-06-15")
		}},
		"MissingAuthenticationToken": {403, func(t *testing.T, f *full) (int, string) {
			return post(t, f, form("Action", "GetSessionToken", "Version", "2011-06-15"))
		}},
		"ServiceUnavailable": {503, func(t *testing.T, f *full) (int, string) {
			f.fail = fault.New(fault.Unavailable, "the database is away")
			return web(t, f, nil)
		}},
		"SignatureDoesNotMatch": {403, func(t *testing.T, f *full) (int, string) {
			return signed(t, f, bob, time.Now().Add(-16*time.Minute), nil)
		}},
		"Throttling": {400, func(t *testing.T, f *full) (int, string) {
			block := make(chan struct{})
			s := &spy{got: make(chan sts.SAMLRequest, 2), block: block, fail: errors.New("late")}
			busy := newWorld(t, func(c *awsapi.STSConfig) { c.Authority, c.Exchanges = s, 1 })
			done := make(chan struct{})
			go func() { defer close(done); busy.send(t, "POST", "/", formHeader, busy.call()) }()
			<-s.got
			status, body := busy.send(t, "POST", "/", formHeader, busy.call())
			close(block)
			<-done
			return status, body
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, body := produce.cause(t, newFull(t, nil))
			if status != produce.status || !strings.Contains(body, "<Code>"+name+"</Code>") {
				t.Errorf("%d %s", status, body)
			}
		})
	}
}

// post sends a form straight to the face of STS: the port sends what is unsigned
// and no federated call to S3.
func post(t *testing.T, f *full, body string) (int, string) {
	t.Helper()
	may := access.New(access.Config{Authority: f, Keys: ring{}, Revocations: &world{}, Now: time.Now, Region: "us-east-1"})
	face := awsapi.NewSTS(awsapi.STSConfig{
		Authority: sts.New(sts.Config{IAM: f, Keys: ring{}, Revocations: &world{}, Access: may, Now: time.Now}), Keys: may,
		Region: "us-east-1", Now: time.Now, Logger: slog.New(slog.DiscardHandler),
	})
	r := httptest.NewRequest("POST", "/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	face.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// refusalOf gives the SDK's view of a refused GetCallerIdentity in the form of
// the wire.
func refusalOf(t *testing.T, c *awssts.Client) (int, string) {
	t.Helper()
	_, err := c.GetCallerIdentity(t.Context(), &awssts.GetCallerIdentityInput{})
	var status interface{ HTTPStatusCode() int }
	if !errors.As(err, &status) {
		t.Fatal(err)
	}
	return status.HTTPStatusCode(), "<Code>" + code(t, err) + "</Code>"
}

// TestFailuresOfOtherTokenServices: what went wrong in other STS, by identifier.
func TestFailuresOfOtherTokenServices(t *testing.T) {
	t.Parallel()
	for id, check := range map[string]func(*testing.T, *full){
		"CVE-2026-33419":      denialsAreUniform,
		"CVE-2023-28432":      strangersGetNoEnvironment,
		"CVE-2021-21287":      issuersAreNotFetchedForTokens,
		"CVE-2026-73080":      issuersAreNotFetchedForTokens,
		"GHSA-7m6v-q233-q9j9": ownAudienceIsMandatory,
		"HDDS-13323":          roleIDsStay,
	} {
		t.Run(id, func(t *testing.T) { t.Parallel(); check(t, newFull(t, nil)) })
	}
}

// Whether a role, a user or a key exists can't be told from an answer.
func denialsAreUniform(t *testing.T, f *full) {
	answers := map[string]bool{}
	for _, role := range []string{"arn:aws:iam::" + here + ":role/data", "arn:aws:iam::" + here + ":role/nobody-has"} {
		body := form("Action", "AssumeRoleWithWebIdentity", "Version", "2011-06-15", "RoleSessionName", "nightly", "RoleArn", role, "WebIdentityToken", f.issuer.Token(t, time.Now(), nil))
		status, answer := f.send(t, "POST", "/", formHeader, body)
		_, answer, _ = strings.Cut(answer, "<Message>")
		answer, _, _ = strings.Cut(answer, "</Message>")
		answers[strings.Join([]string{http.StatusText(status), answer}, " ")] = true
	}
	for _, key := range []string{"AKIA7777777777777777", "AKIA7777777777777778"} {
		_, answer := refusalOf(t, f.client(credentials.NewStaticCredentialsProvider(key, "x", "")))
		answers[answer] = true
	}
	if len(answers) != 2 {
		t.Errorf("answers tell apart: %v", answers)
	}
}

// No path answers with what the process knows of itself.
func strangersGetNoEnvironment(t *testing.T, f *full) {
	t.Helper()
	for _, target := range []string{"/minio/bootstrap/v1/verify", "/debug/pprof/", "/debug/vars", "/metrics", "/.env", "/?Action=Environment", "/_internal"} {
		for _, method := range []string{"GET", "POST"} {
			if status, body := f.send(t, method, target, nil, ""); status < 400 || strings.Contains(body, "PATH=") {
				t.Errorf("%s %s: %d %s", method, target, status, body)
			}
		}
	}
}

// An issuer, a key set or a key that a token names is fetched from nowhere.
func issuersAreNotFetchedForTokens(t *testing.T, f *full) {
	trap, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	reached := make(chan struct{}, 16)
	go func() {
		for {
			c, err := trap.Accept()
			if err != nil {
				return
			}
			reached <- struct{}{}
			_ = c.Close()
		}
	}()
	defer func() { _ = trap.Close() }()
	address := "http://" + trap.Addr().String()
	own := f.issuer.Keys[0]
	for name, token := range map[string]string{
		"issuer": f.issuer.Token(t, time.Now(), map[string]any{"iss": address}),
		"jku":    own.Sign(t, map[string]any{"jku": address + "/jwks", "kid": "unknown"}, f.issuer.Claims(time.Now())),
		"x5u":    own.Sign(t, map[string]any{"x5u": address + "/cert", "kid": "unknown"}, f.issuer.Claims(time.Now())),
	} {
		body := form("Action", "AssumeRoleWithWebIdentity", "Version", "2011-06-15", "RoleSessionName", "nightly", "RoleArn", loaderARN, "WebIdentityToken", token)
		if status, answer := f.send(t, "POST", "/", formHeader, body); status != 400 || !strings.Contains(answer, "InvalidIdentityToken") {
			t.Errorf("%s: %d %s", name, status, answer)
		}
	}
	select {
	case <-reached:
		t.Error("an address that a token named was reached")
	case <-time.After(50 * time.Millisecond):
	}
}

// A token that was made for somebody else is none for us, and a provider without
// client ids takes none.
func ownAudienceIsMandatory(t *testing.T, f *full) {
	for _, clients := range [][]string{{"sts.amazonaws.com"}, nil} {
		f.state.OIDCProviders[0].ClientIDs = clients
		for _, audience := range []any{"https://kubernetes.default.svc", []string{"https://kubernetes.default.svc", "sts.amazonaws.com"}, "", issuertest.Absent} {
			body := form("Action", "AssumeRoleWithWebIdentity", "Version", "2011-06-15", "RoleSessionName", "nightly", "RoleArn", loaderARN,
				"WebIdentityToken", f.issuer.Token(t, time.Now(), map[string]any{"aud": audience}))
			if status, answer := f.send(t, "POST", "/", formHeader, body); status != 400 || !strings.Contains(answer, "InvalidIdentityToken") {
				t.Errorf("%v with client ids %v: %d %s", audience, clients, status, answer)
			}
		}
	}
}

// The id of a role is the same at each call, and another once the role was made
// again: keys of the old one end.
func roleIDsStay(t *testing.T, f *full) {
	assume := func() *awssts.AssumeRoleOutput {
		out, err := f.client(f.bob()).AssumeRole(t.Context(), &awssts.AssumeRoleInput{RoleArn: aws.String(dataARN), RoleSessionName: aws.String("etl")})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	first := assume()
	f.state.Roles[2].Tags = map[string]string{"changed": "yes"}
	if id := *assume().AssumedRoleUser.AssumedRoleId; id != *first.AssumedRoleUser.AssumedRoleId {
		t.Errorf("%s, then %s", *first.AssumedRoleUser.AssumedRoleId, id)
	}
	f.who(t, of(first.Credentials))
	f.state.Roles[2].ID = "AROADATA2"
	if _, answer := refusalOf(t, f.client(of(first.Credentials))); answer != "<Code>InvalidClientTokenId</Code>" {
		t.Errorf("keys of a role that was made again: %s", answer)
	}
}
