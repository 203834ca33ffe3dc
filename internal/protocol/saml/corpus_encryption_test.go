package saml_test

import (
	"crypto/rand"
	"crypto/rsa"
	"testing"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/devidp/forge"
	"carnet.dev/carnet/internal/protocol/saml"
)

// TestEncryptedCorpus: the attacks on encrypted assertions, each refused by its
// own check; behind the form of the encryption by that of a bad signature. STS
// with the key answers alike.
func TestEncryptedCorpus(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	source := forge.Own(t, rsaIdP(), requestID, now)
	source.EncryptTo = &key.PublicKey
	m := metadata(t, rsaIdP())
	attacks := 0
	for _, c := range forge.CorpusFrom(t, source, now) {
		if c.Class != "encryption" && c.Setting == "" {
			continue // TestCorpus has them
		}
		want := expect()
		if c.Setting != "" {
			want.Decrypt = &saml.Decrypter{Keys: []*rsa.PrivateKey{key}, AllowCBC: c.Setting == forge.EncryptedWithCBC}
			want.RequireEncrypted = c.Setting == forge.OnlyEncrypted
		}
		a, err := saml.Verify(c.Raw, m, want, now)
		switch {
		case c.Check == "" && err != nil:
			t.Errorf("%s/%s: refused: %v", c.Class, c.Name, err)
		case c.Check == "":
			if a.NameID != forge.Subject {
				t.Errorf("%s/%s: NameID %q", c.Class, c.Name, a.NameID)
			}
			if s, err := saml.VerifyForSTS(c.Raw, m, saml.STSExpect{Decrypt: want.Decrypt, Skew: saml.DefaultSkew}, now); err != nil || s.NameID != a.NameID {
				t.Errorf("%s/%s: at STS %v", c.Class, c.Name, err)
			}
		case fault.Of(err).Code != c.Check:
			t.Errorf("%s/%s: %v, want %s", c.Class, c.Name, err, c.Check)
		default:
			attacks++
		}
	}
	if attacks < 50 {
		t.Errorf("%d attacks", attacks)
	}
}
