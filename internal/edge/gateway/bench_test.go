package gateway_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"carnet.dev/carnet/internal/protocol/s3"
)

// BenchmarkGet measures GET through the gateway over loopback TCP against the
// same GET straight at the store over its socket, in the same run. "of-direct"
// is the gateway's rate as a share of the direct one: 1 is as fast.
func BenchmarkGet(b *testing.B) {
	for name, size := range map[string]int{"4KiB": 4 << 10, "64MiB": 64 << 20} {
		b.Run(name, func(b *testing.B) {
			w := newWorld(b)
			data := bytes.Repeat([]byte("0123456789abcdef"), size/16)
			w.do(b, &s3.Outgoing{Method: "PUT", Bucket: "sales", Key: "k", Body: bytes.NewReader(data), Length: int64(size)}, 200)
			transport := &http.Transport{DisableCompression: true}
			defer transport.CloseIdleConnections()
			through := func() {
				req := w.request(b, "GET", "/sales/k", "", nil)
				drain(b, size)(transport.RoundTrip(req))
			}
			direct := func() {
				drain(b, size)(w.direct.Do(context.Background(), &s3.Outgoing{Method: "GET", Bucket: "sales", Key: "k"}))
			}
			through()
			direct()
			b.SetBytes(int64(size))
			var slow, fast time.Duration
			for b.Loop() {
				// Interleaved, so that both meet the same noise.
				began := time.Now()
				through()
				middle := time.Now()
				direct()
				slow += middle.Sub(began)
				fast += time.Since(middle)
			}
			b.ReportMetric(float64(fast)/float64(slow), "of-direct")
			b.ReportMetric(float64(slow.Microseconds())/float64(b.N), "us-gateway")
			b.ReportMetric(float64(fast.Microseconds())/float64(b.N), "us-direct")
		})
	}
}

// BenchmarkPut measures PUT with a signed payload hash.
func BenchmarkPut(b *testing.B) {
	for name, size := range map[string]int{"4KiB": 4 << 10, "64MiB": 64 << 20} {
		b.Run(name, func(b *testing.B) {
			w := newWorld(b)
			data := bytes.Repeat([]byte("0123456789abcdef"), size/16)
			sum := sha256.Sum256(data)
			hash := hex.EncodeToString(sum[:])
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			b.SetBytes(int64(size))
			var slow, fast time.Duration
			for b.Loop() {
				began := time.Now()
				req, err := http.NewRequest("PUT", w.http.URL+"/sales/k", bytes.NewReader(data))
				if err != nil {
					b.Fatal(err)
				}
				req.Header.Set("X-Amz-Content-Sha256", hash)
				signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
				creds := aws.Credentials{AccessKeyID: alice, SecretAccessKey: keys[alice].secret, SessionToken: keys[alice].token}
				if err := signer.SignHTTP(context.Background(), creds, req, hash, "s3", region, time.Now()); err != nil {
					b.Fatal(err)
				}
				drain(b, 0)(transport.RoundTrip(req))
				middle := time.Now()
				w.do(b, &s3.Outgoing{Method: "PUT", Bucket: "sales", Key: "d", Body: bytes.NewReader(data), Length: int64(size)}, 200)
				slow += middle.Sub(began)
				fast += time.Since(middle)
			}
			b.ReportMetric(float64(fast)/float64(slow), "of-direct")
		})
	}
}

func drain(b *testing.B, want int) func(*http.Response, error) {
	return func(res *http.Response, err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
		defer res.Body.Close()
		n, err := io.Copy(io.Discard, res.Body)
		if err != nil || res.StatusCode != 200 || n != int64(want) {
			b.Fatalf("%s, %d bytes, %v", res.Status, n, err)
		}
	}
}
