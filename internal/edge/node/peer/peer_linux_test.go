package peer

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/attest"
)

// usual is where this machine shows its control groups.
func usual(t *testing.T) attest.Mount {
	t.Helper()
	for _, m := range []string{"/sys/fs/cgroup/cgroup.controllers", "/sys/fs/cgroup/unified/cgroup.controllers"} {
		if _, err := os.Stat(m); err == nil {
			return attest.Mount(filepath.Dir(m))
		}
	}
	return ""
}

// ask gives what a handler behind l sees of this process.
func ask(t *testing.T, l *Listener, network string) (got *Peer) {
	t.Helper()
	seen := make(chan *Peer, 1)
	s := Server(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- Of(r.Context()) }), slog.New(slog.DiscardHandler))
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	hc := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, l.Addr().String())
	}}}
	t.Cleanup(hc.CloseIdleConnections)
	res, err := hc.Get("http://localhost/")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	return <-seen
}

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// TestWhoIsCalling: this very process, unless it is root's.
func TestWhoIsCalling(t *testing.T) {
	t.Parallel()
	all := map[string]*Peer{
		"tcp":  ask(t, TCP(listen(t, "tcp4", "127.0.0.1:0")), "tcp4"),
		"unix": ask(t, Unix(listen(t, "unix", filepath.Join(t.TempDir(), "s")), usual(t)), "unix"),
	}
	for name, p := range all {
		who, err := p.Caller()
		switch {
		case name == "tcp" && usual(t) == "":
			if err == nil {
				t.Errorf("%s: no control groups, and yet %+v", name, who)
			}
		case os.Getuid() == 0:
			if fault.Of(err).Code != attest.CodeNobody {
				t.Errorf("%s: root is somebody: %+v, %v", name, who, err)
			}
		case err != nil || int(who.UID) != os.Getuid():
			t.Errorf("%s: %+v, %v", name, who, err)
		}
		if err := p.Alive(); err != nil && name == "tcp" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAttackRequestsFromElsewhere: what did not come through a Listener has no caller.
func TestAttackRequestsFromElsewhere(t *testing.T) {
	t.Parallel()
	if _, err := Of(t.Context()).Caller(); fault.Of(err).Code != CodeNone {
		t.Errorf("got %v", err)
	}
	if with(t.Context(), &net.TCPConn{}) != t.Context() {
		t.Error("a connection of somebody else's listener was taken")
	}
	if _, err := TCP(nil).ask(nil); err == nil {
		t.Error("a connection that is not TCP has a caller")
	}
	if _, err := Unix(nil, "").ask(nil); err == nil {
		t.Error("a connection that is no unix socket has a caller")
	}
}

// TestConnectionsEnd: after a minute a connection is cut, whoever holds it by then.
func TestConnectionsEnd(t *testing.T) {
	t.Parallel()
	l := TCP(listen(t, "tcp4", "127.0.0.1:0"))
	l.longest = time.Millisecond
	client, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Read(make([]byte, 1)); err == nil {
		t.Error("the connection goes on")
	}
	_ = c.Close()
	_ = c.Close() // again does nothing
	if len(l.open) != 0 {
		t.Errorf("closed, and still counted: %v", l.open)
	}
	now := time.Now()
	p := &Peer{since: now}
	if p.Ending(now.Add(Last-time.Second)) || !p.Ending(now.Add(Last)) {
		t.Error("it says at another time that it ends")
	}
}

// TestAttackAllConnections: one uid can't keep others out.
func TestAttackAllConnections(t *testing.T) {
	t.Parallel()
	l := TCP(listen(t, "tcp4", "127.0.0.1:0"))
	uid := uint32(7)
	l.ask = func(net.Conn) (attest.Caller, error) { return attest.Caller{UID: uid}, nil }
	for i := range mostOfUID + 10 {
		client, err := net.Dial("tcp4", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if i >= mostOfUID {
			continue
		}
		if _, err := l.Accept(); err != nil {
			t.Fatal(err)
		}
	}
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept() // passes over the ten
		if err == nil {
			accepted <- c
		}
	}()
	deadline := time.Now().Add(10 * time.Second)
	for refused := 0; refused == 0; {
		if time.Now().After(deadline) {
			t.Fatal("connections over the bound are not closed")
		}
		c, err := net.Dial("tcp4", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err != nil {
			refused++
		}
		_ = c.Close()
	}
	select {
	case <-accepted:
		t.Error("more were accepted than one uid may have")
	default:
	}
	_ = l.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[7] != mostOfUID {
		t.Errorf("%d are counted", l.open[7])
	}
}

// TestAttackConnectionsOfManyUIDs: a person with thousands of uids (subuid(5)) takes neither
// the agent's descriptors nor the places of those who are attached, nor of who comes next
// to attach.
func TestAttackConnectionsOfManyUIDs(t *testing.T) {
	t.Parallel()
	const attached = 7
	l := TCP(listen(t, "tcp4", "127.0.0.1:0"))
	l.Known = func(uid uint32) bool { return uid == attached }
	var uid uint32
	l.ask = func(net.Conn) (attest.Caller, error) { return attest.Caller{UID: uid}, nil }
	accept := func(of uint32) net.Conn {
		t.Helper()
		client, err := net.Dial("tcp4", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		uid = of
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := accept(attached)
	for i := range uint32(2 * mostStrangers) {
		accept(100_000 + i)
	}
	second := accept(attached)
	l.mu.Lock()
	held, counted := l.strangers.Len(), len(l.open)
	l.mu.Unlock()
	if held != mostStrangers || counted != mostStrangers+1 {
		t.Errorf("strangers hold %d connections, of %d uids", held, counted-1)
	}
	for _, c := range []net.Conn{first, second, accept(1000)} {
		if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Errorf("a connection was closed: %v", err)
		}
		_ = c.Close()
	}
	for range mostOfStranger {
		accept(1001)
	}
	if l.enter(1001, mostOfStranger) {
		t.Error("one stranger has more connections than one may have")
	}
}
