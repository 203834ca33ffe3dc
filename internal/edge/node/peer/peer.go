// Package peer says of each connection to the agent who is at its other end.
//
// It is asked of the kernel once, when the connection is accepted, and goes with the
// connection: nothing in a request changes it. Over TCP it is a socket's creator, so a
// connection is closed after a minute; over a unix socket it is a process, which is
// proven to be alive again before each secret. Every uid has a bounded number of
// connections, so that one can't keep others out; and all uids under which nobody is
// attached have a bounded number together, since a person may map thousands.
//
// It must never answer for a connection that it did not accept.
package peer

import (
	"container/list"
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/attest"
	"carnet.dev/carnet/internal/service/binding"
)

// Limits of a listener.
const (
	// Longest is how long a TCP connection lives at most; after Last its answers say
	// that it ends.
	Longest = time.Minute
	Last    = 45 * time.Second
	// mostOfUID is the number of connections of one uid, mostUnknown of those whose uid
	// is not told.
	mostOfUID   = 512
	mostUnknown = 64
	// mostOfStranger is that of a uid under which nobody is attached, mostStrangers that
	// of all those together: one more has the oldest closed.
	mostOfStranger = 32
	mostStrangers  = 256
)

// CodeNone: a request came by a way that this package did not see.
const CodeNone = "peer.none"

// Peer is the other end of one connection.
type Peer struct {
	who   attest.Caller
	err   error
	since time.Time
}

// Caller gives who it is. Faults: those of attest, Denied for uids that get nothing.
func (p *Peer) Caller() (binding.Caller, error) {
	if p == nil {
		return binding.Caller{}, fault.Coded(fault.Denied, CodeNone, "It is not known who is calling")
	}
	if p.err != nil {
		return binding.Caller{}, p.err
	}
	if err := p.who.Allowed(); err != nil {
		return binding.Caller{}, err
	}
	return binding.Caller{UID: p.who.UID, Cgroup: p.who.Cgroup, Group: p.who.Group}, nil
}

// Process is the caller's, over a unix socket; else nil.
func (p *Peer) Process() *attest.Process { return p.who.Process }

// Alive refuses, over a unix socket, when the process that connected has ended.
func (p *Peer) Alive() error {
	if p.who.Process == nil {
		return nil
	}
	return p.who.Process.Alive()
}

// Ending reports whether the connection should take no more requests.
func (p *Peer) Ending(now time.Time) bool {
	return p != nil && p.who.Process == nil && now.Sub(p.since) >= Last
}

// Listener accepts connections and asks who makes them.
type Listener struct {
	net.Listener
	ask     func(net.Conn) (attest.Caller, error)
	longest time.Duration // 0: as long as it likes
	// Known reports whether somebody is attached under a uid; nil: everybody is known.
	Known func(uid uint32) bool

	mu        sync.Mutex
	open      map[int64]int // by uid; -1: not told
	strangers list.List     // of *conn, the oldest first
}

// TCP makes a listener on loopback.
func TCP(l net.Listener) *Listener {
	return &Listener{Listener: l, longest: Longest, open: map[int64]int{}, ask: func(c net.Conn) (attest.Caller, error) {
		t, ok := c.(*net.TCPConn)
		if !ok {
			return attest.Caller{}, fault.Coded(fault.Denied, CodeNone, "It is not known who is calling")
		}
		return attest.TCP(t)
	}}
}

// Streams is TCP for faces whose answers may take longer than a minute: their
// connections are not cut, and take no new request after Last.
func Streams(l net.Listener) *Listener {
	t := TCP(l)
	t.longest = 0
	return t
}

// Unix makes a listener on a unix socket.
func Unix(l net.Listener, groups attest.Mount) *Listener {
	return &Listener{Listener: l, open: map[int64]int{}, ask: func(c net.Conn) (attest.Caller, error) {
		u, ok := c.(*net.UnixConn)
		if !ok {
			return attest.Caller{}, fault.Coded(fault.Denied, CodeNone, "It is not known who is calling")
		}
		return groups.Unix(u)
	}}
}

// Accept gives the next connection of a uid that has not too many.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		p := &Peer{since: time.Now()}
		p.who, p.err = l.ask(c)
		uid, most, stranger := int64(-1), mostUnknown, false
		if p.err == nil {
			uid, most = int64(p.who.UID), mostOfUID
			if stranger = l.Known != nil && !l.Known(p.who.UID); stranger {
				most = mostOfStranger
			}
		}
		if !l.enter(uid, most) {
			_ = c.Close()
			if p.who.Process != nil {
				p.who.Process.Close()
			}
			continue
		}
		out := &conn{Conn: c, peer: p}
		out.leave = func() { l.leave(uid, out) }
		if stranger {
			l.admit(out)
		}
		if l.longest > 0 {
			out.timer = time.AfterFunc(l.longest, func() { _ = c.Close() })
		}
		return out, nil
	}
}

func (l *Listener) enter(uid int64, most int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[uid] >= most {
		return false
	}
	l.open[uid]++
	return true
}

// admit notes a stranger, and closes the oldest where there are too many.
func (l *Listener) admit(c *conn) {
	var oldest *conn
	l.mu.Lock()
	if l.strangers.Len() >= mostStrangers {
		oldest, _ = l.strangers.Remove(l.strangers.Front()).(*conn)
		oldest.place = nil
	}
	c.place = l.strangers.PushBack(c)
	l.mu.Unlock()
	if oldest != nil {
		_ = oldest.Close()
	}
}

func (l *Listener) leave(uid int64, c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.place != nil {
		l.strangers.Remove(c.place)
		c.place = nil
	}
	if l.open[uid]--; l.open[uid] == 0 {
		delete(l.open, uid)
	}
}

// conn is a connection with its other end.
type conn struct {
	net.Conn
	peer  *Peer
	timer *time.Timer
	leave func()
	once  sync.Once
	place *list.Element // among strangers, by the listener's lock; nil: not there
}

// Close closes it, and gives back what belongs to it.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		if c.timer != nil {
			c.timer.Stop()
		}
		if c.peer.who.Process != nil {
			c.peer.who.Process.Close()
		}
		c.leave()
	})
	return err
}

type key struct{}

// Of gives the other end of the connection that a request came over; nil where it did
// not come through a Listener.
func Of(ctx context.Context) *Peer {
	p, _ := ctx.Value(key{}).(*Peer)
	return p
}

// with is the ConnContext of servers.
func with(ctx context.Context, c net.Conn) context.Context {
	if own, ok := c.(*conn); ok {
		return context.WithValue(ctx, key{}, own.peer)
	}
	return ctx
}

// Server makes an HTTP server for Listeners. Its limits are for small requests; faces
// that carry content set others.
func Server(h http.Handler, log *slog.Logger) *http.Server {
	s := Brief(h, log)
	s.ReadHeaderTimeout, s.ReadTimeout, s.WriteTimeout, s.IdleTimeout = 5*time.Second, 10*time.Second, 40*time.Second, Longest
	return s
}

// Brief is Server for connections of TCP, which end after Longest whatever goes on: no
// further clock is set for each request.
func Brief(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{Handler: h, ConnContext: with, MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
}
