package server_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"carnet.dev/carnet/internal/app/cli"
	"carnet.dev/carnet/internal/app/server"
	"carnet.dev/carnet/internal/app/visitor"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/devidp"
)

// isCarnet tells the test binary that it is the program.
const isCarnet = "CARNET_TEST_IS_CARNET"

// TestMain lets the test binary be carnet, as cmd/carnet wires it: the tests
// start it as a process of its own. The embedded store is started without an
// environment, and known by its one argument.
func TestMain(m *testing.M) {
	if os.Getenv(isCarnet) == "1" || len(os.Args) == 2 && os.Args[1] == "store" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		code := cli.Run(ctx, cli.System(), server.Commands()...)
		stop()
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// installation is one carnet.yaml with all that it names, in a folder of its own.
type installation struct {
	folder, config string
	web, aws       string // addresses, host:port
	base           string // web address
}

// install writes carnet.yaml. change may replace parts of its text.
func install(t *testing.T, change ...func(string) string) *installation {
	t.Helper()
	in := &installation{folder: t.TempDir(), web: freeAddress(t), aws: freeAddress(t)}
	in.config, in.base = filepath.Join(in.folder, "carnet.yaml"), "http://"+in.web
	text := fmt.Sprintf(`base_url: http://%s
data: data
listen:
  web: {address: "%s"}
  aws: {address: "%s"}
same_host: accept
secrets: {key_encryption_key: kek}
accounts:
  - {id: "111122223333", name: analytics, kind: local}
  - {id: "444455556666", name: engineering, kind: local}
  - {id: "777788889999", name: lake, kind: aws}
buckets:
  - {match: "*", account: "111122223333", upstream: disk}
upstreams:
  - {name: disk, kind: embedded}
`, in.web, in.web, in.aws)
	for _, f := range change {
		changed := f(text)
		if changed == text {
			t.Fatal("the change of carnet.yaml changes nothing")
		}
		text = changed
	}
	in.write(t, "carnet.yaml", text)
	return in
}

// replace is a change of carnet.yaml.
func replace(old, with string) func(string) string {
	return func(text string) string { return strings.Replace(text, old, with, 1) }
}

// freeAddress finds an address below the ports that systems give to outgoing
// connections, so that no other test takes it before the server does.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(20000+rand.IntN(10000)))
		if l, err := net.Listen("tcp", address); err == nil {
			_ = l.Close()
			return address
		}
	}
	t.Fatal("no free port in 100 tries")
	return ""
}

// write puts a file into the installation's folder and gives its path.
func (in *installation) write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(in.folder, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// read gives the text of a file; a missing one is empty.
func (in *installation) read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(in.folder, name))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(text)
}

// outcome is what a command said.
type outcome struct {
	out, err string
	code     int
}

func (o outcome) String() string { return fmt.Sprintf("exit %d\n%s%s", o.code, o.out, o.err) }

func (in *installation) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], append(args, "--config", in.config)...)
	cmd.Dir = in.folder
	cmd.Env = append(os.Environ(), isCarnet+"=1")
	return cmd
}

// carnet runs a command of the host to its end.
func (in *installation) carnet(t *testing.T, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := in.command(ctx, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return outcome{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// must runs a command that has to work and gives what it printed.
func (in *installation) must(t *testing.T, args ...string) string {
	t.Helper()
	o := in.carnet(t, args...)
	if o.code != 0 {
		t.Fatalf("carnet %v: %s", args, o)
	}
	return o.out
}

// running is one process of `carnet server`.
type running struct {
	printed string // before it serves
	log     *log
	stop    func()
	process *os.Process
}

// log is what the process writes to standard error.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// serve starts `carnet server` and ends it, as Ctrl-C does, with the test.
func (in *installation) serve(t *testing.T, env ...string) *running {
	t.Helper()
	cmd := in.command(context.Background(), "server")
	cmd.Env = append(cmd.Env, env...)
	r := &running{log: &log{}}
	cmd.Stderr = r.log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.process = cmd.Process
	ended := make(chan error, 1)
	r.stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("carnet server did not end cleanly: %v\n%s", err, r.log)
			}
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			t.Errorf("carnet server did not end within 20 s\n%s", r.log)
		}
	})
	t.Cleanup(r.stop)
	serves := make(chan string, 1)
	go func() {
		var text strings.Builder
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			text.WriteString(lines.Text() + "\n")
			if strings.HasPrefix(lines.Text(), "Serving pages on ") {
				serves <- text.String()
			}
		}
		close(serves)
		ended <- cmd.Wait()
	}()
	select {
	case printed, ok := <-serves:
		if !ok {
			t.Fatalf("carnet server ended at its start\n%s", r.log)
		}
		r.printed = printed
	case <-time.After(60 * time.Second):
		t.Fatalf("carnet server does not serve after a minute\n%s", r.log)
	}
	return r
}

// link finds the set-up link in what a command printed; empty: none.
func (in *installation) link(printed string) string {
	for _, field := range strings.Fields(printed) {
		if strings.HasPrefix(field, in.base+"/setup?code=") {
			return field
		}
	}
	return ""
}

const password = "the password of everybody"

// identityProvider is a real one on loopback, with two people of one domain.
func identityProvider(t *testing.T, samlURL string) (idp *devidp.IdP, stop func()) {
	t.Helper()
	now := time.Now()
	keyPEM, certPEM, err := devidp.NewKey(now)
	if err != nil {
		t.Fatal(err)
	}
	key, cert, err := devidp.ParseKey(keyPEM, certPEM)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(nil)
	base := "http://localhost:" + strconv.Itoa(s.Listener.Addr().(*net.TCPAddr).Port)
	idp, err = devidp.New(devidp.Config{
		BaseURL: base, EntityID: base + "/metadata", Key: key, Certificate: cert, Password: secret.New(password), Now: time.Now,
		ServiceProviders: []devidp.SP{{EntityID: samlURL, ACS: samlURL}},
		Users: []devidp.User{
			{Name: "ann@example.com", Roles: []string{analyst + "," + provider}},
			{Name: "root@example.com", Groups: []string{"carnet-admins"}},
			{Name: "eve@elsewhere.example", Roles: []string{analyst + "," + provider}},
			{Name: "bob@example.com"},
			{Name: "eve@example.com"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Config.Handler = idp.Handler()
	s.Start()
	t.Cleanup(s.Close)
	return idp, s.Close
}

const (
	analyst  = "arn:aws:iam::111122223333:role/analyst"
	provider = "arn:aws:iam::111122223333:saml-provider/corp"
)

// authority is an authority file with the role analyst, who owns the bucket
// sales, and the role closed, which trusts another provider's word only.
func (in *installation) authority(t *testing.T, metadata []byte) string {
	t.Helper()
	in.write(t, "corp.xml", string(metadata))
	trust := func(name string) string {
		return fmt.Sprintf(`{Version: "2012-10-17", Statement: [{Effect: Allow, Principal: {Federated: "arn:aws:iam::111122223333:saml-provider/%s"}, `+
			`Action: "sts:AssumeRoleWithSAML", Condition: {StringEquals: {"SAML:aud": %q}}}]}`, name, in.base+"/saml/consume")
	}
	return in.write(t, "authority.yaml", `accounts:
  "111122223333":
    saml_providers:
      - {name: corp, metadata_file: corp.xml}
    roles:
      - name: analyst
        trust_policy: `+trust("corp")+`
        policies: [{name: sales, document: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "s3:*", Resource: ["arn:aws:s3:::sales", "arn:aws:s3:::sales/*"]}]}}]
      - name: closed
        trust_policy: `+trust("another")+`
`)
}

var choiceOfCorp = regexp.MustCompile(`href="(/sign-in\?idp=[^"]+)">(?:Sign in with )?Corp<`)

// signIn chooses the identity provider Corp, where there are several, goes
// through it, and gives the page that stands there in the end.
func (in *installation) signIn(t *testing.T, v *visitor.Visitor, user string) *visitor.Page {
	t.Helper()
	address := in.base + "/sign-in"
	if choice := choiceOfCorp.FindStringSubmatch(open(t, visitor.New(nil), in.base+"/signed-out").Body); choice != nil {
		address = in.base + choice[1]
	}
	page, _, err := v.SignIn(t.Context(), address, user, secret.New(password))
	if err != nil {
		t.Fatal(err)
	}
	return page
}

// open fetches a page with a browser.
func open(t *testing.T, v *visitor.Visitor, address string) *visitor.Page {
	t.Helper()
	page, err := v.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	return page
}

// submit sends the form of a page that has the field.
func submit(t *testing.T, v *visitor.Visitor, page *visitor.Page, field string, set map[string]string) *visitor.Page {
	t.Helper()
	form, err := page.FormWith(field)
	if err != nil {
		t.Fatalf("%v\n%s", err, page.Body)
	}
	next, err := v.Submit(t.Context(), page, form, set)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// ask calls the API with a browser's cookies and reads its JSON.
func ask(t *testing.T, v *visitor.Visitor, method, address, body string, into any) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := v.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		t.Fatalf("%s %s answers %d %s", method, address, resp.StatusCode, raw)
	}
	return resp.StatusCode
}

// soon waits until what a command changed is seen by the running server: a
// second in life, longer on a loaded machine.
func soon(t *testing.T, what string, seen func() bool) {
	t.Helper()
	for began := time.Now(); !seen(); time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > 15*time.Second {
			t.Fatalf("the running server does not see it: %s", what)
		}
	}
}
