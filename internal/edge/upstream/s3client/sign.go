package s3client

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/secret"
)

// signer signs requests for S3 with Signature Version 4 in the Authorization
// header (S3 API Reference, "Signature Calculations"). It shares no code with
// the verifier, so that neither can hide the other's mistake; a test holds it to
// the AWS SDK's. It remembers signing keys, each good for one day, region and
// set of keys. Safe for concurrent use.
type signer struct {
	mu         sync.Mutex
	young, old map[keyID]*signingKey

	buffers sync.Pool
}

// mostKeys is how many signing keys are remembered, at most twice that.
const mostKeys = 1024

// keyID names a signing key. An access key id names one secret, but a signing
// key is used only for the secret that it was made of.
type keyID struct{ accessKeyID, date, region string }

type signingKey struct {
	secret secret.Text
	macs   sync.Pool // of hash.Hash under the key: making one costs more than using it
}

func newSigner() *signer {
	return &signer{
		young:   make(map[keyID]*signingKey),
		buffers: sync.Pool{New: func() any { return new(scratch) }},
	}
}

// scratch is what one signature needs for a moment.
type scratch struct {
	text    []byte
	headers []signedHeader
}

type signedHeader struct {
	name   string // lower case
	values []string
}

const day = "20060102"

// sign adds the headers of the signature. The request's path must be escaped
// and its query be in canonical order, as request builds them; payload is the
// value of X-Amz-Content-Sha256, which the request carries already.
func (s *signer) sign(r *http.Request, keys credential.Temporary, region, payload string, now time.Time) {
	stamp := now.UTC().Format("20060102T150405Z")
	date := stamp[:len(day)]
	r.Header["X-Amz-Date"] = []string{stamp}
	if !keys.SessionToken.IsZero() {
		r.Header["X-Amz-Security-Token"] = []string{keys.SessionToken.Reveal()}
	}
	b := s.buffers.Get().(*scratch)
	defer s.buffers.Put(b)
	b.gather(r)
	scope := date + "/" + region + "/s3/aws4_request"

	t := append(b.text[:0], r.Method...)
	t = append(append(append(t, '\n'), r.URL.RawPath...), '\n')
	t = append(append(t, r.URL.RawQuery...), '\n')
	for _, h := range b.headers {
		t = append(append(t, h.name...), ':')
		for i, v := range h.values {
			if i > 0 {
				t = append(t, ',')
			}
			t = appendTrimmed(t, v)
		}
		t = append(t, '\n')
	}
	t = append(t, '\n')
	from := len(t)
	for i, h := range b.headers {
		if i > 0 {
			t = append(t, ';')
		}
		t = append(t, h.name...)
	}
	names := string(t[from:])
	t = append(append(t, '\n'), payload...)
	digest := sha256.Sum256(t)

	t = append(t[:0], "AWS4-HMAC-SHA256\n"...)
	t = append(append(t, stamp...), '\n')
	t = append(append(t, scope...), '\n')
	t = hex.AppendEncode(t, digest[:])
	signature := s.key(keys, date, region).mac(t)

	t = append(t[:0], "AWS4-HMAC-SHA256 Credential="...)
	t = append(append(append(t, keys.AccessKeyID...), '/'), scope...)
	t = append(append(t, ", SignedHeaders="...), names...)
	t = hex.AppendEncode(append(t, ", Signature="...), signature[:])
	r.Header["Authorization"] = []string{string(t)}
	b.text = t
	clear(b.headers)
}

// gather collects what is signed: all but what proxies may change.
func (b *scratch) gather(r *http.Request) {
	b.headers = append(b.headers[:0], signedHeader{"host", []string{r.Host}})
	if r.ContentLength > 0 {
		b.headers = append(b.headers, signedHeader{"content-length", []string{strconv.FormatInt(r.ContentLength, 10)}})
	}
	for name, values := range r.Header {
		switch name {
		case "User-Agent", "Expect", "Authorization":
			continue
		}
		b.headers = append(b.headers, signedHeader{lower(name), values})
	}
	slices.SortFunc(b.headers, func(x, y signedHeader) int { return strings.Compare(x.name, y.name) })
}

// lower gives a header's name in lower case, the common ones without making it.
func lower(name string) string {
	switch name {
	case "X-Amz-Date":
		return "x-amz-date"
	case "X-Amz-Content-Sha256":
		return "x-amz-content-sha256"
	case "X-Amz-Security-Token":
		return "x-amz-security-token"
	case "X-Amz-Expected-Bucket-Owner":
		return "x-amz-expected-bucket-owner"
	case "X-Amz-Decoded-Content-Length":
		return "x-amz-decoded-content-length"
	case "X-Amz-Trailer":
		return "x-amz-trailer"
	case "Range":
		return "range"
	case "Content-Type":
		return "content-type"
	}
	return strings.ToLower(name)
}

// appendTrimmed appends a value without blanks at its ends and with one blank
// where it has several.
func appendTrimmed(b []byte, v string) []byte {
	v = strings.Trim(v, " ")
	for {
		i := strings.Index(v, "  ")
		if i < 0 {
			return append(b, v...)
		}
		b = append(b, v[:i+1]...)
		v = strings.TrimLeft(v[i:], " ")
	}
}

// key gives the signing key of a secret for a day and a region.
func (s *signer) key(keys credential.Temporary, date, region string) *signingKey {
	id := keyID{keys.AccessKeyID, date, region}
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok := s.young[id]
	if ok && k.secret.Equal(keys.SecretAccessKey) {
		return k
	}
	if k, ok = s.old[id]; !ok || !k.secret.Equal(keys.SecretAccessKey) {
		k = newSigningKey(keys.SecretAccessKey, date, region)
	}
	if len(s.young) >= mostKeys {
		s.old, s.young = s.young, make(map[keyID]*signingKey)
	}
	s.young[id] = k
	return k
}

func newSigningKey(key secret.Text, date, region string) *signingKey {
	k := []byte("AWS4" + key.Reveal())
	for _, part := range []string{date, region, "s3", "aws4_request"} {
		h := hmac.New(sha256.New, k)
		h.Write([]byte(part))
		k = h.Sum(nil)
	}
	return &signingKey{secret: key, macs: sync.Pool{New: func() any { return hmac.New(sha256.New, k) }}}
}

// mac signs a text.
func (k *signingKey) mac(text []byte) (out [sha256.Size]byte) {
	h := k.macs.Get().(hash.Hash)
	h.Reset()
	h.Write(text)
	h.Sum(out[:0])
	k.macs.Put(h)
	return out
}
