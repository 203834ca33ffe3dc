//go:build interop

package nodes

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// groups are the control groups of one site, below one folder.
type groups struct {
	mount string // where version 2 is mounted
	own   bool   // we mounted it: agents have to be told
	root  string // our folder in it
	last  atomic.Int64
}

// openGroups finds where control groups of version 2 are mounted, or mounts them in
// folder.
func openGroups(t testing.TB, folder string) *groups {
	t.Helper()
	g := &groups{}
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		before, after, _ := strings.Cut(line, " - ")
		if fields := strings.Fields(before); strings.HasPrefix(after, "cgroup2 ") && len(fields) > 4 && fields[3] == "/" {
			g.mount = fields[4]
			break
		}
	}
	if g.mount == "" {
		g.own, g.mount = true, filepath.Join(folder, "cgroup")
		if err := os.Mkdir(g.mount, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("none", g.mount, "cgroup2", 0, ""); err != nil {
			t.Fatalf("control groups of version 2 can't be mounted: %v", err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(g.mount, 0); err != nil {
				t.Errorf("unmounting %s: %v", g.mount, err)
			}
		})
	}
	g.root = filepath.Join(g.mount, filepath.Base(folder))
	if err := os.Mkdir(g.root, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { endGroup(t, g.root) })
	return g
}

// folder makes a group by its path below ours.
func (g *groups) folder(t testing.TB, path string) string {
	t.Helper()
	p := filepath.Join(g.root, path)
	if err := os.MkdirAll(p, 0o755); err != nil {
		t.Fatal(err)
	}
	return p
}

// pathOf is what /proc/PID/cgroup calls the group of a folder.
func (g *groups) pathOf(folder string) string { return strings.TrimPrefix(folder, g.mount) }

// endGroup kills every process in and below a group and removes it. Processes that
// were killed leave it only when they have been waited for, so that is tried again.
func endGroup(t testing.TB, folder string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := os.WriteFile(filepath.Join(folder, "cgroup.kill"), []byte("1"), 0)
		if errors.Is(err, os.ErrNotExist) {
			return
		}
		if err == nil {
			err = removeGroups(folder)
		}
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("control group %s does not end: %v", folder, err)
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// removeGroups removes a folder of groups from below.
func removeGroups(folder string) error {
	all, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, e := range all {
		if e.IsDir() {
			if err := removeGroups(filepath.Join(folder, e.Name())); err != nil {
				return err
			}
		}
	}
	return unix.Rmdir(folder)
}

// next numbers sign-ins.
func (g *groups) next() string { return fmt.Sprint(g.last.Add(1)) }
