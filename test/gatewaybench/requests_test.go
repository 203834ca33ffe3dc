//go:build interop

package gatewaybench

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"net/http"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// request is one request, ready to be sent again and again: it was signed once,
// which holds for 15 minutes, so that signing costs the load client nothing.
type request struct {
	head    []byte        // for those who send bytes
	message *http.Request // for those who use net/http
	body    frames
	size    int64 // of the object: got or put
	put     bool
}

// mode is how the body of a PUT is bound to its signature.
type mode int

const (
	plain           mode = iota // no credential at all, for those who ask for none
	unsigned                    // UNSIGNED-PAYLOAD
	hashed                      // SHA-256 in x-amz-content-sha256
	chunked                     // STREAMING-AWS4-HMAC-SHA256-PAYLOAD, chunks of 64 KiB
	unsignedTrailer             // STREAMING-UNSIGNED-PAYLOAD-TRAILER, crc32, chunks of 1 MiB
)

func (m mode) String() string {
	return [...]string{"plain", "unsigned payload", "hashed", "aws-chunked signed", "unsigned trailer"}[m]
}

// get is a GET of an object of size bytes.
func get(t testing.TB, host string, keys aws.Credentials, size int64) *request {
	t.Helper()
	r := newRequest(t, http.MethodGet, host, size)
	if keys.AccessKeyID == "" {
		return r.finish(plain, nil)
	}
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	r.Header.Set("X-Amz-Content-Sha256", empty)
	r.sign(t, keys, empty)
	return r.finish(unsigned, nil)
}

// put is a PUT of size bytes.
func put(t testing.TB, host string, keys aws.Credentials, size int64, m mode) *request {
	t.Helper()
	r := newRequest(t, http.MethodPut, host, size)
	r.Header.Set("Content-Type", "binary/octet-stream")
	hash := "UNSIGNED-PAYLOAD"
	switch m {
	case hashed:
		sum := sha256.New()
		for _, p := range pieces(size) {
			sum.Write(p)
		}
		hash = hex.EncodeToString(sum.Sum(nil))
	case chunked:
		hash = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	case unsignedTrailer:
		hash = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
		r.Header.Set("X-Amz-Trailer", "x-amz-checksum-crc32")
	}
	length := size
	if m == chunked || m == unsignedTrailer {
		r.Header.Set("Content-Encoding", "aws-chunked")
		r.Header.Set("X-Amz-Decoded-Content-Length", fmt.Sprint(size))
		length = framed(m, size, "", nil).length()
	}
	r.Header.Set("Content-Length", fmt.Sprint(length))
	if m != plain {
		r.Header.Set("X-Amz-Content-Sha256", hash)
		r.sign(t, keys, hash)
	}
	if m == chunked || m == unsignedTrailer {
		return r.finish(m, framed(m, size, r.Header.Get("Authorization"), signingKey(keys, r.Header.Get("X-Amz-Date"))))
	}
	return r.finish(m, pieces(size))
}

// building is a request under way.
type building struct {
	*http.Request
	size int64
}

func newRequest(t testing.TB, method, host string, size int64) *building {
	t.Helper()
	// As SDKs encode it. The store reads the size from the last segment.
	r, err := http.NewRequest(method, fmt.Sprintf("http://%s/%s/year%%3D2026/month%%3D11/%d-part-00001.parquet", host, bucket, size), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"User-Agent":      "Boto3/1.43.0 md/Botocore#1.43.0 ua/2.1 os/linux#6.18.0 md/arch#x86_64 lang/python#3.11.2 md/pyimpl#CPython m/Z,b,D cfg/retry-mode#legacy",
		"Accept-Encoding": "identity", "Amz-Sdk-Invocation-Id": "0b7d8a0e-5a0c-4f5f-8b9e-1d3b5c7d9e0f", "Amz-Sdk-Request": "attempt=1",
	} {
		r.Header.Set(name, value)
	}
	return &building{r, size}
}

func (r *building) sign(t testing.TB, keys aws.Credentials, hash string) {
	t.Helper()
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err := signer.SignHTTP(t.Context(), keys, r.Request, hash, "s3", region, time.Now()); err != nil {
		t.Fatal(err)
	}
}

func (r *building) finish(m mode, body frames) *request {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", r.Method, r.URL.EscapedPath(), r.URL.Host)
	names := make([]string, 0, len(r.Header))
	for name := range r.Header {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		fmt.Fprintf(&b, "%s: %s\r\n", name, r.Header.Get(name))
	}
	b.WriteString("\r\n")
	r.Header.Del("Content-Length") // net/http writes its own
	return &request{head: b.Bytes(), message: r.Request, body: body, size: r.size, put: r.Method == http.MethodPut}
}

// frames is a body in pieces, most of which are shared.
type frames [][]byte

func (f frames) length() (n int64) {
	for _, p := range f {
		n += int64(len(p))
	}
	return n
}

func pieces(size int64) (f frames) {
	for ; size > 0; size -= int64(len(pattern)) {
		f = append(f, pattern[:min(size, int64(len(pattern)))])
	}
	return f
}

// framed writes the aws-chunked form of a body (S3 API Reference, "Transferring
// Payload in Multiple Chunks"). With no key only its length is right.
func framed(m mode, size int64, authorization string, key *chunkKey) (f frames) {
	chunk, length := int64(64<<10), size
	if m == unsignedTrailer {
		chunk = 1 << 20
	}
	_, previous, _ := strings.Cut(authorization, "Signature=")
	add := func(data []byte) {
		head := fmt.Sprintf("%x", len(data))
		if m == chunked {
			previous = key.sign(previous, data)
			head += ";chunk-signature=" + previous
		}
		f = append(f, []byte(head+"\r\n"))
		if len(data) > 0 {
			f = append(f, data, []byte("\r\n"))
		}
	}
	for ; size > 0; size -= chunk {
		add(pattern[:min(size, chunk)])
	}
	add(nil)
	if m == unsignedTrailer {
		sum := crc32.NewIEEE()
		for _, p := range pieces(length) {
			sum.Write(p)
		}
		value := base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum.Sum32()))
		f = append(f, []byte("x-amz-checksum-crc32:"+value+"\r\n"))
	}
	return append(f, []byte("\r\n"))
}

// chunkKey signs chunks.
type chunkKey struct {
	key  []byte
	date string
}

func signingKey(keys aws.Credentials, date string) *chunkKey {
	k := []byte("AWS4" + keys.SecretAccessKey)
	for _, part := range []string{date[:8], region, "s3", "aws4_request"} {
		k = mac(k, part)
	}
	return &chunkKey{k, date}
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func (k *chunkKey) sign(previous string, data []byte) string {
	if k == nil {
		return strings.Repeat("0", 64)
	}
	empty, sum := sha256.Sum256(nil), sha256.Sum256(data)
	return hex.EncodeToString(mac(k.key, strings.Join([]string{
		"AWS4-HMAC-SHA256-PAYLOAD", k.date, k.date[:8] + "/" + region + "/s3/aws4_request", previous, hex.EncodeToString(empty[:]), hex.EncodeToString(sum[:]),
	}, "\n")))
}
