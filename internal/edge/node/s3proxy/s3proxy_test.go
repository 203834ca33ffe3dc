package s3proxy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/node/localhttp"
	"carnet.dev/carnet/internal/edge/upstream/s3client"
	"carnet.dev/carnet/internal/protocol/sigv4"
)

// store is an S3 endpoint that holds each request to the signature of the keys that
// the proxy was given, and its content to what the signature says.
type store struct {
	*httptest.Server
	mu      sync.Mutex
	objects map[string]string // by target
	last    http.Header
	lastKey string
	asked   int
	answer  http.HandlerFunc // instead, where set
}

const realSecret = "the-secret-of-the-role"

func newStore(t *testing.T) *store {
	s := &store{objects: map[string]string{}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *store) serve(w http.ResponseWriter, r *http.Request) {
	request := &sigv4.Request{Method: r.Method, Target: r.RequestURI, Host: r.Host, Header: r.Header, ContentLength: r.ContentLength}
	p, err := sigv4.Parse(request)
	if err != nil || p == nil {
		http.Error(w, fmt.Sprint("no credential: ", err), http.StatusForbidden)
		return
	}
	key := sigv4.DeriveKey(secret.New(realSecret), p.Date, p.Region, p.Service)
	if err := p.Verify(request, secret.New(realSecret), sigv4.Scope{Service: "s3", Region: "eu-test-1"}, "", time.Now()); err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	s.mu.Lock()
	s.asked++
	s.last, s.lastKey = r.Header.Clone(), p.AccessKeyID
	answer := s.answer
	s.mu.Unlock()
	if answer != nil {
		answer(w, r)
		return
	}
	mode, err := p.Mode()
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	spec := sigv4.BodySpec{Mode: mode, Length: r.ContentLength}
	if mode.Streaming() {
		_, _ = fmt.Sscan(r.Header.Get("X-Amz-Decoded-Content-Length"), &spec.Length)
		if name := r.Header.Get("X-Amz-Trailer"); name != "" {
			spec.Trailer, _ = sigv4.TrailerAlgorithm(name)
		}
	}
	body, err := p.Body(r.Body, key, spec)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	content, err := io.ReadAll(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Set-Cookie", "session=of-the-store")
	switch r.Method {
	case http.MethodPut, http.MethodPost:
		s.objects[r.RequestURI] = string(content)
	case http.MethodDelete:
		delete(s.objects, r.RequestURI)
		w.WriteHeader(http.StatusNoContent)
	default:
		object, ok := s.objects[strings.TrimSuffix(r.RequestURI, "?x-id=GetObject")]
		if !ok {
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, "<Error><Code>NoSuchKey</Code><Message>gone</Message></Error>")
			return
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(object))
	}
}

func (s *store) object(target string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.objects[target]
	return o, ok
}

func (s *store) headers() http.Header {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

func (s *store) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// world is a proxy between one person and a store.
type world struct {
	store   *store
	server  *httptest.Server
	mu      sync.Mutex
	refused error  // of Attached
	off     bool   // the cluster has no proxy
	who     string // the attachment
}

// Attached names the one attachment.
func (w *world) Attached(*http.Request) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.who, w.refused
}

// Keys gives keys whose id tells the role.
func (w *world) Keys(_ context.Context, _ *http.Request, role string) (Keys, error) {
	if role == "unknown" {
		return Keys{}, fault.New(fault.NotFound, "The role unknown can't be had here")
	}
	return Keys{Region: "eu-test-1", Endpoint: w.store.URL, Temporary: credential.Temporary{
		AccessKeyID: "ASIAREAL" + strings.ToUpper(role), SecretAccessKey: secret.New(realSecret), SessionToken: secret.New("real-token"),
		Expiration: time.Now().Add(time.Hour),
	}}, nil
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{store: newStore(t), who: "attachment-1"}
	w.server = httptest.NewUnstartedServer(nil)
	w.server.Config.Handler = New(Config{
		Hosts: localhttp.HostsOf(w.server.Listener.Addr().String()), People: w, Logger: slog.New(slog.DiscardHandler),
		Offered: func() bool { w.mu.Lock(); defer w.mu.Unlock(); return !w.off },
		Open: func(endpoint, region string) (Store, error) {
			return s3client.New(s3client.Config{Endpoint: endpoint, Region: region, RoleKeys: true, PlainBodies: true})
		},
	})
	w.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	w.server.Start()
	t.Cleanup(w.server.Close)
	return w
}

// ask sends one request as it is written.
func (w *world) ask(t *testing.T, method, target, body string, header ...string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, w.server.URL, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.URL.Opaque = target
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
			continue
		}
		req.Header.Add(header[i], header[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(got), res.Header
}

// placeholder is an Authorization header as clients write it with a made-up key.
func placeholder(id string) []string {
	day := time.Now().UTC().Format(sigv4.TimeFormat)
	return []string{"Authorization", "AWS4-HMAC-SHA256 Credential=" + id + "/" + day[:8] + "/us-west-9/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=" + strings.Repeat("ab", 32),
		"X-Amz-Date", day}
}

const sample = "a chunk of content, long enough to be cut: "

// signedChunks frames content as clients that sign each chunk do, with signatures
// that nobody can check.
func signedChunks(content string, size int, trailers ...string) string {
	var b strings.Builder
	for len(content) > 0 {
		piece := content[:min(size, len(content))]
		content = content[len(piece):]
		fmt.Fprintf(&b, "%x;chunk-signature=%s\r\n%s\r\n", len(piece), strings.Repeat("0f", 32), piece)
	}
	fmt.Fprintf(&b, "0;chunk-signature=%s\r\n", strings.Repeat("0f", 32))
	return b.String() + strings.Join(trailers, "") + "\r\n"
}

func crc(content string) string {
	sum := crc32.ChecksumIEEE([]byte(content))
	return base64.StdEncoding.EncodeToString([]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
}

func TestEveryWayOfSending(t *testing.T) {
	t.Parallel()
	content := strings.Repeat(sample, 1000)
	sum := sha256.Sum256([]byte(content))
	trailer, signature := "x-amz-checksum-crc32:"+crc(content), "x-amz-trailer-signature:"+strings.Repeat("0f", 32)
	unsignedFrame := fmt.Sprintf("%x\r\n%s\r\n0\r\n%s\r\n\r\n", len(content), content, trailer)
	length := fmt.Sprint(len(content))
	for name, c := range map[string]struct {
		body   string
		header []string
	}{
		"unsigned":                {content, nil},
		"placeholder":             {content, placeholder("carnet")},
		"any placeholder":         {content, placeholder("test")},
		"hashed":                  {content, append(placeholder("carnet"), "X-Amz-Content-Sha256", hex.EncodeToString(sum[:]))},
		"said to be unsigned":     {content, append(placeholder("carnet"), "X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")},
		"signed chunks":           {signedChunks(content, 8192), append(placeholder("carnet"), "X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "X-Amz-Decoded-Content-Length", length, "Content-Encoding", "aws-chunked")},
		"signed chunks, trailer":  {signedChunks(content, 8192, trailer, "\r\n", signature, "\r\n"), append(placeholder("carnet"), "X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", "X-Amz-Decoded-Content-Length", length, "X-Amz-Trailer", "x-amz-checksum-crc32")},
		"minio's trailer":         {signedChunks(content, 8192, trailer, "\n\r\n", signature, "\r\n"), append(placeholder("carnet"), "X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", "X-Amz-Decoded-Content-Length", length, "X-Amz-Trailer", "x-amz-checksum-crc32")},
		"unsigned chunks, signed": {unsignedFrame, append(placeholder("carnet"), "X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "X-Amz-Decoded-Content-Length", length, "X-Amz-Trailer", "x-amz-checksum-crc32", "Content-Encoding", "aws-chunked,gzip")},
		"unsigned chunks":         {unsignedFrame, []string{"X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "X-Amz-Decoded-Content-Length", length, "X-Amz-Trailer", "x-amz-checksum-crc32"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if status, body, _ := w.ask(t, "PUT", "/data/a%20b/c+d", c.body, c.header...); status != 200 {
				t.Fatalf("status %d: %s", status, body)
			}
			if got, _ := w.store.object("/data/a%20b/c%2Bd"); got != content {
				t.Errorf("the store has %d bytes of %d", len(got), len(content))
			}
			h := w.store.headers()
			if w.store.lastKey != "ASIAREAL" || h.Get("X-Amz-Security-Token") != "real-token" {
				t.Errorf("signed by %s", w.store.lastKey)
			}
			if enc := h.Get("Content-Encoding"); strings.Contains(name, "gzip") != strings.Contains(enc, "gzip") && name != "unsigned chunks, signed" {
				t.Errorf("content encoding %q", enc)
			}
		})
	}
}

func TestEmptyObjectsAndDocuments(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, c := range []struct{ method, target, body, want string }{
		{"PUT", "/data/empty", "", ""}, {"POST", "/data?delete", "<Delete/>", "<Delete/>"}, {"PUT", "/data?cors=", "<CORS/>", "<CORS/>"},
		{"PUT", "/data", "", ""}, {"POST", "/data/k?uploads", "", ""}, {"PUT", "/data/k?tagging", "<Tagging/>", "<Tagging/>"},
	} {
		if status, body, _ := w.ask(t, c.method, c.target, c.body); status != 200 {
			t.Errorf("%s %s: %d %s", c.method, c.target, status, body)
		}
		target := c.target
		if strings.Contains(target, "?") && !strings.HasSuffix(target, "=") {
			target += "="
		}
		if got, ok := w.store.object(target); !ok || got != c.want {
			t.Errorf("%s %s: the store has %q, %v", c.method, c.target, got, ok)
		}
	}
	frame := "0;chunk-signature=" + strings.Repeat("0f", 32) + "\r\n\r\n"
	if status, body, _ := w.ask(t, "PUT", "/data/nothing", frame, append(placeholder("carnet"), "X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "X-Amz-Decoded-Content-Length", "0")...); status != 200 {
		t.Errorf("an empty object in chunks: %d %s", status, body)
	}
	if _, ok := w.store.object("/data/nothing"); !ok {
		t.Error("an empty object in chunks did not arrive")
	}
}

func TestRoleByPlaceholder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.objects["/data/k"] = "x"
	for id, want := range map[string]string{"carnet": "ASIAREAL", "carnet.writer": "ASIAREALWRITER", "anything": "ASIAREAL"} {
		if status, _, _ := w.ask(t, "GET", "/data/k", "", placeholder(id)...); status != 200 || w.store.lastKey != want {
			t.Errorf("%s: %d, signed by %s", id, status, w.store.lastKey)
		}
	}
	if status, body, _ := w.ask(t, "GET", "/data/k", "", placeholder("carnet.unknown")...); status != 403 || !strings.Contains(body, "be had here") {
		t.Errorf("an unknown role: %d %s", status, body)
	}
}

// TestTheSDK walks with AWS's own client, signed by a placeholder.
func TestTheSDK(t *testing.T) {
	t.Parallel()
	for name, keys := range map[string]aws.CredentialsProvider{
		"unsigned": aws.AnonymousCredentials{},
		"placeholder": aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "carnet", SecretAccessKey: "carnet"}, nil
		}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c := awss3.New(awss3.Options{BaseEndpoint: aws.String(w.server.URL), UsePathStyle: true, Region: "us-east-1", Credentials: keys})
			content := bytes.Repeat([]byte(sample), 30000)
			if _, err := c.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: aws.String("data"), Key: aws.String("k"), Body: bytes.NewReader(content)}); err != nil {
				t.Fatal(err)
			}
			w.store.mu.Lock()
			for target, o := range maps.Clone(w.store.objects) {
				plain, _, _ := strings.Cut(target, "?")
				w.store.objects[plain] = o
			}
			w.store.mu.Unlock()
			got, err := c.GetObject(t.Context(), &awss3.GetObjectInput{Bucket: aws.String("data"), Key: aws.String("k"), Range: aws.String("bytes=10-99")})
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(got.Body)
			if err != nil || !bytes.Equal(b, content[10:100]) {
				t.Errorf("read %d bytes: %v", len(b), err)
			}
			_, err = c.GetObject(t.Context(), &awss3.GetObjectInput{Bucket: aws.String("data"), Key: aws.String("none")})
			if err == nil || !strings.Contains(err.Error(), "NoSuchKey") {
				t.Errorf("a missing key: %v", err)
			}
		})
	}
}

// TestAttackCredentialsThatAreNotOurs: what a client brings along neither goes on nor
// decides anything, and real keys are not taken for placeholders.
func TestAttackCredentialsThatAreNotOurs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.objects["/data/k"] = "x"
	status, _, h := w.ask(t, "GET", "/data/k", "", append(placeholder("carnet"), "Cookie", "carnet=1", "Proxy-Authorization", "Basic eA==", "X-Custom", "1", "X-Amz-S3session-Token", "t", "Connection", "x-amz-meta-a")...)
	if status != 200 {
		t.Fatalf("status %d", status)
	}
	for _, name := range []string{"Cookie", "Proxy-Authorization", "X-Custom", "X-Amz-S3session-Token"} {
		if v := w.store.headers()[name]; v != nil {
			t.Errorf("the store was sent %s: %q", name, v)
		}
	}
	if h.Get("Set-Cookie") != "" {
		t.Error("a cookie of the store came back")
	}
	before := w.store.count()
	day := time.Now().UTC().Format(sigv4.TimeFormat)
	for name, c := range map[string]struct {
		method, target, body string
		header               []string
		status               int
		says                 string
	}{
		"a session token":   {"GET", "/data/k", "", append(placeholder("carnet"), "X-Amz-Security-Token", "FwoG"), 403, "signs by itself"},
		"a long-lived key":  {"GET", "/data/k", "", placeholder("AKIAIOSFODNN7EXAMPLE"), 403, "signs by itself"},
		"a gateway key":     {"GET", "/data/k", "", placeholder("GWKAIOSFODNN7EXAMPLE"), 403, "signs by itself"},
		"another service":   {"GET", "/data/k", "", []string{"Authorization", "AWS4-HMAC-SHA256 Credential=carnet/" + day[:8] + "/us-east-1/sts/aws4_request, SignedHeaders=host;x-amz-date, Signature=" + strings.Repeat("ab", 32), "X-Amz-Date", day}, 400, "S3 alone"},
		"version 2":         {"GET", "/data/k", "", []string{"Authorization", "AWS carnet:c2lnbg=="}, 400, "Version 2"},
		"two places":        {"GET", "/data/k?X-Amz-Signature=x", "", placeholder("carnet"), 400, "Only one auth"},
		"a presigned link":  {"GET", "/data/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=carnet%2F" + day[:8] + "%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=" + day + "&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=" + strings.Repeat("ab", 32), "", nil, 400, "presigned"},
		"a form":            {"POST", "/data", "--x--", []string{"Content-Type", "multipart/form-data; boundary=x"}, 501, "no forms"},
		"two hashes":        {"PUT", "/data/k", "x", []string{"X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD", "X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"}, 400, "more than once"},
		"two query names":   {"GET", "/data/k?versionId=1&versionId=2", "", nil, 400, "more than once"},
		"a broken query":    {"GET", "/data/k?a=%zz", "", nil, 400, "encoding"},
		"another method":    {"OPTIONS", "/data/k", "", nil, 405, "not allowed"},
		"another host":      {"GET", "/data/k", "", []string{"Host", "data.s3.amazonaws.com"}, 403, "another host"},
		"a bucket's host":   {"GET", "/k", "", []string{"Host", "data.localhost:1019"}, 403, "in the path"},
		"a web page":        {"GET", "/data/k", "", []string{"Origin", "null"}, 403, "web page"},
		"sent on":           {"GET", "/data/k", "", []string{"X-Forwarded-For", "10.0.0.1"}, 403, "proxy"},
		"an address within": {"GET", "http://169.254.169.254/latest/", "", nil, 403, "another host"},
	} {
		status, body, _ := w.ask(t, c.method, c.target, c.body, c.header...)
		if status != c.status || !strings.Contains(body, c.says) {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	if w.store.count() != before {
		t.Error("the store was asked")
	}
}

// TestAttackTunnel: CONNECT would make an open relay.
func TestAttackTunnel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, err := net.Dial("tcp", w.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = fmt.Fprintf(c, "CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: 169.254.169.254:80\r\n\r\n")
	head := make([]byte, 12)
	if _, err := io.ReadFull(c, head); err != nil || string(head) != "HTTP/1.1 403" {
		t.Errorf("%q %v", head, err)
	}
}

func TestPathsThatNameNoBucket(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"//k", "///", "/%2Fk", "/data/%zz", "/data/%", "data/k", "*", ""} {
		if q, err := readHead(&http.Request{Method: "GET", RequestURI: target, Header: http.Header{}}); err == nil {
			t.Errorf("%s: bucket %q, key %q", target, q.out.Bucket, q.out.Key)
		}
	}
	for target, want := range map[string][2]string{"/": {}, "/data": {"data", ""}, "/data/": {"data", ""}, "/data//k/": {"data", "/k/"}, "/data/../k": {"data", "../k"}, "/data/a%2Fb%20c+d?x": {"data", "a/b c+d"}} {
		q, err := readHead(&http.Request{Method: "GET", RequestURI: target, Header: http.Header{}})
		if err != nil || [2]string{q.out.Bucket, q.out.Key} != want {
			t.Errorf("%s: bucket %q, key %q, %v", target, q.out.Bucket, q.out.Key, err)
		}
	}
}

func TestWhoIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.refused = fault.Coded(fault.Denied, "binding.unattached", "Nobody is attached to this account on this machine").WithMend("run: carnet attach")
	if status, body, _ := w.ask(t, "GET", "/data/k", ""); status != 403 || !strings.Contains(body, "carnet attach") {
		t.Errorf("unattached: %d %s", status, body)
	}
	w.mu.Lock()
	w.refused, w.off = nil, true
	w.mu.Unlock()
	if status, body, _ := w.ask(t, "GET", "/data/k", ""); status != 403 || !strings.Contains(body, "switched off") {
		t.Errorf("switched off: %d %s", status, body)
	}
	if w.store.count() != 0 {
		t.Error("the store was asked")
	}
}

// TestAttackContentThatDoesNotHold: an upload that is cut, of another content or
// framed in another way never becomes an object.
func TestAttackContentThatDoesNotHold(t *testing.T) {
	t.Parallel()
	content := strings.Repeat(sample, 1000)
	length := fmt.Sprint(len(content))
	signed := append(placeholder("carnet"), "X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "X-Amz-Decoded-Content-Length", length)
	trailed := append(placeholder("carnet"), "X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", "X-Amz-Decoded-Content-Length", length, "X-Amz-Trailer", "x-amz-checksum-crc32")
	good := signedChunks(content, 8192)
	for name, c := range map[string]struct {
		body   string
		header []string
	}{
		"another content":      {content, []string{"X-Amz-Content-Sha256", strings.Repeat("00", 32)}},
		"cut":                  {good[:len(good)/2], signed},
		"without its end":      {strings.TrimSuffix(good, "\r\n"), signed},
		"something behind":     {good + "x", signed},
		"bare lines":           {strings.ReplaceAll(good, "\r\n", "\n"), signed},
		"no signatures":        {strings.ReplaceAll(good, ";chunk-signature="+strings.Repeat("0f", 32), ""), signed},
		"another extension":    {strings.ReplaceAll(good, "chunk-signature", "chunk-extension"), signed},
		"a signed size":        {"+" + good, signed},
		"longer than it says":  {signedChunks(content+"x", 8192), signed},
		"shorter than it says": {signedChunks(content[1:], 8192), signed},
		"small pieces":         {signedChunks(content, 100), signed},
		"a wrong checksum":     {signedChunks(content, 8192, "x-amz-checksum-crc32:AAAAAA==\r\n", "x-amz-trailer-signature:00\r\n"), trailed},
		"no checksum":          {signedChunks(content, 8192), trailed},
		"another trailer":      {signedChunks(content, 8192, "x-amz-meta-a:1\r\n"), trailed},
		"a trailer after all":  {signedChunks(content, 8192, "x-amz-trailer-signature:00\r\n", "x-amz-checksum-crc32:"+crc(content)+"\r\n"), trailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			status, body, _ := w.ask(t, "PUT", "/data/k", c.body, c.header...)
			if status < 400 || status > 499 {
				t.Errorf("status %d: %s", status, body)
			}
			if got, ok := w.store.object("/data/k"); ok {
				t.Errorf("the store has %d bytes", len(got))
			}
		})
	}
	w := newWorld(t)
	for name, header := range map[string][]string{
		"no length":        {"X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"},
		"a negative one":   {"X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "X-Amz-Decoded-Content-Length", "-1"},
		"an unknown mode":  {"X-Amz-Content-Sha256", "STREAMING-SOMETHING"},
		"elliptic curves":  {"X-Amz-Content-Sha256", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"},
		"unknown checksum": {"X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "X-Amz-Decoded-Content-Length", "1", "X-Amz-Trailer", "x-amz-checksum-md4"},
	} {
		if status, body, _ := w.ask(t, "PUT", "/data/k", "x", header...); status < 400 {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	if status, body, _ := w.ask(t, "POST", "/data?delete", strings.Repeat("x", mostDocument+1)); status != 400 || !strings.Contains(body, "too big") {
		t.Errorf("a long document: %d %s", status, body)
	}
}

// TestAttackHalfAnAnswer: an object whose transfer broke off doesn't look whole.
func TestAttackHalfAnAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.answer = func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Length", "1000000")
		_, _ = rw.Write(make([]byte, 100000))
		panic(http.ErrAbortHandler)
	}
	res, err := http.Get(w.server.URL + "/data/k")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if n, err := io.Copy(io.Discard, res.Body); err == nil {
		t.Errorf("%d bytes came as if they were all", n)
	}
}

// TestKeysThatEnded are asked for anew once, in the middle of a request.
func TestKeysThatEnded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.answer = func(rw http.ResponseWriter, _ *http.Request) {
		rw.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(rw, "<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>")
	}
	status, body, _ := w.ask(t, "GET", "/data/k", "")
	if status != 400 || !strings.Contains(body, "ExpiredToken") {
		t.Errorf("%d %s", status, body)
	}
}

func TestOnePersonDoesNotTakeAllPlaces(t *testing.T) {
	t.Parallel()
	g := gate{most: 2, now: map[string]int{}}
	for i, c := range []struct {
		who  string
		want bool
	}{{"a", true}, {"a", true}, {"a", false}, {"b", true}} {
		if g.enter(c.who) != c.want {
			t.Errorf("entry %d of %s: want %v", i, c.who, c.want)
		}
	}
	g.leave("a")
	if !g.enter("a") {
		t.Error("a place was not given back")
	}
	g.leave("a")
	g.leave("a")
	g.leave("b")
	if len(g.now) != 0 {
		t.Errorf("left over: %v", g.now)
	}
}

// FuzzSignedChunks: whatever arrives, only content of the announced length comes out,
// and a framing without fault gives its content.
func FuzzSignedChunks(f *testing.F) {
	f.Add([]byte(signedChunks("hello", 8192)), uint16(5))
	f.Add([]byte(signedChunks(strings.Repeat("x", 20000), 8192)), uint16(20000))
	f.Add([]byte(signedChunks("hello", 8192, "x-amz-checksum-crc32:AAAAAA==\n\r\n", "x-amz-trailer-signature:00\r\n")), uint16(5))
	f.Add([]byte("0;chunk-signature="), uint16(0))
	f.Fuzz(func(t *testing.T, in []byte, length uint16) {
		q := request{hash: "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", body: sigv4.BodySpec{Mode: sigv4.PayloadSigned, Length: int64(length)}}
		body, err := q.decoded(bytes.NewReader(in))
		if err != nil {
			t.Fatal(err)
		}
		out, err := io.ReadAll(body)
		if err == nil && len(out) != int(length) {
			t.Errorf("%d bytes of %d", len(out), length)
		}
		if err == nil && len(in) < len(out) {
			t.Error("content out of nowhere")
		}
		framed := signedChunks(string(in), 8192)
		q.body.Length = int64(len(in))
		if body, err = q.decoded(strings.NewReader(framed)); err != nil {
			t.Fatal(err)
		}
		if out, err := io.ReadAll(body); err != nil || !bytes.Equal(out, in) {
			t.Errorf("a good framing: %v", err)
		}
	})
}

// FuzzHead: what goes on to the store has a bucket before its key and nothing of the
// client's credential.
func FuzzHead(f *testing.F) {
	f.Add("PUT", "/data/a%20b?partNumber=1&uploadId=x", "X-Amz-Meta-A", "1", "carnet")
	f.Add("GET", "/?list-type=2", "Cookie", "a", "")
	f.Add("GET", "/data/k?X-Amz-Credential=carnet", "Authorization", "AWS4-HMAC-SHA256 x", "")
	f.Fuzz(func(t *testing.T, method, target, name, value, id string) {
		h := http.Header{http.CanonicalHeaderKey(name): {value}}
		if id != "" {
			p := placeholder(id)
			h["Authorization"], h["X-Amz-Date"] = p[1:2], p[3:4]
		}
		q, err := readHead(&http.Request{Method: method, RequestURI: target, Host: "localhost:1019", Header: h})
		if err != nil {
			return
		}
		if q.out.Bucket == "" && q.out.Key != "" || strings.Trim(q.out.Bucket, "abcdefghijklmnopqrstuvwxyz0123456789.-") != "" {
			t.Errorf("bucket %q, key %q", q.out.Bucket, q.out.Key)
		}
		for _, p := range q.out.Query {
			if sigv4.CredentialParam(p.Name) {
				t.Errorf("the parameter %s goes on", p.Name)
			}
		}
		for _, name := range []string{"Authorization", "Cookie", "X-Amz-Date", "X-Amz-Security-Token", "Host", "Connection", "Transfer-Encoding", "Te"} {
			if q.out.Header[name] != nil {
				t.Errorf("the header %s goes on", name)
			}
		}
	})
}
