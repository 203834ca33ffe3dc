package fastpath

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// States of a connection: it waits for a request, has one, or was closed by
// Shutdown.
const (
	idle int32 = iota
	active
	closed
)

// stream is a TCP connection: its ReadFrom may be splice(2).
type stream interface {
	net.Conn
	io.ReaderFrom
	CloseWrite() error
}

// conn is one connection.
type conn struct {
	s      *Server
	tcp    stream
	over   *handedOver
	base   context.Context
	remote string
	state  atomic.Int32
	used   bool // had a request before
	r, w   int  // what of buf was read and not used
	buf    [maxHead]byte
}

func (s *Server) open(tcp stream, over *handedOver) *conn {
	base := context.WithValue(context.Background(), http.ServerContextKey, s.HTTP)
	c := &conn{
		s: s, tcp: tcp, over: over, base: context.WithValue(base, http.LocalAddrContextKey, tcp.LocalAddr()),
		remote: tcp.RemoteAddr().String(),
	}
	s.enter(c)
	return c
}

// serve answers requests until one is not of the grammar or the connection ends.
func (c *conn) serve() {
	defer c.s.leave(c)
	defer func() { // what breaks here takes no other connection along
		if p := recover(); p != nil {
			c.s.logf("panic serving %v: %v\n%s", c.remote, p, debug.Stack())
			_ = c.tcp.Close()
		}
	}()
	for {
		req, mine := c.next()
		if req == nil {
			if mine {
				_ = c.tcp.Close()
				return
			}
			_ = c.tcp.SetReadDeadline(time.Time{})
			c.over.give(&replayed{Conn: c.tcp, tcp: c.tcp, old: append([]byte(nil), c.buf[c.r:c.w]...)})
			return
		}
		if !c.exchange(req) || c.s.draining.Load() {
			_ = c.tcp.Close()
			return
		}
		c.used = true
		c.state.Store(idle)
	}
}

// A head comes in one piece, or in few: who sends it in more is net/http's.
const mostPieces = 8

// next reads the next head. nil: the connection is over, or, where it is not
// mine, net/http's.
func (c *conn) next() (req *http.Request, mine bool) {
	c.w = copy(c.buf[:], c.buf[c.r:c.w])
	c.r = 0
	patience := c.s.HTTP.IdleTimeout
	if !c.used || patience == 0 {
		patience = c.s.HTTP.ReadHeaderTimeout
	}
	c.within(patience)
	for pieces, begun := 0, false; ; pieces++ {
		if b := c.buf[:c.w]; c.w >= 4 || c.w > 0 && !c.used { // net/http waits for as many
			if c.state.Load() == idle && !c.state.CompareAndSwap(idle, active) {
				return nil, true
			}
			if !mayBegin(b) || pieces > mostPieces {
				return nil, false
			}
			if end := bytes.Index(b, []byte("\r\n\r\n")); end >= 0 {
				if req = parse(string(b[:end+4])); req != nil {
					c.r = end + 4
				}
				return req, false
			}
			if c.w == len(c.buf) || lineFeedAlone(b) {
				return nil, false
			}
			if !begun {
				begun = true
				c.within(c.s.HTTP.ReadHeaderTimeout)
			}
		}
		n, err := c.tcp.Read(c.buf[c.w:])
		c.w += n
		if err != nil && n == 0 {
			return nil, c.w == 0 || c.used && c.w < 4 || !errors.Is(err, io.EOF)
		}
	}
}

// within bounds the next reads; 0: they may last.
func (c *conn) within(d time.Duration) {
	var end time.Time
	if d > 0 {
		end = time.Now().Add(d)
	}
	_ = c.tcp.SetReadDeadline(end)
}

// exchange has one request answered, and reports whether the connection is good
// for another.
func (c *conn) exchange(req *http.Request) (keep bool) {
	x := &exchange{c: c, req: req, length: -1, left: req.ContentLength}
	x.inner, x.cancel = context.WithCancel(c.base)
	defer x.cancel()
	req.RemoteAddr = c.remote
	if x.left > 0 {
		_ = c.tcp.SetReadDeadline(time.Time{})
		req.Body = (*body)(x)
	}
	req = req.WithContext(x)
	x.req = req
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if p != http.ErrAbortHandler {
			c.s.logf("panic serving %v: %v\n%s", c.remote, p, debug.Stack())
		}
		x.stop()
		x.forget() // what is not out yet stays in
		keep = false
	}()
	c.s.HTTP.Handler.ServeHTTP(x, req)
	x.cancel()
	return x.finish()
}

func (s *Server) logf(format string, args ...any) {
	if s.HTTP.ErrorLog != nil {
		s.HTTP.ErrorLog.Printf(format, args...)
	} else {
		log.Printf(format, args...)
	}
}

// Done is asked by who wants to know when the client goes: only then somebody
// reads the connection while the handler runs.
func (x *exchange) Done() <-chan struct{} {
	x.mu.Lock()
	x.asked = true
	x.watch()
	x.mu.Unlock()
	return x.inner.Done()
}

// Deadline, Err and Value make the exchange the context of its request.
func (x *exchange) Deadline() (time.Time, bool) { return time.Time{}, false }
func (x *exchange) Err() error                  { return x.inner.Err() }
func (x *exchange) Value(key any) any           { return x.inner.Value(key) }

// Most requests are answered before it is worth while to look whether the client
// is still there.
const watchAfter = 100 * time.Millisecond

// watch has somebody wait for the client to go, a little after its request is
// read. The caller holds mu.
func (x *exchange) watch() {
	if x.asked && !x.over && x.soon == nil && x.left == 0 {
		x.soon = time.AfterFunc(watchAfter, x.wait)
	}
}

// wait waits for the client to go. What it sends meanwhile is the next request.
func (x *exchange) wait() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.over || x.c.w == len(x.c.buf) {
		return
	}
	if !x.timed {
		_ = x.c.tcp.SetReadDeadline(time.Time{})
	}
	x.watched = make(chan struct{})
	go func() {
		defer close(x.watched)
		n, err := x.c.tcp.Read(x.c.buf[x.c.w:])
		x.c.w += n
		if err == nil {
			return
		}
		x.mu.Lock()
		defer x.mu.Unlock()
		if !x.over || !errors.Is(err, os.ErrDeadlineExceeded) {
			x.cancel()
		}
	}()
}

// past wakes whoever reads.
var past = time.Unix(1, 0)

// stop ends what the handler may have left: afterwards nobody but the connection
// reads or writes.
func (x *exchange) stop() {
	x.mu.Lock()
	x.over = true
	if x.soon != nil {
		x.soon.Stop()
	}
	watched := x.watched
	if watched != nil {
		_ = x.c.tcp.SetReadDeadline(past)
	}
	x.mu.Unlock()
	if watched != nil {
		<-watched
	}
}

// body is the content of a request.
type body exchange

// Read gives content; io.EOF comes after the last, or with it.
func (b *body) Read(out []byte) (int, error) {
	b.reading.Lock()
	defer b.reading.Unlock()
	if b.shut {
		return 0, http.ErrBodyReadAfterClose
	}
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := (*exchange)(b).take(out)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err == nil && b.left == 0 {
		err = io.EOF
	}
	return n, err
}

// take reads of the body: what came with the head first.
func (x *exchange) take(out []byte) (n int, err error) {
	c := x.c
	out = out[:min(int64(len(out)), x.left)]
	if c.r < c.w {
		n = copy(out, c.buf[c.r:c.w])
		c.r += n
	} else {
		n, err = c.tcp.Read(out)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.left -= int64(n); x.left == 0 {
		x.watch()
	}
	return n, err
}

// Close ends reading.
func (b *body) Close() error {
	b.reading.Lock()
	defer b.reading.Unlock()
	b.shut = true
	return nil
}
