package fastpath_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/edge/fastpath"
)

// pipe is a connection whose client sends some bytes in pieces, then ends, and
// keeps what it is answered.
type pipe struct {
	mu     sync.Mutex
	in     []byte
	piece  int
	out    bytes.Buffer
	past   bool
	closed chan struct{}
	once   sync.Once
}

func (p *pipe) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.past {
		return 0, os.ErrDeadlineExceeded
	}
	if len(p.in) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.piece)], p.in)
	p.in = p.in[n:]
	return n, nil
}

func (p *pipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

func (p *pipe) SetReadDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.past = !t.IsZero() && t.Before(time.Now())
	return nil
}

func (p *pipe) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{p}, r)
}
func (p *pipe) Close() error                     { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipe) CloseWrite() error                { return nil }
func (p *pipe) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }
func (p *pipe) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4711} }
func (p *pipe) SetDeadline(t time.Time) error    { return p.SetReadDeadline(t) }
func (p *pipe) SetWriteDeadline(time.Time) error { return nil }

// one is a listener of one connection.
type one struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *one) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}
func (l *one) Close() error   { return nil }
func (l *one) Addr() net.Addr { return &net.TCPAddr{} }

// seen is a request as a handler met it.
type seen struct {
	Method, URI, Host, Proto, Remote string
	URL                              any
	Header                           http.Header
	Length                           int64
	Close                            bool
	Encoding                         []string
	Trailer                          http.Header
	Body, BodyError                  string
}

// notes is a handler that notes what it meets, and answers in the ways that the
// path names.
type notes struct {
	mu  sync.Mutex
	all []seen
}

func (n *notes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	one := seen{r.Method, r.RequestURI, r.Host, r.Proto, r.RemoteAddr, *r.URL, r.Header.Clone(), r.ContentLength, r.Close, r.TransferEncoding, r.Trailer, "", ""}
	if !strings.Contains(r.URL.Path, "unread") {
		b, err := io.ReadAll(r.Body)
		one.Body = string(b)
		if err != nil {
			one.BodyError = err.Error()
		}
	}
	n.mu.Lock()
	n.all = append(n.all, one)
	n.mu.Unlock()
	h := w.Header()
	h["X-Amz-Request-Id"] = []string{"4442587FB7D0A2F9"}
	switch kind, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/"); kind {
	case "object":
		h["Content-Length"], h["Content-Type"] = []string{"11"}, []string{"text/plain"}
		_, _ = io.WriteString(w, "the content")
	case "short":
		h.Set("Content-Length", "20")
		_, _ = io.WriteString(w, "less")
	case "over":
		h.Set("Content-Length", "2")
		if _, err := io.WriteString(w, "more"); !errors.Is(err, http.ErrContentLength) && r.Method != "HEAD" {
			panic(fmt.Sprint("no complaint: ", err))
		}
	case "long":
		for range 300 {
			_, _ = io.WriteString(w, "content of unknown length ")
		}
	case "flushed":
		_, _ = io.WriteString(w, "<xml/>")
		_ = http.NewResponseController(w).Flush()
		_, _ = io.WriteString(w, "and the rest")
	case "copied":
		h.Set("Content-Length", "3000")
		_, _ = io.Copy(w, strings.NewReader(strings.Repeat("abc", 1000)))
	case "refused":
		h.Set("Connection", "close")
		http.Error(w, "no", http.StatusForbidden)
	case "same":
		h.Set("Etag", "\"a\"")
		h.Set("Content-Type", "text/plain")
		w.WriteHeader(http.StatusNotModified)
	case "none":
		w.WriteHeader(http.StatusNoContent)
	case "odd":
		h["X-Amz-Meta-A"] = []string{"a\r\nX-B: c", " d "}
		h["bad name"] = []string{"e"}
		h.Set("Content-Encoding", "gzip")
		h.Set("Date", "Sat, 21 Nov 2026 12:00:00 GMT")
		w.WriteHeader(299)
		h.Set("X-Late", "never sent")
		_, _ = io.WriteString(w, "x")
	case "split":
		h["Date"] = []string{"yesterday\r\nX-B: c\r\n\r\nHTTP/1.1 200 OK\r\n"}
		h["Connection"] = []string{"keep-alive\r\nX-C: d", "x-e"}
		_, _ = io.WriteString(w, "x")
	case "abort":
		h.Set("Content-Length", "20")
		_, _ = io.WriteString(w, "less")
		panic(http.ErrAbortHandler)
	}
}

// outcome is all that a client and a handler saw.
type outcome struct {
	requests []seen
	answers  []string
}

// run has bytes answered, with or without the fast path.
func run(t testing.TB, fast bool, text []byte, piece int) (o outcome, given bool) {
	t.Helper()
	n := &notes{}
	p := &pipe{in: bytes.Clone(text), piece: piece, closed: make(chan struct{})}
	s := &http.Server{Handler: n, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Hour, IdleTimeout: time.Hour, MaxHeaderBytes: 64 << 10}
	net := func(c net.Conn) {
		l := &one{make(chan net.Conn, 1), make(chan struct{})}
		l.conns <- c
		over := make(chan struct{})
		go func() { defer close(over); _ = s.Serve(l) }()
		<-p.closed
		close(l.closed)
		<-over
		given = true
	}
	if fast {
		fastpath.ServeStream(s, p, net)
	} else {
		net(p)
	}
	select {
	case <-p.closed:
	default:
		t.Fatal("the connection is open")
	}
	return outcome{n.all, answers(t, n.all, p.out.Bytes())}, given
}

// answers tells answers apart; what is after the last, or broken, is left as it
// is.
func answers(t testing.TB, asked []seen, out []byte) (all []string) {
	t.Helper()
	r := bufio.NewReader(bytes.NewReader(out))
	for i := 0; ; i++ {
		if _, err := r.Peek(1); err != nil {
			return all
		}
		method := http.MethodGet
		if i < len(asked) {
			method = asked[i].Method
		}
		res, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			return append(all, "broken")
		}
		b, err := io.ReadAll(res.Body)
		if date := res.Header["Date"]; len(date) == 1 {
			if _, err := http.ParseTime(date[0]); err == nil {
				delete(res.Header, "Date")
			}
		}
		if i < len(asked) && asked[i].BodyError != "" {
			res.Close = true // net/http closes and does not say so
		}
		all = append(all, fmt.Sprint(res.Status, res.Header, res.ContentLength, res.TransferEncoding, res.Close, string(b), err))
	}
}

// differ runs both, and fails on any difference. It reports whether the fast
// path answered all.
func differ(t testing.TB, text []byte, piece int) bool {
	t.Helper()
	want, _ := run(t, false, text, piece)
	got, given := run(t, true, text, piece)
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%q in pieces of %d:\nfast: %+v\n      %q\nhttp: %+v\n      %q", text, piece, got.requests, got.answers, want.requests, want.answers)
	}
	return !given
}

const signed = "Host: s3.test:9000\r\nUser-Agent: aws-sdk-go-v2/1.41.0 ua/2.1 os/linux lang/go#1.26\r\nAccept-Encoding: identity\r\nAmz-Sdk-Invocation-Id: 1f\r\n" +
	"Authorization: AWS4-HMAC-SHA256 Credential=ASIAALICE/20261121/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=00ff\r\n" +
	"X-Amz-Content-Sha256: UNSIGNED-PAYLOAD\r\nx-amz-date: 20261121T120000Z\r\nX-Amz-Security-Token: a+/=\r\n"

func get(path string, more ...string) string {
	return "GET " + path + " HTTP/1.1\r\n" + signed + strings.Join(more, "") + "\r\n"
}

func put(path, body string, more ...string) string {
	return fmt.Sprintf("PUT %s HTTP/1.1\r\n%sContent-Length: %d\r\n%s\r\n%s", path, signed, len(body), strings.Join(more, ""), body)
}

// taken are requests that the fast path answers; strange are for net/http.
var (
	taken = map[string]string{
		"one":              get("/object"),
		"query":            get("/object/a%2Fb%20c+d?versionId=a%26b&x-id=GetObject"),
		"double slash":     get("//object//../x"),
		"two":              get("/object") + get("/long"),
		"head":             strings.Replace(get("/object")+get("/long")+get("/none")+get("/empty"), "GET", "HEAD", -1),
		"close":            get("/object", "Connection: close\r\n") + get("/object"),
		"keep-alive":       get("/object", "Connection: keep-alive\r\n") + get("/object"),
		"put":              put("/empty", "") + put("/object", "the body") + get("/object"),
		"put, unread":      put("/object/unread", "the body") + get("/object"),
		"put, long":        put("/object", strings.Repeat("0123456789", 50_000)) + get("/object"),
		"put, long unread": put("/object/unread", strings.Repeat("0123456789", 25_000)) + get("/object"),
		"put, refused":     put("/refused", "the body") + get("/object"),
		"put, cut":         strings.TrimSuffix(put("/object", "the body"), "body"),
		"put, cut unread":  strings.TrimSuffix(put("/object/unread", "the body"), "body"),
		"short":            get("/short") + get("/object"),
		"over":             get("/over") + get("/object"),
		"flushed":          get("/flushed") + get("/object"),
		"copied":           get("/copied") + get("/object"),
		"same":             get("/same") + get("/object"),
		"none":             get("/none") + get("/empty"),
		"odd":              get("/odd") + get("/object"),
		"attack: split":    get("/split") + get("/object"),
		"abort":            get("/abort") + get("/object"),
		"empty value":      get("/object", "X-Amz-Meta-A:\r\n", "X-Amz-Meta-B:   \r\n", "x-amz-meta-C: a b  \r\n"),
	}
	strange = map[string]string{
		"post":               strings.Replace(put("/object", "a=b"), "PUT", "POST", 1) + get("/object"),
		"delete":             strings.Replace(get("/none"), "GET", "DELETE", 1),
		"options":            "OPTIONS * HTTP/1.1\r\n" + signed + "\r\n",
		"1.0":                strings.Replace(get("/object"), "/1.1", "/1.0", 1),
		"2.0":                "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"lower case":         strings.Replace(get("/object"), "GET", "get", 1),
		"absolute":           get("http://elsewhere/object"),
		"no slash":           get("object"),
		"bad escape":         get("/%zz"),
		"space in target":    get("/a b"),
		"two spaces":         get(" /object"),
		"tab in target":      get("/a\tb"),
		"UTF-8 in target":    get("/ä"),
		"fold":               get("/object", "X-A: b\r\n c\r\n"),
		"fold first":         strings.Replace(get("/object"), "1.1\r\n", "1.1\r\n x: y\r\n", 1),
		"bare line feeds":    strings.ReplaceAll(get("/object"), "\r\n", "\n"),
		"one line feed":      strings.Replace(get("/object"), "\r\n", "\n", 1),
		"last line feed":     strings.TrimSuffix(get("/object"), "\r\n") + "\n",
		"carriage return":    get("/object", "X-A: b\rX-B: c\r\n"),
		"two at the end":     get("/object", "X-A: b\r\r\n"),
		"NUL":                get("/object", "X-A: b\x00c\r\n"),
		"tab":                get("/object", "X-A: b\tc\r\n"),
		"UTF-8":              get("/object", "X-Amz-Meta-A: ä\r\n"),
		"twice":              get("/object", "X-A: b\r\nx-a: c\r\n"),
		"two hosts":          get("/object", "Host: elsewhere\r\n"),
		"no host":            "GET /object HTTP/1.1\r\n\r\n",
		"empty host":         "GET /object HTTP/1.1\r\nHost:\r\n\r\n",
		"odd host":           "GET /object HTTP/1.1\r\nHost: a/b\r\n\r\n",
		"IPv6 host":          "GET /object HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
		"space before colon": get("/object", "X-A : b\r\n"),
		"no colon":           get("/object", "X-A\r\n"),
		"no name":            get("/object", ": b\r\n"),
		"odd name":           get("/object", "X_A: b\r\n"),
		"chunked":            strings.Replace(put("/object", ""), "Content-Length: 0", "Transfer-Encoding: chunked", 1) + "3\r\nabc\r\n0\r\n\r\n" + get("/object"),
		"chunked and length": put("/object", "", "Transfer-Encoding: chunked\r\n") + "0\r\n\r\n" + get("/object"),
		"identity":           put("/object", "", "Transfer-Encoding: identity\r\n") + get("/object"),
		"two lengths":        put("/object", "abc", "Content-Length: 0\r\n") + get("/object"),
		"two equal lengths":  put("/object", "abc", "Content-Length: 3\r\n") + get("/object"),
		"length list":        strings.Replace(put("/object", "abc"), "Length: 3", "Length: 3, 3", 1),
		"signed length":      strings.Replace(put("/object", "abc"), "Length: 3", "Length: +3", 1),
		"negative length":    strings.Replace(put("/object", "abc"), "Length: 3", "Length: -3", 1),
		"zeros before":       strings.Replace(put("/object", "abc"), "Length: 3", "Length: 03", 1),
		"hexadecimal":        strings.Replace(put("/object", "abc"), "Length: 3", "Length: 0x3", 1),
		"huge length":        strings.Replace(put("/object", "abc"), "Length: 3", "Length: 9223372036854775808", 1),
		"no length":          strings.Replace(put("/object", ""), "Content-Length: 0\r\n", "", 1),
		"length of a GET":    get("/object", "Content-Length: 3\r\n") + "abc" + get("/object"),
		"GET of length 0":    get("/object", "Content-Length: 0\r\n") + get("/object"),
		"expect":             put("/object", "abc", "Expect: 100-continue\r\n") + get("/object"),
		"expect other":       put("/object", "abc", "Expect: more\r\n") + get("/object"),
		"upgrade":            get("/object", "Connection: upgrade\r\n", "Upgrade: h2c\r\n"),
		"odd connection":     get("/object", "Connection: keep-alive, close\r\n") + get("/object"),
		"Close":              get("/object", "Connection: Close\r\n") + get("/object"),
		"pragma":             get("/object", "Pragma: no-cache\r\n"),
		"trailer":            put("/object", "abc", "Trailer: X-A\r\n"),
		"te":                 get("/object", "TE: trailers\r\n"),
		"long head":          get("/object", "X-Amz-Meta-A: "+strings.Repeat("a", 9000)+"\r\n"),
		"too long":           get("/object", "X-Amz-Meta-A: "+strings.Repeat("a", 90_000)+"\r\n"),
		"empty line first":   "\r\n" + get("/object"),
		"cut":                strings.TrimSuffix(get("/object"), "\r\n\r\n"),
		"cut early":          "GET /ob",
		"TLS":                "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
	}
)

// TestAsNetHTTP holds requests of the grammar to be answered here, all others
// there, and either way as net/http alone would, whatever pieces they come in.
func TestAsNetHTTP(t *testing.T) {
	t.Parallel()
	for _, piece := range []int{1 << 20, 400, 97} {
		for name, text := range taken {
			t.Run(fmt.Sprint(name, " ", piece), func(t *testing.T) {
				t.Parallel()
				if !differ(t, []byte(text), piece) && !strings.Contains(name, "cut") {
					t.Error("not answered on the fast path")
				}
			})
		}
		for name, text := range strange {
			t.Run(fmt.Sprint(name, " ", piece), func(t *testing.T) {
				t.Parallel()
				if differ(t, []byte(text), piece) {
					t.Error("answered on the fast path")
				}
				differ(t, []byte(get("/object")+put("/object", "abc")+text), piece)
			})
		}
	}
}

// FuzzAgainstNetHTTP sends the same bytes through both: handlers must meet equal
// requests, and clients get equal answers.
func FuzzAgainstNetHTTP(f *testing.F) {
	for _, all := range []map[string]string{taken, strange} {
		for _, text := range all {
			if len(text) < 10_000 {
				f.Add([]byte(text), uint16(0))
				f.Add([]byte(text), uint16(300))
			}
		}
	}
	f.Fuzz(func(t *testing.T, text []byte, piece uint16) {
		if len(text) > 20_000 {
			return
		}
		if piece == 0 {
			piece = 65535
		}
		differ(t, text, int(max(piece, 40)))
	})
}
