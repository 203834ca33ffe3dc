package sigv4

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"carnet.dev/carnet/internal/core/secret"
)

func encode64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// seeds reads the files of one target; a target without seeds proves nothing
// and fails.
func seeds(f *testing.F, folder string) [][]byte {
	f.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", folder, "*"))
	if err != nil || len(names) == 0 {
		f.Fatalf("no seeds in testdata/%s: %v", folder, err)
	}
	var all [][]byte
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

// readRequest reads a request's head from text, without any tidying.
func readRequest(text string) *Request {
	first, rest, _ := strings.Cut(text, "\n")
	method, target, _ := strings.Cut(strings.TrimSuffix(first, "\r"), " ")
	r := &Request{Method: method, Target: strings.TrimSuffix(target, " HTTP/1.1"), Header: map[string][]string{}, ContentLength: -1}
	for line := range strings.SplitSeq(rest, "\n") {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\r"), ":")
		if !ok {
			break
		}
		if strings.EqualFold(name, "host") {
			r.Host = value
			continue
		}
		name = string(appendCanonicalName(nil, strings.ToLower(name)))
		r.Header[name] = append(r.Header[name], value)
	}
	return r
}

// FuzzParse: whatever is presented, parsing does not break, nothing verifies
// under a key that did not sign it, and what we sign ourselves verifies until
// one byte of it changes.
func FuzzParse(f *testing.F) {
	for _, s := range seeds(f, "requests") {
		f.Add(string(s))
	}
	stranger := secret.Random(32)
	f.Fuzz(func(t *testing.T, text string) {
		r := readRequest(text)
		p, err := Parse(r)
		if err != nil || p == nil {
			return
		}
		scope := Scope{Service: p.Service, Region: p.Region}
		hash := p.PayloadHash
		if p.Service != "s3" && hash == "" {
			hash = EmptyHash
		}
		if p.Verify(r, stranger, scope, hash, p.Time) == nil {
			t.Fatalf("%q verifies under a random key", text)
		}
		canonical, err := p.appendCanonicalRequest(nil, r, hash)
		if err != nil || p.unsigned(r) != "" || hash == "" {
			return
		}
		key := DeriveKey(stranger, p.Date, p.Region, p.Service)
		p.signature = mac(key.k[:], p.stringToSign(Algorithm, sha(canonical)))
		err = p.Verify(r, stranger, scope, hash, p.Time)
		if _, form := p.Mode(); form != nil && p.Service == "s3" {
			if err == nil {
				t.Fatalf("%q is no form of a payload's hash, and verifies", p.PayloadHash)
			}
			return // refused, however well it is signed
		}
		if err != nil {
			t.Fatalf("what we signed does not verify: %v\n%s", err, canonical)
		}
		r.Method += "X"
		if p.Verify(r, stranger, scope, hash, p.Time) == nil {
			t.Fatal("another method verifies")
		}
	})
}

// FuzzCanonicalRequest: the canonical form of a target is a fixed point, and
// two targets with one canonical form decode to the same.
func FuzzCanonicalRequest(f *testing.F) {
	for _, s := range seeds(f, "targets") {
		f.Add(strings.TrimSpace(string(s)))
	}
	f.Fuzz(func(t *testing.T, raw string) {
		target, err := ParseTarget(raw)
		if err != nil {
			return
		}
		path, ok := Unescape(target.RawPath, false)
		if !ok {
			return
		}
		again := string(AppendEscaped(nil, path, true))
		query := string(appendCanonicalQuery(nil, target.Query))
		if query != "" {
			again += "?" + query
		}
		if len(again) > maxTarget {
			return
		}
		second, err := ParseTarget(again)
		if err != nil {
			t.Fatalf("%q has the canonical form %q, which is refused: %v", raw, again, err)
		}
		path2, _ := Unescape(second.RawPath, false)
		if path2 != path || string(appendCanonicalQuery(nil, second.Query)) != query {
			t.Fatalf("%q: %q is no fixed point", raw, again)
		}
		for _, q := range target.Query {
			if v, ok := second.Get(q.Name); q.Name != paramSignature && (!ok || v != q.Value) {
				t.Fatalf("%q: parameter %q is lost", raw, q.Name)
			}
		}
	})
}

// FuzzChunks: the reader gives the same answer however the bytes arrive, never
// more than the stated length, and never the last byte of a body that fails.
func FuzzChunks(f *testing.F) {
	for _, s := range seeds(f, "chunks") {
		length := 12
		if bytes.Contains(s, []byte("10000;")) {
			length = 66560
		}
		f.Add(s, length, uint8(0))
		f.Add(s, length, uint8(1))
		f.Add(s, length, uint8(2))
	}
	_, body := docChunked()
	f.Add([]byte(body), 66560, uint8(0))
	_, body = docTrailer()
	f.Add([]byte(body), 66560, uint8(1))
	f.Fuzz(func(t *testing.T, raw []byte, length int, kind uint8) {
		if length < 0 || length > 1<<20 {
			return
		}
		modes := []PayloadMode{PayloadSigned, PayloadSignedTrailer, PayloadUnsignedTrailer}
		spec := BodySpec{Mode: modes[kind%3], Length: int64(length)}
		r, _ := docChunked()
		if spec.Mode == PayloadSignedTrailer {
			r, _ = docTrailer()
			spec.Trailer = "crc32c"
		} else if spec.Mode == PayloadUnsignedTrailer && kind >= 3 {
			spec.Trailer = "crc32"
		}
		p, err := Parse(r)
		if err != nil {
			t.Fatal(err)
		}
		key := DeriveKey(secret.New(docSecret), p.Date, p.Region, p.Service)
		read := func(r io.Reader) (string, string) {
			b, err := p.Body(r, key, spec)
			if err != nil {
				t.Fatal(err)
			}
			out, err := io.ReadAll(b)
			if err != nil && len(out) >= length && length > 0 {
				t.Fatalf("a failed body gave all %d bytes", length)
			}
			if err == nil && len(out) != length {
				t.Fatalf("%d bytes instead of %d", len(out), length)
			}
			if (err == nil) != b.Done() {
				t.Fatal("Done disagrees with the error")
			}
			return string(out), codeOf(err)
		}
		one, code := read(bytes.NewReader(raw))
		two, code2 := read(iotest.OneByteReader(bytes.NewReader(raw)))
		if code != code2 || code == "" && one != two {
			t.Fatalf("%q at once, %q byte by byte", code, code2)
		}
	})
}

// What a client frames is what is read, in each mode, for each size.
func TestChunksRoundTrip(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("0123456789"), 3000)
	for _, mode := range []PayloadMode{PayloadSigned, PayloadSignedTrailer, PayloadUnsignedTrailer} {
		for _, trailer := range []string{"", "crc32", "crc32c", "crc64nvme", "sha1", "sha256"} {
			if (mode == PayloadSigned) != (trailer == "") && mode != PayloadUnsignedTrailer {
				continue
			}
			for _, n := range []int{0, 1, 8191, 8192, 8193, 30000} {
				r, _ := docChunked()
				p, err := Parse(r)
				if err != nil {
					t.Fatal(err)
				}
				key := DeriveKey(secret.New(docSecret), p.Date, p.Region, p.Service)
				body := encodeChunks(t, p, key, mode, trailer, content[:n], 8192)
				b, err := p.Body(bytes.NewReader(body), key, BodySpec{Mode: mode, Length: int64(n), Trailer: trailer})
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(b)
				if err != nil || !bytes.Equal(got, content[:n]) {
					t.Fatalf("%v %q %d: %d bytes, %v", mode, trailer, n, len(got), err)
				}
				if trailer != "" {
					h := newHash(trailer)
					h.Write(content[:n])
					if b.Trailer() != encode64(h.Sum(nil)) {
						t.Errorf("%v %q: trailer %q", mode, trailer, b.Trailer())
					}
				}
			}
		}
	}
}

func sha(b []byte) (out [32]byte) {
	sum, _ := hex.DecodeString(hexHash(string(b)))
	copy(out[:], sum)
	return out
}
