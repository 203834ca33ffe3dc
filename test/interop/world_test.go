//go:build interop

// Package interop drives the real binary with real clients that nobody here
// wrote: the aws command line and boto3. It is started by make, which builds
// the binary (CARNET_BINARY) and the clients (CARNET_VENV); without them it
// fails, it does not skip.
package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
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

func need(t testing.TB, variable string) string {
	t.Helper()
	v := os.Getenv(variable)
	if v == "" {
		t.Fatalf("%s is not set: start these tests with make", variable)
	}
	return v
}

// world is one running carnet dev.
type world struct {
	binary, venv string
	Web          string `json:"web"`
	WebTLS       string `json:"web_tls"`
	AWS          string `json:"aws"`
	AWSTLS       string `json:"aws_tls"`
	IdP          string `json:"identity_provider"`
	CA           string `json:"ca"`
	Password     string `json:"password"`
	Block        string `json:"block"`
	Data         string `json:"data"`
	Issuer       string `json:"issuer"`
	// The demo's workload.
	WorkloadID    string `json:"workload_client_id"`
	WorkloadKey   string `json:"workload_key"`
	WorkloadBlock string `json:"workload_block"`
}

// start runs `carnet dev` on free ports, with data of its own, until the test
// ends.
func start(t *testing.T, flags ...string) *world {
	t.Helper()
	return startWith(t, append([]string{"--data", filepath.Join(t.TempDir(), "data"), "--free-ports"}, flags...)...)
}

// freePorts finds ports that nobody listens on now.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
	var ports []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		ports = append(ports, port)
	}
	return ports
}

func startWith(t *testing.T, flags ...string) *world {
	t.Helper()
	w := &world{binary: need(t, "CARNET_BINARY"), venv: need(t, "CARNET_VENV")}
	dir := t.TempDir()
	status := filepath.Join(dir, "status.json")
	args := append([]string{"dev", "--status-file", status}, flags...)
	cmd := exec.Command(w.binary, args...)
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
	deadline := time.Now().Add(30 * time.Second)
	for {
		raw, err := os.ReadFile(status)
		if err == nil && json.Unmarshal(raw, w) == nil {
			return w
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
}

// person is one account of the machine with a home of their own.
type person struct {
	*world
	t    *testing.T
	name string
	home string
}

// arrive makes a home and signs the person in with `carnet login`.
func (w *world) arrive(t *testing.T, name string) *person {
	t.Helper()
	p := &person{world: w, t: t, name: name, home: t.TempDir()}
	p.login()
	return p
}

var pageAddress = regexp.MustCompile(`https?://\S+/cli/authorize\S*`)

func (p *person) login() {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.binary, "login", "--server", p.Web, "--no-browser")
	cmd.Env = p.env(nil)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
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
			p.t.Fatalf("carnet login printed no address: %v\n%s", err, text.String())
		}
	}
	if err := p.approve(ctx, address); err != nil {
		p.t.Fatal(err)
	}
	rest, _ := io.ReadAll(stderr)
	if err := cmd.Wait(); err != nil {
		p.t.Fatalf("carnet login: %v\n%s%s", err, text.String(), rest)
	}
}

// approve opens the command line's page, signs in on the way and says yes.
func (p *person) approve(ctx context.Context, address string) error {
	browser := visitor.New(nil)
	page, _, err := browser.SignIn(ctx, address, p.name, secret.New(p.Password))
	if err != nil {
		return err
	}
	form, err := page.FormWith("decision")
	if err != nil {
		return err
	}
	page, err = browser.Submit(ctx, page, form, map[string]string{"decision": "approve"})
	if err != nil {
		return err
	}
	if page.Status != 200 {
		return fmt.Errorf("the command line's page answered %d: %s", page.Status, page.Body)
	}
	return nil
}

// env is a clean environment for the person's programs.
func (p *person) env(more map[string]string) []string {
	env := []string{
		"HOME=" + p.home, "USER=" + p.name, "XDG_RUNTIME_DIR=" + p.home + "/run",
		"PATH=" + filepath.Join(p.venv, "bin") + ":" + filepath.Dir(p.binary) + ":/usr/bin:/bin",
		"AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=", "AWS_MAX_ATTEMPTS=2",
	}
	_ = os.MkdirAll(p.home+"/run", 0o700)
	for k, v := range more {
		env = append(env, k+"="+v)
	}
	return env
}

// outcome is what a program said.
type outcome struct {
	out, err string
	code     int
}

// run starts a program of the person and waits for it.
func (p *person) run(env map[string]string, name string, args ...string) outcome {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = p.env(env)
	cmd.Dir = p.home
	if !strings.Contains(name, "/") {
		if path := filepath.Join(p.venv, "bin", name); exists(path) {
			cmd = exec.CommandContext(ctx, path, args...)
			cmd.Env, cmd.Dir = p.env(env), p.home
		}
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	o := outcome{out: out.String(), err: errs.String()}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		o.code = exit.ExitCode()
	case err != nil:
		p.t.Fatalf("%s %v: %v", name, args, err)
	}
	return o
}

// carnet runs a command that has to work.
func (p *person) carnet(args ...string) string {
	p.t.Helper()
	o := p.run(nil, p.binary, args...)
	if o.code != 0 {
		p.t.Fatalf("carnet %v: exit %d\n%s%s", args, o.code, o.out, o.err)
	}
	return o.out
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
