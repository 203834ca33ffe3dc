//go:build interop

package sqltest

import (
	"bytes"
	"errors"
	"fmt"
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
	server    = sync.OnceValues(func() (*Server, error) { return newServer("-c fsync=off") })
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
	return pg.Database(t)
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

// unprivileged finds an account that is not root, for whom initdb works.
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
