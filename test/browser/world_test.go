//go:build interop

// Package browser drives the real binary's pages in a real Chromium, as a
// person would: by clicks and typing. Carnet is at 127.0.0.1 and the identity
// provider at localhost, so that the two are as foreign to each other as in
// life. It is started by make, which builds the binary (CARNET_BINARY); without
// it, or without Chromium, it fails, it does not skip.
package browser

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// world is one running carnet dev.
type world struct {
	binary   string
	Web      string `json:"web"`
	AWS      string `json:"aws"`
	IdP      string `json:"identity_provider"`
	Password string `json:"password"`
	Data     string `json:"data"`
}

// start runs `carnet dev` on free ports, with data of its own, until the test
// ends.
func start(t *testing.T) *world {
	t.Helper()
	w := &world{binary: os.Getenv("CARNET_BINARY")}
	if w.binary == "" {
		t.Fatal("CARNET_BINARY is not set: start these tests with make browser")
	}
	dir := t.TempDir()
	status := filepath.Join(dir, "status.json")
	cmd := exec.Command(w.binary, "dev", "--free-ports", "--data", filepath.Join(dir, "data"), "--status-file", status)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
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
				t.Errorf("carnet dev did not end cleanly: %v\n%s", err, log.String())
			}
		case <-time.After(15 * time.Second):
			_ = cmd.Process.Kill()
			t.Errorf("carnet dev did not end within 15 s of an interrupt")
		}
	})
	deadline := time.After(30 * time.Second)
	for {
		raw, err := os.ReadFile(status)
		if err == nil && json.Unmarshal(raw, w) == nil {
			return w
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("carnet dev ended: %v\n%s", err, log.String())
		case <-deadline:
			t.Fatal("carnet dev is not ready after 30 s")
		case <-time.After(50 * time.Millisecond):
		}
	}
}
