//go:build unix

package systemd

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestMain is also the process that sockets are handed to: it says what it has.
func TestMain(m *testing.M) {
	if os.Getenv("SYSTEMD_CHILD") == "" {
		os.Exit(m.Run())
	}
	getenv := os.Getenv
	if os.Getenv(EnvPID) == "me" {
		getenv = func(name string) string {
			if name == EnvPID {
				return fmt.Sprint(os.Getpid())
			}
			return os.Getenv(name)
		}
	}
	sockets, err := Sockets(getenv, os.Getpid())
	if err != nil {
		fmt.Println("refused:", err)
		return
	}
	for _, s := range sockets {
		fmt.Printf("%s %s %s\n", s.Name, s.Addr().Network(), s.Addr())
	}
	if len(sockets) > 0 && os.Getenv("SYSTEMD_CHILD") == "accept" {
		c, err := sockets[0].Accept()
		if err == nil {
			_, _ = io.WriteString(c, "hello")
			_ = c.Close()
		}
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pid, fds, names string
		want            []string
		bad             bool
	}{
		{"", "", "", nil, false},
		{"42", "2", "", []string{"", ""}, false},
		{"42", "2", "a:b", []string{"a", "b"}, false},
		{"42", "1", "a", []string{"a"}, false},
		{"43", "2", "", nil, false}, {"43", "nonsense", "", nil, false}, // for another process
		{"42", "", "", nil, true}, {"", "2", "", nil, true}, {"42 ", "1", "", nil, true}, {"+42", "1", "", nil, true}, {"042", "1", "", nil, true}, {"-42", "1", "", nil, true},
		{"42", "0", "", nil, true}, {"42", "65", "", nil, true}, {"42", "-1", "", nil, true}, {"42", "1x", "", nil, true}, {"42", "01", "", nil, true}, {"42", "99999999999999999999", "", nil, true},
		{"42", "2", "a", nil, true}, {"42", "1", "a:b", nil, true}, {"42", "1", ":", nil, true},
	} {
		env := map[string]string{EnvPID: c.pid, EnvFDs: c.fds, EnvNames: c.names}
		got, err := Parse(func(name string) string { return env[name] }, 42)
		if (err != nil) != c.bad || got.Count != len(c.want) || !slices.Equal(got.Names, c.want) {
			t.Errorf("%q: %+v %v", env, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("42", "2", "a:b")
	f.Add("42", "1", "")
	f.Fuzz(func(t *testing.T, pid, fds, names string) {
		env := map[string]string{EnvPID: pid, EnvFDs: fds, EnvNames: names}
		got, err := Parse(func(name string) string { return env[name] }, 42)
		if err == nil && (got.Count != len(got.Names) || got.Count > mostFDs || got.Count > 0 && pid != "42") {
			t.Errorf("%q: %+v", env, got)
		}
	})
}

// hand starts the child with descriptors, and gives what it says.
func hand(t *testing.T, mode, pid string, files []*os.File, names string) *exec.Cmd {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.ExtraFiles = files
	c.Env = []string{"SYSTEMD_CHILD=" + mode, EnvPID + "=" + pid, fmt.Sprintf("%s=%d", EnvFDs, len(files)), EnvNames + "=" + names}
	c.Stderr = os.Stderr
	return c
}

type filed interface{ File() (*os.File, error) }

func file(t *testing.T, l filed) *os.File {
	t.Helper()
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
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

func TestSocketsThatAreHandedOver(t *testing.T) {
	t.Parallel()
	tcp := listen(t, "tcp4", "127.0.0.1:0").(*net.TCPListener)
	six := listen(t, "tcp6", "[::1]:0").(*net.TCPListener)
	path := filepath.Join(t.TempDir(), "s")
	local := listen(t, "unix", path).(*net.UnixListener)
	c := hand(t, "accept", "me", []*os.File{file(t, tcp), file(t, six), file(t, local)}, "container:six:socket")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	client, err := net.Dial("tcp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if said, err := io.ReadAll(client); err != nil || string(said) != "hello" {
		t.Errorf("%q %v", said, err)
	}
	said, _ := io.ReadAll(out)
	want := fmt.Sprintf("container tcp %s\nsix tcp %s\nsocket unix %s\n", tcp.Addr(), six.Addr(), path)
	if err := c.Wait(); err != nil || string(said) != want {
		t.Errorf("%q %v, want %q", said, err, want)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error("the socket's name went with the process that had only been given it")
	}
}

// TestAttackDescriptors: what is no listening stream socket for this very process is
// not taken.
func TestAttackDescriptors(t *testing.T) {
	t.Parallel()
	tcp := listen(t, "tcp4", "127.0.0.1:0").(*net.TCPListener)
	client, err := net.Dial("tcp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = packets.Close() })
	plain, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = plain.Close() })
	both := listen(t, "tcp", "[::]:0").(*net.TCPListener)
	for name, c := range map[string]struct {
		pid   string
		files []*os.File
		says  string
	}{
		"for another process": {"1", []*os.File{file(t, tcp)}, ""},
		"a connection":        {"me", []*os.File{file(t, client.(*net.TCPConn))}, "does not listen"},
		"a packet socket":     {"me", []*os.File{file(t, packets.(*net.UDPConn))}, "no stream"},
		"a file":              {"me", []*os.File{plain}, "no socket"},
		"both families":       {"me", []*os.File{file(t, both)}, "IPv4, too"},
		"the same twice":      {"me", []*os.File{file(t, tcp), file(t, tcp)}, "two sockets"},
	} {
		out, err := hand(t, "list", c.pid, c.files, "").Output()
		if err != nil || c.says == "" && len(out) > 0 || !strings.Contains(string(out), c.says) {
			t.Errorf("%s: %q %v", name, out, err)
		}
	}
}

func TestNotify(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "n")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	env := map[string]string{EnvNotify: path}
	getenv := func(name string) string { return env[name] }
	if err := Notify(getenv, "READY=1"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 64)
	n, err := l.Read(b)
	if err != nil || string(b[:n]) != "READY=1" {
		t.Errorf("%q %v", b[:n], err)
	}
	env[EnvNotify] = "relative"
	if err := Notify(getenv, "READY=1"); err == nil {
		t.Error("a relative path was taken")
	}
	delete(env, EnvNotify)
	if err := Notify(getenv, "READY=1"); err != nil {
		t.Error(err)
	}
}
