package server

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// inner is the listener inside the process: the broker reaches the local
// authority through it with the same bytes as from outside. No socket exists,
// so nobody else can connect.
type inner struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newInner() *inner {
	return &inner{conns: make(chan net.Conn), closed: make(chan struct{})}
}

// Accept waits for the next connection.
func (l *inner) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept and Dial.
func (l *inner) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr names the listener in logs.
func (l *inner) Addr() net.Addr { return innerAddr{} }

func (l *inner) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.conns <- far:
		return near, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// client gives an HTTP client that reaches nothing but this listener, whatever
// the address says, and that no proxy setting can divert.
func (l *inner) client() *http.Client {
	return &http.Client{
		Timeout: 30 * time.Second,
		Transport: &http.Transport{
			DialContext:         l.dial,
			MaxIdleConnsPerHost: 32,
			IdleConnTimeout:     30 * time.Second,
			DisableCompression:  true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

type innerAddr struct{}

func (innerAddr) Network() string { return "inner" }
func (innerAddr) String() string  { return "inner" }
