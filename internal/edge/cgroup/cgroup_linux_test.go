package cgroup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tree makes folders as a mount of control groups has them: what is asked of one is the
// inode of its folder.
func tree(t *testing.T, groups ...string) *Tree {
	t.Helper()
	m := t.TempDir()
	for _, g := range groups {
		if err := os.MkdirAll(filepath.Join(m, g), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return &Tree{Mount: m}
}

func (t *Tree) must(test *testing.T, path string) uint64 {
	test.Helper()
	id, err := t.ID(path)
	if err != nil || id == 0 {
		test.Fatalf("%s: %d, %v", path, id, err)
	}
	return id
}

func TestBelowAScope(t *testing.T) {
	t.Parallel()
	g := tree(t, "/user/session-1.scope/a/b", "/user/session-2.scope", "/pods/p")
	scope := g.must(t, "/user/session-1.scope")
	for path, want := range map[string]bool{"/user/session-1.scope": true, "/user/session-1.scope/a/b": true, "/user/session-2.scope": false, "/user": false, "/": false, "/pods/p": false} {
		for range 2 { // found out, and remembered
			if got := g.Within(g.must(t, path), "/user/session-1.scope", scope); got != want {
				t.Errorf("%s: %v", path, got)
			}
		}
	}
	for name, asked := range map[string]bool{
		"no id":                     g.Within(0, "/user/session-1.scope", scope),
		"no id of the scope":        g.Within(5, "/user/session-1.scope", 0),
		"both none":                 g.Within(0, "/user/session-1.scope", 0),
		"another id of that path":   g.Within(g.must(t, "/user/session-1.scope/a"), "/user/session-1.scope", scope+1000),
		"a path out of the tree":    g.Within(g.must(t, "/pods/p"), "/user/../pods", g.must(t, "/pods")),
		"a scope that is not there": g.Within(g.must(t, "/pods/p"), "/gone", 17),
		"without a mount":           (&Tree{}).Within(1, "/", 2),
	} {
		if asked {
			t.Errorf("%s: yes", name)
		}
	}
}

// TestAttackScopeOfTheSameName: a login scope that was made anew is another one.
func TestAttackScopeOfTheSameName(t *testing.T) {
	t.Parallel()
	g := tree(t, "/user/session-1.scope/a")
	scope, inner := g.must(t, "/user/session-1.scope"), g.must(t, "/user/session-1.scope/a")
	if err := os.Rename(filepath.Join(g.Mount, "user"), filepath.Join(g.Mount, "old")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(g.Mount, "user/session-1.scope"), 0o755); err != nil {
		t.Fatal(err)
	}
	if g.Live("/user/session-1.scope", scope) {
		t.Error("the later scope passes for the earlier")
	}
	if g.Within(inner, "/user/session-1.scope", scope) {
		t.Error("a group passes for one below the later scope")
	}
}

func TestEventsOfAScope(t *testing.T) {
	t.Parallel()
	g := tree(t, "/s")
	id := g.must(t, "/s")
	for text, want := range map[string]bool{"populated 1\nfrozen 0\n": true, "populated 0\nfrozen 0\n": false, "frozen 0\npopulated 0": false, "frozen 0\n": true} {
		if err := os.WriteFile(filepath.Join(g.Mount, "s", "cgroup.events"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := g.Live("/s", id); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	if g.Live("/gone", id) {
		t.Error("a scope that is gone lives")
	}
	if !g.Live("/", 1) {
		t.Error("the root group ended")
	}
}

func TestManyGroups(t *testing.T) {
	t.Parallel()
	g := tree(t, "/s")
	g.most = 20
	for i := range g.most + 10 {
		if err := os.Mkdir(filepath.Join(g.Mount, "s", "g"+strings.Repeat("x", i%7)+string(rune('a'+i%26))+itoa(i)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if g.Within(1, "/s", g.must(t, "/s")) {
		t.Error("yes to a group that is not there")
	}
	if len(g.known) != 0 {
		t.Error("a no is remembered of a scope that was not looked at whole")
	}
}

func itoa(i int) string {
	if i == 0 {
		return ""
	}
	return itoa(i/10) + string(rune('0'+i%10))
}

func TestFindTheMount(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct{ text, want string }{
		"version 2 alone": {"30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n", "/sys/fs/cgroup"},
		"beside version 1": {"31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" +
			"41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n", "/sys/fs/cgroup/unified"},
		"a part of the tree":   {"30 23 0:26 /docker/a /sys/fs/cgroup rw - cgroup2 cgroup rw\n", ""},
		"a name with a blank":  {`30 23 0:26 / /a\040b rw - cgroup2 none rw` + "\n", "/a b"},
		"none":                 {"30 23 0:26 / / rw - ext4 /dev/sda rw\n", ""},
		"a name that looks so": {"30 23 0:26 / /x rw - ext4 cgroup2 rw\n", ""},
		"cut short":            {"30 23 0:26 - cgroup2 x\n", ""},
		"empty":                {"", ""},
	} {
		if got := Find(x.text); got != x.want {
			t.Errorf("%s: %q", name, got)
		}
	}
	if _, err := Open(t.TempDir()); err == nil {
		t.Error("any folder was taken for the mount")
	}
}

func FuzzMountinfo(f *testing.F) {
	f.Add("41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n")
	f.Add(`30 23 0:26 / /a\134b rw master:1 - cgroup2 none rw`)
	f.Fuzz(func(t *testing.T, text string) {
		if at := Find(text); at != "" && !strings.HasPrefix(at, "/") {
			t.Errorf("found %q in %q", at, text)
		}
	})
}

// FuzzGroupPath: no path leads out of the mount.
func FuzzGroupPath(f *testing.F) {
	f.Add("/user.slice/user-1000.slice/session-2.scope")
	f.Add("/../etc")
	f.Add("/a/./b (deleted)")
	f.Fuzz(func(t *testing.T, path string) {
		g := &Tree{Mount: "/mount"}
		if folder, ok := g.folder(path); ok && folder != "/mount" && !strings.HasPrefix(folder, "/mount/") {
			t.Errorf("%q leads to %q", path, folder)
		}
	})
}

// TestLookingLeavesLittle: a node looks after thousands of scopes every other second,
// and what that leaves for the collector would be its memory.
func TestLookingLeavesLittle(t *testing.T) {
	g := tree(t, "/user/session-1.scope")
	id := g.must(t, "/user/session-1.scope")
	if err := os.WriteFile(filepath.Join(g.Mount, "user/session-1.scope", "cgroup.events"), []byte("populated 1\nfrozen 0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		if !g.Live("/user/session-1.scope", id) {
			t.Error("the scope has ended")
		}
	}); n > 3 { // the paths, for the kernel
		t.Errorf("%v pieces of memory for one look", n)
	}
}
