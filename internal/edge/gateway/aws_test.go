package gateway_test

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/gateway"
	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/service/access"
	"carnet.dev/carnet/internal/service/gatewaykeys"
)

const lake = "777788889999" // the account at AWS of these tests

// atAWS is a gateway with a store of its own and one at AWS, and a gateway key
// whose one role is at AWS.
type atAWS struct {
	*world
	answer func(out *s3.Outgoing) *http.Response
	sent   []s3.Outgoing // to AWS
	served int           // AWS's keys, by the broker
}

func (w *atAWS) Find(_ context.Context, id string) (*gatewaykeys.Holder, secret.Text, error) {
	return &gatewaykeys.Holder{}, secret.New("gateway-secret"), nil
}
func (w *atAWS) Admit(context.Context, *gatewaykeys.Holder, gatewaykeys.Peer) error { return nil }
func (w *atAWS) Holds(*gatewaykeys.Holder) error                                    { return nil }
func (w *atAWS) Choose(context.Context, *gatewaykeys.Holder, gatewaykeys.Want) (gatewaykeys.Choice, error) {
	role, err := arn.ParseRole("arn:aws:iam::" + lake + ":role/reader")
	return gatewaykeys.Choice{Role: role, AWS: true}, err
}
func (w *atAWS) Keys(context.Context, *gatewaykeys.Holder, arn.Role) (credential.Temporary, error) {
	w.served++
	return credential.Temporary{AccessKeyID: "ASIAROLE", SecretAccessKey: secret.New("role-secret"), SessionToken: secret.New("role-token")}, nil
}

func (w *atAWS) Place(bucket string) (access.Place, bool) {
	switch {
	case bucket == "lake-closed":
		return access.Place{Bucket: bucket, Account: lake, Upstream: "aws", AWS: true, Closed: "because of a test"}, true
	case bucket == "pond":
		return access.Place{Bucket: bucket, Account: "999900001111", Upstream: "aws", AWS: true}, true
	case strings.HasPrefix(bucket, "lake"):
		return access.Place{Bucket: bucket, Account: lake, Upstream: "aws", AWS: true}, true
	}
	return w.world.Place(bucket)
}

func newAtAWS(t *testing.T) *atAWS {
	w := &atAWS{}
	aws := answers(func(out *s3.Outgoing) (*http.Response, error) {
		w.sent = append(w.sent, *out)
		if out.Body != nil {
			if _, err := io.Copy(io.Discard, out.Body); err != nil {
				return nil, err
			}
		}
		if w.answer == nil {
			return response(200, "", nil), nil
		}
		return w.answer(out), nil
	})
	own := answers(func(*s3.Outgoing) (*http.Response, error) {
		return response(200, "<ListAllMyBucketsResult><Buckets><Bucket><Name>sales</Name></Bucket></Buckets></ListAllMyBucketsResult>", nil), nil
	})
	w.world = before(t, nil, func(c *gateway.Config) {
		c.Places, c.GatewayKeys = w, w
		c.Stores = map[string]gateway.Store{"embedded": {Upstream: own}, "aws": {Upstream: aws, AWS: true, Keys: s3.Literal, Region: "eu-central-1", Encryption: s3.EncryptAny}}
	})
	return w
}

// held signs a request with the gateway key.
func (w *atAWS) held(t *testing.T, method, target, body string, change func(*http.Request)) *http.Request {
	t.Helper()
	req := w.request(t, method, target, body, change)
	req.Header.Del("X-Amz-Security-Token")
	w.sign(t, req, "GWKAAAAAAAAAAAAAAAAA", "gateway-secret")
	return req
}

// last gives the one request that AWS was sent, and forgets it.
func (w *atAWS) last(t *testing.T) s3.Outgoing {
	t.Helper()
	if len(w.sent) != 1 {
		t.Fatalf("AWS was sent %d requests", len(w.sent))
	}
	out := w.sent[0]
	w.sent = nil
	return out
}

// TestAWSDecides: a request for a bucket at AWS goes there with the role's own
// keys and for its owner alone; our policy engine is not asked.
func TestAWSDecides(t *testing.T) {
	t.Parallel()
	w := newAtAWS(t)
	w.forbid("* *")
	for _, c := range []struct{ method, target, body string }{
		{"GET", "/lake-one/k", ""}, {"PUT", "/lake-one/k", "content"}, {"DELETE", "/lake-one/k", ""}, {"GET", "/lake-one?list-type=2", ""}, {"GET", "/lake-one?acl", ""},
		{"PUT", "/lake-one/a//b", ""},
	} {
		res, body := send(t, w.held(t, c.method, c.target, c.body, nil))
		if res.StatusCode != 200 {
			t.Errorf("%s %s: %s %s", c.method, c.target, res.Status, body)
			continue
		}
		out := w.last(t)
		if out.As == nil || out.As.AccessKeyID != "ASIAROLE" || out.As.SessionToken.Reveal() != "role-token" || !slices.Equal(out.Header["X-Amz-Expected-Bucket-Owner"], []string{lake}) {
			t.Errorf("%s %s: sent as %v with %v", c.method, c.target, out.As, out.Header)
		}
	}
	if len(w.asked()) != 0 {
		t.Errorf("our policy engine was asked %v", w.asked())
	}
	_, _ = send(t, w.held(t, "PUT", "/lake-one/k", "", func(r *http.Request) { r.Header.Set("X-Amz-Copy-Source", "/pond/x") }))
	if out := w.last(t); !slices.Equal(out.Header["X-Amz-Source-Expected-Bucket-Owner"], []string{"999900001111"}) || out.As == nil {
		t.Errorf("a copy was sent with %v", out.Header)
	}
}

// TestAttackKeysAtAnotherPlace: keys of a local role do nothing at AWS, keys of a
// role at AWS nothing elsewhere, and no store's own key stands in for either.
func TestAttackKeysAtAnotherPlace(t *testing.T) {
	t.Parallel()
	w := newAtAWS(t)
	local := func(method, target string) *http.Request { return w.request(t, method, target, "", nil) }
	if body := refused(t, local("GET", "/lake-one/k"), 403, "AccessDenied"); !strings.Contains(body, "a gateway key that holds such a role") {
		t.Errorf("no advice: %s", body)
	}
	refused(t, local("GET", "/lake-one?location"), 403, "AccessDenied")
	refused(t, local("PUT", "/lake-new"), 403, "AccessDenied")
	for _, target := range []string{"/sales/k", "/pond/k", "/unplaced/k", "/lake-closed/k"} {
		refused(t, w.held(t, "GET", target, "", nil), 403, "AccessDenied")
	}
	refused(t, w.held(t, "PUT", "/lake-one/k", "", func(r *http.Request) { r.Header.Set("X-Amz-Copy-Source", "/lake-closed/x") }), 403, "AccessDenied")
	refused(t, w.held(t, "PUT", "/lake-one/k", "", func(r *http.Request) { r.Header.Set("X-Amz-Copy-Source", "/sales/x") }), 501, "NotImplemented")
	if len(w.sent) != 0 {
		t.Errorf("AWS was sent %v", w.sent)
	}
}

// TestAWSRefuses: what AWS says reaches the person in whose name it was asked,
// with AWS's own ids behind ours; what it says of our signing does not.
func TestAWSRefuses(t *testing.T) {
	t.Parallel()
	w := newAtAWS(t)
	for name, c := range map[string]struct {
		status int
		code   string
		want   int
		as     string
	}{
		"denied": {403, "AccessDenied", 403, "AccessDenied"}, "keys past their time": {400, "ExpiredToken", 400, "ExpiredToken"},
		"key service": {400, "KMS.DisabledException", 400, "KMS.DisabledException"}, "another region": {301, "PermanentRedirect", 301, "PermanentRedirect"},
		"busy": {503, "SlowDown", 503, "SlowDown"}, "restored": {403, "InvalidObjectState", 403, "InvalidObjectState"},
		"our signature": {403, "SignatureDoesNotMatch", 500, "InternalError"}, "our clock": {403, "RequestTimeTooSkewed", 500, "InternalError"},
	} {
		w.answer = func(*s3.Outgoing) *http.Response {
			return response(c.status, "<Error><Code>"+c.code+"</Code><Message>AWS says so</Message><RequestId>THEIRS</RequestId></Error>",
				http.Header{"X-Amz-Request-Id": {"THEIRS"}, "X-Amz-Id-2": {"host/id="}, "Retry-After": {"7"}, "Location": {"https://evil.example/"}})
		}
		req := w.held(t, "GET", "/lake-one/k", "", nil)
		res, body := send(t, req)
		if res.StatusCode != c.want || !strings.Contains(body, "<Code>"+c.as+"</Code>") {
			t.Errorf("%s: %s %s", name, res.Status, body)
		}
		if told := strings.Contains(body, "AWS says so"); told != (c.code == c.as) {
			t.Errorf("%s: AWS's text is told: %v", name, told)
		}
		h := res.Header
		if h.Get("X-Amz-Request-Id") == "THEIRS" || h.Get("X-Amz-Id-2") != "THEIRS:host/id=" || h.Get("Location") != "" || strings.Contains(body, "THEIRS") {
			t.Errorf("%s: %v %s", name, h, body)
		}
		if got := h.Get("Retry-After"); (got == "7") != (c.code == c.as) {
			t.Errorf("%s: Retry-After %q", name, got)
		}
	}
	w.answer = func(*s3.Outgoing) *http.Response { return response(403, "", nil) }
	if res, _ := send(t, w.held(t, "HEAD", "/lake-one/k", "", nil)); res.StatusCode != 403 {
		t.Errorf("a head that is denied: %s", res.Status)
	}
}

// TestBucketsAtAWS: they lie in their own regions, are made where the client
// says, and are listed by the role where a rule gives them to its account.
func TestBucketsAtAWS(t *testing.T) {
	t.Parallel()
	w := newAtAWS(t)
	w.answer = func(out *s3.Outgoing) *http.Response {
		switch {
		case out.Bucket == "":
			return response(200, "<ListAllMyBucketsResult><Buckets><Bucket><Name>lake-one</Name><BucketRegion>eu-west-1</BucketRegion></Bucket><Bucket><Name>pond</Name></Bucket><Bucket><Name>sales</Name></Bucket></Buckets></ListAllMyBucketsResult>", nil)
		case len(out.Query) > 0:
			return response(200, "<LocationConstraint>eu-west-1</LocationConstraint>", nil)
		}
		return response(200, "", http.Header{"X-Amz-Bucket-Region": {"eu-west-1"}})
	}
	_, body := send(t, w.held(t, "GET", "/?max-buckets=10", "", nil))
	if out := w.last(t); out.As == nil || !strings.Contains(body, "<Name>lake-one</Name>") || !strings.Contains(body, "<BucketRegion>eu-west-1<") || strings.Contains(body, "pond") || strings.Contains(body, "sales") {
		t.Errorf("the role's list: %s", body)
	}
	if _, body := send(t, w.request(t, "GET", "/", "", nil)); strings.Contains(body, "lake") || !strings.Contains(body, "<Name>sales</Name>") || len(w.sent) != 0 {
		t.Errorf("the list of a local role: %s", body)
	}
	if _, body := send(t, w.held(t, "GET", "/lake-one?location", "", nil)); !strings.Contains(body, ">eu-west-1<") {
		t.Errorf("where it lies: %s", body)
	}
	if res, _ := send(t, w.held(t, "HEAD", "/lake-one", "", nil)); res.Header.Get("X-Amz-Bucket-Region") != "eu-west-1" {
		t.Errorf("where it lies: %v", res.Header)
	}
	w.sent = nil
	for body, want := range map[string][2]string{
		"": {"eu-central-1", "eu-central-1"},
		"<CreateBucketConfiguration><LocationConstraint>ap-south-1</LocationConstraint></CreateBucketConfiguration>": {"ap-south-1", "ap-south-1"},
		"<CreateBucketConfiguration><LocationConstraint>us-east-1</LocationConstraint></CreateBucketConfiguration>":  {"us-east-1", ""},
	} {
		res, said := send(t, w.held(t, "PUT", "/lake-new", body, nil))
		if res.StatusCode != 200 {
			t.Errorf("%s: %s", res.Status, said)
		}
		out := w.last(t)
		if out.Region != want[0] || out.Header["X-Amz-Expected-Bucket-Owner"] != nil || want[1] != "" != strings.Contains(string(out.Document), ">"+want[1]+"<") {
			t.Errorf("%q: in %s, %s", body, out.Region, out.Document)
		}
	}
	refused(t, w.held(t, "PUT", "/lake-new", "<CreateBucketConfiguration><LocationConstraint>evil.example/x</LocationConstraint></CreateBucketConfiguration>", nil), 400, "InvalidLocationConstraint")
}
