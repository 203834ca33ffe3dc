//go:build interop

package interop

import (
	"context"
	"encoding/json"
	"flag"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// bridge is how long a role session is read by, past the life of its keys: short
// in every run, 20 minutes with keys of 15 by make bridge-long.
var (
	bridgeRuns = flag.Duration("bridge", 20*time.Second, "how long the role session of TestBridge is used")
	bridgeKeys = flag.Duration("bridge-keys", 8*time.Second, "how long its keys live")
)

// TestBridge: a role session that SAML started is used by an unmodified SDK, one
// client object, for longer than the keys by SAML live. Nobody is asked, and no
// read fails.
func TestBridge(t *testing.T) {
	w := start(t, "--key-lifetime", bridgeKeys.String())
	alice := w.arrive(t, "alice")
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), *bridgeRuns+2*time.Minute)
	defer cancel()
	script, err := filepath.Abs("scenario.py")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(w.venv, "bin", "python3"), script, "long_read", "sales", "products/products.csv", bridgeRuns.String())
	cmd.Env, cmd.Dir = alice.env(alice.processProfile("analyst")), alice.home
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("boto3: %v\n%s%s", err, out, errs.String())
	}
	var got struct {
		Error   string
		Message string
		Reads   int
		Keys    []string
		ARNs    []string
		Seconds float64
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("boto3 printed %s: %v", out, err)
	}
	lives := int(*bridgeRuns / *bridgeKeys) // that have ended within the run
	if got.Error != "" || got.Reads < 10 || got.Seconds < bridgeRuns.Seconds()-1 || len(got.Keys) < lives+1 || len(got.ARNs) != 1 || !strings.HasSuffix(got.ARNs[0], "/analyst/alice") {
		t.Errorf("boto3 said %s\n%s", out, errs.String())
	}
	t.Logf("%d reads in %s by %d keys of %s each", got.Reads, time.Since(began).Round(time.Second), len(got.Keys), *bridgeKeys)
	if list := alice.carnet("role", "list"); !strings.Contains(list, "renewed for") {
		t.Errorf("carnet role list does not say how the role is served:\n%s", list)
	}
}
