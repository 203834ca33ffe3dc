//go:build interop

package running

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/app/visitor"
	"carnet.dev/carnet/internal/core/secret"
)

// Person is somebody who signed in on a machine of their own, with `carnet
// login`.
type Person struct {
	Home  string // their home folder, with what carnet login keeps
	world *World
}

var pageAddress = regexp.MustCompile(`https?://\S+/cli/authorize\S*`)

// Login runs `carnet login`, with its page in the browser of that person.
func (w *World) Login(t testing.TB, name string) *Person {
	t.Helper()
	p := &Person{world: w, Home: t.TempDir()}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := p.command(ctx, "login", "--server", w.Web, "--no-browser")
	said := &lines{found: make(chan string, 1)}
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case address := <-said.found:
		approve(ctx, t, w, name, address)
	case err := <-ended:
		t.Fatalf("carnet login ended: %v\n%s", err, said.text.String())
	}
	if err := <-ended; err != nil {
		t.Fatalf("carnet login: %v\n%s", err, said.text.String())
	}
	return p
}

// lines waits for the address of the page in what is printed.
type lines struct {
	text  bytes.Buffer
	found chan string
	sent  bool
}

func (l *lines) Write(b []byte) (int, error) {
	l.text.Write(b)
	if m := pageAddress.FindString(l.text.String()); m != "" && !l.sent && strings.Contains(l.text.String(), m+"\n") {
		l.sent = true
		l.found <- m
	}
	return len(b), nil
}

func approve(ctx context.Context, t testing.TB, w *World, name, address string) {
	t.Helper()
	browser := visitor.New(nil)
	page, _, err := browser.SignIn(ctx, address, name, secret.New(w.Password))
	if err != nil {
		t.Fatal(err)
	}
	form, err := page.FormWith("decision")
	if err != nil {
		t.Fatal(err)
	}
	page, err = browser.Submit(ctx, page, form, map[string]string{"decision": "approve"})
	if err != nil || page.Status != http.StatusOK {
		t.Fatalf("the command line's page: %v %+v", err, page)
	}
}

func (p *Person) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.world.Binary, args...)
	cmd.Env = []string{"HOME=" + p.Home, "XDG_RUNTIME_DIR=" + p.Home, "PATH=" + os.Getenv("PATH")}
	return cmd
}

// Carnet runs a command as that person and gives what it prints.
func (p *Person) Carnet(t testing.TB, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := p.command(ctx, args...)
	var errors bytes.Buffer
	cmd.Stderr = &errors
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("carnet %v: %v\n%s%s", args, err, out, errors.String())
	}
	return string(out)
}
