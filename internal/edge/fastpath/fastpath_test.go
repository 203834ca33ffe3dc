package fastpath_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/edge/fastpath"
)

// serve answers on loopback until the test ends.
func serve(t *testing.T, h http.HandlerFunc, change func(*http.Server)) (*fastpath.Server, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &fastpath.Server{HTTP: &http.Server{Handler: h, ReadHeaderTimeout: time.Minute, IdleTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}}
	if change != nil {
		change(s.HTTP)
	}
	over := make(chan error, 1)
	go func() { over <- s.Serve(l) }()
	t.Cleanup(func() {
		_ = s.Close()
		if err := <-over; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve ends with %v", err)
		}
	})
	return s, l.Addr().String()
}

// client is one connection.
type client struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

func dial(t *testing.T, address string) *client {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return &client{c, t, bufio.NewReader(c)}
}

func (c *client) say(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

// answer reads one answer.
func (c *client) answer() (*http.Response, string) {
	c.t.Helper()
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return res, string(b)
}

// ended demands that the server has closed the connection.
func (c *client) ended() {
	c.t.Helper()
	if b, err := io.ReadAll(c.r); err != nil || len(b) > 0 {
		c.t.Fatalf("the connection does not end: %q, %v", b, err)
	}
}

func TestMovesFromSocketToSocket(t *testing.T) {
	t.Parallel()
	const size = 3 << 20
	_, address := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		a, b := net.Pipe()
		go func() { _, _ = a.Write(bytes.Repeat([]byte("x"), size)); _ = a.Close() }()
		h := w.Header()
		h.Set("Content-Length", fmt.Sprint(size))
		h.Set("Content-Type", "binary/octet-stream")
		w.WriteHeader(200)
		if n, err := w.(io.ReaderFrom).ReadFrom(b); n != size || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}, nil)
	c := dial(t, address)
	for range 2 { // on one connection
		c.say(get("/object"))
		if _, body := c.answer(); len(body) != size {
			t.Errorf("%d bytes", len(body))
		}
	}
}

// TestStrangeRequestOnAKnownConnection: net/http takes over, and what was sent
// behind the last plain request is not lost.
func TestStrangeRequestOnAKnownConnection(t *testing.T) {
	t.Parallel()
	n := &notes{}
	_, address := serve(t, n.ServeHTTP, nil)
	c := dial(t, address)
	c.say(get("/object") + strings.Replace(get("/object"), "GET", "DELETE", 1) + put("/object", "abc", "Expect: 100-continue\r\n") + get("/object"))
	for i, want := range []int{200, 200, 100, 200, 200} {
		if res, _ := c.answer(); res.StatusCode != want {
			t.Errorf("answer %d: %s", i, res.Status)
		}
	}
}

// TestClientGone: whoever waits for the end of a request's context learns that
// its client went, and a request sent meanwhile is not lost.
func TestClientGone(t *testing.T) {
	t.Parallel()
	waits, gone := make(chan string), make(chan error)
	_, address := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		ctx, stop := context.WithCancel(r.Context()) // asks for Done
		defer stop()
		waits <- r.URL.Path
		select {
		case <-ctx.Done():
			gone <- ctx.Err()
		case <-waits:
		}
	}, nil)
	for _, text := range []string{get("/a"), put("/a", "content")} {
		c := dial(t, address)
		c.say(text)
		<-waits
		_ = c.Close()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("%.3s: %v", text, err)
		}
		c = dial(t, address)
		c.say(text)
		<-waits
		c.say(get("/next"))
		waits <- "go on"
		if res, _ := c.answer(); res.StatusCode != 200 {
			t.Error(res.Status)
		}
		if path := <-waits; path != "/next" {
			t.Errorf("%s instead of the next request", path)
		}
		waits <- "go on"
		c.answer()
	}
}

// TestContextEndsWithTheRequest, and with it the right to its body and answer.
func TestContextEndsWithTheRequest(t *testing.T) {
	t.Parallel()
	kept := make(chan *http.Request, 1)
	writers := make(chan http.ResponseWriter, 1)
	_, address := serve(t, func(w http.ResponseWriter, r *http.Request) { kept <- r; writers <- w }, nil)
	c := dial(t, address)
	c.say(put("/a", "content"))
	c.answer()
	r, w := <-kept, <-writers
	<-r.Context().Done()
	if r.Context().Value(http.LocalAddrContextKey).(net.Addr).String() != address || r.Context().Value(http.ServerContextKey) == nil {
		t.Error("the context lacks what net/http says")
	}
	c.say(get("/b"))
	c.answer() // so the first request is behind the connection
	if _, err := r.Body.Read(make([]byte, 1)); !errors.Is(err, http.ErrBodyReadAfterClose) {
		t.Errorf("the body gives %v", err)
	}
	if err := http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0)); err == nil {
		t.Error("the writer of an old answer still moves the connection")
	}
}

// TestAttackSlowHead: neither silence nor a byte now and then holds a connection.
func TestAttackSlowHead(t *testing.T) {
	t.Parallel()
	for name, feed := range map[string]func(*client){
		"nothing": func(*client) {},
		"part":    func(c *client) { c.say("GET /object HTTP/1.1\r\nHost: a") },
		"bytes": func(c *client) {
			for _, b := range []byte(strings.TrimSuffix(get("/object"), "\r\n")) {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Millisecond)
			}
		},
		"idle": func(c *client) { c.say(get("/object")); c.answer() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, address := serve(t, (&notes{}).ServeHTTP, func(s *http.Server) {
				s.ReadHeaderTimeout, s.IdleTimeout = 300*time.Millisecond, 300*time.Millisecond
			})
			c := dial(t, address)
			feed(c)
			// What it is told, if anything, is net/http's.
			if _, err := io.ReadAll(c.r); err != nil && strings.Contains(err.Error(), "timeout") {
				t.Errorf("the connection stays open: %v", err)
			}
		})
	}
}

func TestShutdown(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan bool), make(chan bool)
	s, address := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			entered <- true
			<-leave
		}
	}, nil)
	idle, busy, fresh := dial(t, address), dial(t, address), dial(t, address)
	idle.say(get("/object"))
	idle.answer()
	busy.say(get("/wait"))
	<-entered
	over := make(chan error, 1)
	go func() { over <- s.Shutdown(context.Background()) }()
	idle.ended()
	fresh.ended()
	select {
	case err := <-over:
		t.Fatalf("Shutdown does not wait: %v", err)
	default:
	}
	leave <- true
	if res, _ := busy.answer(); res.StatusCode != 200 || !res.Close {
		t.Errorf("%s, close %v", res.Status, res.Close)
	}
	busy.ended()
	if err := <-over; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", address); err == nil {
		t.Error("it still listens")
	}
}

// TestShutdownGivesUp where a request takes too long; Close cuts it.
func TestShutdownGivesUp(t *testing.T) {
	t.Parallel()
	entered := make(chan bool)
	s, address := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		entered <- true
		<-r.Context().Done()
	}, nil)
	c := dial(t, address)
	c.say(get("/wait"))
	<-entered
	ctx, stop := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer stop()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown gives %v", err)
	}
	_ = s.Close()
	if b, _ := io.ReadAll(c.r); len(b) > 0 {
		t.Errorf("an answer after all: %q", b)
	}
}

// TestPanic ends one connection, and is told to the operator.
func TestPanic(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var said bytes.Buffer
	_, address := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/object" {
			panic("a mistake")
		}
	}, func(s *http.Server) { s.ErrorLog = log.New(&locked{&mu, &said}, "", 0) })
	c := dial(t, address)
	c.say(get("/object"))
	c.ended()
	mu.Lock()
	if !strings.Contains(said.String(), "a mistake") {
		t.Errorf("said: %q", said.String())
	}
	mu.Unlock()
	c = dial(t, address)
	c.say(get("/other"))
	c.answer()
}

type locked struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// TestTLSIsNetHTTPs: with it come HTTP/2 and the state of TLS.
func TestTLSIsNetHTTPs(t *testing.T) {
	t.Parallel()
	own := httptest.NewTLSServer(nil) // for its certificate
	own.Close()
	trust := own.Client().Transport.(*http.Transport).TLSClientConfig
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &fastpath.Server{HTTP: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil {
			w.WriteHeader(http.StatusTeapot)
		}
		_, _ = io.WriteString(w, r.Proto)
	})}}
	go func() {
		_ = s.Serve(tls.NewListener(l, &tls.Config{Certificates: own.TLS.Certificates, NextProtos: []string{"h2", "http/1.1"}}))
	}()
	defer s.Close()
	for proto, two := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		tr := &http.Transport{TLSClientConfig: trust.Clone(), ForceAttemptHTTP2: two}
		res, err := (&http.Client{Transport: tr, Timeout: 20 * time.Second}).Get("https://" + l.Addr().String() + "/object")
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		tr.CloseIdleConnections()
		if res.StatusCode != 200 || string(b) != proto {
			t.Errorf("%s: %s %q", proto, res.Status, b)
		}
	}
}

// TestBoundsOfNetHTTP: a server whose settings this one doesn't know is
// net/http's.
func TestBoundsOfNetHTTP(t *testing.T) {
	t.Parallel()
	states := make(chan http.ConnState, 10)
	_, address := serve(t, (&notes{}).ServeHTTP, func(s *http.Server) {
		s.ConnState = func(_ net.Conn, state http.ConnState) { states <- state }
	})
	c := dial(t, address)
	c.say(get("/object"))
	c.answer()
	if got := <-states; got != http.StateNew {
		t.Error(got)
	}
}
