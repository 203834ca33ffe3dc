//go:build interop

// Package running starts the real binary for tests that need more than Go: a
// carnet dev on free ports, with data of its own, that ends with its test. It
// is used by targets of make alone, which build the binary (CARNET_BINARY);
// without it a test fails, it does not skip.
package running

import (
	"bytes"
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
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
	Log bytes.Buffer `json:"-"`

	flags []string
	cmd   *exec.Cmd
	ended chan error
}

// Dev starts `carnet dev` with further flags.
func Dev(t testing.TB, flags ...string) *World {
	t.Helper()
	w := &World{Binary: Need(t, "CARNET_BINARY")}
	w.flags = append([]string{"--data", filepath.Join(t.TempDir(), "data")}, flags...)
	t.Cleanup(func() { w.end(t) })
	w.start(t, "--free-ports")
	return w
}

// Kill ends it as a power cut does.
func (w *World) Kill(t testing.TB) {
	t.Helper()
	_ = w.cmd.Process.Kill()
	<-w.ended
	w.cmd = nil
}

// Again starts it after Kill, with the same data at the same addresses.
func (w *World) Again(t testing.TB) {
	t.Helper()
	var ports []string
	for flag, address := range map[string]string{"--web-port": w.Web, "--web-tls-port": w.WebTLS, "--aws-port": w.AWS, "--aws-tls-port": w.AWSTLS, "--idp-port": w.IdP} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, flag, u.Port())
	}
	w.start(t, ports...)
}

func (w *World) start(t testing.TB, flags ...string) {
	t.Helper()
	status := filepath.Join(t.TempDir(), "status.json")
	w.cmd = exec.Command(w.Binary, append(append([]string{"dev", "--status-file", status}, w.flags...), flags...)...)
	w.cmd.Stdout, w.cmd.Stderr = &w.Log, &w.Log
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd, began, ended := w.cmd, make(chan error), make(chan error, 1)
	w.ended = ended
	go func() {
		// The process is killed with the thread that started it: that one does nothing
		// else, so that it lasts.
		runtime.LockOSThread()
		err := cmd.Start()
		began <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	if err := <-began; err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; {
		raw, err := os.ReadFile(status)
		if err == nil && json.Unmarshal(raw, w) == nil {
			return
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

func (w *World) end(t testing.TB) {
	if w.cmd == nil {
		return
	}
	_ = w.cmd.Process.Signal(os.Interrupt)
	select {
	case err := <-w.ended:
		if err != nil {
			t.Errorf("carnet dev did not end cleanly: %v\n%s", err, w.Log.String())
		}
	case <-time.After(15 * time.Second):
		_ = w.cmd.Process.Kill()
		t.Errorf("carnet dev did not end within 15 s of an interrupt\n%s", w.Log.String())
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
