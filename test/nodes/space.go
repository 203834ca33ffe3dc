//go:build interop

package nodes

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Space is a network, a pid and a mount namespace, as one machine has them, and a
// thread that lives there.
type Space struct {
	work  chan func()
	first *exec.Cmd
}

// NewSpace makes one: loopback is up and has the further IPv4 addresses, /run is
// empty, /proc shows the processes of the space alone.
func NewSpace(t testing.TB, addresses ...string) *Space {
	t.Helper()
	// The first process that Go starts comes after another, with which it tries
	// the kernel. That one may not be the first of the space: all end with it.
	if err := exec.Command("true").Run(); err != nil {
		t.Fatal(err)
	}
	s := &Space{work: make(chan func())}
	ready := make(chan error)
	go s.live(addresses, ready)
	if err := <-ready; err != nil {
		t.Fatalf("namespaces: %v", err)
	}
	t.Cleanup(func() {
		close(s.work)
		_ = s.first.Process.Kill() // and all that live in the space with it
		_ = s.first.Wait()
	})
	return s
}

// live moves the thread into the namespaces and works there. The thread ends with
// them: it is never given back.
func (s *Space) live(addresses []string, ready chan error) {
	runtime.LockOSThread()
	err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID)
	if err == nil {
		err = linksUp(addresses)
	}
	if err == nil {
		err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	}
	if err == nil {
		err = s.begin()
	}
	if err == nil {
		err = unix.Mount("none", "/run", "tmpfs", 0, "mode=755")
	}
	ready <- err
	if err != nil {
		return
	}
	for do := range s.work {
		do()
	}
}

// begin starts the process that the others of the space live with, and has /proc
// mounted, which only a process inside can do.
func (s *Space) begin() error {
	s.first = exec.Command("sleep", "infinity")
	s.first.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.first.Start(); err != nil {
		return err
	}
	if out, err := exec.Command("mount", "-t", "proc", "proc", "/proc").CombinedOutput(); err != nil {
		return fmt.Errorf("mount /proc: %w: %s", err, out)
	}
	return nil
}

// Inside runs do on the thread of the space: sockets that it opens and processes
// that it starts stay there. A nil space is ours.
func (s *Space) Inside(do func() error) error {
	if s == nil {
		return do()
	}
	done := make(chan error)
	s.work <- func() { done <- do() }
	return <-done
}

// linksUp brings loopback up in the thread's namespace, and gives it addresses.
func linksUp(addresses []string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	set := func(name string, request uint, fill func(*unix.Ifreq) error) error {
		r, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		if err := fill(r); err != nil {
			return err
		}
		return unix.IoctlIfreq(fd, request, r)
	}
	if err := set("lo", unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING); return nil }); err != nil {
		return err
	}
	for i, a := range addresses {
		alias := fmt.Sprintf("lo:%d", i+1)
		if err := set(alias, unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(net.ParseIP(a).To4()) }); err != nil {
			return err
		}
		if err := set(alias, unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error { return r.SetInet4Addr([]byte{255, 255, 255, 255}) }); err != nil {
			return err
		}
	}
	return nil
}

// passage passes connections to ports of loopback in a namespace on to the same
// ports of ours.
type passage struct {
	mu    sync.Mutex
	shut  bool
	conns map[net.Conn]bool
	asked []Asked
}

// Asked is a request of a node that reached the server's ports.
type Asked struct {
	At   time.Time
	Path string
}

// see notes the requests in what a node sends; each begins a write of its client's.
func (p *passage) see(b []byte) {
	method, rest, _ := strings.Cut(string(b[:min(len(b), 200)]), " ")
	path, after, _ := strings.Cut(rest, " ")
	if (method != "POST" && method != "GET") || !strings.HasPrefix(after, "HTTP/1.1\r\n") {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, Asked{time.Now(), path})
}

// seeing is a writer that notes requests.
type seeing struct {
	io.Writer
	p *passage
}

func (s seeing) Write(b []byte) (int, error) {
	s.p.see(b)
	return s.Writer.Write(b)
}

// pass opens the ports of the addresses; to says where connections go.
func (s *Space) pass(t testing.TB, to func(string) string, addresses ...string) *passage {
	t.Helper()
	p := &passage{conns: map[net.Conn]bool{}}
	for _, a := range addresses {
		if a == "" { // not served
			continue
		}
		u, err := url.Parse(a)
		if err != nil {
			t.Fatal(err)
		}
		target := func() string { return net.JoinHostPort("localhost", u.Port()) }
		if to != nil {
			target = func() string { return to(a) }
		}
		for _, host := range []string{"127.0.0.1", "::1"} {
			var l net.Listener
			if err := s.Inside(func() (err error) { l, err = net.Listen("tcp", net.JoinHostPort(host, u.Port())); return err }); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
			go p.serve(l, target)
		}
	}
	t.Cleanup(func() { p.set(true) })
	return p
}

func (p *passage) serve(l net.Listener, to func() string) {
	for {
		in, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer in.Close()
			if !p.keep(in) {
				return
			}
			defer p.drop(in)
			out, err := net.Dial("tcp", to())
			if err != nil {
				return
			}
			defer out.Close()
			if !p.keep(out) {
				return
			}
			defer p.drop(out)
			back := make(chan struct{})
			go func() {
				_, _ = io.Copy(in, out)
				_ = in.(*net.TCPConn).CloseWrite()
				close(back)
			}()
			_, _ = io.Copy(seeing{out, p}, in)
			_ = out.(*net.TCPConn).CloseWrite()
			<-back
		}()
	}
}

func (p *passage) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shut {
		return false
	}
	p.conns[c] = true
	return true
}

func (p *passage) drop(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// set shuts the passage, which cuts what is open, or opens it again.
func (p *passage) set(shut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shut = shut
	if shut {
		for c := range p.conns {
			_ = c.Close()
		}
	}
}
