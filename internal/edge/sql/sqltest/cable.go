//go:build interop

package sqltest

import (
	"net"
	"strings"
	"sync"
	"testing"

	"carnet.dev/carnet/internal/core/secret"
)

// Cable is the line between one server and PostgreSQL, which a test can cut.
type Cable struct {
	listener net.Listener
	socket   string
	mu       sync.Mutex
	healed   *sync.Cond
	cut      bool
	conns    []net.Conn
}

// Lay lays a cable to the PostgreSQL of this test binary.
func Lay(t testing.TB) *Cable {
	t.Helper()
	pg, err := server()
	if err != nil {
		t.Fatal(err)
	}
	return pg.Lay(t)
}

func lay(t testing.TB, socket string) *Cable {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &Cable{listener: l, socket: socket}
	c.healed = sync.NewCond(&c.mu)
	go c.accept()
	t.Cleanup(func() { _ = l.Close(); c.Sever(); c.Heal() })
	return c
}

// Through gives the connection string of a database through the cable.
func (c *Cable) Through(dsn secret.Text) secret.Text {
	_, port, _ := net.SplitHostPort(c.listener.Addr().String()) // a TCP address always splits
	_, rest, _ := strings.Cut(dsn.Reveal(), " ")                // all but the socket's folder
	return secret.New("host=127.0.0.1 port=" + port + " sslmode=disable connect_timeout=1 " + rest)
}

func (c *Cable) accept() {
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
func (c *Cable) carry(to, from net.Conn) {
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

// Silence cuts the cable: nothing comes through, and nobody is told.
func (c *Cable) Silence() { c.mu.Lock(); c.cut = true; c.mu.Unlock() }

// Heal mends it.
func (c *Cable) Heal() { c.mu.Lock(); c.cut = false; c.healed.Broadcast(); c.mu.Unlock() }

// Sever ends all connections, as a firewall that forgot them does.
func (c *Cable) Sever() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.conns = nil
}
