package storeproc

import (
	"errors"
	"os"
	"strings"
	"testing"
)

func TestProbe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := probe(dir, aliases); err != nil {
		t.Fatalf("this machine's disk keeps names apart, yet: %v", err)
	}
	// A pair of equal names stands for a disk that folds them.
	err := probe(dir, []alias{{"letter case", "a", "a"}})
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "letter case") {
		t.Errorf("a folding disk gives %v", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("the probe left %v, %v", left, err)
	}
}
