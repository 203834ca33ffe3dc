//go:build interop

// Package iam drives IAM and STS of the real binary with the clients that
// people have: the aws command line, boto3, the AWS SDKs for Go and JavaScript,
// and Terraform. It is started by make; without what it needs it fails, it does
// not skip.
package iam

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"carnet.dev/carnet/internal/app/visitor"
	"carnet.dev/carnet/internal/core/secret"
)

const account = "111122223333"

func need(t testing.TB, variable string) string {
	t.Helper()
	v := os.Getenv(variable)
	if v == "" {
		t.Fatalf("%s is not set: start these tests with make interop-iam", variable)
	}
	return v
}

// world is one running carnet dev whose accounts hold nothing yet.
type world struct {
	t            *testing.T
	binary, venv string
	home         string // of the administrator, who is carol
	Web          string `json:"web"`
	AWS          string `json:"aws"`
	IdP          string `json:"identity_provider"`
	Password     string `json:"password"`
	Data         string `json:"data"`
}

// start runs `carnet dev` on free ports until the test ends, with an empty
// account, and signs the administrator in.
func start(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, binary: need(t, "CARNET_BINARY"), venv: need(t, "CARNET_VENV"), home: t.TempDir()}
	dir := t.TempDir()
	authority, status := filepath.Join(dir, "authority.yaml"), filepath.Join(dir, "status.json")
	if err := os.WriteFile(authority, []byte("accounts: {\""+account+"\": {}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(w.binary, "dev", "--status-file", status, "--data", filepath.Join(dir, "data"), "--free-ports", "--authority", authority)
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
			t.Errorf("carnet dev did not end within 15 s of an interrupt\n%s", log.String())
		}
	})
	for deadline := time.Now().Add(30 * time.Second); ; {
		raw, err := os.ReadFile(status)
		if err == nil && json.Unmarshal(raw, w) == nil {
			break
		}
		select {
		case err := <-ended:
			t.Fatalf("carnet dev ended: %v\n%s", err, log.String())
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("carnet dev is not ready after 30 s\n%s", log.String())
		}
	}
	w.login("carol")
	return w
}

var pageAddress = regexp.MustCompile(`https?://\S+/cli/authorize\S*`)

// login is `carnet login`, with the page in the browser of that person.
func (w *world) login(name string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, w.binary, "login", "--server", w.Web, "--no-browser")
	cmd.Env = w.env(nil)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	var text strings.Builder
	buf := make([]byte, 4096)
	address := ""
	for address == "" {
		n, err := stderr.Read(buf)
		text.Write(buf[:n])
		if m := pageAddress.FindString(text.String()); m != "" && strings.Contains(text.String(), m+"\n") {
			address = m
		}
		if err != nil && address == "" {
			w.t.Fatalf("carnet login printed no address: %v\n%s", err, text.String())
		}
	}
	browser := visitor.New(nil)
	page, _, err := browser.SignIn(ctx, address, name, secret.New(w.Password))
	if err != nil {
		w.t.Fatal(err)
	}
	form, err := page.FormWith("decision")
	if err != nil {
		w.t.Fatal(err)
	}
	if page, err = browser.Submit(ctx, page, form, map[string]string{"decision": "approve"}); err != nil || page.Status != http.StatusOK {
		w.t.Fatalf("the command line's page: %v %+v", err, page)
	}
	rest, _ := io.ReadAll(stderr)
	if err := cmd.Wait(); err != nil {
		w.t.Fatalf("carnet login: %v\n%s%s", err, text.String(), rest)
	}
}

// assertion signs a person in at the identity provider and gives the response
// that their browser would post to Carnet.
func (w *world) assertion(name string) string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	browser := visitor.New(nil)
	page, err := browser.Open(ctx, w.IdP+"/start")
	if err != nil {
		w.t.Fatal(err)
	}
	form, err := page.FormWith("password")
	if err != nil {
		w.t.Fatal(err)
	}
	page, err = browser.Submit(ctx, page, form, map[string]string{"user": name, "username": name, "password": w.Password})
	if err != nil {
		w.t.Fatal(err)
	}
	form, err = page.FormWith("SAMLResponse")
	if err != nil {
		w.t.Fatalf("%v\n%s", err, page.Body)
	}
	return form.Fields.Get("SAMLResponse")
}

// env is a clean environment for programs.
func (w *world) env(more map[string]string) []string {
	_ = os.MkdirAll(w.home+"/run", 0o700)
	env := []string{
		"HOME=" + w.home, "XDG_RUNTIME_DIR=" + w.home + "/run",
		"PATH=" + filepath.Join(w.venv, "bin") + ":" + filepath.Dir(w.binary) + ":/usr/local/bin:/usr/bin:/bin",
		"AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=", "AWS_MAX_ATTEMPTS=2", "AWS_DEFAULT_REGION=us-east-1", "AWS_REGION=us-east-1",
		"AWS_ENDPOINT_URL_IAM=" + w.AWS, "AWS_ENDPOINT_URL_STS=" + w.AWS, "AWS_ENDPOINT_URL_S3=" + w.AWS,
	}
	for k, v := range more {
		env = append(env, k+"="+v)
	}
	return env
}

type outcome struct {
	out  string // both streams, in order
	code int
}

// run starts a program in a folder and waits for it.
func (w *world) run(dir string, env map[string]string, name string, args ...string) outcome {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env, cmd.Dir = w.env(env), dir
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	o := outcome{out: out.String()}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		o.code = exit.ExitCode()
	case err != nil:
		w.t.Fatalf("%s %v: %v", name, args, err)
	}
	return o
}

// must is run for what has to work.
func (w *world) must(dir string, env map[string]string, name string, args ...string) string {
	w.t.Helper()
	o := w.run(dir, env, name, args...)
	if o.code != 0 {
		w.t.Fatalf("%s %s: exit %d\n%s", name, strings.Join(args, " "), o.code, o.out)
	}
	return o.out
}

// administrator gives the keys of the account's role carnet-admin.
func (w *world) administrator() map[string]string {
	w.t.Helper()
	var keys struct{ AccessKeyId, SecretAccessKey, SessionToken string }
	out := w.must(w.home, nil, w.binary, "credentials", "--administrator", account)
	if err := json.Unmarshal([]byte(out), &keys); err != nil {
		w.t.Fatalf("%v\n%s", err, out)
	}
	return map[string]string{"AWS_ACCESS_KEY_ID": keys.AccessKeyId, "AWS_SECRET_ACCESS_KEY": keys.SecretAccessKey, "AWS_SESSION_TOKEN": keys.SessionToken}
}

// metadata writes the identity provider's metadata into a folder.
func (w *world) metadata(dir string) string {
	w.t.Helper()
	resp, err := http.Get(w.IdP + "/metadata")
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		w.t.Fatalf("metadata: %d %v", resp.StatusCode, err)
	}
	path := filepath.Join(dir, "idp-metadata.xml")
	if err := os.WriteFile(path, body, 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}
