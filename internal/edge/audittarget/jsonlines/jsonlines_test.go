//go:build unix

package jsonlines_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/audittarget/jsonlines"
	"carnet.dev/carnet/internal/service/audit"
)

func documents(from, n int) (all []audit.Document) {
	for i := range n {
		all = append(all, audit.Document{EventVersion: audit.DocumentVersion, EventID: fmt.Sprintf("aud_a-%d", from+i), EventName: "sign-in", Outcome: "done",
			Detail: map[string]string{"note": "<a> & ü\nline"}, Chain: audit.Link{Writer: "aud_a", Seq: int64(from + i), Hash: strings.Repeat("0", 64)}})
	}
	return all
}

// numbers reads the file's lines, and counts those that are none.
func numbers(t *testing.T, path string) (seqs []int64, damaged int) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var d audit.Document
		if json.Unmarshal([]byte(line), &d) != nil || !strings.HasSuffix(line, "\n") {
			damaged++
			continue
		}
		seqs = append(seqs, d.Chain.Seq)
	}
	return seqs, damaged
}

func put(t *testing.T, f *jsonlines.File, from, n int) {
	t.Helper()
	if err := f.Put(t.Context(), documents(from, n)); err != nil {
		t.Fatal(err)
	}
}

func is(t *testing.T, path string, wantDamaged int, want ...int64) {
	t.Helper()
	if got, damaged := numbers(t, path); fmt.Sprint(got) != fmt.Sprint(want) || damaged != wantDamaged {
		t.Errorf("%s holds %v and %d damaged lines, want %v and %d", filepath.Base(path), got, damaged, want, wantDamaged)
	}
}

// TestRotation: the file may be renamed or removed under us, and half a line that a
// power cut left spoils no other.
func TestRotation(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	f := jsonlines.New("archive", path)
	put(t, f, 1, 2)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	put(t, f, 3, 1)
	is(t, path+".1", 0, 1, 2)
	is(t, path, 0, 3)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	put(t, f, 4, 1)
	is(t, path, 0, 4)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}

	half, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := half.WriteString(`{"eventVersion":"1.0","eve`); err != nil {
		t.Fatal(err)
	}
	if err := half.Close(); err != nil {
		t.Fatal(err)
	}
	put(t, jsonlines.New("archive", path), 5, 1)
	is(t, path, 1, 4, 5)
}

// TestAttackForeignFiles: somebody who may write to the folder puts something else in
// the file's place, to read the trail or to have it written over another file.
func TestAttackForeignFiles(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		make func(path string) error
		want string
	}{
		"a link to a file": {func(path string) error {
			victim := path + ".victim"
			if err := os.WriteFile(victim, nil, 0o600); err != nil {
				return err
			}
			return os.Symlink(victim, path)
		}, "is a link"},
		"a link to nothing": {func(path string) error { return os.Symlink(path+".new", path) }, "is a link"},
		"a second name": {func(path string) error {
			if err := os.WriteFile(path+".other", nil, 0o600); err != nil {
				return err
			}
			return os.Link(path+".other", path)
		}, "has another name, too"},
		"a file that others write": {func(path string) error {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				return err
			}
			return os.Chmod(path, 0o622)
		}, "can be written by others (mode 0622)"},
		"a pipe":    {func(path string) error { return syscall.Mkfifo(path, 0o600) }, "is no regular file"},
		"a folder":  {func(path string) error { return os.Mkdir(path, 0o700) }, "takes no lines: is a directory"},
		"no folder": {func(path string) error { return os.Remove(filepath.Dir(path)) }, "takes no lines: no such file or directory"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "audit", "audit.jsonl")
			if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := c.make(path); err != nil {
				t.Fatal(err)
			}
			err := jsonlines.New("archive", path).Put(t.Context(), documents(1, 1))
			if fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.Of(err).Public, c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			for _, victim := range []string{path + ".victim", path + ".new", path + ".other"} {
				if b, err := os.ReadFile(victim); err == nil && len(b) > 0 {
					t.Errorf("%s was written to", victim)
				}
			}
		})
	}
}

// TestAttackLinkAfterStart: the name is looked at again before each write.
func TestAttackLinkAfterStart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	f := jsonlines.New("archive", path)
	put(t, f, 1, 1)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path+".1", path); err != nil {
		t.Fatal(err)
	}
	if err := f.Put(t.Context(), documents(2, 1)); err == nil || !strings.Contains(err.Error(), "is a link") {
		t.Errorf("got %v", err)
	}
	is(t, path+".1", 0, 1)
}
