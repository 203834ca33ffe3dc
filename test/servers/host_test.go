// Package servers holds real `carnet server` processes to what they promise
// together and to the commands on their host: scripts with SQLite here, three
// servers on one PostgreSQL with the build tag interop.
package servers

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"carnet.dev/carnet/internal/app/cli"
	"carnet.dev/carnet/internal/app/server"
	"carnet.dev/carnet/internal/app/visitor"
	"carnet.dev/carnet/internal/core/secret"
)

// TestMain lets the test binary be carnet, as cmd/carnet wires it.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"carnet": func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		code := cli.Run(ctx, cli.System(), server.Commands()...)
		stop()
		os.Exit(code)
	}})
}

// world is what one script plays in.
type world struct {
	place
	web      string
	visitors map[string]*visitor.Visitor
}

type worldKey struct{}

// TestHostCommands runs each script in testdata on a real configuration.
func TestHostCommands(t *testing.T) {
	t.Parallel()
	testscript.Run(t, scripts(t, filepath.Join("testdata")))
}

func scripts(t *testing.T, dir string) testscript.Params {
	return testscript.Params{
		Dir: dir, RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			w := &world{web: freeAddress(t), visitors: map[string]*visitor.Visitor{}}
			aws := freeAddress(t)
			w.place = newPlace(t, "http://"+w.web)
			e.Values[worldKey{}] = w
			e.Setenv("WEB", "http://"+w.web)
			return w.write(e.WorkDir, "carnet.yaml", w.web, aws, "data: data", "secrets: {key_encryption_key: keys/kek}")
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ready": ready, "signin": signIn, "signedin": signedIn, "setenv": setenv, "edit": edit, "openid": openID,
		},
	}
}

func theWorld(ts *testscript.TestScript) *world { return ts.Value(worldKey{}).(*world) }

// ready waits until the server in the background serves.
func ready(ts *testscript.TestScript, _ bool, _ []string) {
	address := "http://" + theWorld(ts).web + "/readyz"
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get(address)
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Since(began) > 30*time.Second {
			ts.Fatalf("no server is ready at %s: %v", address, err)
		}
	}
}

// signIn signs a user in with a browser of their own: [!] signin USER [TEXT];
// the page in the end has TEXT.
func signIn(ts *testscript.TestScript, neg bool, args []string) {
	w := theWorld(ts)
	var v *visitor.Visitor
	var page *visitor.Page
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		err := w.tries.Wait(context.Background())
		ts.Check(err)
		v = visitor.New(nil)
		page, _, err = v.SignIn(context.Background(), "http://"+w.web+"/sign-in", args[0], secret.New(password))
		ts.Check(err)
		// What a command entered, the server knows within a second.
		waits := page.Status == http.StatusServiceUnavailable || !neg && page.URL.Path == "/sign-in"
		if !waits || time.Since(began) > 2*time.Second {
			break
		}
	}
	if ok := page.Status == http.StatusOK && page.URL.Path == "/"; ok == neg {
		ts.Fatalf("the sign-in of %s ends at %s with %d\n%s", args[0], page.URL, page.Status, page.Body)
	}
	if len(args) > 1 && !strings.Contains(page.Body, args[1]) {
		ts.Fatalf("the page does not say %q\n%s", args[1], page.Body)
	}
	w.visitors[args[0]] = v
}

// signedIn holds, within 2 seconds, that a user's browser is [not] signed in.
func signedIn(ts *testscript.TestScript, neg bool, args []string) {
	w := theWorld(ts)
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		req, err := http.NewRequest(http.MethodGet, "http://"+w.web+"/api/v1/session", nil)
		ts.Check(err)
		resp, err := w.visitors[args[0]].Do(req)
		ts.Check(err)
		_ = resp.Body.Close()
		if (resp.StatusCode == http.StatusOK) != neg {
			return
		}
		if time.Since(began) > 2*time.Second {
			ts.Fatalf("%s is answered with %d", args[0], resp.StatusCode)
		}
	}
}

// setenv takes a variable from the last output: setenv NAME field PREFIX.
func setenv(ts *testscript.TestScript, _ bool, args []string) {
	for _, field := range strings.FieldsFunc(ts.ReadFile("stdout"), func(r rune) bool { return strings.ContainsRune(" \n\t\",():", r) }) {
		if strings.HasPrefix(field, args[1]) {
			ts.Setenv(args[0], field)
			return
		}
	}
	ts.Fatalf("the output has nothing that begins with %q", args[1])
}

// edit replaces text in a file: edit FILE OLD NEW; \n in NEW is a line's end.
func edit(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	text, err := os.ReadFile(path)
	ts.Check(err)
	changed := strings.Replace(string(text), args[1], strings.ReplaceAll(args[2], `\n`, "\n"), 1)
	if changed == string(text) {
		ts.Fatalf("%s does not hold %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(path, []byte(changed), 0o600))
}

// write puts carnet.yaml and what goes with it into a folder.
func (p place) write(folder, name, web, aws string, more ...string) error {
	text := fmt.Sprintf(`base_url: %s
listen:
  web: {address: "%s"}
  aws: {address: "%s", url: "%s"}
same_host: accept
accounts:
  - {id: "111122223333", name: analytics, kind: local}
buckets:
  - {match: "*", account: "111122223333", upstream: disk}
upstreams:
  - {name: disk, kind: embedded}
%s
`, p.base, web, aws, p.awsURL(aws), strings.Join(more, "\n"))
	if err := os.MkdirAll(filepath.Join(folder, "keys"), 0o700); err != nil {
		return err
	}
	for file, text := range map[string]string{name: text, "idp.xml": string(p.metadata), "authority.yaml": p.authority("s3:*")} {
		if err := os.WriteFile(filepath.Join(folder, file), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}
