package attest

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
)

// pair opens a connection over network and gives both ends.
func pair(t *testing.T, network, address string) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	client, err = net.Dial(network, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return client, server
}

func code(err error) string {
	if err == nil {
		return ""
	}
	return fault.Of(err).Code
}

// ownCgroup is what a socket of this process carries.
func ownCgroup(t *testing.T) uint64 {
	t.Helper()
	m, err := usual()
	if err != nil {
		t.Fatal(err)
	}
	_, id, err := m.groupOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestSocketsOverLoopback(t *testing.T) {
	t.Parallel()
	for name, address := range map[string]string{"IPv4": "127.0.0.1:0", "another IPv4": "127.0.0.9:0", "IPv6": "[::1]:0"} {
		t.Run(name, func(t *testing.T) {
			client, server := pair(t, "tcp", address)
			who, err := TCP(server.(*net.TCPConn))
			if err != nil {
				t.Fatal(err)
			}
			if who.UID != uint32(os.Getuid()) || who.Cgroup != ownCgroup(t) || who.Process != nil {
				t.Errorf("got %+v", who)
			}
			// A client that has closed reads as uid 0 in the kernel's table.
			if err := client.Close(); err != nil {
				t.Fatal(err)
			}
			deadline := time.Now().Add(5 * time.Second)
			for code(err) != CodeGone && time.Now().Before(deadline) {
				_, err = TCP(server.(*net.TCPConn))
			}
			if code(err) != CodeGone {
				t.Errorf("after close: %v", err)
			}
		})
	}
}

// TestAttackReusedPort: a client cuts its connection before it is looked at, and somebody
// else connects from the address that is free now. The table has that one; what the
// first one sent is not theirs.
func TestAttackReusedPort(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	alone := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 77)}} // nobody else connects from there
	first, err := alone.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.Write([]byte("DELETE / HTTP/1.1\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	from := first.LocalAddr()
	if err := first.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again := net.Dialer{LocalAddr: from}
	second, err := again.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	for i, want := range []string{CodeGone, ""} {
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		if _, err := TCP(server.(*net.TCPConn)); code(err) != want {
			t.Errorf("connection %d: %v", i+1, err)
		}
	}
}

// TestFallbackOfTheTable: where no connection matches, the kernel answers with
// the listener, which is ours.
func TestFallbackOfTheTable(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	listening := l.Addr().(*net.TCPAddr).AddrPort()
	if _, err := lookUp(listening, netip.MustParseAddrPort("127.0.0.1:1")); code(err) != CodeGone {
		t.Errorf("a listener was taken for a connection: %v", err)
	}
	if _, err := lookUp(netip.MustParseAddrPort("127.0.0.1:1"), netip.MustParseAddrPort("127.0.0.1:2")); code(err) != CodeGone {
		t.Errorf("nothing was taken for a connection: %v", err)
	}
}

func TestProcessesOverAUnixSocket(t *testing.T) {
	t.Parallel()
	_, server := pair(t, "unix", filepath.Join(t.TempDir(), "s"))
	who, err := Unix(server.(*net.UnixConn))
	if err != nil {
		t.Fatal(err)
	}
	if who.UID != uint32(os.Getuid()) || who.Cgroup != ownCgroup(t) || who.Process == nil || who.Process.PID != os.Getpid() || who.Process.Started == 0 {
		t.Errorf("got %+v", who)
	}
	if err := who.Process.Alive(); err != nil {
		t.Error(err)
	}
	who.Process.Close()
	if err := who.Process.Alive(); code(err) != CodeGone {
		t.Errorf("after Close: %v", err)
	}
	who.Process.Close() // again does nothing
}

func TestUidsThatNobodyMayActUnder(t *testing.T) {
	t.Parallel()
	for uid, refused := range map[uint32]bool{0: true, 65534: true, ^uint32(0): true, 1: false, 1000: false} {
		if err := (Caller{UID: uid}).Allowed(); (err != nil) != refused || refused && code(err) != CodeNobody {
			t.Errorf("uid %d: %v", uid, err)
		}
	}
}

func asked(t *testing.T, from, to netip.AddrPort) []byte {
	t.Helper()
	b, err := ask(from, to)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestAnswersThatAreNotForUs: whatever the table says is held to the question.
func TestAnswersThatAreNotForUs(t *testing.T) {
	t.Parallel()
	client, server := pair(t, "tcp", "127.0.0.1:0")
	from, to := client.LocalAddr().(*net.TCPAddr).AddrPort(), server.LocalAddr().(*net.TCPAddr).AddrPort()
	good := asked(t, from, to)
	if _, err := read(good, from, to); err != nil {
		t.Fatalf("the ground of this test: %v", err)
	}
	if _, err := read(good, to, from); code(err) != CodeGone {
		t.Errorf("the other way round: %v", err)
	}
	for n := range len(good) {
		if who, err := read(good[:n], from, to); err == nil {
			t.Errorf("cut to %d bytes it says %+v", n, who)
		}
	}
	for at, value := range map[int]byte{16 + 1: 2, 16 + 4: 0xff, 16 + 8: 10, 16 + 68: 0, 4: 19} {
		b := append([]byte(nil), good...)
		if at == 16+68 {
			copy(b[at:], []byte{0, 0, 0, 0})
		} else {
			b[at] = value
		}
		if who, err := read(b, from, to); err == nil {
			t.Errorf("with another byte at %d it says %+v", at, who)
		}
	}
	var f *fault.Fault
	if _, err := read(good[:16+messageSize], from, to); !errors.As(err, &f) {
		t.Errorf("no fault: %v", err)
	}
}

func FuzzSocketTable(f *testing.F) {
	from, to := netip.MustParseAddrPort("127.0.0.1:40000"), netip.MustParseAddrPort("127.0.0.1:80")
	f.Add(request(from, to))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if who, err := read(b, from, to); err == nil && who.Process != nil {
			t.Error("a process out of nowhere")
		}
	})
}

func FuzzGroupOfAProcess(f *testing.F) {
	f.Add("12:cpu:/a\n0::/user.slice/user-1000.slice/session-2.scope\n")
	f.Add("0::/../x\n")
	f.Add("0::/x (deleted)\n")
	f.Fuzz(func(t *testing.T, text string) {
		if path, err := version2(text); err == nil && (path == "" || path[0] != '/') {
			t.Errorf("%q is taken for a path", path)
		}
	})
}

func TestGroupsWithoutAMount(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"0::/\n": "/", "1:name=x:/a\n0::/b/c\n": "/b/c", "0::/a\n0::/b\n": "/a"} {
		if got, err := version2(text); err != nil || got != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "1:cpu:/x\n", "0::x\n", "0::/../other\n", "0::/gone (deleted)\n"} {
		if got, err := version2(text); err == nil {
			t.Errorf("%q: %q", text, got)
		}
	}
	path, id, err := Mount("").groupOf(os.Getpid())
	if err == nil && (path != "/" || id != rootGroup) {
		t.Errorf("without a mount: %q, %d", path, id)
	}
}

func TestAddressesOfThisMachine(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"127.0.0.1": true, "127.3.2.1": true, "::1": true, "169.254.170.2": true, "169.254.170.23": true, "fd00:ec2::23": true, "fd00:ec2::254": true,
		"10.0.0.1": false, "fd00:ec2::24": false, "fd00:ec2:1::23": false, "2001:db8::1": false, "0.0.0.0": false, "::": false,
	} {
		if got := local(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// TestLeaders: who leads a session is known while it runs. Work in the background that
// outlived it is led by nobody, and that is no error: it may attach, and be asked for.
func TestLeaders(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("sh", "-c", "sleep 60 >&- & echo $!; read wait")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscan(out, &pid); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	started, err := startTime(pid)
	if err != nil {
		t.Fatal(err)
	}
	child := Again(pid, started)
	defer child.Close()
	leader, err := child.Leader()
	if err != nil || leader == nil || leader.PID != cmd.Process.Pid || leader.Alive() != nil {
		t.Fatalf("while it runs: %+v, %v", leader, err)
	}
	defer leader.Close()
	_ = in.Close()
	_ = cmd.Wait()
	if leader.Alive() == nil {
		t.Error("the leader that has ended is said to be there")
	}
	if now, err := child.Leader(); err != nil || now != nil {
		t.Errorf("after it ended: %+v, %v", now, err)
	}
	if none, err := leading(0); err != nil || none != nil {
		t.Errorf("in a pid namespace around ours: %+v, %v", none, err)
	}
	child.Close()
	if _, err := child.Leader(); code(err) != CodeGone {
		t.Errorf("of a process whose handle is closed: %v", err)
	}
}
