package gateway_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// exchanged writes raw bytes on one connection and gives all that comes back
// until the server closes it, or waits for more than was written: with and
// without the fast path, where as many answers have to say the same.
func (w *world) exchanged(t *testing.T, text string) string {
	t.Helper()
	slow, fast := w.exchangedWith(t, w.slow, text), w.exchangedWith(t, w.http, text)
	said := regexp.MustCompile("HTTP/1.1 .*|<Code>.*</Code>")
	if a, b := said.FindAllString(fast, -1), said.FindAllString(slow, -1); !slices.Equal(a, b) {
		t.Errorf("%.60q: with the fast path %q, without %q", text, a, b)
	}
	return fast
}

func (w *world) exchangedWith(t *testing.T, s *httptest.Server, text string) string {
	t.Helper()
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	// Left open: a server takes a closed half for a client that went away.
	b, err := io.ReadAll(c)
	if len(b) == 0 {
		t.Fatalf("%.60q: %v", text, err)
	}
	return string(b)
}

// TestAttackRequestSmuggling: whatever lengths a request claims, what follows it
// on the connection is never answered as a request of its own, and nothing of
// it is stored.
func TestAttackRequestSmuggling(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(t, "hr", "x", "secret")
	// The request that an attacker hides: good by itself, signed by somebody else.
	hidden := w.head(t, "GET", "/hr/x", nil)
	put := func(extra ...string) string {
		head := w.head(t, "PUT", "/sales/stolen", func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD") }, extra...)
		return strings.Replace(head, "Connection: close\r\n", "", 1)
	}
	for name, text := range map[string]string{
		"two lengths":                  put("Content-Length: 3", "Content-Length: 0") + "abc" + hidden,
		"length and chunked":           put("Content-Length: 3", "Transfer-Encoding: chunked") + "0\r\n\r\n" + hidden,
		"chunked and length":           put("Transfer-Encoding: chunked", "Content-Length: 3") + "0\r\n\r\n" + hidden,
		"chunked twice":                put("Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + "0\r\n\r\n" + hidden,
		"chunked, then identity":       put("Transfer-Encoding: chunked, identity") + "0\r\n\r\n" + hidden,
		"chunked in odd letters":       put("Transfer-Encoding: \vchunked") + "0\r\n\r\n" + hidden,
		"length with a sign":           put("Content-Length: +3") + "abc" + hidden,
		"negative length":              put("Content-Length: -1") + "abc" + hidden,
		"length in hexadecimal":        put("Content-Length: 0x3") + "abc" + hidden,
		"length of two words":          put("Content-Length: 3 0") + "abc" + hidden,
		"length list":                  put("Content-Length: 3, 3") + "abc" + hidden,
		"huge length":                  put("Content-Length: 99999999999999999999") + "abc" + hidden,
		"space before the colon":       put("Content-Length : 3") + "abc" + hidden,
		"line feed in a header's name": put("X-A\nTransfer-Encoding: chunked") + "0\r\n\r\n" + hidden,
		"carriage return alone":        put("X-A: b\rTransfer-Encoding: chunked") + "0\r\n\r\n" + hidden,
		"NUL in a header":              put("X-A: b\x00c", "Content-Length: 0") + hidden,
	} {
		t.Run(name, func(t *testing.T) {
			answer := w.exchanged(t, text)
			if n := strings.Count(answer, "HTTP/1.1 "); n != 1 || !strings.HasPrefix(answer, "HTTP/1.1 4") && !strings.HasPrefix(answer, "HTTP/1.1 501 ") {
				t.Errorf("%d answers: %s", n, answer)
			}
			if strings.Contains(answer, "secret") {
				t.Errorf("the hidden request was answered: %s", answer)
			}
			w.absent(t, "sales", "stolen")
		})
	}
	// The ground: on one connection two honest requests get two answers.
	if n := strings.Count(w.exchanged(t, strings.Replace(hidden, "Connection: close\r\n", "", 1)+hidden), "HTTP/1.1 200"); n != 2 {
		t.Errorf("two requests got %d answers", n)
	}
}

// TestAttackFoldedHeaders: a header on several lines is one header. What the
// lines join to is what was signed, or the request is refused; the rest of a
// fold never becomes a header of its own.
func TestAttackFoldedHeaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(t, "sales", "k", "v")
	w.put(t, "hr", "x", "secret")
	with := func(meta string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("X-Amz-Meta-A", meta) }
	}
	put := func(key, signed, sent string) string {
		head := w.head(t, "PUT", "/sales/"+key, with(signed), "Content-Length: 0")
		return strings.Replace(head, "X-Amz-Meta-A: "+signed+"\r\n", sent, 1)
	}
	for name, text := range map[string]string{
		"header hidden in a fold":     put("f1", "b", "X-Amz-Meta-A: b\r\n x-amz-copy-source: /hr/x\r\n"),
		"unsigned header, folded":     put("f2", "b", "X-Amz-Meta-A: b\r\nX-Amz-Copy-Source:\r\n\t/hr/x\r\n"),
		"fold at the start":           strings.Replace(put("f3", "b", "X-Amz-Meta-A: b\r\n"), "HTTP/1.1\r\n", "HTTP/1.1\r\n x-amz-copy-source: /hr/x\r\n", 1),
		"value changed by a fold":     put("f4", "b", "X-Amz-Meta-A: b\r\n c\r\n"),
		"length folded":               strings.Replace(put("f5", "b", "X-Amz-Meta-A: b\r\n"), "Content-Length: 0", "Content-Length:\r\n 3", 1) + "abc",
		"credential in a folded line": strings.Replace(w.head(t, "GET", "/sales/k", nil), "Signature=", "\r\n Signature=0", 1),
	} {
		answer := w.exchanged(t, text)
		if !strings.HasPrefix(answer, "HTTP/1.1 4") {
			t.Errorf("%s: %s", name, answer)
		}
	}
	for _, key := range []string{"f1", "f2", "f3", "f4", "f5"} {
		w.absent(t, "sales", key)
	}
}

// TestAttackCredentialConfusion: one place, one credential, each part of it once.
func TestAttackCredentialConfusion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(t, "sales", "k", "v")
	good := w.head(t, "GET", "/sales/k", nil)
	at := strings.Index(good, "Authorization: ")
	authorization := good[at : at+strings.Index(good[at:], "\r\n")]
	signed := authorization[strings.Index(authorization, "SignedHeaders="):]
	signed = signed[:strings.Index(signed, ",")]
	change := func(from, to string) string {
		if !strings.Contains(good, from) {
			t.Fatalf("%q is not in %q", from, good)
		}
		return strings.Replace(good, from, to, 1)
	}
	for name, text := range map[string]string{
		"a signed header named twice": change(signed, signed+";host"),
		"SignedHeaders twice":         change(signed, signed+", "+signed),
		"Credential twice":            change("Credential=", "Credential=ASIAOTHER0000000000B/20260101/us-east-1/s3/aws4_request, Credential="),
		"Signature twice":             change("Signature=", "Signature="+strings.Repeat("0", 64)+", Signature="),
		"two Authorization headers":   change(authorization, authorization+"\r\n"+authorization),
		"two, the second of SigV2":    change(authorization, authorization+"\r\nAuthorization: AWS a:b"),
		"two, in one line":            change(authorization, authorization+", AWS4-HMAC-SHA256 Credential=x"),
		"two dates":                   change("\r\n\r\n", "\r\nX-Amz-Date: 20260101T000000Z\r\n\r\n"),
		"two hosts":                   change("\r\n\r\n", "\r\nHost: s3.test\r\n\r\n"),
		"no host":                     change(good[strings.Index(good, "Host: "):strings.Index(good, "Connection:")], ""),
		"host not signed":             change(signed, strings.Replace(strings.Replace(signed, "host;", "", 1), ";host", "", 1)),
		"region left out":             change("/us-east-1/", "//"),
		"another region":              change("/us-east-1/", "/eu-west-1/"),
		"another service":             change("/s3/aws4_request", "/sts/aws4_request"),
		"SigV4A":                      change("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
		"signature in capitals":       change("Signature=", "Signature=ABCDEF"),
	} {
		answer := w.exchanged(t, text)
		if n := strings.Count(answer, "HTTP/1.1 "); n != 1 || !strings.HasPrefix(answer, "HTTP/1.1 4") && !strings.HasPrefix(answer, "HTTP/1.1 501") {
			t.Errorf("%s: %s", name, answer)
		}
	}
	if asked := w.asked(); len(asked) != 0 {
		t.Errorf("decisions were asked: %v", asked)
	}
}

// TestAttackPresignedAddressInAReferer: who follows a link on a page that was opened
// by a presigned address brings that address along; it is good for days to come, and
// the access log is not the place for it (newWorld looks through what is written).
func TestAttackPresignedAddressInAReferer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, from := range []string{"https://s3.test/sales/page?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0123456789", "https://s3.test/sales/page?x=1&x-amz-signature=0123456789",
		"https://s3.test/sales/page?%58-Amz-Signature=0123456789", "https://pages.test/a?b=c"} {
		send(t, w.request(t, "GET", "/sales/none", "", func(r *http.Request) { r.Header.Set("Referer", from) }))
	}
	if written := w.log.String(); strings.Contains(written, "0123456789") {
		t.Error("a presigned address stands in the log")
	}
	var written string
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) { // the access log is written beside
		if written = w.lines.String(); strings.Count(written, "\n") >= 4 {
			break
		}
	}
	if strings.Contains(written, "0123456789") || !strings.Contains(written, "https://s3.test/sales/page\"") || !strings.Contains(written, "https://pages.test/a") {
		t.Errorf("a presigned address stands in the access log, or no referer does: %s", written)
	}
}
