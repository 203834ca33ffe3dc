package iam

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/core/fault"
)

func TestIssuersOnLoopback(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]bool{
		"http://127.0.0.1:8480/oidc":      true,
		"https://127.0.0.1:8480/oidc":     true,
		"http://[::1]:8480/oidc":          true,
		"http://localhost:8480":           true,
		"https://issuer.example/oidc":     true,
		"http://issuer.example/oidc":      false,
		"https://issuer.example:8443":     false,
		"http://127.0.0.1.example/oidc":   false,
		"http://localhost.example:1/oidc": false,
		"http://0.0.0.0:8480/oidc":        false,
		"http://10.0.0.1:8480/oidc":       false,
		"http://127.0.0.1@evil.example":   false,
		"ftp://127.0.0.1/oidc":            false,
	} {
		if err := checkIssuer(url, true); (err == nil) != want {
			t.Errorf("%s: %v", url, err)
		}
	}
	if checkIssuer("http://127.0.0.1:8480/oidc", false) == nil {
		t.Error("an issuer on loopback without the setting")
	}
}

// TestDiscoveryURLAsIssuer: IAM appends the rest by itself, so whoever pastes
// the whole address is told the issuer.
func TestDiscoveryURLAsIssuer(t *testing.T) {
	t.Parallel()
	for url, issuer := range map[string]string{
		"https://mycompany.cloud.databricks.com/oidc/.well-known/openid-configuration":                 "https://mycompany.cloud.databricks.com/oidc",
		"https://mycompany.cloud.databricks.com/oidc/.well-known/oauth-authorization-server/":          "https://mycompany.cloud.databricks.com/oidc",
		"https://accounts.cloud.databricks.com/.well-known/oauth-authorization-server/oidc/accounts/1": "https://accounts.cloud.databricks.com/oidc/accounts/1",
	} {
		if err := checkIssuer(url, false); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "the issuer is "+issuer+".") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// FuzzIssuer holds what an issuer URL may be: nothing that another reader of
// URLs would take for another host.
func FuzzIssuer(f *testing.F) {
	for _, url := range []string{"https://issuer.example/oidc", "http://127.0.0.1:8480/oidc", "https://a@b", "https://a?b", "https://[::1]/", "https://a\\b", "https:///x", "https://issuer.example:/x", "https://", "HTTPS://a", "https://\u00ef.example", "https://a/%2e%2e/"} {
		f.Add(url)
	}
	f.Fuzz(func(t *testing.T, url string) {
		if checkIssuer(url, false) != nil {
			return
		}
		rest, ok := strings.CutPrefix(url, "https://")
		host, _, _ := strings.Cut(rest, "/")
		if !ok || host == "" || strings.ContainsAny(host, ":@ \\%") || strings.ContainsAny(url, "?#") {
			t.Errorf("%q is taken", url)
		}
	})
}

// FuzzPrivateKey holds that whatever is not an RSA key is refused by name.
func FuzzPrivateKey(f *testing.F) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		f.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: der}))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		k, err := parseRSAKey(text)
		if (k == nil) == (err == nil) {
			t.Fatalf("%v, %v", k, err)
		}
		if err != nil && fault.Of(err).Code != "InvalidInput" {
			t.Errorf("%v", err)
		}
		if err == nil && (k.N.BitLen() < leastKeyBits || k.Validate() != nil) {
			t.Error("a weak key is taken")
		}
	})
}
