//go:build interop

// Package scim runs an independent SCIM client, scim2-tester from PyPI, against the
// real binary. `make conformance-scim` installs it.
package scim

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/test/running"
)

// TestIndependentClient: every check of scim2-tester on people, groups, machines and
// what can be discovered; none is left out.
func TestIndependentClient(t *testing.T) {
	w := running.Dev(t)
	out, err := exec.Command(w.Binary, "provisioning", "credential", "add", "--idp", "Development identity provider", "--label", "scim2-tester", "--owner", "tests",
		"--scope", "users,groups,service-principals", "--output", "json", "--config", filepath.Join(w.Data, "carnet.yaml")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var made struct {
		URL    string `json:"url"`
		Bearer string `json:"bearer_token"`
	}
	if err := json.Unmarshal(out, &made); err != nil || made.Bearer == "" {
		t.Fatalf("%v\n%s", err, out)
	}
	time.Sleep(1500 * time.Millisecond) // servers follow a host's command within a second
	c := exec.CommandContext(t.Context(), running.Need(t, "CARNET_SCIM_PYTHON"), "tester.py", made.URL)
	c.Stdin = strings.NewReader(made.Bearer)
	out, err = c.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
	// A run that checked next to nothing is no proof.
	if n := strings.Count(string(out), "SUCCESS\t"); n < 100 {
		t.Errorf("%d checks ran, want a hundred at least", n)
	}
}
