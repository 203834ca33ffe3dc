package awsapi_test

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/awsapi"
	"carnet.dev/carnet/internal/edge/devidp"
	"carnet.dev/carnet/internal/edge/devidp/forge"
	"carnet.dev/carnet/internal/service/sts"
	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

func (w *world) client(keys aws.CredentialsProvider) *awssts.Client {
	return awssts.New(awssts.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(w.url), Credentials: keys, RetryMaxAttempts: 1,
	})
}

func (w *world) assume(t testing.TB) *awssts.AssumeRoleWithSAMLOutput {
	t.Helper()
	out, err := w.client(aws.AnonymousCredentials{}).AssumeRoleWithSAML(t.Context(), &awssts.AssumeRoleWithSAMLInput{
		RoleArn: aws.String(forge.Role), PrincipalArn: aws.String(forge.Provider), SAMLAssertion: aws.String(w.assertion),
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func static(t testing.TB, out *awssts.AssumeRoleWithSAMLOutput) aws.CredentialsProvider {
	t.Helper()
	return credentials.NewStaticCredentialsProvider(*out.Credentials.AccessKeyId, *out.Credentials.SecretAccessKey, *out.Credentials.SessionToken)
}

// TestSDKTradesAndAsksWhoItIs walks the two operations with the AWS SDK for Go.
func TestSDKTradesAndAsksWhoItIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	out := w.assume(t)
	const session = "arn:aws:sts::111122223333:assumed-role/analyst/alice"
	if *out.AssumedRoleUser.Arn != session || *out.AssumedRoleUser.AssumedRoleId != "AROAEXAMPLEEXAMPLE000:alice" ||
		*out.Subject != "alice" || *out.Issuer != forge.EntityID || *out.Audience != forge.ACS || *out.NameQualifier == "" || *out.SubjectType == "" {
		t.Errorf("%+v", out)
	}
	if left := time.Until(*out.Credentials.Expiration); left < 59*time.Minute || left > time.Hour {
		t.Errorf("expires in %s", left)
	}
	who, err := w.client(static(t, out)).GetCallerIdentity(t.Context(), &awssts.GetCallerIdentityInput{})
	if err != nil {
		t.Fatal(err)
	}
	if *who.Arn != session || *who.Account != "111122223333" || *who.UserId != "AROAEXAMPLEEXAMPLE000:alice" {
		t.Errorf("%+v", who)
	}
	for _, hidden := range []string{w.assertion[:80], *out.Credentials.SecretAccessKey, (*out.Credentials.SessionToken)[:80]} {
		if strings.Contains(w.log.String(), hidden) {
			t.Error("the log carries a credential")
		}
	}
	if !strings.Contains(w.log.String(), "AssumeRoleWithSAML") {
		t.Error("the log does not name the action")
	}
}

func code(t *testing.T, err error) string {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) {
		t.Fatalf("not an answer that the SDK reads: %v", err)
	}
	return api.ErrorCode()
}

func TestSDKReadsRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	good := w.assume(t)
	keys := func(change func(*aws.Credentials)) aws.CredentialsProvider {
		c := aws.Credentials{AccessKeyID: *good.Credentials.AccessKeyId, SecretAccessKey: *good.Credentials.SecretAccessKey, SessionToken: *good.Credentials.SessionToken}
		change(&c)
		return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return c, nil })
	}
	for name, tc := range map[string]struct {
		change func(*aws.Credentials)
		code   string
	}{
		"wrong secret key":     {func(c *aws.Credentials) { c.SecretAccessKey = "x" }, "SignatureDoesNotMatch"},
		"unknown access key":   {func(c *aws.Credentials) { c.AccessKeyID = "ASIA7777777777777777" }, "InvalidClientTokenId"},
		"long-lived key":       {func(c *aws.Credentials) { c.AccessKeyID, c.SessionToken = "AKIA7777777777777777", "" }, "InvalidClientTokenId"},
		"no session token":     {func(c *aws.Credentials) { c.SessionToken = "" }, "InvalidClientTokenId"},
		"another token":        {func(c *aws.Credentials) { c.SessionToken = c.SessionToken[:len(c.SessionToken)-4] + "AAAA" }, "InvalidClientTokenId"},
		"a token from AWS STS": {func(c *aws.Credentials) { c.SessionToken = "IQoJb3JpZ2luX2VjEA==" }, "InvalidClientTokenId"},
	} {
		_, err := w.client(keys(tc.change)).GetCallerIdentity(t.Context(), &awssts.GetCallerIdentityInput{})
		if got := code(t, err); got != tc.code {
			t.Errorf("%s: got %s, want %s", name, got, tc.code)
		}
	}
	_, err := w.client(static(t, good)).AssumeRole(t.Context(), &awssts.AssumeRoleInput{RoleArn: aws.String(forge.Role), RoleSessionName: aws.String("x1")})
	if got := code(t, err); got != "AccessDenied" {
		t.Errorf("AssumeRole of a role that trusts no principal: got %s", got)
	}
	w.ended["role AROAEXAMPLEEXAMPLE000"] = true
	_, err = w.client(static(t, good)).GetCallerIdentity(t.Context(), &awssts.GetCallerIdentityInput{})
	if got := code(t, err); got != "ExpiredToken" {
		t.Errorf("revoked: got %s", got)
	}
}

func TestExpiredKeysSaySo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	out, err := w.client(aws.AnonymousCredentials{}).AssumeRoleWithSAML(t.Context(), &awssts.AssumeRoleWithSAMLInput{
		RoleArn: aws.String(forge.Role), PrincipalArn: aws.String(forge.Provider), SAMLAssertion: aws.String(w.assertion), DurationSeconds: aws.Int32(1),
	})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Until(*out.Credentials.Expiration) + 10*time.Millisecond)
	_, err = w.client(static(t, out)).GetCallerIdentity(t.Context(), &awssts.GetCallerIdentityInput{})
	if got := code(t, err); got != "ExpiredToken" {
		t.Errorf("got %s", got)
	}
}

// TestPresignedCallerIdentity is the login proof of EKS and Vault.
func TestPresignedCallerIdentity(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	signed, err := awssts.NewPresignClient(w.client(static(t, w.assume(t)))).PresignGetCallerIdentity(t.Context(), &awssts.GetCallerIdentityInput{},
		func(o *awssts.PresignOptions) { o.Presigner = expiring{v4.NewSigner()} })
	if err != nil {
		t.Fatal(err)
	}
	status, body := w.send(t, signed.Method, strings.TrimPrefix(signed.URL, w.url), nil, "")
	if status != 200 || !strings.Contains(body, "assumed-role/analyst/alice") {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := w.send(t, signed.Method, strings.TrimPrefix(signed.URL, w.url)+"&x=1", nil, ""); status != 403 {
		t.Errorf("changed: %d", status)
	}
}

// expiring adds X-Amz-Expires, as EKS clients do.
type expiring struct{ *v4.Signer }

func (e expiring) PresignHTTP(ctx context.Context, c aws.Credentials, r *http.Request, hash, service, region string, at time.Time, opts ...func(*v4.SignerOptions)) (string, http.Header, error) {
	q := r.URL.Query()
	q.Set("X-Amz-Expires", "60")
	r.URL.RawQuery = q.Encode()
	return e.Signer.PresignHTTP(ctx, c, r, hash, service, region, at, opts...)
}

// send writes a raw request and gives status and body.
func (w *world) send(t testing.TB, method, target string, header http.Header, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, w.url+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		r.Header[k] = v
	}
	if h := header.Get("Host"); h != "" {
		r.Host = h
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.Header.Get("X-Face") == "s3" {
		return res.StatusCode, "S3"
	}
	return res.StatusCode, string(b)
}

func form(pairs ...string) string {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	return v.Encode()
}

var formHeader = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}

func (w *world) call(extra ...string) string {
	return form(append([]string{"Action", "AssumeRoleWithSAML", "Version", "2011-06-15", "RoleArn", forge.Role, "PrincipalArn", forge.Provider, "SAMLAssertion", w.assertion}, extra...)...)
}

// TestWhereUnsignedRequestsGo holds design section 3: only the two federated
// calls on "/" reach STS, all else is S3's to refuse.
func TestWhereUnsignedRequestsGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	host := func(h string) http.Header {
		return http.Header{"Content-Type": formHeader["Content-Type"], "Host": {h}}
	}
	for name, tc := range map[string]struct {
		method, target string
		header         http.Header
		body           string
		want           string
	}{
		"form":                                {"POST", "/", formHeader, w.call(), "AssumeRoleWithSAMLResult"},
		"GET":                                 {"GET", "/?" + w.call(), nil, "", "AssumeRoleWithSAMLResult"},
		"query of an empty POST":              {"POST", "/?" + w.call(), nil, "", "AssumeRoleWithSAMLResult"},
		"web identity":                        {"POST", "/", formHeader, form("Action", "AssumeRoleWithWebIdentity", "Version", "2011-06-15"), "ValidationError"},
		"another action":                      {"POST", "/", formHeader, form("Action", "GetCallerIdentity", "Version", "2011-06-15"), "S3"},
		"another action in the query":         {"POST", "/?Action=GetCallerIdentity", formHeader, w.call(), "S3"},
		"action twice":                        {"POST", "/", formHeader, w.call("Action", "AssumeRoleWithSAML"), "S3"},
		"action in both":                      {"POST", "/?Action=AssumeRoleWithSAML", formHeader, w.call(), "stands twice"},
		"another path":                        {"POST", "/bucket", formHeader, w.call(), "S3"},
		"two slashes":                         {"POST", "//", formHeader, w.call(), "S3"},
		"PUT":                                 {"PUT", "/", formHeader, w.call(), "S3"},
		"OPTIONS":                             {"OPTIONS", "/", nil, "", "S3"},
		"form of a bucket":                    {"POST", "/bucket", http.Header{"Content-Type": {"multipart/form-data; boundary=x"}}, "--x--", "S3"},
		"host of a bucket":                    {"POST", "/", host("sales.s3.example.com"), w.call(), "S3"},
		"host of a bucket, upper case, port":  {"POST", "/", host("sales.S3.example.com:8481"), w.call(), "S3"},
		"base host":                           {"POST", "/", host("s3.example.com"), w.call(), "AssumeRoleWithSAMLResult"},
		"body over the limit":                 {"POST", "/", formHeader, w.call("Policy", strings.Repeat("x", 600<<10)), "S3"},
		"list of buckets":                     {"GET", "/", nil, "", "S3"},
		"object":                              {"GET", "/sales/a", nil, "", "S3"},
		"what can't be read":                  {"POST", "/", formHeader, w.call() + "&x=%zz", "S3"},
		"multipart with the action in a part": {"POST", "/", http.Header{"Content-Type": {"multipart/form-data; boundary=x"}}, "Action=AssumeRoleWithSAML", "S3"},
	} {
		if _, got := w.send(t, tc.method, tc.target, tc.header, tc.body); !strings.Contains(got, tc.want) {
			t.Errorf("%s: got %.300s, want %s in it", name, got, tc.want)
		}
	}
}

// TestTheScopeDecides: with a credential, in header or query, the service of
// its scope alone chooses the face; no Action overrides it.
func TestTheScopeDecides(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	header := func(service string) http.Header {
		return http.Header{
			"Content-Type":  formHeader["Content-Type"],
			"X-Amz-Date":    {time.Now().UTC().Format("20060102T150405Z")},
			"Authorization": {"AWS4-HMAC-SHA256 Credential=ASIA7777777777777777/" + time.Now().UTC().Format("20060102") + "/us-east-1/" + service + "/aws4_request, SignedHeaders=host;x-amz-date, Signature=" + strings.Repeat("0", 64)},
		}
	}
	query := func(service string) string {
		return form("X-Amz-Algorithm", "AWS4-HMAC-SHA256", "X-Amz-Credential", "ASIA7777777777777777/"+time.Now().UTC().Format("20060102")+"/us-east-1/"+service+"/aws4_request",
			"X-Amz-Date", time.Now().UTC().Format("20060102T150405Z"), "X-Amz-Expires", "60", "X-Amz-SignedHeaders", "host", "X-Amz-Signature", strings.Repeat("0", 64))
	}
	for name, tc := range map[string]struct {
		method, target string
		header         http.Header
		body, want     string
	}{
		"s3 with an STS action":       {"POST", "/", header("s3"), w.call(), "S3"},
		"s3 in the query":             {"GET", "/?" + query("s3") + "&Action=AssumeRoleWithSAML", nil, "", "S3"},
		"sts":                         {"POST", "/", header("sts"), form("Action", "GetCallerIdentity", "Version", "2011-06-15"), "InvalidClientTokenId"},
		"sts in the query":            {"GET", "/?" + query("sts") + "&Action=GetCallerIdentity&Version=2011-06-15", nil, "", "InvalidClientTokenId"},
		"a federated call that signs": {"POST", "/", header("sts"), w.call(), "InvalidClientTokenId"},
		"sts on a path":               {"GET", "/sales/a", header("sts"), "", "GET and POST of / only"},
		"iam":                         {"POST", "/", header("iam"), form("Action", "ListRoles"), `does not serve &#34;iam&#34;`},
		"dynamodb":                    {"POST", "/", header("dynamodb"), "{}", `does not serve`},
		"two places":                  {"POST", "/?" + query("sts"), header("sts"), form("Action", "GetCallerIdentity", "Version", "2011-06-15"), "Error"},
		"two authorizations":          {"POST", "/", http.Header{"Content-Type": formHeader["Content-Type"], "Authorization": {"a", "b"}}, w.call(), "Error"},
		"Signature Version 2":         {"POST", "/", http.Header{"Content-Type": formHeader["Content-Type"], "Authorization": {"AWS x:y"}}, w.call(), "Error"},
	} {
		status, got := w.send(t, tc.method, tc.target, tc.header, tc.body)
		if !strings.Contains(got, tc.want) || status < 400 {
			t.Errorf("%s: got %d %.300s, want %s in it", name, status, got, tc.want)
		}
	}
}

func TestFacesThatAreNotServed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for _, f := range []*awsapi.Front{{}, {STS: http.NotFoundHandler()}} {
		rec := newRecorder()
		f.ServeHTTP(rec, request(t, "GET", "/sales/a", ""))
		if rec.status != 501 || !strings.Contains(rec.body.String(), "<Code>NotImplemented</Code>") {
			t.Errorf("%d %s", rec.status, rec.body.String())
		}
	}
	f := &awsapi.Front{S3: http.NotFoundHandler()}
	rec := newRecorder()
	r := request(t, "POST", "/", w.call())
	r.Header = formHeader
	f.ServeHTTP(rec, r)
	if rec.status != 404 {
		t.Errorf("without STS an unsigned call is S3's to refuse: %d", rec.status)
	}
}

// TestRefusedCalls has one line per error of the Query protocol, and checks the
// document of each as botocore reads it.
func TestRefusedCalls(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for name, tc := range map[string]struct {
		body   string
		status int
		code   string
	}{
		"no version":         {form("Action", "AssumeRoleWithSAML"), 400, "InvalidAction"},
		"another version":    {form("Action", "AssumeRoleWithSAML", "Version", "2010-05-08"), 400, "InvalidAction"},
		"unknown parameter":  {w.call("DurationSecond", "900"), 400, "ValidationError"},
		"tags are no input":  {w.call("Tags.member.1.Key", "a"), 400, "ValidationError"},
		"duration no number": {w.call("DurationSeconds", "1h"), 400, "ValidationError"},
		"duration overflows": {w.call("DurationSeconds", "99999999999"), 400, "ValidationError"},
		"duration negative":  {w.call("DurationSeconds", "-1"), 400, "ValidationError"},
		"duration too long":  {w.call("DurationSeconds", "43200"), 400, "ValidationError"},
		"list with a gap":    {w.call("PolicyArns.member.2.arn", "arn:aws:iam::aws:policy/x"), 400, "ValidationError"},
		"managed policy":     {w.call("PolicyArns.member.1.arn", "arn:aws:iam::aws:policy/ReadOnlyAccess"), 400, "ValidationError"},
		"session policy":     {w.call("Policy", "{}"), 400, "MalformedPolicyDocument"},
		"duplicate":          {w.call("RoleArn", forge.Role), 400, "InvalidParameterValue"},
		"no role":            {form("Action", "AssumeRoleWithSAML", "Version", "2011-06-15", "PrincipalArn", forge.Provider, "SAMLAssertion", w.assertion), 400, "ValidationError"},
		"unknown role":       {strings.Replace(w.call(), "analyst", "ghost", 1), 403, "AccessDenied"},
		"unknown provider":   {strings.Replace(w.call(), "dev-idp", "ghost", 1), 400, "InvalidIdentityToken"},
		"not base64":         {form("Action", "AssumeRoleWithSAML", "Version", "2011-06-15", "RoleArn", forge.Role, "PrincipalArn", forge.Provider, "SAMLAssertion", "<>&?"), 400, "InvalidIdentityToken"},
		"expired":            {strings.Replace(w.call(), url.QueryEscape(w.assertion), url.QueryEscape(w.respond(t, expired)), 1), 400, "ExpiredTokenException"},
		"over 100,000":       {form("Action", "AssumeRoleWithSAML", "Version", "2011-06-15", "RoleArn", forge.Role, "PrincipalArn", forge.Provider, "SAMLAssertion", strings.Repeat("A", 100_001)), 400, "ValidationError"},
	} {
		status, got := w.send(t, "POST", "/", formHeader, tc.body)
		var doc struct {
			XMLName xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ ErrorResponse"`
			Code    string   `xml:"Error>Code"`
			Message string   `xml:"Error>Message"`
			ID      string   `xml:"RequestId"`
		}
		if err := xml.Unmarshal([]byte(got), &doc); err != nil {
			t.Errorf("%s: %v in %.200s", name, err, got)
			continue
		}
		if status != tc.status || doc.Code != tc.code || doc.ID == "" || doc.Message == "" {
			t.Errorf("%s: got %d %+v, want %d %s", name, status, doc, tc.status, tc.code)
		}
		if strings.Contains(got, w.assertion[:60]) {
			t.Errorf("%s: the answer carries the assertion", name)
		}
	}
}

func expired(a *devidp.Answer) {
	a.NotOnOrAfter, a.NotBefore = time.Now().Add(-3*time.Minute), time.Now().Add(-9*time.Minute)
}

// spy records for whom keys were asked.
type spy struct {
	awsapi.Authority
	got   chan sts.SAMLRequest
	block chan struct{}
	fail  error
}

func (s *spy) AssumeRoleWithSAML(_ context.Context, r sts.SAMLRequest) (*sts.SAMLAnswer, error) {
	s.got <- r
	if s.block != nil {
		<-s.block
	}
	if s.fail == nil {
		panic("a bug")
	}
	return nil, s.fail
}

// TestOnlyTheInternalListenerBelievesTheBroker: a stranger can't bind keys to a
// person by sending the broker's headers.
func TestOnlyTheInternalListenerBelievesTheBroker(t *testing.T) {
	t.Parallel()
	for _, internal := range []bool{true, false} {
		s := &spy{got: make(chan sts.SAMLRequest, 1), fail: fault.Coded(fault.Denied, "AccessDenied", "no")}
		w := newWorld(t, func(c *awsapi.STSConfig) { c.Authority, c.TrustInternal = s, internal })
		h := formHeader.Clone()
		h.Set("X-Carnet-Person", "psn_x")
		h.Set("X-Carnet-Login-Session", "lgn_x")
		w.send(t, "POST", "/", h, w.call())
		r := <-s.got
		if (r.Caller.Person == "psn_x") != internal || (r.Caller.LoginSession == "lgn_x") != internal || r.Caller.Secure != internal || r.Caller.Source.IsValid() == internal {
			t.Errorf("internal %v: %+v", internal, r.Caller)
		}
	}
}

func TestAPanicIsAnInternalFailure(t *testing.T) {
	t.Parallel()
	s := &spy{got: make(chan sts.SAMLRequest, 1)}
	w := newWorld(t, func(c *awsapi.STSConfig) { c.Authority = s })
	status, body := w.send(t, "POST", "/", formHeader, w.call())
	if status != 500 || !strings.Contains(body, "<Code>InternalFailure</Code>") || strings.Contains(body, "a bug") {
		t.Errorf("%d %s", status, body)
	}
}

// TestVerificationHasSlots: a flood of assertions gets Throttling, not all
// processors.
func TestVerificationHasSlots(t *testing.T) {
	t.Parallel()
	s := &spy{got: make(chan sts.SAMLRequest, 2), block: make(chan struct{}), fail: errors.New("late")}
	w := newWorld(t, func(c *awsapi.STSConfig) { c.Authority, c.Exchanges = s, 1 })
	first := make(chan int, 1)
	go func() {
		status, _ := w.send(t, "POST", "/", formHeader, w.call())
		first <- status
	}()
	<-s.got
	status, body := w.send(t, "POST", "/", formHeader, w.call())
	if status != 400 || !strings.Contains(body, "<Code>Throttling</Code>") {
		t.Errorf("%d %s", status, body)
	}
	close(s.block)
	if status := <-first; status != 500 {
		t.Errorf("the first: %d", status)
	}
}

func FuzzFront(f *testing.F) {
	files, _ := filepath.Glob("testdata/requests/*")
	if len(files) == 0 {
		f.Fatal("no seed in testdata/requests")
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		head, body, _ := strings.Cut(string(b), "\n")
		method, target, _ := strings.Cut(head, " ")
		f.Add(method, target, "application/x-www-form-urlencoded", "", body)
	}
	deny := &spy{got: make(chan sts.SAMLRequest, 1), fail: fault.Coded(fault.Denied, "AccessDenied", "no")}
	s3Reached := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	front := &awsapi.Front{S3: s3Reached, STS: awsapi.NewSTS(awsapi.STSConfig{Authority: deny, Keys: noKeys{}, Region: "us-east-1", Now: time.Now})}
	f.Fuzz(func(t *testing.T, method, target, kind, authorization, body string) {
		r, err := http.NewRequest("POST", "http://127.0.0.1/", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Method, r.RequestURI = method, target
		r.Header.Set("Content-Type", kind)
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		rec := newRecorder()
		front.ServeHTTP(rec, r)
		select {
		case <-deny.got:
		default:
		}
		if rec.status < 400 || rec.status == http.StatusInternalServerError {
			t.Fatalf("answered %d", rec.status)
		}
	})
}
