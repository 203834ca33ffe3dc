//go:build interop

package gatewaybench

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
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
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"carnet.dev/carnet/internal/edge/upstream/jwks/issuertest"
)

const (
	region  = "us-east-1"
	account = "111122223333"
	bucket  = "bench"
)

// gateway is one running `carnet server` in front of a store.
type gateway struct {
	process
	binary, dir, config string
	log                 string // the file of its access log
	certificate         string // with TLS
}

// startGateway runs the real binary until the test ends. The store is a plain
// S3 endpoint, or with "" the embedded one.
func startGateway(t testing.TB, store, certificate, key string, issuer *issuertest.Issuer) *gateway {
	t.Helper()
	return startGatewayWith(t, store, certificate, key, issuer, "on")
}

// startGatewayWith has the fast path switched on or off.
func startGatewayWith(t testing.TB, store, certificate, key string, issuer *issuertest.Issuer, fastPath string) *gateway {
	t.Helper()
	dir := t.TempDir()
	g := &gateway{dir: dir, config: filepath.Join(dir, "carnet.yaml"), log: filepath.Join(dir, "log"), binary: os.Getenv("CARNET_BINARY"), certificate: certificate}
	if g.binary == "" {
		t.Fatal("CARNET_BINARY is not set: start these tests with make")
	}
	g.process = process{name: "carnet", address: free(t)}
	web := free(t)
	upstream := "kind: embedded, folder: store"
	if store != "" {
		upstream = "kind: s3, endpoint: 'http://" + store + "', access_key_file: id, secret_key_file: secret, keys: filesystem"
	}
	secured := ""
	if certificate != "" {
		secured = "tls: {certificate: " + certificate + ", key: " + key + "}, "
	}
	text := fmt.Sprintf(`base_url: http://localhost%s
data: data
same_host: accept
static_keys: allow
secrets: {key_encryption_key: kek}
listen:
  web: {address: %q}
  aws: {address: %q, %surl: %q, fast_path: %q}
iam: {loopback_providers: true}
accounts: [{id: %q, name: lake, kind: local}]
buckets: [{match: %s, account: %q, upstream: store}]
upstreams: [{name: store, %s}]
`, web[strings.LastIndexByte(web, ':'):], web, g.address, secured, g.url(), fastPath, account, bucket, account, upstream)
	write(t, g.config, text)
	write(t, filepath.Join(dir, "id"), "AKIAOFTHESTORE\n")
	write(t, filepath.Join(dir, "secret"), "the secret key of the store\n")
	host := strings.TrimPrefix(issuer.URL, "http://")
	write(t, filepath.Join(dir, "authority.yaml"), fmt.Sprintf(`accounts:
  %q:
    oidc_providers: [{url: %q, client_ids: [bench]}]
    roles:
      - name: loader
        trust_policy: {Version: "2012-10-17", Statement: [{Effect: Allow, Principal: {Federated: "arn:aws:iam::%[1]s:oidc-provider/%[3]s"}, Action: "sts:AssumeRoleWithWebIdentity", Condition: {StringEquals: {"%[3]s:aud": bench}}}]}
        policies:
          - name: data
            document:
              Version: "2012-10-17"
              Statement:
                - {Sid: List, Effect: Allow, Action: ["s3:ListBucket", "s3:ListAllMyBuckets", "s3:ListBucketMultipartUploads", "s3:CreateBucket"], Resource: "*"}
                - {Sid: Keys, Effect: Allow, Action: ["iam:CreateUser", "iam:CreateAccessKey", "iam:PutUserPolicy"], Resource: "*"}
                - {Sid: Data, Effect: Allow, Action: ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"], Resource: "arn:aws:s3:::%[4]s/*"}
`, account, issuer.URL, host, bucket))
	g.start(t)
	g.host(t, "authority", "apply", filepath.Join(dir, "authority.yaml"))
	return g
}

func (g *gateway) url() string {
	if g.certificate != "" {
		return "https://localhost" + g.address[strings.LastIndexByte(g.address, ':'):]
	}
	return "http://" + g.address
}

// client is an HTTP client that trusts the gateway.
func (g *gateway) client(t testing.TB) *http.Client {
	t.Helper()
	if g.certificate == "" {
		return &http.Client{}
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: g.tlsConfig(t)}}
}

func (g *gateway) tlsConfig(t testing.TB) *tls.Config {
	t.Helper()
	text, err := os.ReadFile(g.certificate)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return &tls.Config{RootCAs: pool, ServerName: "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(0)}
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (g *gateway) start(t testing.TB) {
	t.Helper()
	cmd := exec.Command(g.binary, "server", "--config", g.config)
	cmd.Env = append(os.Environ(), "GODEBUG="+os.Getenv("CARNET_GODEBUG"))
	log, err := os.Create(g.log)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	g.pid = cmd.Process.Pid
	ended, serves := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "Serving pages on ") {
				close(serves)
			}
		}
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			t.Error("the server does not end within 20 s")
		}
		_ = log.Close()
		if t.Failed() {
			t.Logf("the end of the server's log:\n%s", tail(g.log))
		}
	})
	select {
	case <-serves:
	case <-ended:
		t.Fatalf("the server ended:\n%s", tail(g.log))
	case <-time.After(time.Minute):
		t.Fatalf("the server does not serve:\n%s", tail(g.log))
	}
}

func tail(file string) string {
	b, _ := os.ReadFile(file)
	if i := len(b) - 4000; i > 0 {
		b = b[i:]
	}
	return string(b)
}

// host runs a command of the server's host.
func (g *gateway) host(t testing.TB, args ...string) {
	t.Helper()
	cmd := exec.Command(g.binary, append(args, "--config", g.config)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("carnet %v: %v\n%s", args, err, out)
	}
}

// roleKeys trades an ID token at the server's STS.
func (g *gateway) roleKeys(t testing.TB, issuer *issuertest.Issuer) aws.Credentials {
	t.Helper()
	token := issuer.Token(t, time.Now(), map[string]any{"aud": "bench", "sub": "load", "exp": time.Now().Add(time.Hour).Unix()})
	api := sts.New(sts.Options{Region: region, BaseEndpoint: aws.String(g.url()), HTTPClient: g.client(t), Credentials: aws.AnonymousCredentials{}})
	for began := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		out, err := api.AssumeRoleWithWebIdentity(t.Context(), &sts.AssumeRoleWithWebIdentityInput{
			RoleArn: aws.String("arn:aws:iam::" + account + ":role/loader"), RoleSessionName: aws.String("load"), WebIdentityToken: &token,
		})
		if err == nil {
			c := out.Credentials
			return aws.Credentials{AccessKeyID: *c.AccessKeyId, SecretAccessKey: *c.SecretAccessKey, SessionToken: *c.SessionToken}
		}
		// The running server follows the command within a second.
		if time.Since(began) > 5*time.Second {
			t.Fatal(err)
		}
	}
}

// staticKeys makes an IAM user who may read, with an access key.
func (g *gateway) staticKeys(t testing.TB, role aws.Credentials) aws.Credentials {
	t.Helper()
	api := iam.New(iam.Options{Region: region, BaseEndpoint: aws.String(g.url()), Credentials: credentials.StaticCredentialsProvider{Value: role}})
	name := aws.String("old-tool")
	if _, err := api.CreateUser(t.Context(), &iam.CreateUserInput{UserName: name}); err != nil {
		t.Fatal(err)
	}
	if _, err := api.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: name, PolicyName: aws.String("read"), PolicyDocument: aws.String(
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::` + bucket + `/*"}}`)}); err != nil {
		t.Fatal(err)
	}
	made, err := api.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: name})
	if err != nil {
		t.Fatal(err)
	}
	return aws.Credentials{AccessKeyID: *made.AccessKey.AccessKeyId, SecretAccessKey: *made.AccessKey.SecretAccessKey}
}

// certificate makes a P-256 pair for localhost that signs itself.
func certificate(t testing.TB) (certificate, key string) {
	t.Helper()
	dir := t.TempDir()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	of := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, of, of, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	certificate, key = filepath.Join(dir, "crt"), filepath.Join(dir, "key")
	var pair [2]bytes.Buffer
	_ = pem.Encode(&pair[0], &pem.Block{Type: "CERTIFICATE", Bytes: der})
	_ = pem.Encode(&pair[1], &pem.Block{Type: "PRIVATE KEY", Bytes: raw})
	write(t, certificate, pair[0].String())
	write(t, key, pair[1].String())
	return certificate, key
}
