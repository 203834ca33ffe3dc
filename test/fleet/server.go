//go:build interop

package fleet

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/test/running"
)

// Server is one `carnet server` process.
type Server struct {
	fleet    *Fleet
	config   string
	web, aws string // its own addresses, host:port
	// Line is its way to PostgreSQL; nil: it is beside it.
	Line *sqltest.Cable

	mu      sync.Mutex
	process *running.Process
}

// Start starts it and waits until it serves.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	p := s.Launch(t)
	for end := time.Now().Add(time.Minute); !strings.Contains(p.Log.String(), "Serving pages on "); time.Sleep(10 * time.Millisecond) {
		if !p.Running() {
			t.Fatalf("a server ended at its start: %v\n%s", p.Err, &p.Log)
		}
		if time.Now().After(end) {
			t.Fatalf("a server does not serve after a minute\n%s", &p.Log)
		}
	}
}

// Launch starts it and does not wait: where the database is away, it may end or wait by
// itself.
func (s *Server) Launch(t testing.TB) *running.Process {
	t.Helper()
	p := running.Begin(t, exec.Command(s.fleet.Binary, "server", "--config", s.config))
	t.Cleanup(func() { p.End(t, 20*time.Second) })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process = p
	return p
}

// Kill ends it with SIGKILL.
func (s *Server) Kill(testing.TB) { s.Process().Kill() }

// Stop ends it as its operator does.
func (s *Server) Stop(t testing.TB) { s.Process().End(t, 20*time.Second) }

// Process is the newest.
func (s *Server) Process() *running.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process
}

// Transport reaches this server by the addresses that people know.
func (s *Server) Transport() *http.Transport {
	return &http.Transport{MaxIdleConnsPerHost: 16, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, s.Via("http://"+address))
	}}
}

// Via gives this server's own host:port for an address that people know; others stay.
func (s *Server) Via(address string) string {
	switch address {
	case s.fleet.Web:
		return s.web
	case s.fleet.AWS:
		return s.aws
	}
	return strings.TrimPrefix(address, "http://")
}

// balance opens an address that people know; of gives a server's own.
func (f *Fleet) balance(t testing.TB, of func(*Server) string) string {
	t.Helper()
	l, err := net.Listen("tcp", running.FreeAddress(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	var last atomic.Int64
	go accept(l, func() (net.Conn, error) {
		for range f.servers {
			s := f.servers[int(last.Add(1))%len(f.servers)]
			if c, err := net.Dial("tcp", of(s)); err == nil {
				return c, nil
			}
		}
		return nil, errors.New("no server answers")
	})
	return "http://" + l.Addr().String()
}
