package dev_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// children gives the processes whose parent is this one. A name in
// /proc/PID/stat may hold anything but ends with the last parenthesis
// (proc_pid_stat(5)).
func children(t *testing.T) (pids []string) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(all) == 0 {
		t.Fatalf("no process can be seen: %v", err)
	}
	for _, path := range all {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended meanwhile
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) > 1 && fields[1] == strconv.Itoa(os.Getpid()) {
			pids = append(pids, strings.Split(path, "/")[2])
		}
	}
	return pids
}

// TestEndLeavesNoChild: Ctrl-C ends the embedded store too. It counts children,
// so it is not parallel to other worlds.
func TestEndLeavesNoChild(t *testing.T) {
	w := start(t, options(t, filepath.Join(t.TempDir(), "data")))
	if got := children(t); len(got) != 1 {
		t.Errorf("children while it runs: %v, want the store alone", got)
	}
	if err := w.stop(); err != nil {
		t.Fatalf("carnet dev did not end cleanly: %v\n%s", err, w.out)
	}
	if got := children(t); len(got) != 0 {
		t.Errorf("children after the end: %v", got)
	}
}
