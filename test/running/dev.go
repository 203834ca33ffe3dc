//go:build interop

// Package running starts the real binary for tests that need more than Go: a
// carnet dev on free ports, with data of its own, that ends with its test. It
// is used by targets of make alone, which build the binary (CARNET_BINARY);
// without it a test fails, it does not skip.
package running

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"carnet.dev/carnet/internal/app/visitor"
	"carnet.dev/carnet/internal/core/secret"
)

// Need gives a variable that make sets.
func Need(t testing.TB, variable string) string {
	t.Helper()
	v := os.Getenv(variable)
	if v == "" {
		t.Fatalf("%s is not set: start these tests with make", variable)
	}
	return v
}

// World is one running carnet dev.
type World struct {
	Binary   string `json:"-"`
	Data     string `json:"data"`
	Web      string `json:"web"`
	WebTLS   string `json:"web_tls"`
	AWS      string `json:"aws"`
	AWSTLS   string `json:"aws_tls"`
	IdP      string `json:"identity_provider"`
	CA       string `json:"ca"`
	Password string `json:"password"`
	Block    string `json:"block"`
	// The demo's workload.
	WorkloadID  string `json:"workload_client_id"`
	WorkloadKey string `json:"workload_key"`

	// Log is what it printed.
	Log bytes.Buffer
}

// Dev starts `carnet dev` with further flags.
func Dev(t testing.TB, flags ...string) *World {
	t.Helper()
	dir := t.TempDir()
	w := &World{Binary: Need(t, "CARNET_BINARY")}
	status := filepath.Join(dir, "status.json")
	cmd := exec.Command(w.Binary, append([]string{"dev", "--free-ports", "--data", filepath.Join(dir, "data"), "--status-file", status}, flags...)...)
	cmd.Stdout, cmd.Stderr = &w.Log, &w.Log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("carnet dev did not end cleanly: %v\n%s", err, w.Log.String())
			}
		case <-time.After(15 * time.Second):
			_ = cmd.Process.Kill()
			t.Errorf("carnet dev did not end within 15 s of an interrupt\n%s", w.Log.String())
		}
	})
	for deadline := time.Now().Add(time.Minute); ; {
		raw, err := os.ReadFile(status)
		if err == nil && json.Unmarshal(raw, w) == nil {
			return w
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("carnet dev ended: %v\n%s", err, w.Log.String())
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("carnet dev is not ready after a minute\n%s", w.Log.String())
		}
	}
}

// Host runs a command of the server's host beside it and gives what it prints.
func (w *World) Host(t testing.TB, args ...string) string {
	t.Helper()
	cmd := exec.Command(w.Binary, append(args, "--config", filepath.Join(w.Data, "carnet.yaml"))...)
	var errors bytes.Buffer
	cmd.Stderr = &errors
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("carnet %v: %v\n%s%s", args, err, out, errors.String())
	}
	return string(out)
}

// HostJSON is Host with what it prints as JSON.
func (w *World) HostJSON(t testing.TB, into any, args ...string) {
	t.Helper()
	text := w.Host(t, append(args, "--output", "json")...)
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("carnet %v: %v\n%s", args, err, text)
	}
}

// SignIn opens an address of Carnet in a fresh browser and signs in on the way.
func (w *World) SignIn(t testing.TB, address, user string) (*visitor.Visitor, *visitor.Page) {
	t.Helper()
	v := visitor.New(nil)
	page, _, err := v.SignIn(t.Context(), address, user, secret.New(w.Password))
	if err != nil {
		t.Fatal(err)
	}
	return v, page
}
