//go:build interop

package nodes

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"carnet.dev/carnet/test/running"
)

// Bare makes a site whose server is the test's own, at web: an address of loopback. It
// has no people, and any join token does.
func Bare(t testing.TB, web string) *Site {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("these tests make accounts, control groups and namespaces: run them as root")
	}
	folder := openFolder(t)
	s := &Site{Folder: folder, Carnet: filepath.Join(folder, "carnet"), World: &running.World{Web: web}, Cluster: "clu_bare"}
	copyFile(t, running.Need(t, "CARNET_BINARY"), s.Carnet)
	s.groups = openGroups(t, folder)
	return s
}

// bare reports whether the server is the test's own.
func (s *Site) bare() bool { return s.people == nil }

// ScopeID is the kernel's id of the sign-in's control group.
func (l *Login) ScopeID(t testing.TB) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(l.Group, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}
