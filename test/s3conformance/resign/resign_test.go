package resign_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/sigv4"
	"carnet.dev/carnet/test/s3conformance/resign"
)

const (
	emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	zeros     = "0000000000000000000000000000000000000000000000000000000000000000"
)

// verifier is a server that accepts only what the role's keys signed, and says
// which content it got.
func verifier(t *testing.T, role aws.Credentials) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		content, err := verified(r, role)
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		w.Header().Set("X-Target", r.RequestURI)
		_, _ = w.Write(content)
	}))
	t.Cleanup(s.Close)
	return s
}

func verified(r *http.Request, role aws.Credentials) ([]byte, error) {
	request := &sigv4.Request{Method: r.Method, Target: r.RequestURI, Host: r.Host, Header: r.Header, ContentLength: r.ContentLength}
	p, err := sigv4.Parse(request)
	if err != nil {
		return nil, err
	}
	if p == nil {
		return []byte("unsigned"), nil
	}
	if p.AccessKeyID != role.AccessKeyID || p.SessionToken.Reveal() != role.SessionToken {
		return nil, io.ErrUnexpectedEOF
	}
	key, scope := sigv4.DeriveKey(secret.New(role.SecretAccessKey), p.Date, p.Region, p.Service), sigv4.Scope{Service: "s3", Region: "us-east-1"}
	if err := p.VerifyWith(request, key, scope, "", time.Now()); err != nil {
		return nil, err
	}
	mode, err := p.Mode()
	if err != nil {
		return nil, err
	}
	spec := sigv4.BodySpec{Mode: mode, Length: r.ContentLength}
	if decoded := r.Header.Get("X-Amz-Decoded-Content-Length"); decoded != "" {
		spec.Length = int64(len("the content"))
	}
	if trailer := r.Header.Get("X-Amz-Trailer"); trailer != "" {
		spec.Trailer = strings.TrimPrefix(trailer, "x-amz-checksum-")
	}
	body, err := p.Body(r.Body, key, spec)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(body)
}

// TestEveryModeIsSignedAgain sends each payload mode with signatures of nobody
// and expects the server to find those of the role.
func TestEveryModeIsSignedAgain(t *testing.T) {
	role := aws.Credentials{AccessKeyID: "ASIAROLE", SecretAccessKey: "the role's", SessionToken: "sealed"}
	target, err := url.Parse(verifier(t, role).URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(&resign.Proxy{Target: target, Keys: role, Region: "us-east-1", Now: time.Now})
	defer proxy.Close()
	const chunk = "b;chunk-signature=" + zeros + "\r\nthe content\r\n0;chunk-signature=" + zeros + "\r\n"
	for name, tt := range map[string]struct {
		method, path, body string
		header             map[string]string
		want               string
	}{
		"hash":             {"PUT", "/b/k", "the content", map[string]string{"X-Amz-Content-Sha256": "6e569e05cb6f8608572c79d63b365dc31617bf84d7393d2cb9d2f1ffe0edf95b"}, "the content"},
		"no body":          {"GET", "/b/k", "", map[string]string{"X-Amz-Content-Sha256": emptyHash}, ""},
		"unsigned":         {"PUT", "/b/k", "the content", map[string]string{"X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD"}, "the content"},
		"unsigned trailer": {"PUT", "/b/k", "b\r\nthe content\r\n0\r\nx-amz-checksum-crc32:a2edcw==\r\n\r\n", map[string]string{"X-Amz-Content-Sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "X-Amz-Trailer": "x-amz-checksum-crc32", "X-Amz-Decoded-Content-Length": "11"}, "the content"},
		"chunks":           {"PUT", "/b/k", chunk + "\r\n", map[string]string{"X-Amz-Content-Sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "X-Amz-Decoded-Content-Length": "11"}, "the content"},
		"chunks and trailer": {"PUT", "/b/k", chunk + "x-amz-checksum-crc32:a2edcw==\r\nx-amz-trailer-signature:" + zeros + "\r\n\r\n",
			map[string]string{"X-Amz-Content-Sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", "X-Amz-Trailer": "x-amz-checksum-crc32", "X-Amz-Decoded-Content-Length": "11"}, "the content"},
		"odd path": {"GET", "/b/a%2Fb%20c/../*('~)?list-type=2&prefix=a%20b", "", map[string]string{"X-Amz-Content-Sha256": emptyHash}, ""},
	} {
		req, err := http.NewRequest(tt.method, proxy.URL, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		req.URL.Opaque = tt.path
		for k, v := range tt.header {
			req.Header.Set(k, v)
		}
		req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIDNOBODY/20130524/us-east-1/s3/aws4_request, SignedHeaders=host, Signature="+zeros)
		req.Header.Set("X-Amz-Date", "20130524T000000Z")
		if status, got := do(t, req); status != http.StatusOK || got != tt.want {
			t.Errorf("%s: %d %s", name, status, got)
		}
	}
}

func do(t *testing.T, req *http.Request) (int, string) {
	t.Helper()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var b bytes.Buffer
	_, _ = b.ReadFrom(res.Body)
	return res.StatusCode, b.String()
}

// TestPresigned signs an address again.
func TestPresigned(t *testing.T) {
	role := aws.Credentials{AccessKeyID: "ASIAROLE", SecretAccessKey: "the role's", SessionToken: "sealed"}
	target, err := url.Parse(verifier(t, role).URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(&resign.Proxy{Target: target, Keys: role, Region: "us-east-1", Now: time.Now})
	defer proxy.Close()
	req, err := http.NewRequest("PUT", proxy.URL+"/b/k?X-Amz-Expires=60&x-id=PutObject", nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, headers, err := v4.NewSigner().PresignHTTP(t.Context(), aws.Credentials{AccessKeyID: "AKIDNOBODY", SecretAccessKey: "x"}, req, "UNSIGNED-PAYLOAD", "s3", "us-east-1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if req, err = http.NewRequest("PUT", signed, strings.NewReader("the content")); err != nil {
		t.Fatal(err)
	}
	for k, v := range headers {
		req.Header[k] = v
	}
	if status, got := do(t, req); status != http.StatusOK || got != "the content" {
		t.Errorf("%d %s", status, got)
	}
}

// TestUnsignedStaysUnsigned: what carries no signature gets none.
func TestUnsignedStaysUnsigned(t *testing.T) {
	role := aws.Credentials{AccessKeyID: "ASIAROLE", SecretAccessKey: "the role's", SessionToken: "sealed"}
	target, err := url.Parse(verifier(t, role).URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(&resign.Proxy{Target: target, Keys: role, Region: "us-east-1", Now: time.Now})
	defer proxy.Close()
	req, err := http.NewRequest("GET", proxy.URL+"/b/k", nil)
	if err != nil {
		t.Fatal(err)
	}
	if status, got := do(t, req); status != http.StatusOK || got != "unsigned" {
		t.Errorf("%d %s", status, got)
	}
}
