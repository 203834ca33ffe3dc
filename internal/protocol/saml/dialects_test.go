package saml_test

import (
	"crypto/rand"
	"crypto/rsa"
	"testing"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/devidp"
	"carnet.dev/carnet/internal/edge/devidp/forge"
	"carnet.dev/carnet/internal/protocol/saml"
)

// TestDialects: each product's way to write a response is taken, however it is
// told to sign, in the clear and encrypted; and the name in it can't be changed.
func TestDialects(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	m := metadata(t, rsaIdP())
	want := expect()
	want.Decrypt = &saml.Decrypter{Keys: []*rsa.PrivateKey{key}}
	for _, d := range forge.Dialects() {
		t.Run(d.Name, func(t *testing.T) {
			for _, signs := range []devidp.Answer{d.Signs, {SignAssertion: true}, {SignReply: true}, {SignAssertion: true, SignReply: true}} {
				for _, to := range []*rsa.PublicKey{nil, &key.PublicKey} {
					raw := d.Respond(t, rsaIdP(), requestID, signs, to, now)
					a, err := saml.Verify(raw, m, want, now)
					if err != nil {
						t.Errorf("assertion signed %v, response signed %v, encrypted %v: %v", signs.SignAssertion, signs.SignReply, to != nil, err)
						continue
					}
					wantFacts(t, a, to != nil)
				}
			}
		})
	}
}

func wantFacts(t *testing.T, a *saml.Assertion, encrypted bool) {
	t.Helper()
	pairs, bad := saml.RolePairs(a)
	if a.NameID != forge.Subject || len(pairs) != 1 || len(bad) != 0 || pairs[0].Role.String() != forge.Role || pairs[0].Provider.String() != forge.Provider ||
		a.SessionIndex == "" || a.Encrypted != encrypted {
		t.Errorf("facts %+v, %v, %v", a, pairs, bad)
	}
	if name, ok := a.Single(saml.AttrRoleSessionName); !ok || name != forge.Subject {
		t.Errorf("session name %q", name)
	}
}

// TestDialectsUnderAttack: the corpus, made from two dialects that are far from
// that of the development identity provider: by prefixes, and by none.
func TestDialectsUnderAttack(t *testing.T) {
	t.Parallel()
	m := metadata(t, rsaIdP())
	for _, d := range forge.Dialects() {
		if d.Name != "Google Workspace" && d.Name != "Entra ID" {
			continue
		}
		t.Run(d.Name, func(t *testing.T) {
			source := forge.Source{
				IdP: rsaIdP(), RequestID: requestID,
				Assertion: d.Respond(t, rsaIdP(), requestID, devidp.Answer{SignAssertion: true}, nil, now),
				Response:  d.Respond(t, rsaIdP(), requestID, devidp.Answer{SignReply: true}, nil, now),
			}
			for _, c := range forge.CorpusFrom(t, source, now) {
				a, err := saml.Verify(c.Raw, m, expect(), now)
				switch {
				case err == nil && c.Check != "":
					t.Errorf("%s/%s: taken as %q", c.Class, c.Name, a.NameID)
				case c.Check == "" && err != nil, c.Check != "" && fault.Of(err).Code != c.Check:
					t.Errorf("%s/%s: %v, want %q", c.Class, c.Name, err, c.Check)
				}
			}
		})
	}
}
