package dev_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/app/server"
)

// onHost runs one command of the server's host beside the running world.
func onHost(t *testing.T, w *world, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	for _, c := range server.Commands() {
		if c.Name() != args[0] {
			continue
		}
		c.SetOut(&out)
		c.SetErr(&out)
		c.SilenceUsage = true
		c.SetArgs(append(args[1:], "--config", filepath.Join(w.Data, "carnet.yaml")))
		err := c.ExecuteContext(t.Context())
		return out.String(), err
	}
	t.Fatalf("there is no command %s", args[0])
	return "", nil
}

// TestHostCommandsBesideDev: what administrators do on the server's host can be
// tried on carnet dev, but for running a server on its folder.
func TestHostCommandsBesideDev(t *testing.T) {
	t.Parallel()
	w := start(t, options(t, filepath.Join(t.TempDir(), "data")))
	if out, err := onHost(t, w, "sso", "list"); err != nil || !strings.Contains(out, "Development identity provider") {
		t.Errorf("sso list: %v\n%s", err, out)
	}
	if out, err := onHost(t, w, "people", "service-principal", "add", "weekly"); err != nil {
		t.Errorf("people: %v\n%s", err, out)
	}
	if _, err := onHost(t, w, "server", "--check-config"); err == nil || !strings.Contains(err.Error(), "secrets.key_encryption_key") {
		t.Errorf("a server on dev's folder: %v", err)
	}
}
