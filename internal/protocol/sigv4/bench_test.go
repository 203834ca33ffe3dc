package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"io"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/secret"
)

// benchRequest is a GET with a session token, as an SDK signs it.
func benchRequest(b *testing.B) *Request {
	r := docRequest("GET", "/sales/year=2026/part-00001.parquet?x-id=GetObject", "", "", "X-Amz-Security-Token", strings.Repeat("t", 900),
		"Amz-Sdk-Invocation-Id", "0b7d8a0e-5a0c-4f5f-8b9e-1d3b5c7d9e0f", "Amz-Sdk-Request", "attempt=1; max=3", "Accept-Encoding", "identity")
	sign(b, r, docS3, []string{"accept-encoding", "amz-sdk-invocation-id", "amz-sdk-request", "host", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"}, EmptyHash)
	return r
}

// BenchmarkVerify measures parse and verify. The ratio is to the bare
// cryptography of the same request: one SHA-256 and one HMAC over as many bytes.
func BenchmarkVerify(b *testing.B) {
	key := secret.New(docSecret)
	kept := DeriveKey(key, docNow.Format("20060102"), docS3.Region, docS3.Service)
	for name, derive := range map[string]bool{"kept key": false, "derived key": true} {
		b.Run(name, func(b *testing.B) {
			r := benchRequest(b)
			b.ReportAllocs()
			for b.Loop() {
				p, err := Parse(r)
				if err != nil {
					b.Fatal(err)
				}
				k := kept
				if derive {
					k = DeriveKey(key, p.Date, p.Region, p.Service)
				}
				if err := p.VerifyWith(r, k, docS3, "", docNow); err != nil {
					b.Fatal(err)
				}
			}
			per := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
			b.ReportMetric(per/bare(b, r), "x-bare-crypto")
		})
	}
}

func bare(b *testing.B, r *Request) float64 {
	p, err := Parse(r)
	if err != nil {
		b.Fatal(err)
	}
	canonical, err := p.appendCanonicalRequest(nil, r, EmptyHash)
	if err != nil {
		b.Fatal(err)
	}
	const rounds = 20000
	began := time.Now()
	for range rounds {
		sum := sha256.Sum256(canonical)
		h := hmac.New(sha256.New, sum[:])
		h.Write(canonical[:128])
		h.Sum(nil)
	}
	return float64(time.Since(began).Nanoseconds()) / rounds
}

// BenchmarkChunks measures bodies; the ratio is to the hash that the mode owes.
func BenchmarkChunks(b *testing.B) {
	r, body := docChunked()
	p, err := Parse(r)
	if err != nil {
		b.Fatal(err)
	}
	key := DeriveKey(secret.New(docSecret), p.Date, p.Region, p.Service)
	b.SetBytes(66560)
	b.ReportAllocs()
	buf := make([]byte, 32<<10)
	for b.Loop() {
		c, err := p.Body(strings.NewReader(body), key, BodySpec{Mode: PayloadSigned, Length: 66560})
		if err != nil {
			b.Fatal(err)
		}
		for err == nil {
			_, err = c.Read(buf)
		}
		if err != io.EOF {
			b.Fatal(err)
		}
	}
	per := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
	const rounds = 500
	began := time.Now()
	for range rounds {
		sha256.Sum256([]byte(body))
	}
	b.ReportMetric(per/(float64(time.Since(began).Nanoseconds())/rounds), "x-bare-sha256")
}
