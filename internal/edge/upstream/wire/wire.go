// Package wire sends HTTP/1.1 requests to a store over kept connections, on the
// goroutine that asks.
//
// net/http's Transport reads and writes each connection on two goroutines of its
// own; for small objects the handing over costs as much as the request. Here the
// caller writes, reads, and may have the content moved from socket to socket by
// the kernel (Body.Pass). Answers are parsed by net/http.
//
// It never follows a redirect, never uses a proxy, and never changes bytes. It
// must never send a request a second time whose body it has begun to read, nor
// give a connection to the next request before the last answer's end.
package wire

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Transport keeps connections. It is safe for concurrent use; the zero value of
// each field but Dial is usable.
type Transport struct {
	// Dial opens a connection to host:port.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// TLS is used for https; its ServerName is that of each request.
	TLS *tls.Config
	// HandshakeTimeout bounds the TLS handshake; 0: 5 seconds.
	HandshakeTimeout time.Duration
	// IdleTimeout closes connections that nobody used for so long; 0: a minute.
	IdleTimeout time.Duration
	// MostIdle bounds the idle connections of each host; 0: 512, which is as
	// many as a busy gateway has requests at once. Each request above it pays
	// for a new one.
	MostIdle int

	mu    sync.Mutex
	idle  map[place][]*conn // the one used last is last
	sweep *time.Timer
}

// Patience says how long a store may be silent. A zero field: for ever.
type Patience struct {
	Answer time.Duration // until the head of the answer, once all was sent
	Piece  time.Duration // to take a piece of the request, or to give one of the answer
}

// ErrSilent says that the store was silent for too long.
var ErrSilent = errors.New("the store was silent for too long")

// place is where a connection leads.
type place struct{ scheme, host string }

const (
	readBuffer = 8 << 10
	maxHead    = 64 << 10 // bytes of an answer's head
	maxInform  = 8        // informational answers (1xx) before the one that counts
)

var (
	errLongHead = errors.New("wire: the head of the answer is too long")
	errNoisy    = errors.New("wire: too many informational answers")
	errSwitched = errors.New("wire: the store switches to another protocol, which nobody asked for")
)

// conn is one connection. Whoever took it from the transport owns it.
type conn struct {
	net.Conn
	raw  net.Conn // below TLS
	at   place
	r    *bufio.Reader
	left int64 // bytes that may still be read of a head; negative: no bound
	used bool  // answered a request before
	when time.Time
}

// Read bounds what a head may have.
func (c *conn) Read(b []byte) (int, error) {
	if c.left < 0 {
		return c.Conn.Read(b)
	}
	if c.left == 0 {
		return 0, errLongHead
	}
	n, err := c.Conn.Read(b[:min(int64(len(b)), c.left)])
	c.left -= int64(n)
	return n, err
}

// RoundTrip is Do with patience without end.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	return t.Do(req, Patience{})
}

// Do sends one request and gives the answer once its head is there. The caller
// closes the answer's body. A mere question is asked again, once, where a
// kept connection turns out to be closed.
func (t *Transport) Do(req *http.Request, p Patience) (*http.Response, error) {
	ctx := req.Context()
	for first := true; ; first = false {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		c, err := t.take(ctx, place{req.URL.Scheme, req.URL.Host})
		if err != nil {
			return nil, err
		}
		x := &exchange{t: t, c: c, req: req, patience: p}
		if req.Body != nil {
			x.watch()
		}
		res, err := x.do()
		if err == nil {
			return res, nil
		}
		again := first && c.used && x.silent && repeatable(req.Method)
		x.drop()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, ErrSilent
		}
		var own errBody
		if errors.As(err, &own) {
			return nil, own.error
		}
		if !again {
			return nil, err
		}
	}
}

// repeatable reports whether a request is a mere question, which may be asked
// twice. A DELETE may not: in a bucket with versions it leaves two markers.
func repeatable(method string) bool {
	return method == http.MethodGet || method == http.MethodHead
}

// take gives a kept connection that still stands, or a new one.
func (t *Transport) take(ctx context.Context, at place) (*conn, error) {
	for {
		c := t.kept(at)
		if c == nil {
			return t.open(ctx, at)
		}
		if time.Since(c.when) < t.idleTimeout() && c.r.Buffered() == 0 && quiet(c.raw) && c.drained() {
			return c, nil
		}
		_ = c.Close()
	}
}

// drained reports whether TLS holds nothing that was read from the socket already,
// where quiet can't see it: what stood behind the last answer is none to the next
// request.
func (c *conn) drained() bool {
	if c.Conn == c.raw {
		return true
	}
	_ = c.raw.SetReadDeadline(past)
	_, err := c.r.Peek(1)
	_ = c.raw.SetReadDeadline(time.Time{})
	return errors.Is(err, os.ErrDeadlineExceeded)
}

func (t *Transport) kept(at place) *conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := t.idle[at]
	if len(list) == 0 {
		return nil
	}
	c := list[len(list)-1]
	list[len(list)-1] = nil
	t.idle[at] = list[:len(list)-1]
	return c
}

func (t *Transport) open(ctx context.Context, at place) (*conn, error) {
	raw, err := t.Dial(ctx, "tcp", withPort(at))
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: raw, raw: raw, at: at}
	if at.scheme == "https" {
		if c.Conn, err = t.secure(ctx, raw, at.host); err != nil {
			_ = raw.Close()
			return nil, err
		}
	}
	c.r = bufio.NewReaderSize(c, readBuffer)
	return c, nil
}

func (t *Transport) secure(ctx context.Context, raw net.Conn, host string) (net.Conn, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.TLS != nil {
		config = t.TLS.Clone()
	}
	if config.ServerName == "" {
		config.ServerName = hostOnly(host)
	}
	patience := t.HandshakeTimeout
	if patience == 0 {
		patience = 5 * time.Second
	}
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	secured := tls.Client(raw, config)
	return secured, secured.HandshakeContext(ctx)
}

func withPort(at place) string {
	if _, _, err := net.SplitHostPort(at.host); err == nil {
		return at.host
	}
	port := "80"
	if at.scheme == "https" {
		port = "443"
	}
	return net.JoinHostPort(hostOnly(at.host), port)
}

func hostOnly(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	if len(host) > 1 && host[0] == '[' {
		return host[1 : len(host)-1]
	}
	return host
}

func (t *Transport) idleTimeout() time.Duration {
	if t.IdleTimeout == 0 {
		return time.Minute
	}
	return t.IdleTimeout
}

// keep takes a connection back whose answer was read to its end.
func (t *Transport) keep(c *conn) {
	most := t.MostIdle
	if most == 0 {
		most = 512
	}
	c.used, c.when = true, time.Now()
	t.mu.Lock()
	list := t.idle[c.at]
	full := len(list) >= most
	if !full {
		if t.idle == nil {
			t.idle = map[place][]*conn{}
		}
		t.idle[c.at] = append(list, c)
		if t.sweep == nil {
			t.sweep = time.AfterFunc(t.idleTimeout(), t.sweepIdle)
		}
	}
	t.mu.Unlock()
	if full {
		_ = c.Close()
	}
}

// sweepIdle closes what nobody used for a while, and comes again while any is
// left.
func (t *Transport) sweepIdle() { t.closeIdle(time.Now().Add(-t.idleTimeout())) }

// CloseIdleConnections closes what is kept.
func (t *Transport) CloseIdleConnections() { t.closeIdle(time.Now()) }

func (t *Transport) closeIdle(before time.Time) {
	var old []*conn
	t.mu.Lock()
	left := 0
	for at, list := range t.idle {
		n := 0
		for n < len(list) && !list[n].when.After(before) {
			n++
		}
		old = append(old, list[:n]...)
		t.idle[at] = append([]*conn(nil), list[n:]...)
		left += len(list) - n
	}
	if t.sweep != nil {
		t.sweep.Stop()
		t.sweep = nil
	}
	if left > 0 {
		t.sweep = time.AfterFunc(t.idleTimeout(), t.sweepIdle)
	}
	t.mu.Unlock()
	for _, c := range old {
		_ = c.Close()
	}
}

// exchange is one request on one connection.
type exchange struct {
	t        *Transport
	c        *conn
	req      *http.Request
	patience Patience
	unwatch  func() bool // nil: nobody watches the context yet
	silent   bool        // the store has said nothing
	timed    bool        // somebody set deadlines on the connection
	answered atomic.Bool // before it had the whole request
}

// past wakes whoever reads or writes.
var past = time.Unix(1, 0)

// cut ends the exchange when its context does.
func (x *exchange) cut() { _ = x.c.raw.SetDeadline(past) }

// watch has the exchange cut when its context ends. An answer that is there at
// once is not worth it.
func (x *exchange) watch() {
	if x.unwatch == nil {
		x.timed = true
		x.unwatch = context.AfterFunc(x.req.Context(), x.cut)
	}
}

// drop closes the connection: something is left on it that nobody reads.
func (x *exchange) drop() {
	if x.unwatch != nil {
		x.unwatch()
	}
	_ = x.c.Close()
}

// done gives the connection back.
func (x *exchange) done() {
	if x.unwatch != nil && !x.unwatch() || x.c.r.Buffered() > 0 {
		_ = x.c.Close()
		return
	}
	if x.timed {
		_ = x.c.raw.SetDeadline(time.Time{})
	}
	x.t.keep(x.c)
}

func (x *exchange) do() (*http.Response, error) {
	x.silent, x.c.left = true, maxHead
	sent := x.send()
	if sent != nil && (!ofConnection(sent) || x.mute(sent)) {
		return nil, sent // nobody has more to say
	}
	switch {
	case sent != nil:
		x.within(lastWords)
	case x.unwatch == nil:
		if err := x.soon(); err != nil {
			return nil, err
		}
	case !x.watched():
		x.within(x.patience.Answer)
	}
	res, err := x.head()
	switch {
	case err != nil && sent != nil:
		return nil, sent
	case err != nil:
		return nil, err
	case sent != nil:
		// The store answered and took no more: it says why, and closes.
		res.Close = true
	}
	res.Body = x.body(res, sent == nil)
	return res, nil
}

// soon waits for an answer a little while; one that takes longer is waited for
// in full.
func (x *exchange) soon() error {
	left := x.patience.Answer
	if left > 0 && left <= atOnce {
		x.within(left)
		return nil
	}
	x.within(atOnce)
	_, err := x.c.r.Peek(1)
	if err == nil {
		if there, _ := x.c.r.Peek(x.c.r.Buffered()); bytes.Contains(there, []byte("\r\n\r\n")) {
			return nil
		}
	} else if !errors.Is(err, os.ErrDeadlineExceeded) {
		return nil // head meets it again
	}
	x.within(max(left-atOnce, 0))
	x.watch()
	return x.req.Context().Err()
}

// atOnce is how long an answer is waited for by somebody whose context nobody
// watches.
const atOnce = 250 * time.Millisecond

// within bounds the next wait for the store; 0: it may last. A context that ends
// meanwhile wins.
func (x *exchange) within(d time.Duration) {
	var end time.Time
	switch {
	case d > 0:
		end = time.Now().Add(d)
	case !x.timed:
		return
	}
	x.timed = true
	_ = x.c.raw.SetReadDeadline(end)
	if x.req.Context().Err() != nil {
		x.cut()
	}
}

// head reads the head of the answer that counts.
func (x *exchange) head() (*http.Response, error) {
	if _, err := x.c.r.Peek(1); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	x.silent = false
	for range maxInform {
		res, err := http.ReadResponse(x.c.r, x.req)
		if err != nil {
			return nil, err
		}
		if res.StatusCode == http.StatusSwitchingProtocols {
			return nil, errSwitched
		}
		if res.StatusCode >= 200 {
			x.c.left = -1
			return res, nil
		}
	}
	return nil, errNoisy
}
