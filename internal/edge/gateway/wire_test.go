package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/protocol/s3"
)

// talk writes raw bytes and gives the status line and the rest: with and without
// the fast path, which must be the same.
func (w *world) talk(t *testing.T, text string) (status int, body string) {
	t.Helper()
	slow, said := w.talkTo(t, w.slow, text)
	status, body = w.talkTo(t, w.http, text)
	code := regexp.MustCompile("<Code>.*</Code>")
	if status != slow || code.FindString(body) != code.FindString(said) {
		t.Errorf("%.60q: with the fast path %d %s, without %d %s", text, status, body, slow, said)
	}
	return status, body
}

func (w *world) talkTo(t *testing.T, s *httptest.Server, text string) (status int, body string) {
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
	if strings.Contains(text, "\r\n\r\nabc") && strings.Contains(text, "Content-Length: 6") {
		// Half closed: what is missing will never come.
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("no answer to %.60q: %v", text, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// head writes a signed request's head as raw text; extra lines come unsigned.
func (w *world) head(t *testing.T, method, target string, change func(*http.Request), extra ...string) string {
	t.Helper()
	req := w.request(t, method, target, "", func(r *http.Request) {
		r.ContentLength = 0
		r.Body = nil
		if change != nil {
			change(r)
		}
	})
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n", method, target, req.Host)
	for name, values := range req.Header {
		for _, v := range values {
			fmt.Fprintf(&b, "%s: %s\r\n", name, v)
		}
	}
	for _, line := range extra {
		b.WriteString(line + "\r\n")
	}
	return b.String() + "\r\n"
}

func TestRawRequestsAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(t, "sales", "k", "v")
	good := w.head(t, "GET", "/sales/k", nil)
	if status, body := w.talk(t, good); status != 200 || body != "v" {
		t.Fatalf("the ground of this test: %d %s", status, body)
	}
	authorization := good[strings.Index(good, "Authorization: "):]
	authorization = authorization[:strings.Index(authorization, "\r\n")]
	cases := map[string]struct {
		text   string
		status int
		code   string
	}{
		"absolute form":             {strings.Replace(good, "GET /", "GET http://elsewhere/", 1), 400, "InvalidURI"},
		"absolute form, our host":   {strings.Replace(good, "GET /", "GET "+w.http.URL+"/", 1), 400, "InvalidURI"},
		"two Authorization headers": {strings.Replace(good, "\r\n\r\n", "\r\n"+authorization+"\r\n\r\n", 1), 400, "InvalidArgument"},
		"unsigned copy source":      {w.head(t, "PUT", "/sales/n", nil, "x-amz-copy-source: /sales/k", "Content-Length: 0"), 403, "AccessDenied"},
		"unsigned acl":              {w.head(t, "PUT", "/sales/n", nil, "x-amz-acl: private", "Content-Length: 0"), 403, "AccessDenied"},
		"unsigned meta":             {w.head(t, "PUT", "/sales/n", nil, "X-AMZ-META-A: b", "Content-Length: 0"), 403, "AccessDenied"},
		"second token":              {w.head(t, "GET", "/sales/k", nil, "x-amz-security-token: other-token"), 400, "InvalidArgument"},
		"second payload hash":       {w.head(t, "GET", "/sales/k", nil, "x-amz-content-sha256: UNSIGNED-PAYLOAD"), 400, "InvalidArgument"},
		"body on a GET":             {w.head(t, "GET", "/sales/k", nil, "Content-Length: 3") + "abc", 400, "InvalidRequest"},
		"chunked body on a GET":     {w.head(t, "GET", "/sales/k", nil, "Transfer-Encoding: chunked") + "3\r\nabc\r\n0\r\n\r\n", 400, "InvalidRequest"},
		"body under another hash":   {w.head(t, "PUT", "/sales/n", nil, "Content-Length: 3") + "abc", 400, "XAmzContentSHA256Mismatch"},
		"PUT without a length":      {w.head(t, "PUT", "/sales/n", nil, "Transfer-Encoding: chunked") + "3\r\nabc\r\n0\r\n\r\n", 411, "MissingContentLength"},
		"broken off":                {w.head(t, "PUT", "/sales/n", func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", hashOf("abcdef")) }, "Content-Length: 6") + "abc", 400, "IncompleteBody"},
		"percent encoding":          {strings.Replace(good, "/sales/k", "/sales/%zz", 1), 400, ""},
		"streaming where none is":   {w.head(t, "POST", "/sales?delete", func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER") }, "Content-Length: 5") + "0\r\n\r\n", 400, "InvalidRequest"},
		"SigV4A payload": {w.head(t, "PUT", "/sales/n", func(r *http.Request) {
			r.Header.Set("X-Amz-Content-Sha256", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD")
		}, "Content-Length: 0"), 501, "InvalidRequest"},
		"payload hash of no kind": {w.head(t, "PUT", "/sales/n", func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", "nonsense") }, "Content-Length: 0"), 400, "InvalidArgument"},
		"length over the most":    {w.head(t, "PUT", "/sales/n", func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD") }, "Content-Length: 5368709121", "Expect: 100-continue"), 400, "EntityTooLarge"},
		"wrong Content-MD5":       {w.head(t, "PUT", "/sales/n", func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", hashOf("abc")) }, "Content-Length: 3", "Content-MD5: AAAAAAAAAAAAAAAAAAAAAA==") + "abc", 400, "BadDigest"},
		"malformed Content-MD5":   {w.head(t, "PUT", "/sales/n", func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", hashOf("abc")) }, "Content-Length: 3", "Content-MD5: AAAA") + "abc", 400, "InvalidDigest"},
		"two kinds of checksum": {w.head(t, "PUT", "/sales/n", func(r *http.Request) {
			r.Header.Set("X-Amz-Checksum-Crc32", "AAAAAA==")
			r.Header.Set("X-Amz-Checksum-Crc32c", "AAAAAA==")
		}, "Content-Length: 0"), 400, "InvalidRequest"},
		"trailer without its mode":   {w.head(t, "PUT", "/sales/n", func(r *http.Request) { r.Header.Set("X-Amz-Trailer", "x-amz-checksum-crc32") }, "Content-Length: 0"), 400, "InvalidRequest"},
		"decoded length, not signed": {w.head(t, "PUT", "/sales/n", nil, "x-amz-decoded-content-length: 3", "Content-Length: 0"), 403, "AccessDenied"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			status, body := w.talk(t, c.text)
			if status != c.status && status != 400 || !strings.Contains(body, c.code) {
				t.Errorf("%d %s, want %d %s", status, body, c.status, c.code)
			}
			w.absent(t, "sales", "n")
		})
	}
}

const unsignedTrailer = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"

// The chunked bodies of boto3 and the SDKs over https, broken in each way.
func TestUnsignedTrailerBodies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	// CRC-32 of "hello, world" is ffab723a.
	const sum = "/6tyOg=="
	cases := map[string]struct {
		body string
		code string // "" when accepted
	}{
		"good":                    {"c\r\nhello, world\r\n0\r\nx-amz-checksum-crc32:" + sum + "\r\n\r\n", ""},
		"minio-go's line ends":    {"c\r\nhello, world\r\n0\r\nx-amz-checksum-crc32:" + sum + "\n\r\n", ""},
		"wrong checksum":          {"c\r\nhello, world\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", "BadDigest"},
		"changed content":         {"c\r\nhello, World\r\n0\r\nx-amz-checksum-crc32:" + sum + "\r\n\r\n", "BadDigest"},
		"no trailer":              {"c\r\nhello, world\r\n0\r\n\r\n", "MalformedTrailerError"},
		"another trailer":         {"c\r\nhello, world\r\n0\r\nx-amz-checksum-sha1:" + sum + "\r\n\r\n", "MalformedTrailerError"},
		"trailer twice":           {"c\r\nhello, world\r\n0\r\nx-amz-checksum-crc32:" + sum + "\r\nx-amz-checksum-crc32:" + sum + "\r\n\r\n", "MalformedTrailerError"},
		"smuggled header":         {"c\r\nhello, world\r\n0\r\nx-amz-checksum-crc32:" + sum + "\r\nx-amz-acl:public-read\r\n\r\n", "MalformedTrailerError"},
		"no final chunk":          {"c\r\nhello, world\r\n", "IncompleteBody"},
		"no end":                  {"c\r\nhello, world\r\n0\r\nx-amz-checksum-crc32:" + sum + "\r\n", "IncompleteBody"},
		"more after the end":      {"c\r\nhello, world\r\n0\r\nx-amz-checksum-crc32:" + sum + "\r\n\r\nGET / HTTP/1.1\r\n\r\n", "IncompleteBody"},
		"chunk shorter than said": {"d\r\nhello, world\r\n0\r\nx-amz-checksum-crc32:" + sum + "\r\n\r\n", "IncompleteBody"},
		"chunk longer than said":  {"b\r\nhello, world\r\n0\r\nx-amz-checksum-crc32:" + sum + "\r\n\r\n", "IncompleteBody"},
		"less than the length":    {"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:" + sum + "\r\n\r\n", "IncompleteBody"},
		"more than the length":    {"d\r\nhello, world!\r\n0\r\nx-amz-checksum-crc32:" + sum + "\r\n\r\n", "IncompleteBody"},
		"size with sign":          {"+c\r\nhello, world\r\n0\r\n\r\n", "IncompleteBody"},
		"size with prefix":        {"0xc\r\nhello, world\r\n0\r\n\r\n", "IncompleteBody"},
		"huge size":               {"ffffffffffffffffc\r\nhello, world\r\n0\r\n\r\n", "IncompleteBody"},
		"extension":               {"c;a=b\r\nhello, world\r\n0\r\n\r\n", "IncompleteBody"},
		"bare line feeds":         {"c\nhello, world\n0\n\n", "IncompleteBody"},
		"small chunks":            {"5\r\nhello\r\n7\r\n, world\r\n0\r\nx-amz-checksum-crc32:" + sum + "\r\n\r\n", "InvalidChunkSizeError"},
		"not base64":              {"c\r\nhello, world\r\n0\r\nx-amz-checksum-crc32:????\r\n\r\n", "InvalidRequest"},
	}
	i := 0
	for name, c := range cases {
		i++
		key := fmt.Sprintf("u%d", i)
		t.Run(name, func(t *testing.T) {
			text := w.head(t, "PUT", "/sales/"+key, func(r *http.Request) {
				r.Header.Set("X-Amz-Content-Sha256", unsignedTrailer)
				r.Header.Set("X-Amz-Trailer", "x-amz-checksum-crc32")
				r.Header.Set("X-Amz-Decoded-Content-Length", "12")
				r.Header.Set("Content-Encoding", "aws-chunked")
			}, fmt.Sprintf("Content-Length: %d", len(c.body))) + c.body
			status, body := w.talk(t, text)
			if c.code == "" {
				if status != 200 {
					t.Errorf("%d %s", status, body)
				}
				return
			}
			if status != 400 || !strings.Contains(body, "<Code>"+c.code+"</Code>") {
				t.Errorf("%d %s, want %s", status, body, c.code)
			}
			w.absent(t, "sales", key)
		})
	}
}

// Expect: 100-continue is answered only when the operation is allowed.
func TestExpectContinue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.forbid("s3:PutObject sales/no")
	for key, want := range map[string]string{"yes": "100 Continue", "no": "403 Forbidden"} {
		c, err := net.Dial("tcp", w.http.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		text := w.head(t, "PUT", "/sales/"+key, func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", hashOf("abc")) }, "Content-Length: 3", "Expect: 100-continue")
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
		if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(c)
		line, err := r.ReadString('\n')
		if err != nil || !strings.Contains(line, want) {
			t.Errorf("%s: %q, %v; want %s", key, line, err, want)
		}
		if key == "yes" {
			if _, err := io.WriteString(c, "abc"); err != nil {
				t.Fatal(err)
			}
			rest, _ := io.ReadAll(r)
			if !strings.Contains(string(rest), "200 OK") {
				t.Errorf("after the body: %q", rest)
			}
		}
		c.Close()
	}
}

// A client that goes away in the middle leaves nothing behind, and the handler
// does not wait for it.
func TestClientGoneLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	text := w.head(t, "PUT", "/sales/gone", func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD") }, "Content-Length: 1000000")
	c, err := net.Dial("tcp", w.http.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, text+strings.Repeat("x", 500000)); err != nil {
		t.Fatal(err)
	}
	c.Close()
	deadline := time.Now().Add(5 * time.Second)
	for !strings.Contains(w.log.String(), `"key":"gone"`) {
		if time.Now().After(deadline) {
			t.Fatal("the request never ended")
		}
		time.Sleep(5 * time.Millisecond)
	}
	w.absent(t, "sales", "gone")
}

// Bodies too large for any buffer on the way, false only at their very end:
// most of them has gone to the store when that shows.
func TestLargeFalseBodiesNeverBecomeVisible(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	data := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	both := func(f ...func(*http.Request)) func(*http.Request) {
		return func(r *http.Request) {
			for _, one := range f {
				one(r)
			}
		}
	}
	hash := func(v string) func(*http.Request) { return set("X-Amz-Content-Sha256", v) }
	streaming := both(hash(unsignedTrailer), set("X-Amz-Trailer", "x-amz-checksum-crc32"), set("X-Amz-Decoded-Content-Length", fmt.Sprint(len(data))))
	framed := fmt.Sprintf("%x\r\n%s\r\n0\r\n", len(data), data)
	for name, c := range map[string]struct {
		change func(*http.Request)
		body   string
		code   string
	}{
		"payload hash":     {hash(hashOf("other")), data, "XAmzContentSHA256Mismatch"},
		"checksum header":  {both(hash("UNSIGNED-PAYLOAD"), set("X-Amz-Checksum-Crc32", "AAAAAA==")), data, "BadDigest"},
		"trailer checksum": {streaming, framed + "x-amz-checksum-crc32:AAAAAA==\r\n\r\n", "BadDigest"},
		"trailer missing":  {streaming, framed + "\r\n", "MalformedTrailerError"},
	} {
		t.Run(name, func(t *testing.T) {
			key := strings.ReplaceAll(name, " ", "-")
			w.put(t, "sales", key, "before")
			status, body := w.talk(t, w.head(t, "PUT", "/sales/"+key, c.change, fmt.Sprintf("Content-Length: %d", len(c.body)))+c.body)
			if status != 400 || !strings.Contains(body, "<Code>"+c.code+"</Code>") {
				t.Errorf("%d %s, want %s", status, body, c.code)
			}
			if got, _ := w.do(t, &s3.Outgoing{Method: "GET", Bucket: "sales", Key: key}, 200); got != "before" {
				t.Errorf("the object was replaced by %d bytes of a false one", len(got))
			}
		})
	}
}
