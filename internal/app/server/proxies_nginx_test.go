//go:build interop

package server_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
)

var nginxBlock = regexp.MustCompile("(?s)```nginx\n(.*?)```")

// TestNginxAsDocumented: the block of docs/operations/proxies.md in a real
// nginx, and the same without its Host line.
func TestNginxAsDocumented(t *testing.T) {
	raw, err := os.ReadFile("../../../docs/operations/proxies.md")
	must(t, err)
	found := nginxBlock.FindSubmatch(raw)
	if found == nil {
		t.Fatal("the page has no nginx block")
	}
	block := string(found[1])
	const hostLine = "        proxy_set_header Host $http_host;\n"
	if !strings.Contains(block, hostLine) {
		t.Fatal("the block has no Host line")
	}
	for name, c := range map[string]struct {
		block  string
		styles []bool // path style?
	}{
		"as documented":         {block, []bool{true, false}},
		"without the Host line": {strings.Replace(block, hostLine, "", 1), []bool{true}},
	} {
		t.Run(name, func(t *testing.T) {
			front := freeAddress(t)
			_, port, err := net.SplitHostPort(front)
			must(t, err)
			endpoint := "https://s3.example.com:" + port
			in, r, ann := fronted(t, endpoint)
			// The loopback interface has many addresses: the client is one that
			// is no proxy.
			in.write(t, "authority.yaml", strings.Replace(in.read(t, "authority.yaml"), "192.0.2.0/24", "127.0.0.9/32", 1))
			in.must(t, "authority", "apply", filepath.Join(in.folder, "authority.yaml"))
			pool := nginx(t, in, c.block, front)
			var keys struct {
				AccessKeyID     string `json:"access_key_id"`
				SecretAccessKey string `json:"secret_access_key"`
				SessionToken    string `json:"session_token"`
			}
			if status := ask(t, ann, http.MethodPost, in.base+"/api/v1/roles/credentials", `{"role":"analyst"}`, &keys); status != http.StatusOK {
				t.Fatalf("the API answers %d", status)
			}
			dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}}
			transport := &http.Transport{
				TLSClientConfig: &tls.Config{RootCAs: pool},
				DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
					return dialer.DialContext(ctx, network, front)
				},
			}
			for i, pathStyle := range c.styles {
				s3 := awss3.New(awss3.Options{
					Region: "us-east-1", BaseEndpoint: aws.String(endpoint), UsePathStyle: pathStyle, HTTPClient: &http.Client{Transport: transport},
					Credentials: credentials.NewStaticCredentialsProvider(keys.AccessKeyID, keys.SecretAccessKey, keys.SessionToken),
				})
				throughProxy(t, s3, i == 0)
			}
			if t.Failed() {
				t.Log(r.log)
			}
		})
	}
}

// throughProxy writes and reads content and keys that a proxy may spoil.
func throughProxy(t *testing.T, s3 *awss3.Client, create bool) {
	t.Helper()
	bucket := aws.String("sales")
	if create {
		// The policy's change is seen within a second.
		soon(t, "the role's new policy", func() bool {
			_, err := s3.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: bucket})
			return err == nil
		})
	}
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MiB
	for key, content := range map[string][]byte{"plain": []byte("x"), "a b/c+d%2Fe=&?#é~": []byte("odd"), "large": large, "empty": nil} {
		if _, err := s3.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: bucket, Key: aws.String(key), Body: bytes.NewReader(content)}); err != nil {
			t.Errorf("put %q: %v", key, err)
			continue
		}
		got, err := s3.GetObject(t.Context(), &awss3.GetObjectInput{Bucket: bucket, Key: aws.String(key)})
		if err != nil {
			t.Errorf("get %q: %v", key, err)
			continue
		}
		b, err := io.ReadAll(got.Body)
		if err != nil || !bytes.Equal(b, content) {
			t.Errorf("%q came back with %d bytes of %d, %v", key, len(b), len(content), err)
		}
		must(t, got.Body.Close())
	}
}

// nginx runs the block on front, before the AWS port.
func nginx(t *testing.T, in *installation, block, front string) *x509.CertPool {
	t.Helper()
	program, err := exec.LookPath("nginx")
	if err != nil {
		program = "/usr/sbin/nginx" // not on everybody's path
	}
	pool, certificate, key := selfSigned(t, in)
	for _, change := range [][2]string{
		{"listen 443 ssl;", "listen " + front + " ssl;"}, {"/etc/carnet/s3.pem", certificate}, {"/etc/carnet/s3.key", key}, {"http://127.0.0.1:8481", "http://" + in.aws},
	} {
		if !strings.Contains(block, change[0]) {
			t.Fatalf("the block has no %q", change[0])
		}
		block = strings.Replace(block, change[0], change[1], 1)
	}
	config := in.write(t, "nginx.conf", "daemon off; master_process off; pid nginx.pid; error_log stderr warn;\nevents {}\nhttp { access_log off;\n"+
		"client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;\n"+block+"}\n")
	cmd := exec.Command(program, "-p", in.folder, "-c", config)
	var said bytes.Buffer
	cmd.Stderr = &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGQUIT)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
		}
		if t.Failed() {
			t.Log(said.String())
		}
	})
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", front); err == nil {
			_ = c.Close()
			return pool
		}
		select {
		case err := <-ended:
			t.Fatalf("nginx ended: %v\n%s", err, said.String())
		default:
		}
		if time.Since(began) > 20*time.Second {
			t.Fatalf("nginx does not answer\n%s", said.String())
		}
	}
}

// selfSigned makes a certificate of s3.example.com and of the names below it.
func selfSigned(t *testing.T, in *installation) (pool *x509.CertPool, certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "s3.example.com"}, DNSNames: []string{"s3.example.com", "*.s3.example.com"},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	must(t, err)
	parsed, err := x509.ParseCertificate(der)
	must(t, err)
	pool = x509.NewCertPool()
	pool.AddCert(parsed)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	must(t, err)
	return pool, in.write(t, "s3.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))),
		in.write(t, "s3.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})))
}
