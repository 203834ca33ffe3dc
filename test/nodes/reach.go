//go:build interop

package nodes

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Reach lets every account on the node reach files of ours that lie below a folder
// which is closed to others, such as an interpreter in root's home. On the node that
// folder then holds the way to them and nothing else. Symbolic links are followed.
// Call it once for each closed folder.
func (s *Space) Reach(t testing.TB, paths ...string) {
	t.Helper()
	children := map[string]map[string]bool{} // by the closed folder
	for _, path := range paths {
		for _, p := range ways(t, path) {
			if closed, child := firstClosed(t, p); closed != "" {
				if children[closed] == nil {
					children[closed] = map[string]bool{}
				}
				children[closed][child] = true
			}
		}
	}
	for closed, below := range children {
		if err := s.Inside(func() error { return passOver(closed, below) }); err != nil {
			t.Fatalf("opening the way through %s: %v", closed, err)
		}
	}
}

// ways gives a path and every place to which its links lead.
func ways(t testing.TB, path string) []string {
	t.Helper()
	all := []string{path}
	for range 20 {
		to, err := os.Readlink(path)
		if err != nil {
			break
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path), to)
		}
		path = to
		all = append(all, path)
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		t.Fatal(err)
	}
	return append(all, real)
}

// firstClosed gives the uppermost folder of a path that others may not enter, and
// what follows it in the path.
func firstClosed(t testing.TB, path string) (closed, child string) {
	t.Helper()
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	at := "/"
	for _, part := range parts[:len(parts)-1] {
		at = filepath.Join(at, part)
		info, err := os.Stat(at)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode()&1 == 0 {
			rest := strings.TrimPrefix(path, at+"/")
			first, _, _ := strings.Cut(rest, "/")
			return at, first
		}
	}
	return "", ""
}

// passOver covers a folder with an empty one that holds some of its children.
func passOver(closed string, children map[string]bool) error {
	var kept []int
	var names []string
	for name := range children {
		fd, err := unix.OpenTree(unix.AT_FDCWD, filepath.Join(closed, name), unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		kept, names = append(kept, fd), append(names, name)
	}
	if err := unix.Mount("none", closed, "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	for i, fd := range kept {
		place := filepath.Join(closed, names[i])
		if err := os.Mkdir(place, 0o755); err != nil {
			return err
		}
		if err := unix.MoveMount(fd, "", unix.AT_FDCWD, place, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return &os.PathError{Op: "move mount " + strconv.Itoa(fd), Path: place, Err: err}
		}
	}
	return nil
}
