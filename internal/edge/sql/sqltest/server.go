//go:build interop

package sqltest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/secret"
)

// Server is a real PostgreSQL with a data folder of its own, reached by a unix socket.
// However the test process ends, it ends too and its folder goes.
type Server struct {
	bin, dir, owner string
	options         string
	credential      *syscall.Credential // nil: this user
	life            io.Closer           // held open: its end is the server's end
	sweeper         *exec.Cmd
}

// Start starts a server that lives as long as the test, with everything written as
// durably as a server in use does it. It fails where the system has no PostgreSQL.
func Start(t testing.TB) *Server {
	t.Helper()
	p, err := newServer("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.life.Close()
		if err := p.sweeper.Wait(); err != nil {
			t.Errorf("PostgreSQL in %s: %v", p.dir, err)
		}
	})
	return p
}

// Database makes a new, empty database and gives its connection string.
func (p *Server) Database(t testing.TB) secret.Text {
	t.Helper()
	name := fmt.Sprintf("carnet%d", databases.Add(1))
	if out, err := p.command("psql", "-h", p.dir, "-d", "postgres", "-qc", "CREATE DATABASE "+name).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return secret.New(fmt.Sprintf("host=%s user=%s dbname=%s", p.dir, p.owner, name))
}

// Stop ends the server as its operator does: what runs is rolled back, what was
// acknowledged is written.
func (p *Server) Stop(t testing.TB) {
	t.Helper()
	if out, err := p.command("pg_ctl", "-D", p.data(), "-s", "-w", "-m", "fast", "stop").CombinedOutput(); err != nil {
		t.Fatalf("pg_ctl stop: %v: %s", err, out)
	}
}

// Start starts the server again, with the same data, after Stop or Kill.
func (p *Server) Start(t testing.TB) {
	t.Helper()
	if err := p.begin(); err != nil {
		t.Fatal(err)
	}
}

// Kill ends every process of the server with SIGKILL at once, and gives when they are
// gone.
func (p *Server) Kill(t testing.TB) {
	t.Helper()
	parent := p.pid(t)
	_ = syscall.Kill(parent, syscall.SIGSTOP) // so that it starts no others meanwhile
	all := append(children(parent), parent)
	for _, pid := range all {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	for end := time.Now().Add(20 * time.Second); len(all) > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("processes %v of PostgreSQL outlive SIGKILL", all)
		}
		if gone(all[0]) {
			all = all[1:]
		}
	}
	// Where nobody reaps what lost its parent, the number in it looks alive for good.
	if err := errors.Join(os.Remove(p.lock()), os.Remove(filepath.Join(p.dir, ".s.PGSQL.5432.lock"))); err != nil {
		t.Fatal(err)
	}
}

// lock is the file that names the server's first process.
func (p *Server) lock() string { return filepath.Join(p.data(), "postmaster.pid") }

// pid is the number of the server's first process.
func (p *Server) pid(t testing.TB) int {
	t.Helper()
	text, err := os.ReadFile(p.lock())
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// children are the direct children of a process: all of PostgreSQL's are.
func children(parent int) (pids []int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", parent))
	for _, file := range tasks {
		text, _ := os.ReadFile(file)
		for _, f := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(f); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// gone reports that a process has ended, whether or not it was waited for.
func gone(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, state, _ := strings.Cut(string(text), ") ")
	return strings.HasPrefix(state, "Z") || strings.HasPrefix(state, "X")
}

func (p *Server) data() string { return filepath.Join(p.dir, "data") }

func (p *Server) command(name string, args ...string) *exec.Cmd {
	c := exec.Command(filepath.Join(p.bin, name), args...)
	c.Dir = p.dir
	c.Env = append(os.Environ(), "HOME="+p.dir, "LC_ALL=C.UTF-8", "PGUSER="+p.owner)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: p.credential}
	return c
}

// newServer runs initdb and the server as an unprivileged user (initdb refuses root)
// in a folder of its own. A shell that waits on a pipe of this process ends both,
// however this process ends.
func newServer(options string) (*Server, error) {
	p := &Server{owner: "carnet"}
	var err error
	if p.bin, err = binaries(); err != nil {
		return p, err
	}
	if p.dir, err = os.MkdirTemp("", "pg"); err != nil {
		return p, err
	}
	p.options = options + " -c listen_addresses='' -c max_connections=200 -k " + p.dir
	if os.Getuid() == 0 {
		if p.credential, err = unprivileged(); err != nil {
			return p, err
		}
		if err := os.Chown(p.dir, int(p.credential.Uid), int(p.credential.Gid)); err != nil {
			return p, err
		}
	}
	if out, err := p.command("initdb", "-D", p.data(), "-U", p.owner, "-A", "trust", "-E", "UTF8", "--no-sync").CombinedOutput(); err != nil {
		return p, fmt.Errorf("initdb: %w: %s", err, out)
	}
	if err := p.begin(); err != nil {
		return p, err
	}
	p.sweeper = p.command("pg_ctl")
	p.sweeper.Path, p.sweeper.Args = "/bin/sh", []string{"sh", "-c",
		`cat >/dev/null; "$1/pg_ctl" -D "$2/data" -s -m immediate stop; cd /; rm -rf "$2"`, "sh", p.bin, p.dir}
	p.sweeper.SysProcAttr.Setpgid = true // an interrupt at the keyboard is not for it
	if p.life, err = p.sweeper.StdinPipe(); err != nil {
		return p, err
	}
	return p, p.sweeper.Start()
}

func (p *Server) begin() error {
	log := filepath.Join(p.dir, "log")
	if out, err := p.command("pg_ctl", "-D", p.data(), "-w", "-s", "-l", log, "-o", p.options, "start").CombinedOutput(); err != nil {
		said, _ := os.ReadFile(log)
		return fmt.Errorf("pg_ctl: %w: %s%s", err, out, said)
	}
	return nil
}
