//go:build interop

package revocation_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/sql"
	sqlrevocation "carnet.dev/carnet/internal/edge/sql/revocation"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/revocation"
)

// cable is the line between one server and PostgreSQL.
type cable struct {
	listener net.Listener
	socket   string
	mu       sync.Mutex
	healed   *sync.Cond
	cut      bool
	conns    []net.Conn
}

func lay(t *testing.T, socket string) *cable {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{listener: l, socket: socket}
	c.healed = sync.NewCond(&c.mu)
	go c.accept()
	t.Cleanup(func() { _ = l.Close(); c.sever(); c.heal() })
	return c
}

func (c *cable) accept() {
	for {
		near, err := c.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("unix", c.socket)
		if err != nil {
			_ = near.Close()
			continue
		}
		c.mu.Lock()
		c.conns = append(c.conns, near, far)
		c.mu.Unlock()
		go c.carry(near, far)
		go c.carry(far, near)
	}
}

// carry passes bytes on, and holds them while the cable is cut: to both ends a
// cut looks like silence, not like an end.
func (c *cable) carry(to, from net.Conn) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		c.mu.Lock()
		for c.cut {
			c.healed.Wait()
		}
		c.mu.Unlock()
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (c *cable) silence() { c.mu.Lock(); c.cut = true; c.mu.Unlock() }

func (c *cable) heal() { c.mu.Lock(); c.cut = false; c.healed.Broadcast(); c.mu.Unlock() }

// sever ends all connections, as a firewall that forgot them does.
func (c *cable) sever() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.conns = nil
}

// TestAServerCutOffStopsSayingYes: a server loses touch with PostgreSQL; it
// goes on for the bound, then refuses; a revocation commits meanwhile at
// another; when the line is back so is the server, and the revocation holds.
func TestAServerCutOffStopsSayingYes(t *testing.T) {
	const bound = 3 * time.Second
	dsn := sqltest.PostgreSQL(t)
	line := lay(t, sqltest.Socket(t))
	_, port, err := net.SplitHostPort(line.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(dsn.Reveal(), " ") // all but the socket's folder
	through := secret.New("host=127.0.0.1 port=" + port + " sslmode=disable connect_timeout=1 " + rest)

	near := serve(t, sqltest.OpenWith(t, sql.Config{PostgreSQL: dsn}), "near", bound)
	far := serve(t, sqltest.OpenWith(t, sql.Config{PostgreSQL: through}), "far", bound)
	issued, err := far.Epoch()
	if err != nil {
		t.Fatal(err)
	}
	says := func() (refused, unsure bool) {
		r, err := far.Refused(revocation.Person, "alice", issued)
		if err != nil && !errors.Is(err, fault.Coded(fault.Unavailable, "revocation.unconfirmed", "")) {
			t.Fatal(err)
		}
		return r, err != nil
	}
	if refused, unsure := says(); refused || unsure {
		t.Fatal("the server refuses before anything happened")
	}

	line.silence()
	cut := time.Now()
	if _, err := near.Revoke(t.Context(), revocation.Person, "alice"); err != nil {
		t.Fatalf("a revocation doesn't commit while a server is away: %v", err)
	}
	t.Logf("revocation acknowledged %v after the cut", time.Since(cut).Round(time.Millisecond))
	for {
		_, unsure := says()
		if unsure {
			break
		}
		if time.Since(cut) > bound+200*time.Millisecond {
			t.Fatalf("still saying yes %v after the cut", time.Since(cut))
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("the server stopped saying yes %v after the cut (bound %v)", time.Since(cut).Round(time.Millisecond), bound)

	line.sever()
	line.heal()
	back := time.Now()
	for {
		refused, unsure := says()
		if !unsure {
			if !refused {
				t.Fatal("the server is back and the revocation doesn't hold")
			}
			break
		}
		if time.Since(back) > 15*time.Second {
			t.Fatal("the server doesn't come back by itself")
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("back by itself %v after the line was", time.Since(back).Round(time.Millisecond))
	for since := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		views, err := near.Who(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(views) == 2 && views[0].Epoch == 1 && views[1].Epoch == 1 {
			return
		}
		if time.Since(since) > 5*time.Second {
			t.Fatalf("who has applied it: %+v", views)
		}
	}
}

func serve(t *testing.T, db *sql.DB, name string, bound time.Duration) *revocation.Feed {
	t.Helper()
	f, err := revocation.Open(t.Context(), revocation.Config{Store: sqlrevocation.Store{DB: db}, Server: name, Now: time.Now, Bound: bound})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	changed := make(chan struct{}, 1)
	if err := db.Watch(ctx, sqlrevocation.Topic, func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); f.Run(ctx, changed) }()
	t.Cleanup(func() { cancel(); <-done })
	return f
}
