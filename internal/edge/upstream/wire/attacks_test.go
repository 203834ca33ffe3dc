package wire_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/edge/upstream/wire"
)

// held passes on what is written, or keeps it until it is let go: then all of it
// arrives at once.
type held struct {
	net.Conn
	keep bool
	b    []byte
}

func (h *held) Write(b []byte) (int, error) {
	if h.keep {
		h.b = append(h.b, b...)
		return len(b), nil
	}
	return h.Conn.Write(b)
}

// TestAttackAnswerBehindAHead: some stores send the content after the head of an
// object, too. Whoever wrote that object chose those bytes; over TLS they may have
// been read from the socket already, and still are no answer to the next request.
func TestAttackAnswerBehindAHead(t *testing.T) {
	t.Parallel()
	trusted := httptest.NewTLSServer(http.NotFoundHandler()) // for its certificate
	defer trusted.Close()
	url := raw(t, func(n int, c net.Conn, _ *bufio.Reader) {
		h := &held{Conn: c}
		s := tls.Server(h, trusted.TLS)
		r := bufio.NewReader(s)
		for readHead(r) {
			if n > 0 {
				_, _ = io.WriteString(s, good)
				continue
			}
			evil := strings.Replace(good, "ok", "no", 1)
			h.keep = true
			_, _ = io.WriteString(s, "HTTP/1.1 200 OK\r\nContent-Length: "+strconv.Itoa(len(evil))+"\r\n\r\n")
			_, _ = io.WriteString(s, evil)
			h.keep = false
			_, _ = h.Conn.Write(h.b)
		}
	})
	w, opened := transport(t)
	w.TLS = trusted.Client().Transport.(*http.Transport).TLSClientConfig
	url = strings.Replace(url, "http:", "https:", 1)
	res, err := w.RoundTrip(request(t, "HEAD", url, nil, 0))
	read(t, res, err)
	for range 3 {
		res, err = w.RoundTrip(request(t, "GET", url, nil, 0))
		if got := read(t, res, err); got != "200 ok" {
			t.Errorf("what stood behind a head is given as an answer: %q", got)
		}
	}
	if n := opened.Load(); n != 2 {
		t.Errorf("%d connections were opened", n)
	}
}

// TestAttackSwitchedProtocol: nobody asks a store to speak something else, and what
// it then says is no HTTP.
func TestAttackSwitchedProtocol(t *testing.T) {
	t.Parallel()
	url := raw(t, func(n int, c net.Conn, r *bufio.Reader) {
		for readHead(r) {
			answer := good
			if n == 0 {
				answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
			}
			_, _ = io.WriteString(c, answer)
		}
	})
	w, _ := transport(t)
	if res, err := w.RoundTrip(request(t, "GET", url, nil, 0)); err == nil {
		t.Errorf("it is an answer: %s", read(t, res, nil))
	}
	res, err := w.RoundTrip(request(t, "GET", url, nil, 0))
	if got := read(t, res, err); got != "200 ok" {
		t.Error(got)
	}
}

// TestAttackRequestThatCantBeSent: the store was not asked, so the fault is none of
// its own.
func TestAttackRequestThatCantBeSent(t *testing.T) {
	t.Parallel()
	w := &wire.Transport{Dial: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, far) }()
		return near, nil
	}}
	defer w.CloseIdleConnections()
	req := request(t, "PUT", "http://store/k", strings.NewReader("content"), 7)
	req.Header["X-Amz-Meta-A"] = []string{strings.Repeat("a", 20<<10)}
	if _, err := w.RoundTrip(req); !errors.Is(err, wire.ErrRequest) {
		t.Errorf("a head that is too long: %v", err)
	}
}
