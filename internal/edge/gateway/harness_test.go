package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/fastpath"
	"carnet.dev/carnet/internal/edge/gateway"
	"carnet.dev/carnet/internal/edge/gateway/accesslog"
	"carnet.dev/carnet/internal/edge/storeproc"
	"carnet.dev/carnet/internal/edge/storeproc/storetest"
	"carnet.dev/carnet/internal/edge/upstream/s3client"
	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/service/access"
)

func TestMain(m *testing.M) { storetest.Main(m) }

const (
	account = "111122223333"
	other   = "444455556666"
	region  = "us-east-1"
)

// world is a gateway before a real store, with keys and rules of the test's own.
type world struct {
	store     *storeproc.Store
	direct    *s3client.Client
	gateway   *gateway.Gateway
	http, tls *httptest.Server
	slow      *httptest.Server // http without the fast path
	log       *lockedBuffer
	lines     *lockedBuffer // of the access log, in both formats

	mu   sync.Mutex
	deny []string // "action resource", both may end in *
	gone bool     // all keys were taken back
	seen []s3.Check
	now  func() time.Time
	ring keyRing // of gateway keys
}

type identityKey struct {
	account, secret, token string
}

var keys = map[string]identityKey{
	"ASIAALICE0000000000A": {account, "alice-secret", "alice-token"},
	"ASIAOTHER0000000000B": {other, "other-secret", "other-token"},
}

// Lookup knows the keys above, and one that is past its time.
func (w *world) Lookup(_ context.Context, id string, token secret.Text) (access.Caller, secret.Text, error) {
	if id == "ASIAEXPIRED00000000C" {
		return access.Caller{}, secret.Text{}, fault.Coded(fault.Expired, "ExpiredToken", "The provided token has expired.")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gone {
		return access.Caller{}, secret.Text{}, fault.Coded(fault.Revoked, "ExpiredToken", "The role session behind these keys was ended.")
	}
	k, ok := keys[id]
	if !ok {
		return access.Caller{}, secret.Text{}, fault.Coded(fault.Unauthenticated, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
	}
	if !token.Equal(secret.New(k.token)) {
		return access.Caller{}, secret.Text{}, fault.Coded(fault.Unauthenticated, "InvalidToken", "The provided token is malformed or otherwise invalid.")
	}
	return access.Caller{Account: k.account, AccessKeyID: id, ARN: "arn:aws:sts::" + k.account + ":assumed-role/r/s"}, secret.New(k.secret), nil
}

// Decide allows what no rule of the test denies, and remembers what was asked.
func (w *world) Decide(_ context.Context, c access.Caller, checks []s3.Check, _ access.Environment) access.Decision {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, check := range checks {
		w.seen = append(w.seen, check)
		for _, rule := range w.deny {
			action, resource, _ := strings.Cut(rule, " ")
			if glob(action, check.Action) && glob(resource, strings.TrimPrefix(check.ARN(), "arn:aws:s3:::")) {
				return access.Decision{Reason: "User: " + c.ARN + " is not authorized to perform: " + check.Action + " on resource: \"" + check.ARN() + "\" because of a test rule"}
			}
		}
	}
	return access.Decision{Allow: true}
}

func glob(pattern, s string) bool {
	if p, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(s, p)
	}
	return pattern == s
}

// Place gives the team's buckets to the first account and lab to the second.
func (w *world) Place(bucket string) (access.Place, bool) {
	switch {
	case bucket == "lab":
		return access.Place{Bucket: bucket, Account: other, Upstream: "embedded"}, true
	case strings.HasPrefix(bucket, "unplaced"):
		return access.Place{}, false
	}
	return access.Place{Bucket: bucket, Account: account, Upstream: "embedded"}, true
}

func (w *world) forbid(rules ...string) {
	w.mu.Lock()
	w.deny, w.seen = rules, nil
	w.mu.Unlock()
}

func (w *world) asked() []s3.Check {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]s3.Check(nil), w.seen...)
}

// lockedBuffer takes log lines of many goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	return worldOf(tb, storetest.Start(tb))
}

func worldOf(tb testing.TB, store *storeproc.Store) *world {
	tb.Helper()
	w := &world{store: store, log: &lockedBuffer{}, lines: &lockedBuffer{}, now: time.Now}
	direct, err := s3client.New(s3client.Config{
		Endpoint: "http://store", Region: w.store.Region(), AccessKeyID: w.store.AccessKeyID(),
		SecretKey: w.store.SecretKey(), Dial: w.store.Dial,
	})
	if err != nil {
		tb.Fatal(err)
	}
	w.direct = direct
	w.gateway, err = gateway.New(gateway.Config{
		Region: region, Domains: []string{"s3.test"}, Keys: w, GatewayKeys: &w.ring, Decider: w, Places: w,
		Stores: map[string]gateway.Store{"embedded": {Upstream: direct, Keys: s3.Filesystem}},
		Logger: slog.New(slog.NewJSONHandler(w.log, nil)), Observers: w.everyone(tb),
		Now: func() time.Time { return w.now() },
	})
	if err != nil {
		tb.Fatal(err)
	}
	w.http, w.slow, w.tls = httptest.NewUnstartedServer(w.gateway), httptest.NewServer(w.gateway), httptest.NewTLSServer(w.gateway)
	fast := &fastpath.Server{HTTP: w.http.Config}
	w.http.Listener = fast.Before(w.http.Listener)
	w.http.Start()
	tb.Cleanup(func() { _ = fast.Close(); w.http.Close(); w.slow.Close(); w.tls.Close(); direct.Close() })
	for _, bucket := range []string{"sales", "hr", "lab"} {
		w.do(tb, &s3.Outgoing{Method: "PUT", Bucket: bucket}, 200)
	}
	return w
}

// do speaks straight to the store.
func (w *world) do(tb testing.TB, out *s3.Outgoing, want int) (string, http.Header) {
	tb.Helper()
	res, err := w.direct.Do(context.Background(), out)
	if err != nil {
		tb.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		tb.Fatal(err)
	}
	if res.StatusCode != want {
		tb.Fatalf("%s %s/%s straight at the store: %s %s", out.Method, out.Bucket, out.Key, res.Status, b)
	}
	return string(b), res.Header
}

func (w *world) put(tb testing.TB, bucket, key, content string) {
	tb.Helper()
	w.do(tb, &s3.Outgoing{Method: "PUT", Bucket: bucket, Key: key, Body: strings.NewReader(content), Length: int64(len(content))}, 200)
}

// absent demands that the store has no such object.
func (w *world) absent(tb testing.TB, bucket, key string) {
	tb.Helper()
	w.do(tb, &s3.Outgoing{Method: "HEAD", Bucket: bucket, Key: key}, 404)
}

// everyone is all that writes requests down, in every form. Whatever the tests of
// this package send, no secret may be in what was written.
func (w *world) everyone(tb testing.TB) []gateway.Observer {
	tb.Helper()
	all := []gateway.Observer{gateway.ToLog{Logger: slog.New(slog.NewJSONHandler(w.log, nil))}}
	ctx, end := context.WithCancel(context.Background())
	var writers sync.WaitGroup
	for _, format := range []accesslog.Format{accesslog.JSON, accesslog.S3} {
		l, err := accesslog.Open(accesslog.Config{Format: format, Out: w.lines})
		if err != nil {
			tb.Fatal(err)
		}
		writers.Go(func() { l.Run(ctx) })
		all = append(all, l)
	}
	tb.Cleanup(func() {
		end()
		writers.Wait()
		written := w.log.String() + w.lines.String()
		secrets := []string{"X-Amz-Signature", "X-Amz-Security-Token", "X-Amz-Credential", "AWS4-HMAC-SHA256 Credential", "Customer-Key", "customer-key: "}
		for _, k := range keys {
			secrets = append(secrets, k.secret, k.token)
		}
		for _, s := range secrets {
			if i := strings.Index(written, s); i >= 0 {
				tb.Errorf("what was written down holds %q: %.300s", s, written[max(0, i-200):])
			}
		}
	})
	return all
}

// client is the AWS SDK as a person has it.
func client(server *httptest.Server, id string) *awss3.Client {
	k := keys[id]
	return awss3.New(awss3.Options{
		BaseEndpoint: aws.String(server.URL), Region: region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(id, k.secret, k.token),
		HTTPClient:  server.Client(), RetryMaxAttempts: 1,
	})
}

const alice = "ASIAALICE0000000000A"

func hashOf(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}

// request makes a signed request to a raw target, which no client library may
// tidy.
func (w *world) request(tb testing.TB, method, target, body string, change func(*http.Request)) *http.Request {
	tb.Helper()
	req, err := http.NewRequest(method, w.http.URL+"/", strings.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	path, query, _ := strings.Cut(target, "?")
	unescaped, err := pathUnescape(path)
	if err != nil {
		tb.Fatal(err)
	}
	req.URL.Path, req.URL.RawPath, req.URL.RawQuery = unescaped, path, query
	if !strings.Contains(path, "%") {
		req.URL.RawPath = ""
	}
	req.Header.Set("X-Amz-Content-Sha256", hashOf(body))
	req.Header.Set("X-Amz-Security-Token", keys[alice].token)
	if change != nil {
		change(req)
	}
	w.sign(tb, req, alice, keys[alice].secret)
	return req
}

func (w *world) sign(tb testing.TB, req *http.Request, id, secretKey string) {
	tb.Helper()
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	// The token is in the header already where the test wants one.
	creds := aws.Credentials{AccessKeyID: id, SecretAccessKey: secretKey}
	if err := signer.SignHTTP(context.Background(), creds, req, req.Header.Get("X-Amz-Content-Sha256"), "s3", region, time.Now()); err != nil {
		tb.Fatal(err)
	}
}

// send writes a request on a socket of its own, as it is, and gives the answer.
func send(tb testing.TB, req *http.Request) (*http.Response, string) {
	tb.Helper()
	c, err := net.Dial("tcp", req.URL.Host)
	if err != nil {
		tb.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		tb.Fatal(err)
	}
	var text bytes.Buffer
	host := req.Host
	if host == "" {
		host = req.URL.Host
	}
	fmt.Fprintf(&text, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n", req.Method, req.URL.RequestURI(), host)
	for name, values := range req.Header {
		for _, v := range values {
			fmt.Fprintf(&text, "%s: %s\r\n", name, v)
		}
	}
	var body []byte
	if req.Body != nil {
		if body, err = io.ReadAll(req.Body); err != nil {
			tb.Fatal(err)
		}
	}
	if len(body) > 0 || req.Method == http.MethodPut || req.Method == http.MethodPost {
		fmt.Fprintf(&text, "Content-Length: %d\r\n", len(body))
	}
	text.WriteString("\r\n")
	text.Write(body)
	// A server that refuses early may not take all of it.
	_, _ = c.Write(text.Bytes())
	res, err := http.ReadResponse(bufio.NewReader(c), req)
	if err != nil {
		tb.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return res, string(b)
}

// refused demands a status and a code, and the request id in header and body.
func refused(tb testing.TB, req *http.Request, status int, code string) string {
	tb.Helper()
	res, body := send(tb, req)
	if res.StatusCode != status || !strings.Contains(body, "<Code>"+code+"</Code>") {
		tb.Errorf("%s %s: %d %s, want %d %s", req.Method, req.URL.RequestURI(), res.StatusCode, body, status, code)
	}
	if id := res.Header.Get("X-Amz-Request-Id"); id == "" || !strings.Contains(body, "<RequestId>"+id+"</RequestId>") {
		tb.Errorf("request id %q is not in the body %s", id, body)
	}
	return body
}
