//go:build interop

package sqltest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/sql"
)

func engines() []engine {
	return []engine{sqlite(), {"postgresql", func(t testing.TB) sql.Config {
		return sql.Config{PostgreSQL: PostgreSQL(t)}
	}}}
}

var (
	server    = sync.OnceValues(startPostgreSQL)
	databases atomic.Int64
)

// PostgreSQL makes a new, empty database on a real server, which runs as long
// as this test binary, and gives its connection string. It fails where the
// system has no PostgreSQL.
func PostgreSQL(t testing.TB) secret.Text {
	t.Helper()
	pg, err := server()
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("carnet%d", databases.Add(1))
	if out, err := pg.command("psql", "-h", pg.dir, "-d", "postgres", "-qc", "CREATE DATABASE "+name).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return secret.New(fmt.Sprintf("host=%s user=%s dbname=%s", pg.dir, pg.owner, name))
}

type postgres struct {
	bin, dir, owner string
	credential      *syscall.Credential // nil: this user
	life            io.Closer           // held open: its end is the server's end
}

func (p postgres) command(name string, args ...string) *exec.Cmd {
	c := exec.Command(filepath.Join(p.bin, name), args...)
	c.Dir = p.dir
	c.Env = append(os.Environ(), "HOME="+p.dir, "LC_ALL=C.UTF-8", "PGUSER="+p.owner)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: p.credential}
	return c
}

// startPostgreSQL runs initdb and the server as an unprivileged user (initdb
// refuses root) in a folder of its own. A shell that waits on a pipe of this
// process ends both, however this process ends.
func startPostgreSQL() (postgres, error) {
	p := postgres{owner: "carnet"}
	var err error
	if p.bin, err = binaries(); err != nil {
		return p, err
	}
	if p.dir, err = os.MkdirTemp("", "pg"); err != nil {
		return p, err
	}
	if os.Getuid() == 0 {
		if p.credential, err = unprivileged(); err != nil {
			return p, err
		}
		if err := os.Chown(p.dir, int(p.credential.Uid), int(p.credential.Gid)); err != nil {
			return p, err
		}
	}
	data := filepath.Join(p.dir, "data")
	if out, err := p.command("initdb", "-D", data, "-U", p.owner, "-A", "trust", "-E", "UTF8", "--no-sync").CombinedOutput(); err != nil {
		return p, fmt.Errorf("initdb: %w: %s", err, out)
	}
	options := "-c listen_addresses='' -c fsync=off -c max_connections=200 -k " + p.dir
	log := filepath.Join(p.dir, "log")
	if out, err := p.command("pg_ctl", "-D", data, "-w", "-s", "-l", log, "-o", options, "start").CombinedOutput(); err != nil {
		said, _ := os.ReadFile(log)
		return p, fmt.Errorf("pg_ctl: %w: %s%s", err, out, said)
	}
	sweeper := p.command("pg_ctl")
	sweeper.Path, sweeper.Args = "/bin/sh", []string{"sh", "-c",
		`cat >/dev/null; "$1/pg_ctl" -D "$2/data" -s -m immediate stop; cd /; rm -rf "$2"`, "sh", p.bin, p.dir}
	sweeper.SysProcAttr.Setpgid = true // an interrupt at the keyboard is not for it
	if p.life, err = sweeper.StdinPipe(); err != nil {
		return p, err
	}
	return p, sweeper.Start()
}

// binaries finds the folder of the newest server. Debian keeps it off the PATH.
func binaries() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) > 0 {
		slices.SortFunc(found, func(a, b string) int { return version(a) - version(b) })
		return filepath.Dir(found[len(found)-1]), nil
	}
	path, err := exec.LookPath("initdb")
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return "", errors.New("no PostgreSQL server on this system: install its package (Debian: postgresql)")
	}
	return filepath.Dir(path), nil
}

func version(path string) int {
	n, _ := strconv.Atoi(strings.Split(path, "/")[4])
	return n
}

func unprivileged() (*syscall.Credential, error) {
	var tried bytes.Buffer
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			fmt.Fprintln(&tried, err)
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, fmt.Errorf("no unprivileged user to run PostgreSQL as: %s", tried.String())
}
