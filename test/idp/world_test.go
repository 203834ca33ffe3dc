//go:build interop

// Package idp signs people in through real identity providers that nobody here
// wrote (Keycloak, SimpleSAMLphp, samlp and oidc-provider on Node.js) and lets
// them read S3, with the real binary, over the real browser flow, by SAML and by
// OpenID Connect. It also makes the attack corpus from what those identity
// providers said, and posts it.
//
// It is started by make interop-idp, which builds the binary (CARNET_BINARY)
// and installs the identity providers (CARNET_IDPS); without them it fails, it
// does not skip. IDP_ROWS, a regular expression, picks rows of the table.
package idp

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"carnet.dev/carnet/internal/edge/devidp"
)

// What every identity provider says of alice.
const (
	user     = "alice"
	account  = "111122223333"
	provider = "arn:aws:iam::111122223333:saml-provider/corp"
	analyst  = "arn:aws:iam::111122223333:role/analyst"
	engineer = "arn:aws:iam::111122223333:role/engineer"
)

func need(tb testing.TB, variable string) string {
	tb.Helper()
	v := os.Getenv(variable)
	if v == "" {
		tb.Fatalf("%s is not set: start these tests with make interop-idp", variable)
	}
	return v
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// freePort finds a port of loopback that nobody listens on now.
func freePort(tb testing.TB) int {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(tb, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// program is a started process with all that it starts itself.
type program struct {
	log   *bytes.Buffer
	ended chan error
	kill  func()
	pid   int
}

// run starts a process group and ends all of it with the test: some servers
// leave workers behind.
func run(tb testing.TB, dir string, env []string, name string, args ...string) *program {
	tb.Helper()
	cmd := exec.Command(name, args...)
	p := &program{log: &bytes.Buffer{}, ended: make(chan error, 1)}
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, env, p.log, p.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 5 * time.Second
	must(tb, cmd.Start())
	p.pid = cmd.Process.Pid
	go func() { p.ended <- cmd.Wait() }()
	p.kill = func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	tb.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		select {
		case <-p.ended:
		case <-time.After(10 * time.Second):
		}
		p.kill()
	})
	return p
}

// await waits until an address answers 200.
func (p *program) await(tb testing.TB, address string, most time.Duration) []byte {
	tb.Helper()
	for end := time.Now().Add(most); ; {
		if resp, err := http.Get(address); err == nil {
			body, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err == nil && resp.StatusCode == http.StatusOK {
				return body
			}
		}
		select {
		case err := <-p.ended:
			tb.Fatalf("it ended: %v\n%s", err, p.log)
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(end) {
			tb.Fatalf("%s does not answer within %s\n%s", address, most, p.log)
		}
	}
}

// signer makes the key that an identity provider is given. It is ours, so that
// the corpus can sign what no attacker could.
func signer(tb testing.TB) devidp.Signer {
	tb.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(tb, err)
	cert, err := devidp.SelfSign(key, "identity provider under test", time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0))
	must(tb, err)
	return devidp.Signer{Key: key, Certificate: cert}
}

func pemOf(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func bare(der []byte) string { return base64.StdEncoding.EncodeToString(der) }

// carnet is one installation of the real binary, which one identity provider
// is set up at.
type carnet struct {
	folder, config, binary string
	base                   string // of the pages
	aws                    string // of STS and S3
	url                    string // the SAML URL
	server                 *program
	admin                  *administrator
}

const configuration = `base_url: http://127.0.0.1:%[1]d
data: data
listen:
  web: {address: "127.0.0.1:%[1]d"}
  aws: {address: "127.0.0.1:%[2]d"}
same_host: accept
secrets: {key_encryption_key: kek}
accounts:
  - {id: "111122223333", name: analytics, kind: local}
buckets:
  - {match: "*", account: "111122223333", upstream: disk}
upstreams:
  - {name: disk, kind: embedded}
`

// lay writes the configuration of an installation: its SAML URL is known from
// then on, for the identity provider's side.
func lay(tb testing.TB) *carnet { return layFor(tb, configuration) }

func layFor(tb testing.TB, configuration string) *carnet {
	tb.Helper()
	c := &carnet{folder: tb.TempDir(), binary: need(tb, "CARNET_BINARY")}
	web, aws := freePort(tb), freePort(tb)
	c.base, c.aws = fmt.Sprintf("http://127.0.0.1:%d", web), fmt.Sprintf("http://127.0.0.1:%d", aws)
	c.url = c.base + "/saml/consume"
	c.config = c.write(tb, "carnet.yaml", fmt.Sprintf(configuration, web, aws))
	return c
}

func (c *carnet) write(tb testing.TB, name, text string) string {
	tb.Helper()
	path := filepath.Join(c.folder, name)
	must(tb, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// host runs a command of the server's host, which has to work.
func (c *carnet) host(tb testing.TB, args ...string) string {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.binary, append(args, "--config", c.config)...)
	cmd.Dir = c.folder
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("carnet %s: %v\n%s%s", strings.Join(args, " "), err, out, errs.Bytes())
	}
	return string(out)
}

// begin enters the identity provider and the authority, and starts the server.
func (c *carnet) begin(tb testing.TB, metadata []byte) {
	tb.Helper()
	file := c.write(tb, "idp.xml", string(metadata))
	c.host(tb, "sso", "add", "--name", "Corp", "--metadata", file, "--accounts", account, "--roles", "arn:aws:iam::"+account+":role/*", "--domains", "*")
	c.host(tb, "authority", "apply", c.write(tb, "authority.yaml", c.authority()))
	c.server = run(tb, c.folder, os.Environ(), c.binary, "server", "--config", c.config)
	c.server.await(tb, c.base+"/saml/metadata", time.Minute)
}

func (c *carnet) authority() string {
	role := func(name, actions string) string {
		return fmt.Sprintf(`
      - name: %s
        max_session_duration: 12h
        trust_policy:
          Version: "2012-10-17"
          Statement:
            - Effect: Allow
              Principal: {Federated: %q}
              Action: sts:AssumeRoleWithSAML
              Condition: {StringEquals: {"SAML:aud": %q}}
        policies:
          - name: reports
            document: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: [%s], Resource: ["arn:aws:s3:::reports", "arn:aws:s3:::reports/*"]}]}
`, name, provider, c.url, actions)
	}
	return `accounts:
  "111122223333":
    saml_providers:
      - {name: corp, metadata_file: idp.xml}
    roles:` + role("analyst", `"s3:GetObject", "s3:ListBucket"`) + role("engineer", `"s3:*"`)
}

// provider reads the installation's own metadata as an identity provider does.
func (c *carnet) provider(tb testing.TB) ([]byte, devidp.SP) {
	tb.Helper()
	metadata := c.server.await(tb, c.base+"/saml/metadata", 10*time.Second)
	sp, err := devidp.ParseSP(metadata)
	must(tb, err)
	return metadata, sp
}
