//go:build interop

package gatewaybench

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
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

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// bufferingProxy stands in for aws-sigv4-proxy where its binary is not at hand
// (sigv4Proxy): the Go module proxy does not serve it. It does, by the same
// library code, what that program's source does and what makes its cost: it
// holds the whole request in memory, twice, hashes it there unless told not to,
// signs with the AWS SDK, sends it with Go's default HTTP client, and holds the
// whole answer in memory before the first byte goes out. It asks nobody who
// they are.
type bufferingProxy struct {
	upstream string
	unsigned bool
	signer   *v4.Signer
	client   *http.Client
}

func newBufferingProxy(upstream string, unsigned bool) *bufferingProxy {
	return &bufferingProxy{upstream: upstream, unsigned: unsigned, client: &http.Client{},
		signer: v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })}
}

func (p *bufferingProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer, err := p.ask(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer answer.Body.Close()
	var whole bytes.Buffer
	if _, err := io.Copy(&whole, answer.Body); err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	for name, values := range answer.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.StatusCode)
	_, _ = w.Write(whole.Bytes())
}

func (p *bufferingProxy) ask(r *http.Request) (*http.Response, error) {
	whole, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+p.upstream+r.URL.RequestURI(), bytes.NewReader(whole))
	if err != nil {
		return nil, err
	}
	again, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	hash := "UNSIGNED-PAYLOAD"
	if !p.unsigned {
		sum := sha256.Sum256(again)
		hash = hex.EncodeToString(sum[:])
	}
	req.Header.Set("X-Amz-Content-Sha256", hash)
	req.Body = io.NopCloser(bytes.NewReader(again))
	creds := aws.Credentials{AccessKeyID: "AKIABENCHMARK", SecretAccessKey: "benchmark-benchmark-benchmark"}
	if err := p.signer.SignHTTP(r.Context(), creds, req, hash, "s3", region, time.Now()); err != nil {
		return nil, err
	}
	for name, values := range r.Header {
		if _, ok := req.Header[name]; !ok {
			req.Header[name] = values
		}
	}
	return p.client.Do(req)
}

// sigv4Proxy is the variable with the path of a real aws-sigv4-proxy, which then
// takes the place of the stand-in.
const sigv4Proxy = "CARNET_SIGV4_PROXY"

// startProxy runs aws-sigv4-proxy, or its stand-in, before the store.
func startProxy(t testing.TB, upstream string, unsigned bool) process {
	t.Helper()
	binary := os.Getenv(sigv4Proxy)
	if binary == "" {
		role := "buffering-proxy"
		if unsigned {
			role = "buffering-proxy-unsigned"
		}
		return startRole(t, role, upstream)
	}
	address := free(t)
	args := []string{"--name", "s3", "--region", region, "--host", upstream, "--upstream-url-scheme", "http", "--port", address[strings.LastIndexByte(address, ':'):]}
	if unsigned {
		args = append(args, "--unsigned-payload")
	}
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID=AKIABENCHMARK", "AWS_SECRET_ACCESS_KEY=benchmark-benchmark-benchmark")
	return run(t, cmd, "aws-sigv4-proxy", address)
}

// run starts a foreign server until the test ends.
func run(t testing.TB, cmd *exec.Cmd, name, address string) process {
	t.Helper()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said: %s", name, said.String())
		}
	})
	ready(t, address)
	return process{name, address, cmd.Process.Pid}
}

// startNginx runs nginx as a plain reverse proxy that buffers nothing and logs
// nothing; with TLS where a certificate is given.
func startNginx(t testing.TB, upstream, certificate, key string) process {
	t.Helper()
	dir := t.TempDir()
	address := free(t)
	listen := address
	if certificate != "" {
		listen += " ssl; ssl_certificate " + certificate + "; ssl_certificate_key " + key
	}
	file := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(`daemon off; worker_processes 2; pid %[1]s/pid; error_log stderr error;
events { worker_connections 4096; }
http {
  access_log off; client_max_body_size 0; sendfile on; tcp_nodelay on; keepalive_requests 100000000; keepalive_timeout 300s;
  client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  upstream store { server %[2]s; keepalive 512; keepalive_requests 100000000; }
  server { listen %[3]s;
    location / { proxy_pass http://store; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; proxy_request_buffering off; }
  }
}
`, dir, upstream, listen)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	binary, err := exec.LookPath("nginx")
	if err != nil {
		if binary, err = exec.LookPath("/usr/sbin/nginx"); err != nil {
			t.Fatal("nginx is not installed: .ci/need nginx")
		}
	}
	return run(t, exec.Command(binary, "-p", dir, "-c", file), "nginx", address)
}

// free finds an address that nobody listens on now.
func free(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
