//go:build interop

package running

import (
	"bytes"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Process is a program that ends with its test, and with the test's process.
type Process struct {
	// Log is what it printed.
	Log Log
	// Ended is closed when it has ended; Err says how, from then on.
	Ended chan struct{}
	Err   error

	cmd *exec.Cmd
}

// Log keeps the newest megabyte, or two, of what a program prints. Safe for concurrent use.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write adds to it.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.b.Len() > 2<<20 {
		l.b.Next(1 << 20)
	}
	return l.b.Write(p)
}

// String is what was printed until now.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Begin starts a program. What it prints goes to its log.
func Begin(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{cmd: cmd, Ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.Log, &p.Log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	began := make(chan error)
	go func() {
		// The program is killed with the thread that started it: that one does nothing
		// else, so that it lasts.
		runtime.LockOSThread()
		err := cmd.Start()
		began <- err
		if err == nil {
			p.Err = cmd.Wait()
			close(p.Ended)
		}
	}()
	if err := <-began; err != nil {
		t.Fatal(err)
	}
	return p
}

// PID is its number.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Running reports whether it has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.Ended:
		return false
	default:
		return true
	}
}

// Kill ends it as a crash does, and waits for that.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.Ended
}

// End interrupts it, as its operator does, and fails the test where it does not end
// well within a time.
func (p *Process) End(t testing.TB, within time.Duration) {
	t.Helper()
	if !p.Running() {
		return
	}
	_ = p.cmd.Process.Signal(os.Interrupt)
	select {
	case <-p.Ended:
		if p.Err != nil {
			t.Errorf("%s did not end cleanly: %v\n%s", p.cmd.Path, p.Err, &p.Log)
		}
	case <-time.After(within):
		p.Kill()
		t.Errorf("%s did not end within %s of an interrupt\n%s", p.cmd.Path, within, &p.Log)
	}
}

// FreeAddress finds an address of loopback below the ports that systems give to
// outgoing connections, so that no other test takes it before a program does.
func FreeAddress(t testing.TB) string {
	t.Helper()
	for range 100 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(12000+rand.IntN(8000)))
		if l, err := net.Listen("tcp", address); err == nil {
			_ = l.Close()
			return address
		}
	}
	t.Fatal("no free port in 100 tries")
	return ""
}
