//go:build interop

package browser

import (
	"bufio"
	"context"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// shell runs the command line as one person with a home of their own.
type shell struct {
	*world
	t    *testing.T
	home string
}

func (s *shell) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.binary, args...)
	cmd.Env = []string{"HOME=" + s.home, "XDG_RUNTIME_DIR=" + s.home, "PATH=/usr/bin:/bin"}
	return cmd
}

var authorizePage = regexp.MustCompile(`https?://\S+/cli/authorize\S*`)

// login starts `carnet login` and gives the address that it prints, and a wait
// for its end: everything that it said, and its error.
func (s *shell) login() (address string, wait func() (string, error)) {
	s.t.Helper()
	ctx, stop := context.WithTimeout(s.t.Context(), 30*time.Second)
	s.t.Cleanup(stop)
	cmd := s.command(ctx, "login", "--server", s.Web, "--no-browser")
	out, in := io.Pipe()
	cmd.Stdout, cmd.Stderr = in, in
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait(); in.Close() }()
	r := bufio.NewReader(out)
	var said strings.Builder
	for address == "" {
		line, err := r.ReadString('\n')
		said.WriteString(line)
		if err != nil {
			s.t.Fatalf("carnet login printed no address:\n%s", said.String())
		}
		address = authorizePage.FindString(line)
	}
	rest := make(chan string, 1)
	go func() { b, _ := io.ReadAll(r); rest <- string(b) }()
	return address, func() (string, error) {
		err := <-ended
		return said.String() + <-rest, err
	}
}

// TestBrowserApprovesTheCommandLine: `carnet login` prints an address; the
// browser signs in on the way, says yes, and the command line is signed in.
func TestBrowserApprovesTheCommandLine(t *testing.T) {
	w := start(t)
	b := w.browser(t, false)
	s := &shell{world: w, t: t, home: t.TempDir()}
	address, wait := s.login()
	b.open(address)
	b.answer("bob")
	b.await(`button[value="approve"]`)
	b.reads(".door", "Bob Engineer", "http://127.0.0.1:", "Approve only if you ran")
	b.click(`button[value="approve"]`)
	b.await("h1 + p:last-child")
	said, err := wait()
	if err != nil {
		t.Fatalf("carnet login: %v\n%s", err, said)
	}
	b.reads("body", "Approved", "go back to the terminal")
	b.picture("cli-approved")
	for _, want := range []string{"Signed in as bob", "analyst", "engineer", "pipeline"} {
		if !strings.Contains(said, want) {
			t.Errorf("carnet login does not say %q:\n%s", want, said)
		}
	}
	who, err := s.command(t.Context(), "whoami").CombinedOutput()
	if err != nil || !strings.Contains(string(who), "bob") {
		t.Errorf("carnet whoami: %v\n%s", err, who)
	}
}

// TestBrowserRefusesTheCommandLine: no means no, on both sides.
func TestBrowserRefusesTheCommandLine(t *testing.T) {
	w := start(t)
	b := w.browser(t, false)
	b.signIn("alice")
	s := &shell{world: w, t: t, home: t.TempDir()}
	address, wait := s.login()
	b.open(address)
	b.click(`button[value="refuse"]`)
	said, err := wait()
	if err == nil || !strings.Contains(said, "refused in the browser") {
		t.Errorf("carnet login: %v\n%s", err, said)
	}
	b.await("h1 + p:last-child")
	b.reads("body", "You refused")
	if who, err := s.command(t.Context(), "whoami").CombinedOutput(); err == nil {
		t.Errorf("carnet whoami works:\n%s", who)
	}
}

// TestBrowserRefusesAnAddressElsewhere: a link that would send a code to
// another machine shows a refusal, and no button to press.
func TestBrowserRefusesAnAddressElsewhere(t *testing.T) {
	b := start(t).browser(t, false)
	b.signIn("alice")
	b.open(b.Web + "/cli/authorize?code_challenge=" + strings.Repeat("A", 43) + "&code_challenge_method=S256&state=s&redirect_uri=http%3A%2F%2Fevil.example%3A80%2F")
	b.refused(400, "cli.request", "carnet login")
	if strings.Contains(b.text("main"), "Approve") {
		t.Error("the page has a button to approve")
	}
}
