// Package fastpath serves plain GET, HEAD and PUT requests of HTTP/1.1 on the
// goroutine of their connection, beside net/http and by the same handler.
//
// It reads a head by a closed grammar (head.go). A connection whose next request
// is not of it goes to net/http, with every byte that was read of it and before
// anything of it was answered, and stays there; so do all connections that are
// not bare TCP. For a request of the grammar the handler gets the value that
// net/http would have made of it. It must never take a request that net/http
// refuses, nor see another end of one: FuzzAgainstNetHTTP holds it to that.
package fastpath

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Server is an http.Server with the fast path before it. Its Handler must not be
// nil; ReadTimeout and WriteTimeout have to be 0 and ConnState, ConnContext and
// BaseContext nil, else net/http serves all. A handler can't hijack, send
// trailers or read and write at once.
type Server struct {
	HTTP *http.Server

	draining atomic.Bool
	mu       sync.Mutex
	conns    map[*conn]struct{}
	date     atomic.Pointer[date]
}

// Serve answers on a listener until it is closed or fails, like http.Server's.
func (s *Server) Serve(l net.Listener) error {
	h := s.HTTP
	if h.Handler == nil || h.ReadTimeout != 0 || h.WriteTimeout != 0 || h.ConnState != nil || h.ConnContext != nil || h.BaseContext != nil {
		return h.Serve(l)
	}
	return h.Serve(s.Before(l))
}

// Before answers on a listener, and gives one for all that is net/http's: for
// those who run HTTP by themselves.
func (s *Server) Before(l net.Listener) net.Listener {
	over := &handedOver{Listener: l, conns: make(chan net.Conn), failed: make(chan error), closed: make(chan struct{})}
	go s.accept(l, over)
	return over
}

// Shutdown lets requests under way finish, and closes idle connections, as
// http.Server's does.
func (s *Server) Shutdown(ctx context.Context) error {
	s.draining.Store(true)
	err := s.HTTP.Shutdown(ctx)
	for wait := time.Millisecond; s.closeIdle() > 0; wait = min(2*wait, 100*time.Millisecond) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
	return err
}

// Close cuts every connection.
func (s *Server) Close() error {
	s.draining.Store(true)
	err := s.HTTP.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.tcp.Close()
	}
	return err
}

// closeIdle gives how many connections are left.
func (s *Server) closeIdle() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if c.state.CompareAndSwap(idle, closed) {
			_ = c.tcp.Close()
		}
	}
	return len(s.conns)
}

// enter counts a connection in.
func (s *Server) enter(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		s.conns = map[*conn]struct{}{}
	}
	s.conns[c] = struct{}{}
}

func (s *Server) leave(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// accept takes connections. What it fails with is told to net/http, which waits
// a little before it takes the next.
func (s *Server) accept(l net.Listener, over *handedOver) {
	for {
		raw, err := l.Accept()
		if err != nil {
			select {
			case over.failed <- err:
				if errors.Is(err, net.ErrClosed) {
					return
				}
				continue
			case <-over.closed:
				return
			}
		}
		tcp, ok := raw.(*net.TCPConn)
		if !ok {
			go over.give(raw)
			continue
		}
		c := s.open(tcp, over)
		go c.serve()
	}
}

// handedOver is the listener by which net/http gets connections.
type handedOver struct {
	net.Listener
	conns  chan net.Conn
	failed chan error
	once   sync.Once
	closed chan struct{}
}

func (h *handedOver) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case err := <-h.failed:
		return nil, err
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

func (h *handedOver) Close() error {
	h.once.Do(func() { close(h.closed) })
	return h.Listener.Close()
}

// give passes a connection on.
func (h *handedOver) give(c net.Conn) {
	select {
	case h.conns <- c:
	case <-h.closed:
		_ = c.Close()
	}
}

// replayed is a connection that gives what was read of it once more.
type replayed struct {
	net.Conn
	tcp stream
	old []byte
}

// ReadFrom and CloseWrite are those of TCP, which net/http looks for.
func (r *replayed) ReadFrom(from io.Reader) (int64, error) { return r.tcp.ReadFrom(from) }
func (r *replayed) CloseWrite() error                      { return r.tcp.CloseWrite() }

func (r *replayed) Read(b []byte) (int, error) {
	if len(r.old) == 0 {
		return r.tcp.Read(b)
	}
	n := copy(b, r.old)
	if r.old = r.old[n:]; len(r.old) == 0 {
		r.old = nil // connections last, and this was up to a whole head
	}
	return n, nil
}
