package stsclient_test

import (
	"bufio"
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
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"carnet.dev/carnet/internal/edge/upstream/stsclient"
)

// TestAttempts: throttling is waited out, an STS that is away is asked once
// more, a refusal is final (TestRefusalsKeepCodeAndText).
func TestAttempts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		send func(w http.ResponseWriter)
		want int32
	}{
		{"throttled", func(w http.ResponseWriter) {
			w.WriteHeader(400)
			_, _ = io.WriteString(w, refusal("Throttling", "Rate exceeded"))
		}, 3}, // as many as fit into the time
		{"out of order", func(w http.ResponseWriter) {
			w.WriteHeader(503)
			_, _ = io.WriteString(w, refusal("ServiceUnavailable", "no"))
		}, 2},
		{"cut off", func(w http.ResponseWriter) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				c.Close()
			}
		}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var calls atomic.Int32
			endpoint := sts(t, func(w http.ResponseWriter, _ *http.Request) {
				if calls.Add(1) >= 3 {
					cancel()
				}
				tt.send(w)
			})
			if _, err := stsclient.New([]stsclient.Account{{ID: account, Region: "us-east-1", Endpoint: endpoint}}).AssumeRoleWithSAML(ctx, call(t)); err == nil {
				t.Fatal("keys from an STS that gave none")
			}
			if calls.Load() != tt.want {
				t.Errorf("%d calls, want %d", calls.Load(), tt.want)
			}
		})
	}
}

// TestThroughProxyWithPrivateCA goes to AWS's own endpoint through the proxy of
// the environment, which opens TLS with a certificate of its own authority.
// The environment is read once per process, so this test runs in a new one.
func TestThroughProxyWithPrivateCA(t *testing.T) {
	const inside = "CARNET_TEST_CA"
	if file := os.Getenv(inside); file != "" {
		throughProxy(t, file)
		return
	}
	t.Parallel()
	ca, certificate := privateCA(t, "sts.eu-central-1.amazonaws.com")
	var asked atomic.Value
	proxy := connectProxy(t, certificate, &asked)
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ noProxy, asked string }{{"", "sts.eu-central-1.amazonaws.com:443"}, {"example.com", "sts.eu-central-1.amazonaws.com:443"}} {
		asked.Store("")
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestThroughProxyWithPrivateCA$", "-test.v")
		cmd.Env = append(os.Environ(), inside+"="+file, "HTTPS_PROXY="+proxy, "NO_PROXY="+tt.noProxy)
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Errorf("%v\n%s", err, out)
		}
		if asked.Load() != tt.asked {
			t.Errorf("the proxy was asked for %v, want %s", asked.Load(), tt.asked)
		}
	}
}

func throughProxy(t *testing.T, file string) {
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(src)
	a, err := stsclient.New([]stsclient.Account{{ID: account, Region: "eu-central-1", RootCAs: pool}}).AssumeRoleWithSAML(t.Context(), call(t))
	if err != nil || a.Credentials.AccessKeyID != "ASIAEXAMPLE" {
		t.Errorf("with the authority: %+v, %v", a, err)
	}
	if _, err := stsclient.New([]stsclient.Account{{ID: account, Region: "eu-central-1"}}).AssumeRoleWithSAML(t.Context(), call(t)); err == nil {
		t.Error("a certificate of an unknown authority was taken")
	}
}

// privateCA makes an authority and a certificate of it for a name.
func privateCA(t *testing.T, name string) (*x509.Certificate, tls.Certificate) {
	t.Helper()
	make := func(tmpl, parent *x509.Certificate, pub, signer *ecdsa.PrivateKey) *x509.Certificate {
		der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &pub.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	key := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	root, leaf := key(), key()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "private"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	ca := make(tmpl, tmpl, root, root)
	site := make(&x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: []string{name}, NotBefore: tmpl.NotBefore, NotAfter: tmpl.NotAfter}, ca, leaf, root)
	return ca, tls.Certificate{Certificate: [][]byte{site.Raw}, PrivateKey: leaf}
}

// connectProxy answers CONNECT by speaking TLS itself, as a proxy that opens
// connections does, and answers as STS would.
func connectProxy(t *testing.T, certificate tls.Certificate, asked *atomic.Value) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			http.Error(w, "CONNECT only", http.StatusMethodNotAllowed)
			return
		}
		asked.Store(r.Host)
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		serveOne(tls.Server(c, &tls.Config{Certificates: []tls.Certificate{certificate}}))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func serveOne(c net.Conn) {
	r, err := http.ReadRequest(bufio.NewReader(c))
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, r.Body)
	answer := http.Response{StatusCode: 200, ProtoMajor: 1, ProtoMinor: 1, ContentLength: int64(len(response)), Body: io.NopCloser(strings.NewReader(response)), Close: true}
	_ = answer.Write(c)
}
