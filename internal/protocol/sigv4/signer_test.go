package sigv4

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/core/secret"
)

func hexHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// sign signs r for the tests, with the documented key and time.
func sign(tb testing.TB, r *Request, s Scope, signed []string, payload string) {
	tb.Helper()
	scope := "AKIAIOSFODNN7EXAMPLE/20130524/" + s.Region + "/" + s.Service + "/aws4_request"
	value := Algorithm + " Credential=" + scope + ", SignedHeaders=" + strings.Join(signed, ";") + ", Signature="
	r.Header["Authorization"] = []string{value + strings.Repeat("0", 64)}
	p, err := Parse(r)
	if err != nil {
		tb.Fatal(err)
	}
	canonical, err := p.appendCanonicalRequest(nil, r, payload)
	if err != nil {
		tb.Fatal(err)
	}
	key := DeriveKey(secret.New(docSecret), p.Date, p.Region, p.Service)
	sum := mac(key.k[:], p.stringToSign(Algorithm, sha256.Sum256(canonical)))
	r.Header["Authorization"] = []string{value + hex.EncodeToString(sum[:])}
}

// encodeChunks frames content as a client does, signing where the mode signs.
func encodeChunks(tb testing.TB, p *Presented, key Key, mode PayloadMode, trailer string, content []byte, size int) []byte {
	tb.Helper()
	var b bytes.Buffer
	previous := hex.EncodeToString(p.signature[:])
	link := func(algorithm, tail string) string {
		text := append(p.appendPreamble(nil, algorithm), previous+"\n"+tail...)
		sum := mac(key.k[:], text)
		previous = hex.EncodeToString(sum[:])
		return previous
	}
	chunk := func(data []byte) {
		fmt.Fprintf(&b, "%x", len(data))
		if mode != PayloadUnsignedTrailer {
			b.WriteString(";chunk-signature=" + link("AWS4-HMAC-SHA256-PAYLOAD", EmptyHash+"\n"+hexHash(string(data))))
		}
		b.WriteString("\r\n")
		if len(data) > 0 {
			b.Write(data)
			b.WriteString("\r\n")
		}
	}
	for rest := content; len(rest) > 0; {
		n := min(size, len(rest))
		chunk(rest[:n])
		rest = rest[n:]
	}
	chunk(nil)
	if trailer != "" {
		h := newHash(trailer)
		h.Write(content)
		line := ChecksumPrefix + trailer + ":" + encode64(h.Sum(nil))
		b.WriteString(line + "\r\n")
		if mode == PayloadSignedTrailer {
			b.WriteString("x-amz-trailer-signature:" + link("AWS4-HMAC-SHA256-TRAILER", hexHash(line+"\n")) + "\r\n")
		}
	}
	b.WriteString("\r\n")
	return b.Bytes()
}
