package wire_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"carnet.dev/carnet/internal/edge/upstream/wire"
)

// transport counts the connections that it opens.
func transport(t testing.TB) (*wire.Transport, *atomic.Int32) {
	t.Helper()
	opened := new(atomic.Int32)
	w := &wire.Transport{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		opened.Add(1)
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	t.Cleanup(w.CloseIdleConnections)
	return w, opened
}

func request(t testing.TB, method, url string, body io.Reader, length int64) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = length
	return req
}

func read(t testing.TB, res *http.Response, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %s", res.StatusCode, b)
}

// echo answers with method, target, length and body.
func echo(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	if len(b) > 20 {
		b = fmt.Appendf(nil, "%d bytes", len(b))
	}
	fmt.Fprintf(w, "%s %s %d %s", r.Method, r.RequestURI, r.ContentLength, b)
}

func TestConnectionsAreKept(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/chunked":
			defer w.(http.Flusher).Flush()
		case "/none":
			w.WriteHeader(http.StatusNoContent)
			return
		case "/same":
			w.WriteHeader(http.StatusNotModified)
			return
		case "/early":
			w.WriteHeader(http.StatusEarlyHints)
		}
		echo(w, r)
	}))
	defer s.Close()
	w, opened := transport(t)
	large := strings.Repeat("x", 3<<20)
	for _, tc := range []struct{ method, path, body, want string }{
		{"GET", "/a%2Fb?x=1", "", "200 GET /a%2Fb?x=1 0 "},
		{"HEAD", "/a", "", "200 "},
		{"PUT", "/a", "", "200 PUT /a 0 "},
		{"PUT", "/a", "hello", "200 PUT /a 5 hello"},
		{"PUT", "/a", large, "200 PUT /a 3145728 3145728 bytes"},
		{"POST", "/chunked", "hello", "200 POST /chunked 5 hello"},
		{"DELETE", "/none", "", "204 "},
		{"GET", "/same", "", "304 "},
		{"GET", "/early", "", "200 GET /early 0 "},
		{"GET", "/last", "", "200 GET /last 0 "},
	} {
		var body io.Reader
		if tc.body != "" {
			body = strings.NewReader(tc.body)
		}
		res, err := w.RoundTrip(request(t, tc.method, s.URL+tc.path, body, int64(len(tc.body))))
		if got := read(t, res, err); got != tc.want {
			t.Errorf("%s %s: %q, want %q", tc.method, tc.path, got, tc.want)
		}
	}
	if opened.Load() != 1 {
		t.Errorf("%d connections were opened for requests one after the other", opened.Load())
	}
}

func TestOverTLS(t *testing.T) {
	t.Parallel()
	s := httptest.NewTLSServer(http.HandlerFunc(echo))
	defer s.Close()
	w, opened := transport(t)
	w.TLS = s.Client().Transport.(*http.Transport).TLSClientConfig
	for range 3 {
		res, err := w.RoundTrip(request(t, "PUT", s.URL+"/k", strings.NewReader(strings.Repeat("x", 1<<20)), 1<<20))
		if got := read(t, res, err); got != "200 PUT /k 1048576 1048576 bytes" {
			t.Error(got)
		}
	}
	if n := opened.Load(); n > 2 {
		t.Errorf("%d connections", n)
	}
	w.TLS = nil
	w.CloseIdleConnections()
	if res, err := w.RoundTrip(request(t, "GET", s.URL+"/k", nil, 0)); err == nil {
		t.Errorf("an unknown authority is believed: %s", read(t, res, nil))
	}
}

// raw answers each connection as its function says.
func raw(t testing.TB, serve func(n int, c net.Conn, r *bufio.Reader)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(n, c, bufio.NewReader(c))
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

const good = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func readHead(r *bufio.Reader) bool {
	_, err := http.ReadRequest(r)
	return err == nil
}

// TestKeptConnectionThatEnded: a store closes kept connections when it likes. A
// mere question is asked again, and nothing else.
func TestKeptConnectionThatEnded(t *testing.T) {
	t.Parallel()
	// The store answers once and closes when it has read the next request, so
	// that the end can't be seen before that is sent.
	url := raw(t, func(_ int, c net.Conn, r *bufio.Reader) {
		if readHead(r) {
			_, _ = io.WriteString(c, good)
			readHead(r)
		}
	})
	w, opened := transport(t)
	for _, method := range []string{"GET", "HEAD", "GET"} {
		res, err := w.RoundTrip(request(t, method, url, nil, 0))
		read(t, res, err)
	}
	if n := opened.Load(); n != 3 {
		t.Errorf("%d connections for three requests", n)
	}
	for _, method := range []string{"POST", "PUT", "DELETE"} {
		for _, content := range []string{"", "x"} {
			res, err := w.RoundTrip(request(t, "GET", url, nil, 0))
			read(t, res, err)
			if _, err := w.RoundTrip(request(t, method, url, strings.NewReader(content), int64(len(content)))); err == nil {
				t.Errorf("%s was sent twice", method)
			}
		}
	}
}

// TestClosedConnectionIsNotUsed: the end of a kept connection that has come is
// seen before content is sent on it.
func TestClosedConnectionIsNotUsed(t *testing.T) {
	t.Parallel()
	closed := make(chan struct{}, 8)
	url := raw(t, func(_ int, c net.Conn, r *bufio.Reader) {
		if readHead(r) {
			_, _ = io.WriteString(c, good)
		}
		_ = c.Close()
		closed <- struct{}{}
	})
	w, opened := transport(t)
	for range 5 {
		res, err := w.RoundTrip(request(t, "PUT", url, strings.NewReader("content"), 7))
		if got := read(t, res, err); got != "200 ok" {
			t.Error(got)
		}
		<-closed
		time.Sleep(10 * time.Millisecond)
	}
	if n := opened.Load(); n != 5 {
		t.Errorf("%d connections", n)
	}
}

// TestUnaskedBytes: what a store says between two requests is nobody's answer.
func TestUnaskedBytes(t *testing.T) {
	t.Parallel()
	said := make(chan struct{}, 8)
	url := raw(t, func(n int, c net.Conn, r *bufio.Reader) {
		for readHead(r) {
			answer := good
			if n == 0 {
				answer += strings.Replace(good, "ok", "no", 1)
			}
			_, _ = io.WriteString(c, answer)
			said <- struct{}{}
		}
	})
	w, _ := transport(t)
	for range 2 {
		res, err := w.RoundTrip(request(t, "GET", url, nil, 0))
		<-said
		if got := read(t, res, err); got != "200 ok" {
			t.Errorf("the answer of nobody's request is given: %q", got)
		}
	}
}

// TestEarlyAnswer: a store that refuses an upload before it has it all is heard,
// and the rest is not sent.
func TestEarlyAnswer(t *testing.T) {
	t.Parallel()
	for _, stays := range []bool{false, true} {
		release := make(chan struct{})
		url := raw(t, func(_ int, c net.Conn, r *bufio.Reader) {
			line, _ := r.ReadString('\n')
			_, _ = io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\nnever")
			if stays {
				<-release // neither reads nor closes
			} else {
				_, _ = io.CopyN(io.Discard, r, 1<<20)
			}
			_ = line
		})
		w, _ := transport(t)
		endless := &counting{}
		res, err := w.RoundTrip(request(t, "PUT", url, endless, 1<<40))
		if got := read(t, res, err); got != "403 never" {
			t.Error(got)
		}
		close(release)
		if !res.Close {
			t.Error("the connection is good for another request")
		}
	}
}

// counting is content without end.
type counting struct{ n atomic.Int64 }

func (c *counting) Read(b []byte) (int, error) { c.n.Add(int64(len(b))); return len(b), nil }

var errOwn = errors.New("the content's own failure")

// TestContentThatFails: the failure comes back as it is, and the store never
// gets the last byte.
func TestContentThatFails(t *testing.T) {
	t.Parallel()
	got := make(chan error, 2)
	url := raw(t, func(_ int, _ net.Conn, r *bufio.Reader) {
		req, err := http.ReadRequest(r)
		if err == nil {
			_, err = io.Copy(io.Discard, req.Body)
		}
		got <- err
	})
	for _, length := range []int64{100, 10 << 20} {
		w, _ := transport(t)
		body := io.MultiReader(strings.NewReader(strings.Repeat("x", int(length)-1)), failing{})
		if _, err := w.RoundTrip(request(t, "PUT", url, body, length)); err != errOwn {
			t.Errorf("%v", err)
		}
		if err := <-got; !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("the store reads to the end: %v", err)
		}
	}
	w, _ := transport(t)
	if _, err := w.RoundTrip(request(t, "PUT", url, strings.NewReader("short"), 9)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("content shorter than its length: %v", err)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errOwn }

// TestContextEnds: wherever an exchange waits, the end of its context ends it.
func TestContextEnds(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{"no head": "", "half a head": "HTTP/1.1 200 OK\r\nCont", "half an answer": "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"} {
		url := raw(t, func(_ int, c net.Conn, r *bufio.Reader) {
			readHead(r)
			_, _ = io.WriteString(c, answer)
			_, _ = io.Copy(io.Discard, c)
		})
		w, _ := transport(t)
		for _, length := range []int64{0, 1 << 20} {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			var body io.Reader
			if length > 0 {
				body = io.LimitReader(&counting{}, length)
			}
			req := request(t, "PUT", url, body, length).WithContext(ctx)
			res, err := w.RoundTrip(req)
			if err == nil {
				_, err = io.ReadAll(res.Body)
				_ = res.Body.Close()
			}
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s, %d: %v", name, length, err)
			}
			cancel()
		}
	}
}

func TestBrokenAnswers(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"nothing":                 "",
		"no HTTP":                 "hello\r\n\r\n",
		"endless head":            "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 70<<10) + "\r\n\r\n",
		"two lengths":             "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
		"too short":               "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
		"broken chunks":           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok",
		"cut chunks":              "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
		"informed without an end": strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 20) + good,
	} {
		url := raw(t, func(_ int, c net.Conn, r *bufio.Reader) {
			readHead(r)
			_, _ = io.WriteString(c, answer)
		})
		w, _ := transport(t)
		res, err := w.RoundTrip(request(t, "GET", url, nil, 0))
		if err == nil {
			var b []byte
			b, err = io.ReadAll(res.Body)
			_ = res.Body.Close()
			if err == nil {
				t.Errorf("%s: taken for %d %q", name, res.StatusCode, b)
			}
		}
	}
}

// TestAttackHeadersThatEndEarly: nothing that a key, a header or a host holds
// begins a request of its own.
func TestAttackHeadersThatEndEarly(t *testing.T) {
	t.Parallel()
	asked := new(atomic.Int32)
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer s.Close()
	w, _ := transport(t)
	for name, change := range map[string]func(*http.Request){
		"value":  func(r *http.Request) { r.Header["X"] = []string{"a\r\nY: b"} },
		"line":   func(r *http.Request) { r.Header["X"] = []string{"a\nY: b"} },
		"name":   func(r *http.Request) { r.Header["X: a\r\nY"] = []string{"b"} },
		"space":  func(r *http.Request) { r.Header["X y"] = []string{"b"} },
		"empty":  func(r *http.Request) { r.Header[""] = []string{"b"} },
		"host":   func(r *http.Request) { r.Host = "a\r\nY: b" },
		"nohost": func(r *http.Request) { r.Host = "" },
		"method": func(r *http.Request) { r.Method = "GET / HTTP/1.1\r\nX: " },
		"query":  func(r *http.Request) { r.URL.RawQuery = "a b\r\nX: y" },
		"length": func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(strings.NewReader("x")), -1 },
	} {
		req := request(t, "GET", s.URL, nil, 0)
		change(req)
		if res, err := w.RoundTrip(req); err == nil {
			t.Errorf("%s is sent: %s", name, read(t, res, nil))
		}
	}
	if asked.Load() != 0 {
		t.Errorf("%d requests reached the store", asked.Load())
	}
	// What frames the request is the transport's own.
	req := request(t, "PUT", s.URL, strings.NewReader("content"), 7)
	req.Header["Transfer-Encoding"], req.Header["Content-Length"], req.Header["Connection"] = []string{"chunked"}, []string{"3"}, []string{"close"}
	res, err := w.RoundTrip(req)
	if got := read(t, res, err); got != "200 " || asked.Load() != 1 {
		t.Errorf("%q, %d requests", got, asked.Load())
	}
}

// TestMovedContent: content that was moved by the kernel is what Read gives, and
// leaves the connection as good.
func TestMovedContent(t *testing.T) {
	t.Parallel()
	data := bytes.Repeat([]byte("0123456789abcdef"), 200<<10/16)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		_, _ = w.Write(data)
	}))
	defer s.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	w, opened := transport(t)
	for range 3 {
		got := make(chan []byte)
		go func() {
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Error(err)
			}
			b, _ := io.ReadAll(c)
			got <- b
		}()
		to, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		res, err := w.RoundTrip(request(t, "GET", s.URL, nil, 0))
		if err != nil {
			t.Fatal(err)
		}
		body := res.Body.(*wire.Body)
		if !body.Plain() {
			t.Fatal("a bare socket is not plain")
		}
		first := body.Buffered()
		if _, err := to.Write(first); err != nil {
			t.Fatal(err)
		}
		for err = body.Take(len(first)); err == nil; {
			_, err = body.Pass(to.(*net.TCPConn), 64<<10)
		}
		_ = to.Close()
		if b := <-got; err != io.EOF || !bytes.Equal(b, data) {
			t.Errorf("%d bytes, %v", len(b), err)
		}
		_ = res.Body.Close()
	}
	if opened.Load() != 1 {
		t.Errorf("%d connections", opened.Load())
	}
}

// TestIdleConnectionsEnd: nobody keeps a connection open for ever, and what is
// left of an answer ends its connection.
func TestIdleConnectionsEnd(t *testing.T) {
	t.Parallel()
	open := new(atomic.Int32)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, 1<<20))
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed:
			open.Add(-1)
		}
	}
	s.Start()
	defer s.Close()
	w, _ := transport(t)
	w.IdleTimeout, w.MostIdle = 30*time.Millisecond, 2
	var wait sync.WaitGroup
	for i := range 6 {
		wait.Go(func() {
			res, err := w.RoundTrip(request(t, "GET", s.URL, nil, 0))
			if err != nil {
				t.Error(err)
				return
			}
			if i > 0 {
				_, _ = io.Copy(io.Discard, res.Body)
			}
			_ = res.Body.Close()
		})
	}
	wait.Wait()
	for began := time.Now(); open.Load() > 0; time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			t.Fatalf("%d connections stay open", open.Load())
		}
	}
}

// TestManyAtOnce mixes requests on shared connections: every answer belongs to
// its request.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(echo))
	defer s.Close()
	w, _ := transport(t)
	var wait sync.WaitGroup
	for i := range 16 {
		wait.Go(func() {
			for j := range 50 {
				path := fmt.Sprintf("/%d/%d", i, j)
				res, err := w.RoundTrip(request(t, "PUT", s.URL+path, strings.NewReader("hello"), 5))
				if got := read(t, res, err); got != "200 PUT "+path+" 5 hello" {
					t.Errorf("%s is answered %q", path, got)
				}
			}
		})
	}
	wait.Wait()
}

// TestSilentStore: patience ends wherever the store does not move, and never
// while the client is waited for.
func TestSilentStore(t *testing.T) {
	t.Parallel()
	const little = 100 * time.Millisecond
	for name, tc := range map[string]struct {
		answer string
		length int64
		reads  bool
	}{
		"no answer":         {"", 0, true},
		"no answer to some": {"", 1 << 10, true},
		"no answer to much": {"", 1 << 20, true},
		"takes nothing":     {"", 64 << 20, false},
		"half an answer":    {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", 0, true},
		"half a chunk":      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf", 0, true},
	} {
		url := raw(t, func(_ int, c net.Conn, r *bufio.Reader) {
			if tc.reads {
				req, err := http.ReadRequest(r)
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, req.Body)
			}
			_, _ = io.WriteString(c, tc.answer)
			<-t.Context().Done()
		})
		w, _ := transport(t)
		var body io.Reader
		if tc.length > 0 {
			body = io.LimitReader(&counting{}, tc.length)
		}
		res, err := w.Do(request(t, "PUT", url, body, tc.length), wire.Patience{Answer: little, Piece: little})
		if err == nil {
			_, err = io.ReadAll(res.Body)
			_ = res.Body.Close()
		}
		if !errors.Is(err, wire.ErrSilent) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := httptest.NewServer(http.HandlerFunc(echo))
	defer s.Close()
	w, _ := transport(t)
	for _, length := range []int64{3, 1 << 20} {
		body := io.MultiReader(strings.NewReader("x"), late(3*little), io.LimitReader(&counting{}, length-1))
		res, err := w.Do(request(t, "PUT", s.URL, body, length), wire.Patience{Answer: time.Minute, Piece: little})
		if got := read(t, res, err); !strings.HasPrefix(got, "200 PUT / ") {
			t.Errorf("a slow client's upload: %s", got)
		}
	}
}

// late gives nothing, after a while.
type late time.Duration

func (l late) Read([]byte) (int, error) { time.Sleep(time.Duration(l)); return 0, io.EOF }
