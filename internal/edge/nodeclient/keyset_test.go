package nodeclient

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"testing"

	"carnet.dev/carnet/internal/protocol/oidc"
)

// keySet publishes a node's key, given as it was sent.
func keySet(t *testing.T, spki string) string {
	t.Helper()
	der, err := base64.StdEncoding.DecodeString(spki)
	if err != nil {
		t.Fatal(err)
	}
	k, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		t.Fatal(err)
	}
	public, ok := k.(*ecdsa.PublicKey)
	if !ok {
		t.Fatalf("a key of type %T", k)
	}
	text, err := oidc.WriteKeySet([]oidc.PublicKey{{ID: "nod_1", Algorithm: oidc.ES256, Key: public}})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
