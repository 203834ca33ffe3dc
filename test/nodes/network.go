//go:build interop

package nodes

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// Network is a network namespace. The zero value is ours.
type Network struct{ file *os.File }

// NewNetwork makes a namespace with loopback up and the link-local addresses of
// container credentials on it.
func NewNetwork(t testing.TB, addresses ...string) *Network {
	t.Helper()
	n, err := newNetwork(addresses)
	if err != nil {
		t.Fatalf("a network namespace: %v", err)
	}
	t.Cleanup(func() { _ = n.file.Close() })
	return n
}

func newNetwork(addresses []string) (*Network, error) {
	type made struct {
		n   *Network
		err error
	}
	out := make(chan made)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its namespace
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			out <- made{nil, err}
			return
		}
		f, err := os.Open("/proc/thread-self/ns/net")
		if err == nil {
			err = linksUp(addresses)
		}
		out <- made{&Network{f}, err}
	}()
	m := <-out
	return m.n, m.err
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

// Inside runs do on a thread that is in the namespace: sockets that it opens and
// processes that it starts stay there.
func (n *Network) Inside(do func() error) error {
	if n.file == nil {
		return do()
	}
	runtime.LockOSThread()
	before, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer before.Close()
	if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	done := do()
	if err := unix.Setns(int(before.Fd()), unix.CLONE_NEWNET); err != nil {
		return err // the thread stays locked: nothing else shall run on it
	}
	runtime.UnlockOSThread()
	return done
}

// passage passes connections to ports of loopback in a namespace on to the same
// ports of ours.
type passage struct {
	mu    sync.Mutex
	shut  bool
	conns map[net.Conn]bool
}

// pass opens the ports of the addresses.
func (n *Network) pass(t testing.TB, addresses ...string) *passage {
	t.Helper()
	p := &passage{conns: map[net.Conn]bool{}}
	for _, a := range addresses {
		u, err := url.Parse(a)
		if err != nil {
			t.Fatal(err)
		}
		for _, host := range []string{"127.0.0.1", "::1"} {
			var l net.Listener
			if err := n.Inside(func() (err error) { l, err = net.Listen("tcp", net.JoinHostPort(host, u.Port())); return err }); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
			go p.serve(l, net.JoinHostPort("localhost", u.Port()))
		}
	}
	t.Cleanup(func() { p.set(true) })
	return p
}

func (p *passage) serve(l net.Listener, to string) {
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
			out, err := net.Dial("tcp", to)
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
			_, _ = io.Copy(out, in)
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
