package agent

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/node/imds"
	"carnet.dev/carnet/internal/edge/systemd"
)

func listening(t *testing.T, network, address string) systemd.Socket {
	t.Helper()
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return systemd.Socket{Listener: l}
}

// TestSocketsThatTheManagerHolds are used at their addresses, also at ports that the
// agent itself would refuse.
func TestSocketsThatTheManagerHolds(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	four, six, local := listening(t, "tcp4", "127.0.0.1:0"), listening(t, "tcp6", "[::1]:0"), listening(t, "unix", path)
	c := Config{handed: &handed{left: []systemd.Socket{four, six, local}}}
	for _, s := range []systemd.Socket{four, six} {
		l, err := c.listen(s.Addr().String(), imds.OneHop)
		if err != nil || l != s.Listener {
			t.Errorf("%s: %v", s.Addr(), err)
		}
		if _, err := c.listen(s.Addr().String(), nil); fault.KindOf(err) != fault.Misconfigured {
			t.Errorf("%s a second time: %v", s.Addr(), err)
		}
	}
	if err := c.handed.all(); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("one is left over: %v", err)
	}
	if l, err := c.listenUnix(path); err != nil || l != local.Listener {
		t.Errorf("the unix socket: %v", err)
	}
	if err := c.handed.all(); err != nil {
		t.Error(err)
	}
}

// TestSocketsLeftOver: where the manager holds an address at which nothing answers, the
// agent says so and does not start.
func TestSocketsLeftOver(t *testing.T) {
	w := newWorld(t)
	w.stop()
	c := w.c
	c.handed = &handed{left: []systemd.Socket{listening(t, "tcp4", "127.0.0.1:0")}}
	if err := run(context.Background(), c, "test", io.Discard); err == nil || fault.Of(err).Code != "agent.sockets" {
		t.Errorf("got %v", err)
	}
}

// TestTheManagerIsTold when the agent answers.
func TestTheManagerIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "n")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv(systemd.EnvNotify, path)
	w := newWorld(t)
	b := make([]byte, 64)
	n, err := l.Read(b)
	if err != nil || string(b[:n]) != "READY=1" {
		t.Errorf("%q %v", b[:n], err)
	}
	w.stop()
	if n, err = l.Read(b); err != nil || string(b[:n]) != "STOPPING=1" {
		t.Errorf("%q %v", b[:n], err)
	}
}

func TestUnits(t *testing.T) {
	t.Parallel()
	service, err := unitText("service", "/opt/carnet", true)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\nExecStart=/opt/carnet agent\n", "\nExecStartPre=+/opt/carnet agent metadata-rule --install\n", "\nCapabilityBoundingSet=CAP_CHOWN CAP_NET_BIND_SERVICE\n", "\nNoNewPrivileges=yes\n", "\nType=notify\n"} {
		if !strings.Contains(service, want) {
			t.Errorf("the service has no %q", want)
		}
	}
	if plain, err := unitText("service", "/opt/carnet", false); err != nil || strings.Contains(plain, "@B") || strings.Contains(plain, "ExecStartPre") {
		t.Errorf("%s %v", plain, err)
	}
	// What systemd holds is what the agent looks for.
	socket, err := unitText("socket", "/opt/carnet", false)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Config{}.complete()
	if err != nil {
		t.Fatal(err)
	}
	held := map[string]bool{}
	for line := range strings.Lines(socket) {
		if at, ok := strings.CutPrefix(strings.TrimSpace(line), "ListenStream="); ok {
			held[at] = true
		}
	}
	for _, at := range append([]string{c.Socket, c.Listen.Proxy, c.Listen.Metadata}, c.Listen.Container[:2]...) {
		if !held[at] {
			t.Errorf("the socket unit does not hold %s", at)
		}
		delete(held, at)
	}
	if len(held) > 0 {
		t.Errorf("the socket unit holds %v, where nothing answers", held)
	}
	for _, bad := range [][2]string{{"timer", "/opt/carnet"}, {"service", "carnet"}, {"service", "/opt/my carnet"}, {"service", "/opt/carnet\nExecStart=/bin/sh"}, {"service", "/opt/%i"}} {
		if _, err := unitText(bad[0], bad[1], false); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
