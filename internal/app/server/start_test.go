package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/app/visitor"
)

// TestServerRefusesToStart: what is set up wrong is said, with what to do, and
// nothing listens.
func TestServerRefusesToStart(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change  func(string) string
		prepare func(*testing.T, *installation)
		say     []string
		check   bool // --check-config says it too
	}{
		"data of carnet dev": {prepare: func(t *testing.T, in *installation) {
			must(t, os.Mkdir(filepath.Join(in.folder, "data"), 0o700))
			in.write(t, "data/carnet-dev", "")
		}, say: []string{"is the data folder of carnet dev", "hint: give the server folders of its own"}},
		"a key that others can read": {prepare: func(t *testing.T, in *installation) {
			in.must(t, "state", "new-key", filepath.Join(in.folder, "kek"))
			must(t, os.Chmod(filepath.Join(in.folder, "kek"), 0o640))
		}, say: []string{"can be read by others", "chmod 600"}},
		"a key in the data folder": {change: replace("key_encryption_key: kek", "key_encryption_key: data/kek"), check: true,
			say: []string{"secrets.key_encryption_key", "lies in the data folder"}},
		"a key in the data folder, behind a link": {prepare: func(t *testing.T, in *installation) {
			must(t, os.Mkdir(filepath.Join(in.folder, "data"), 0o700))
			must(t, os.Symlink("data", filepath.Join(in.folder, "elsewhere")))
		}, change: replace("key_encryption_key: kek", "key_encryption_key: elsewhere/kek"), say: []string{"lies in the data folder"}},
		"no key beside an old database": {prepare: func(t *testing.T, in *installation) {
			in.must(t, "sso", "list")
			must(t, os.Remove(filepath.Join(in.folder, "kek")))
		}, say: []string{"key-encryption key file can't be opened"}},
		"one host for pages and objects": {change: replace("same_host: accept\n", ""), check: true,
			say: []string{"cookies ignore ports", "same_host: accept"}},
		"plain http for the world": {change: replace("base_url: http://127.0.0.1", "base_url: http://carnet.example.com"), check: true,
			say: []string{"base_url", "http is for loopback only"}},
		"plain pages beyond loopback": {change: replace(`web: {address: "127.0.0.1:`, `web: {address: "0.0.0.0:`), check: true,
			say: []string{"listen.web.address", "is not on loopback, so it needs tls"}},
		"plain objects beyond loopback": {change: replace(`aws: {address: "127.0.0.1:`, `aws: {address: "192.0.2.7:`), check: true,
			say: []string{"listen.aws.address", "is not on loopback, so it needs tls"}},
		"an unknown key": {change: replace("same_host:", "same_hosts:"), check: true, say: []string{"carnet.yaml", "line 6", "same_hosts", `did you mean "same_host"`}},
		"a TLS key that others can read": {change: replace(`web: {address: "127.0.0.1:`, `web: {tls: {certificate: web.crt, key: web.key}, address: "127.0.0.1:`), check: true,
			prepare: func(t *testing.T, in *installation) {
				in.certificate(t)
				must(t, os.Chmod(filepath.Join(in.folder, "web.key"), 0o644))
			}, say: []string{"web.key can be read by others", "chmod 600"}},
		"no such certificate": {change: replace(`web: {address: "127.0.0.1:`, `web: {tls: {certificate: web.crt, key: web.key}, address: "127.0.0.1:`), check: true,
			say: []string{"web.crt", "web.key"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var changes []func(string) string
			if tt.change != nil {
				changes = append(changes, tt.change)
			}
			in := install(t, changes...)
			if tt.prepare != nil {
				tt.prepare(t, in)
			}
			runs := [][]string{{"server"}}
			if tt.check {
				runs = append(runs, []string{"server", "--check-config"})
			}
			for _, args := range runs {
				o := in.carnet(t, args...)
				if o.code != 1 || strings.Contains(o.out, "Serving") {
					t.Errorf("carnet %v: %s", args, o)
				}
				for _, want := range tt.say {
					if !strings.Contains(o.err, want) {
						t.Errorf("carnet %v does not say %q: %s", args, want, o)
					}
				}
			}
		})
	}
}

// TestCheckConfigSaysAllAtOnce: nobody mends one line per run.
func TestCheckConfigSaysAllAtOnce(t *testing.T) {
	t.Parallel()
	in := install(t, replace("same_host: accept", "same_host: yes"), replace(`id: "777788889999"`, `id: "7777"`), replace("kind: embedded", "kind: tape"))
	o := in.carnet(t, "server", "--check-config")
	for _, want := range []string{"same_host", "accounts[2].id", "upstreams[0].kind"} {
		if o.code != 1 || !strings.Contains(o.err, want) {
			t.Errorf("%q is not said: %s", want, o)
		}
	}
	if _, err := os.Stat(filepath.Join(in.folder, "data")); !os.IsNotExist(err) {
		t.Errorf("--check-config made the data folder: %v", err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// certificate writes web.crt and web.key for 127.0.0.1 and gives the pool that
// trusts them.
func (in *installation) certificate(t *testing.T) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	in.write(t, "web.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	in.write(t, "web.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})))
	parsed, err := x509.ParseCertificate(der)
	must(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return pool
}

// TestTLSFromFiles serves pages and AWS over TLS, and nothing without it.
func TestTLSFromFiles(t *testing.T) {
	t.Parallel()
	const files = "{tls: {certificate: web.crt, key: web.key}, "
	in := install(t, replace("base_url: http:", "base_url: https:"), replace("web: {", "web: "+files), replace("aws: {", "aws: "+files))
	in.base = "https://" + in.web
	roots := in.certificate(t)
	in.must(t, "server", "--check-config")
	r := in.serve(t)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.CloseIdleConnections()
	v := visitor.New(transport)
	page := submit(t, v, open(t, v, in.link(r.printed)), "code", nil)
	if page.Status != http.StatusOK || page.URL.Path != "/admin/sso" {
		t.Fatalf("the set-up link leads to %s, which answers %d", page.URL, page.Status)
	}
	cookie := page.Via[0].Get("Set-Cookie")
	if !strings.HasPrefix(cookie, "__Host-carnet=") || !strings.Contains(cookie, "; Secure") || !strings.Contains(cookie, "; HttpOnly") || !strings.Contains(cookie, "; SameSite=Lax") {
		t.Errorf("the cookie is %q", cookie[:min(len(cookie), 20)])
	}
	if page.Header.Get("Strict-Transport-Security") == "" {
		t.Error("no Strict-Transport-Security")
	}
	if page := open(t, v, "https://"+in.aws+"/"); page.Status != http.StatusForbidden || !strings.Contains(page.Body, "AccessDenied") {
		t.Errorf("the AWS port answers %d %s", page.Status, page.Body)
	}
	for _, address := range []string{in.web, in.aws} {
		resp, err := http.Get("http://" + address + "/")
		if err != nil {
			continue // cut is as good as refused
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s answers plain http with %d", address, resp.StatusCode)
		}
	}
	old := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}}
	if resp, err := (&http.Client{Transport: old}).Get(in.base + "/healthz"); err == nil {
		_ = resp.Body.Close()
		t.Error("TLS 1.1 is taken")
	}
}
