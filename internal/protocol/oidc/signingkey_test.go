package oidc_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	jose "github.com/go-jose/go-jose/v4"

	"carnet.dev/carnet/internal/protocol/oidc"
)

func block(kind string, der []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// clientKeys are private keys in every form, with what is to be read of them.
func clientKeys(t testing.TB) map[string]struct {
	text          []byte
	algorithm, id string // no algorithm: refused
} {
	t.Helper()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	large, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8 := func(k any) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(k)
		return block("PRIVATE KEY", der, err)
	}
	jwk := func(k any, id string) []byte {
		b, err := (&jose.JSONWebKey{Key: k, KeyID: id}).MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	sec1, err := x509.MarshalECPrivateKey(ecKey)
	type row = struct {
		text          []byte
		algorithm, id string
	}
	public, perr := x509.MarshalPKIXPublicKey(rsaKey.Public())
	return map[string]row{
		"RSA, PKCS #8":    {pkcs8(rsaKey), oidc.RS256, ""},
		"RSA, PKCS #1":    {block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey), nil), oidc.RS256, ""},
		"P-256, PKCS #8":  {pkcs8(ecKey), oidc.ES256, ""},
		"P-256, SEC 1":    {block("EC PRIVATE KEY", sec1, err), oidc.ES256, ""},
		"RSA, JWK":        {jwk(rsaKey, "one"), oidc.RS256, "one"},
		"P-256, JWK":      {append([]byte("\n "), jwk(ecKey, "")...), oidc.ES256, ""},
		"P-384":           {pkcs8(large), "", ""},
		"Ed25519":         {pkcs8(edKey), "", ""},
		"Ed25519, JWK":    {jwk(edKey, "x"), "", ""},
		"public JWK":      {jwk(rsaKey.Public(), "one"), "", ""},
		"public PEM":      {block("PUBLIC KEY", public, perr), "", ""},
		"symmetric JWK":   {jwk([]byte("0123456789abcdef0123456789abcdef"), "x"), "", ""},
		"nothing":         {nil, "", ""},
		"text":            {[]byte("carnet_s_secret"), "", ""},
		"too long":        {[]byte(strings.Repeat("a", 70<<10)), "", ""},
		"a JWK in a list": {[]byte("[" + string(jwk(ecKey, "")) + "]"), "", ""},
	}
}

func TestReadSigningKey(t *testing.T) {
	t.Parallel()
	for name, tt := range clientKeys(t) {
		k, err := oidc.ReadSigningKey(tt.text)
		if k.Algorithm != tt.algorithm || k.ID != tt.id || (err == nil) != (tt.algorithm != "") {
			t.Errorf("%s: %s %q, %v", name, k.Algorithm, k.ID, err)
		}
		if err != nil && len(tt.text) > 0 && strings.Contains(err.Error(), "carnet_s_") {
			t.Errorf("%s: the error repeats the text: %v", name, err)
		}
		if err != nil {
			continue
		}
		if token, err := k.Sign(oidc.TypeIDToken, map[string]any{"sub": "x"}); err != nil || strings.Count(token, ".") != 2 {
			t.Errorf("%s: %q, %v", name, token, err)
		}
	}
}

func FuzzReadSigningKey(f *testing.F) {
	for _, tt := range clientKeys(f) {
		f.Add(tt.text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if k, err := oidc.ReadSigningKey(text); err == nil && k.Check() != nil {
			t.Error("a key that does not fit its algorithm was read")
		}
	})
}
