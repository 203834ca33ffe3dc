//go:build interop

package iamapi_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestShapesOfBotocore has botocore's own parser read every answer of the walk,
// and its model held against each: no unknown element, nothing required missing.
func TestShapesOfBotocore(t *testing.T) {
	w := newWorld(t, nil)
	keys := w.keys(t, w.role(t, account, "operator", anything), nil)
	analyst := w.keys(t, w.role(t, account, "analyst", readsS3), nil)
	var lines bytes.Buffer
	out := json.NewEncoder(&lines)
	add := func(s step, r reply) {
		if err := out.Encode(map[string]any{"action": s.action, "status": r.status, "body": r.body}); err != nil {
			t.Fatal(err)
		}
	}
	w.through(t, analyst, add)
	w.through(t, keys, add)
	for _, s := range walk(t)[:40] { // what exists, in listings
		w.post(t, keys, s.action, s.pairs...)
	}
	for _, s := range walk(t) {
		if s.pairs == nil {
			add(s, w.post(t, keys, s.action))
		}
	}
	cmd := exec.Command(python(t), filepath.Join("testdata", "shapes.py"))
	cmd.Stdin = &lines
	said, err := cmd.CombinedOutput()
	t.Logf("%s", said)
	if err != nil {
		t.Error(err)
	}
}

// python is the one that has botocore.
func python(t *testing.T) string {
	t.Helper()
	venv := os.Getenv("CARNET_VENV")
	if venv == "" {
		t.Fatal("CARNET_VENV is not set: start this test with make interop-iam")
	}
	return filepath.Join(venv, "bin", "python")
}
