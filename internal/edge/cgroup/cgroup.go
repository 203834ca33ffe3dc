// Package cgroup knows the control groups (version 2) of this machine: which group lies
// below which, and whether one is still there.
//
// The kernel calls a group by a number that is never used again, and its folder's inode
// has that number. So what was found out about two numbers stays true, and a folder of
// the same name with another number is another group. It must never take a path for a
// group without comparing the number.
package cgroup

import (
	"bytes"
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Tree is the groups below one mount. Safe for concurrent use.
type Tree struct {
	// Mount is where version 2 is mounted; empty: nowhere, and nothing is known.
	Mount string

	most  int // groups that one question costs at most; 0: mostWalked
	mu    sync.Mutex
	known map[relation]bool

	looking sync.Mutex
	glance  glance
}

// relation asks whether a group is below a scope; both are numbers of the kernel.
type relation struct{ group, scope uint64 }

const (
	// mostKnown bounds what is remembered, mostWalked the groups that one question
	// costs at most.
	mostKnown  = 8192
	mostWalked = 4096
)

// Within reports whether the group with this id is the scope or lies below it.
func (t *Tree) Within(id uint64, scope string, scopeID uint64) bool {
	if t.Mount == "" || id == 0 || scopeID == 0 {
		return false
	}
	if id == scopeID {
		return true
	}
	asked := relation{id, scopeID}
	t.mu.Lock()
	answer, ok := t.known[asked]
	t.mu.Unlock()
	if ok {
		return answer
	}
	folder, ok := t.folder(scope)
	if !ok {
		return false
	}
	if at, err := inode(folder); err != nil || at != scopeID {
		return false
	}
	found, whole := walk(folder, id, cmp.Or(t.most, mostWalked))
	// Groups are never moved, and the asked one existed before it was asked about: so
	// no is final too, if the walk saw everything.
	if found || whole {
		t.mu.Lock()
		if t.known == nil || len(t.known) >= mostKnown {
			t.known = map[relation]bool{}
		}
		t.known[asked] = found
		t.mu.Unlock()
	}
	return found
}

// walk looks for a group below a folder; whole: everything was looked at.
func walk(folder string, id uint64, most int) (found, whole bool) {
	whole = true
	seen := 0
	stop := errors.New("enough")
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			whole = whole && errors.Is(err, fs.ErrNotExist) // gone meanwhile
			return nil
		case !d.IsDir():
			return nil
		}
		if seen++; seen > most {
			whole = false
			return stop
		}
		if at, err := inode(path); err == nil && at == id {
			found = true
			return stop
		}
		return nil
	})
	return found, whole && (err == nil || errors.Is(err, stop))
}

// Root is the kernel's number of the root group.
const Root = 1

// ID gives the kernel's number of a group by its path. Without a mount the root group
// alone is known.
func (t *Tree) ID(path string) (uint64, error) {
	if t.Mount == "" && path == "/" {
		return Root, nil
	}
	if t.Mount == "" {
		return 0, fs.ErrNotExist
	}
	folder, ok := t.folder(path)
	if !ok {
		return 0, fs.ErrInvalid
	}
	return inode(folder)
}

// Live reports whether a scope is there, is the one with this number, and holds
// processes. The root group is always there.
func (t *Tree) Live(scope string, scopeID uint64) bool {
	if scope == "/" {
		return true
	}
	if t.Mount == "" {
		return false // it was made when there was a mount, and can't be proven now
	}
	if !Plain(scope) {
		return false
	}
	t.looking.Lock()
	defer t.looking.Unlock()
	at, events, err := t.glance.at(t.Mount, scope)
	if errors.Is(err, fs.ErrNotExist) || at != 0 && at != scopeID {
		return false
	}
	return err != nil || populated(events)
}

// populated reads cgroup.events (cgroup-v2, "Core Interface Files").
func populated(events []byte) bool {
	for line := range bytes.Lines(events) {
		if value, ok := bytes.CutPrefix(bytes.TrimSuffix(line, []byte("\n")), []byte("populated ")); ok {
			return string(value) != "0"
		}
	}
	return true
}

// folder gives a group's folder; no for what is no path of a group.
func (t *Tree) folder(path string) (string, bool) {
	if !Plain(path) {
		return "", false
	}
	return filepath.Join(t.Mount, filepath.FromSlash(path[1:])), true
}

// Plain reports whether a text is the path of a group in our own view: absolute, without
// dots, and not that of a removed one.
func Plain(path string) bool {
	if path == "/" {
		return true
	}
	if !strings.HasPrefix(path, "/") || len(path) > 4096 || strings.HasSuffix(path, " (deleted)") || strings.ContainsRune(path, 0) {
		return false
	}
	for part := range strings.SplitSeq(path[1:], "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return true
}

// Find finds the mount of version 2 in a mountinfo file (proc_pid_mountinfo(5)): the
// first that shows the whole tree. Empty: there is none.
func Find(mountinfo string) string {
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
		fields := strings.Fields(before)
		if ok && strings.HasPrefix(after, "cgroup2 ") && len(fields) >= 6 && fields[3] == "/" && strings.HasPrefix(fields[4], "/") {
			return unescape(fields[4])
		}
	}
	return ""
}

// unescape undoes \040 and its like.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && octal(s[i+1:i+4]) {
			b.WriteByte((s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'))
			i += 3
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func octal(s string) bool {
	return s[0] >= '0' && s[0] <= '3' && s[1] >= '0' && s[1] <= '7' && s[2] >= '0' && s[2] <= '7'
}

// Open finds the mount of this machine and makes its Tree. With a folder given, that is
// the mount.
func Open(folder string) (*Tree, error) {
	if folder != "" {
		if !isMount(folder) {
			return nil, &fs.PathError{Op: "open", Path: folder, Err: errors.New("no mount of control groups of version 2")}
		}
		return &Tree{Mount: folder}, nil
	}
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return &Tree{}, nil
	}
	if at := Find(string(text)); at != "" && isMount(at) {
		return &Tree{Mount: at}, nil
	}
	return &Tree{}, nil
}
