//go:build interop

package isolation

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"carnet.dev/carnet/test/nodes"
)

// A puppet is a process of somebody on a node that does what the test says, one
// order a line, so that a test can stand between its steps. It is this binary,
// started again with puppetVariable set.
const (
	puppetVariable  = "CARNET_TEST_PUPPET"
	handlesVariable = "CARNET_TEST_HANDLES" // descriptors of connections, as it starts
	againVariable   = "CARNET_TEST_AGAIN"   // set: it was another program, and says that it is there
)

// order is one thing to do. What counts depends on Do.
type order struct {
	Do string `json:"do"`
	// On names a connection: the number that dial, take or the start gave; last is the
	// newest.
	On int `json:"on,omitempty"`
	// From is the own address of dial, where it matters.
	From string `json:"from,omitempty"`
	// Network (tcp, unix) and Address of dial and listen.
	Network string `json:"network,omitempty"`
	Address string `json:"address,omitempty"`
	// Lines is a request as it goes over the wire, one header a line, of send.
	Lines []string `json:"lines,omitempty"`
	UID   int      `json:"uid,omitempty"`
	PID   int      `json:"pid,omitempty"`
	// Root gives the child a user namespace in which it is root.
	Root bool    `json:"root,omitempty"`
	Then []order `json:"then,omitempty"`
}

// answer is what became of an order.
type answer struct {
	Err    string   `json:"err,omitempty"`
	On     int      `json:"on,omitempty"`
	Status int      `json:"status,omitempty"`
	Body   string   `json:"body,omitempty"`
	All    []answer `json:"all,omitempty"`
}

// TestMain is a puppet's, too.
func TestMain(m *testing.M) {
	if os.Getenv(puppetVariable) != "" {
		if os.Getenv(againVariable) != "" {
			_ = json.NewEncoder(os.Stdout).Encode(answer{})
		}
		newStage().play(os.Stdin, os.Stdout)
		os.Exit(0)
	}
	os.Exit(run(m))
}

// stage is what a puppet has.
type stage struct {
	conns  map[int]*bufio.Reader
	newest int
}

// last names the connection that came last.
const last = -1

// wire reads a descriptor.
type wire int

func (w wire) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(int(w), b)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if n == 0 && err == nil {
			return 0, io.EOF
		}
		return max(n, 0), err
	}
}

func newStage() *stage {
	s := &stage{conns: map[int]*bufio.Reader{}}
	for text := range strings.FieldsSeq(os.Getenv(handlesVariable)) {
		if fd, err := strconv.Atoi(text); err == nil {
			s.keep(fd)
		}
	}
	return s
}

func (s *stage) keep(fd int) int {
	limit := unix.Timeval{Sec: 30}
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)
	s.conns[fd], s.newest = bufio.NewReader(wire(fd)), fd
	return fd
}

func (s *stage) play(in io.Reader, out io.Writer) {
	lines, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var o order
		if err := lines.Decode(&o); err != nil {
			return
		}
		_ = answers.Encode(s.obey(o))
	}
}

func (s *stage) obey(o order) answer {
	a, err := s.do(o)
	if err != nil {
		a.Err = err.Error()
	}
	return a
}

func (s *stage) do(o order) (answer, error) {
	if o.On == last {
		o.On = s.newest
	}
	switch o.Do {
	case "dial":
		fd, err := dial(o.Network, o.Address, o.From)
		if err != nil {
			return answer{}, err
		}
		return answer{On: s.keep(fd)}, nil
	case "socket": // of a network, not connected yet
		fd, err := unix.Socket(family(o.Network, o.Address), unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return answer{}, err
		}
		return answer{On: s.keep(fd)}, nil
	case "connect":
		_, to, err := sockaddr(o.Network, o.Address)
		if err != nil {
			return answer{}, err
		}
		return answer{}, unix.Connect(o.On, to)
	case "ask":
		if err := send(o.On, o.Lines); err != nil {
			return answer{}, err
		}
		return s.receive(o.On)
	case "send":
		return answer{}, send(o.On, o.Lines)
	case "receive":
		return s.receive(o.On)
	case "chown":
		return answer{}, unix.Fchown(o.On, o.UID, -1)
	case "half-close":
		return answer{}, unix.Shutdown(o.On, unix.SHUT_WR)
	case "reset": // close without a goodbye: the address is free at once
		if err := unix.SetsockoptLinger(o.On, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
			return answer{}, err
		}
		delete(s.conns, o.On)
		return answer{}, unix.Close(o.On)
	case "close":
		delete(s.conns, o.On)
		return answer{}, unix.Close(o.On)
	case "become":
		return answer{}, become(o.UID)
	case "exec":
		return answer{}, s.exec(o.Address)
	case "child":
		return s.child(o)
	case "give":
		return answer{}, give(o.Address, o.On)
	case "take":
		fd, err := take(o.Address)
		if err != nil {
			return answer{}, err
		}
		return answer{On: s.keep(fd)}, nil
	case "listen":
		return answer{}, listen(o.Network, o.Address)
	case "ptrace":
		return answer{}, ptrace(o.PID)
	case "memory":
		return answer{}, memory(o.PID)
	case "file":
		b, err := os.ReadFile(o.Address)
		return answer{Body: string(b)}, err
	}
	return answer{}, fmt.Errorf("no order %q", o.Do)
}

func sockaddr(network, address string) (int, unix.Sockaddr, error) {
	if network == "unix" {
		return unix.AF_UNIX, &unix.SockaddrUnix{Name: address}, nil
	}
	a, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return 0, nil, err
	}
	if v4 := a.IP.To4(); v4 != nil {
		return unix.AF_INET, &unix.SockaddrInet4{Port: a.Port, Addr: [4]byte(v4)}, nil
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: a.Port, Addr: [16]byte(a.IP.To16())}, nil
}

func family(network, address string) int {
	f, _, _ := sockaddr(network, address)
	return f
}

func dial(network, address, from string) (int, error) {
	f, to, err := sockaddr(network, address)
	if err != nil {
		return 0, err
	}
	fd, err := unix.Socket(f, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	if from != "" {
		_, own, err := sockaddr(network, from)
		if err == nil {
			err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		}
		if err == nil {
			err = unix.Bind(fd, own)
		}
		if err != nil {
			_ = unix.Close(fd)
			return 0, err
		}
	}
	if err := unix.Connect(fd, to); err != nil {
		_ = unix.Close(fd)
		return 0, err
	}
	return fd, nil
}

func listen(network, address string) error {
	f, at, err := sockaddr(network, address)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(f, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if network != "unix" {
		for _, option := range []int{unix.SO_REUSEADDR, unix.SO_REUSEPORT} {
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, 1); err != nil {
				return err
			}
		}
	}
	if err := unix.Bind(fd, at); err != nil {
		return err
	}
	return unix.Listen(fd, 1)
}

func send(fd int, lines []string) error {
	_, err := unix.Write(fd, []byte(strings.Join(lines, "\r\n")+"\r\n\r\n"))
	return err
}

func (s *stage) receive(fd int) (answer, error) {
	in := s.conns[fd]
	if in == nil {
		return answer{}, fmt.Errorf("no connection %d", fd)
	}
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{Status: resp.StatusCode, Body: string(body)}, err
}

func become(uid int) error {
	if err := syscall.Setgroups(nil); err != nil {
		return err
	}
	if err := syscall.Setresgid(uid, uid, uid); err != nil {
		return err
	}
	return syscall.Setresuid(uid, uid, uid)
}

// exec goes on as another program, with the same connections.
func (s *stage) exec(path string) error {
	handles := ""
	for fd := range s.conns {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return err
		}
		handles += " " + strconv.Itoa(fd)
	}
	if path == "" {
		path = "/proc/self/exe"
	}
	return syscall.Exec(path, os.Args, append(os.Environ(), handlesVariable+"="+handles, againVariable+"=1"))
}

// child does orders in a process that was forked, and holds the connection On as 3.
func (s *stage) child(o order) (answer, error) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), handlesVariable+"=", againVariable+"=")
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if o.On != 0 {
		fd, err := unix.Dup(o.On)
		if err != nil {
			return answer{}, err
		}
		f := os.NewFile(uintptr(fd), "connection")
		defer f.Close()
		cmd.ExtraFiles, cmd.Env = []*os.File{f}, append(cmd.Env, handlesVariable+"=3")
	}
	if o.UID != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(o.UID), Gid: uint32(o.UID)}
	}
	if o.Root {
		cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	var in, out strings.Builder
	for _, then := range o.Then {
		if err := json.NewEncoder(&in).Encode(then); err != nil {
			return answer{}, err
		}
	}
	cmd.Stdin, cmd.Stdout = strings.NewReader(in.String()), &out
	if err := cmd.Run(); err != nil {
		return answer{}, err
	}
	a := answer{}
	for lines := json.NewDecoder(strings.NewReader(out.String())); lines.More(); {
		var one answer
		if err := lines.Decode(&one); err != nil {
			return a, err
		}
		a.All = append(a.All, one)
	}
	return a, nil
}

// give waits at a unix socket and passes a connection to who comes.
func give(at string, fd int) error {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: at, Net: "unix"})
	if err != nil {
		return err
	}
	defer l.Close()
	if err := os.Chmod(at, 0o777); err != nil {
		return err
	}
	_ = l.SetDeadline(time.Now().Add(30 * time.Second))
	c, err := l.AcceptUnix()
	if err != nil {
		return err
	}
	defer c.Close()
	_, _, err = c.WriteMsgUnix([]byte{1}, unix.UnixRights(fd), nil)
	return err
}

// take asks for a connection at a unix socket.
func take(at string) (int, error) {
	var c *net.UnixConn
	var err error
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if c, err = net.DialUnix("unix", nil, &net.UnixAddr{Name: at, Net: "unix"}); err == nil {
			break
		}
		if time.Now().After(deadline) {
			return 0, err
		}
	}
	defer c.Close()
	space := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := c.ReadMsgUnix(make([]byte, 1), space)
	if err != nil {
		return 0, err
	}
	messages, err := unix.ParseSocketControlMessage(space[:n])
	if err != nil || len(messages) != 1 {
		return 0, fmt.Errorf("%d messages: %w", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return 0, fmt.Errorf("%d descriptors: %w", len(fds), err)
	}
	return fds[0], nil
}

func ptrace(pid int) error { return unix.PtraceSeize(pid) }

// memory reads a process's memory without stopping it.
func memory(pid int) error {
	local := make([]byte, 16)
	_, err := unix.ProcessVMReadv(pid, []unix.Iovec{{Base: &local[0], Len: 16}}, []unix.RemoteIovec{{Base: 0x400000, Len: 16}}, 0)
	return err
}

// puppet is the test's side.
type puppet struct {
	t       testing.TB
	cmd     *exec.Cmd
	orders  *json.Encoder
	answers *json.Decoder
	in      io.Closer
	ended   bool
}

// newPuppet starts a process of a sign-in; change, where not nil, changes how it is
// started.
func newPuppet(t testing.TB, l *nodes.Login, change func(*exec.Cmd)) *puppet {
	t.Helper()
	cmd := l.Command(binary(t))
	cmd.Env = append(cmd.Env, puppetVariable+"=1")
	if change != nil {
		change(cmd)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := l.Start(cmd); err != nil {
		t.Fatal(err)
	}
	p := &puppet{t: t, cmd: cmd, orders: json.NewEncoder(in), answers: json.NewDecoder(out), in: in}
	t.Cleanup(p.end)
	return p
}

// end ends the process and waits for it: its number is free then.
func (p *puppet) end() {
	if p.ended {
		return
	}
	p.ended = true
	_ = p.in.Close()
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// try does one order; its answer may be an error.
func (p *puppet) try(o order) answer {
	p.t.Helper()
	p.begin(o)
	return p.finish()
}

// begin gives an order whose answer is read later.
func (p *puppet) begin(o order) {
	p.t.Helper()
	if err := p.orders.Encode(o); err != nil {
		p.t.Fatalf("the puppet is gone: %v", err)
	}
}

func (p *puppet) finish() answer {
	p.t.Helper()
	var a answer
	if err := p.answers.Decode(&a); err != nil {
		p.t.Fatalf("the puppet is gone: %v", err)
	}
	return a
}

// do does one order that has to succeed.
func (p *puppet) do(o order) answer {
	p.t.Helper()
	a := p.try(o)
	if a.Err != "" {
		p.t.Fatalf("%s: %s", o.Do, a.Err)
	}
	return a
}
