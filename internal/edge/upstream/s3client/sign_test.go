package s3client

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/protocol/sigv4"
)

// anyRequest makes a request of all sorts of parts.
func anyRequest(t testing.TB, c *Client, r *rand.Rand) (*http.Request, credential.Temporary, string) {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	out := &s3.Outgoing{Method: pick("GET", "PUT", "HEAD", "DELETE", "POST"), Bucket: pick("", "sales", "a.b-c"), Header: map[string][]string{}}
	if out.Bucket != "" {
		out.Key = pick("", "k", "a b+c%/é//../x/", "~._-", "\x01\xff", "日本")
	}
	for _, name := range []string{"prefix", "list-type", "versionId", "tagging", "partNumber", "response-content-type", "delete"} {
		if r.IntN(3) == 0 {
			out.Query = append(out.Query, sigv4.Param{Name: name, Value: pick("", "1", "a b&c=d+e", "é/~*'()")})
		}
	}
	for _, name := range []string{"X-Amz-Meta-A", "X-Amz-Meta-Long-Name", "Range", "Content-Type", "If-Match", "X-Amz-Tagging", "Content-Encoding", "X-Amz-Copy-Source"} {
		if r.IntN(3) == 0 {
			out.Header[name] = []string{pick("v", "  v  ", "a   b", `"e"`, "a=b&c=d", "text/plain;  charset=utf-8")}
		}
	}
	if r.IntN(4) == 0 {
		out.Header["X-Amz-Meta-A"] = []string{"one", " two  three "}
	}
	switch r.IntN(4) {
	case 0:
		out.Document = []byte("<x/>")
	case 1:
		out.Body, out.Length = strings.NewReader("hello"), 5
	case 2:
		out.Body, out.Length = strings.NewReader("hello"), 5
		out.Trailer = &s3.Trailer{Algorithm: "crc32", Value: func() string { return "AAAAAA==" }}
	}
	a := attempt{out: out, at: c.place(out.Bucket, "")}
	a.host = c.host(a.at, out.Bucket)
	req := c.request(context.Background(), &a)
	who := fmt.Sprint(r.IntN(5)) // the SDK remembers signing keys by access key id alone
	keys := credential.Temporary{AccessKeyID: "ASIA" + who, SecretAccessKey: secret.New("secret-" + who)}
	if r.IntN(2) == 0 {
		keys.SessionToken = secret.New("tok/en+=")
	}
	return req, keys, pick("us-east-1", "eu-west-1")
}

// TestSignerAgreesWithTheSDK holds our signatures to those of AWS's own signer,
// over requests of all sorts of parts.
func TestSignerAgreesWithTheSDK(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	sdk := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	for _, addressing := range []bool{false, true} {
		c, err := New(Config{Endpoint: "https://store.example:9000", Region: "us-east-1", AccessKeyID: "A", SecretKey: secret.New("s"), Virtual: addressing})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 2000 {
			req, keys, region := anyRequest(t, c, r)
			now := time.Unix(1_700_000_000+int64(i)*5000, 0)
			theirs := req.Clone(context.Background())
			payload := req.Header.Get("X-Amz-Content-Sha256")
			if err := sdk.SignHTTP(context.Background(), aws.Credentials{
				AccessKeyID: keys.AccessKeyID, SecretAccessKey: keys.SecretAccessKey.Reveal(), SessionToken: keys.SessionToken.Reveal(),
			}, theirs, payload, "s3", region, now.UTC()); err != nil {
				t.Fatal(err)
			}
			c.signer.sign(req, keys, region, payload, now)
			if got, want := req.Header.Get("Authorization"), theirs.Header.Get("Authorization"); got != want {
				t.Fatalf("%s %s %v\n got %s\nwant %s", req.Method, req.URL, req.Header, got, want)
			}
			if req.URL.RequestURI() != theirs.URL.RequestURI() {
				t.Fatalf("sent as %s, signed as %s", req.URL.RequestURI(), theirs.URL.RequestURI())
			}
		}
	}
}

// TestSigningKeysAreOfTheirSecret: the same access key id with another secret is
// another key, and the memory stays bounded.
func TestSigningKeysAreOfTheirSecret(t *testing.T) {
	t.Parallel()
	s := newSigner()
	one := s.key(credential.Temporary{AccessKeyID: "A", SecretAccessKey: secret.New("1")}, "20260101", "r").mac([]byte("x"))
	two := s.key(credential.Temporary{AccessKeyID: "A", SecretAccessKey: secret.New("2")}, "20260101", "r").mac([]byte("x"))
	again := s.key(credential.Temporary{AccessKeyID: "A", SecretAccessKey: secret.New("1")}, "20260101", "r").mac([]byte("x"))
	if one == two || one != again {
		t.Error("a signing key is used for another secret")
	}
	for i := range 5 * mostKeys {
		s.key(credential.Temporary{AccessKeyID: fmt.Sprint(i), SecretAccessKey: secret.New("1")}, "20260101", "r")
	}
	if n := len(s.young) + len(s.old); n > 2*mostKeys {
		t.Errorf("%d signing keys are remembered", n)
	}
}

func BenchmarkSign(b *testing.B) {
	c, err := New(Config{Endpoint: "https://store.example:9000", Region: "us-east-1", AccessKeyID: "A", SecretKey: secret.New("s")})
	if err != nil {
		b.Fatal(err)
	}
	keys := credential.Temporary{AccessKeyID: "A", SecretAccessKey: secret.New("s"), SessionToken: secret.New(strings.Repeat("t", 800))}
	out := &s3.Outgoing{Method: "GET", Bucket: "sales", Key: "2026/report.parquet", Header: map[string][]string{"Range": {"bytes=0-1"}}}
	now := time.Now()
	sdk := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	fresh := func() *http.Request {
		a := attempt{out: out, at: c.place(out.Bucket, "")}
		a.host = c.host(a.at, out.Bucket)
		return c.request(context.Background(), &a)
	}
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		r := fresh()
		for b.Loop() {
			c.signer.sign(r, keys, "us-east-1", "UNSIGNED-PAYLOAD", now)
		}
	})
	b.Run("sdk", func(b *testing.B) {
		b.ReportAllocs()
		r := fresh()
		creds := aws.Credentials{AccessKeyID: "A", SecretAccessKey: "s", SessionToken: keys.SessionToken.Reveal()}
		for b.Loop() {
			if err := sdk.SignHTTP(context.Background(), creds, r, "UNSIGNED-PAYLOAD", "s3", "us-east-1", now); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("build and sign", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c.signer.sign(fresh(), keys, "us-east-1", "UNSIGNED-PAYLOAD", now)
		}
	})
}
