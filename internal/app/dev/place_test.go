package dev

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

// TestPlaceLeavesNothingElse: a copy of the program or the development password
// must not stay behind under a name that nobody cleans up.
func TestPlaceLeavesNothingElse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, folder := filepath.Join(dir, "file"), filepath.Join(dir, "folder")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := place(path, 0o700, strings.NewReader("old")); err != nil {
		t.Fatal(err)
	}
	cut := io.MultiReader(strings.NewReader("ne"), iotest.ErrReader(errors.New("the disk is full")))
	if err := place(path, 0o700, cut); err == nil {
		t.Error("half a file was placed")
	}
	if err := place(folder, 0o600, strings.NewReader("new")); err == nil {
		t.Error("a file took a folder's place")
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) != 2 {
		t.Errorf("left: %v, %v", left, err)
	}
	hidden, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || len(hidden) != 0 {
		t.Errorf("left behind: %v, %v", hidden, err)
	}
	b, err := os.ReadFile(path)
	info, statErr := os.Stat(path)
	if err != nil || statErr != nil || string(b) != "old" || info.Mode().Perm() != 0o700 {
		t.Errorf("%q, %v, %v", b, err, statErr)
	}
}
