package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/app/cli"
)

// signIn starts `carnet login --no-browser` and gives the address that it
// shows, and a wait for its exit code and output.
func signIn(t *testing.T, ctx context.Context) (address string, wait func() (int, string)) {
	t.Helper()
	w := &world{user: "alice", codes: map[string]string{}, tokens: map[string]bool{}, expires: time.Now().Add(time.Hour), roles: roleSets()["one"]}
	srv, err := w.start(false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	r, stderr := io.Pipe()
	var out bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- cli.Run(ctx, cli.Process{
			Args: []string{"login", "--no-browser", "--server", srv.URL}, Stdin: strings.NewReader(""), Stdout: &out, Stderr: stderr,
			Environ: []string{"CARNET_STATE=" + filepath.Join(t.TempDir(), "state"), "BROWSER=false"}, Now: time.Now,
		})
		stderr.Close()
	}()
	lines := bufio.NewScanner(r)
	var shown strings.Builder
	for lines.Scan() {
		shown.WriteString(lines.Text() + "\n")
		if a, ok := strings.CutPrefix(lines.Text(), "  http"); ok {
			address = "http" + a
		}
		if strings.HasPrefix(lines.Text(), "Waiting (Ctrl-C to stop)") {
			break
		}
	}
	if address == "" || !strings.Contains(shown.String(), "ssh -L") {
		t.Fatalf("shown:\n%s", &shown)
	}
	return address, func() (int, string) {
		rest, _ := io.ReadAll(r)
		return <-code, out.String() + string(rest)
	}
}

func TestNoBrowser(t *testing.T) {
	t.Parallel()
	address, wait := signIn(t, t.Context())
	res, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if code, out := wait(); code != 0 || !strings.Contains(out, "Signed in as alice") {
		t.Errorf("code %d:\n%s", code, out)
	}
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	_, wait := signIn(t, ctx)
	cancel()
	if code, out := wait(); code != 130 || !strings.Contains(out, "carnet: interrupted") {
		t.Errorf("code %d:\n%s", code, out)
	}
}
