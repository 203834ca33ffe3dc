package saml_test

import (
	"testing"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/devidp/forge"
	"carnet.dev/carnet/internal/protocol/saml"
)

// TestCorpus: no attack gets in, each is refused by its own check and soon,
// and every honest variant gets in with the same identity.
func TestCorpus(t *testing.T) {
	t.Parallel()
	for _, k := range []struct {
		name   string
		idp    *forge.IdP
		corpus []forge.Case
	}{{"RSA", rsaIdP(), rsaCorpus()}, {"ECDSA", ecdsaIdP(), ecdsaCorpus()}} {
		t.Run(k.name, func(t *testing.T) {
			m := metadata(t, k.idp)
			attacks := 0
			for _, c := range k.corpus {
				if c.Check == "" {
					t.Run(c.Class+"/"+c.Name, func(t *testing.T) { checkTaken(t, c, m) })
					continue
				}
				attacks++
				t.Run(c.Class+"/"+c.Name, func(t *testing.T) { checkRefused(t, c, m) })
			}
			if attacks < 200 {
				t.Errorf("the corpus holds %d attacks: want at least 200", attacks)
			}
		})
	}
}

func checkTaken(t *testing.T, c forge.Case, m *saml.Metadata) {
	a, err := saml.Verify(c.Raw, m, expect(), now)
	if err != nil {
		t.Fatalf("refused: %v", err)
	}
	pairs, _ := saml.RolePairs(a)
	if a.NameID != forge.Subject || len(pairs) == 0 || pairs[0].Role.String() != forge.Role {
		t.Fatalf("facts changed: NameID %q, pairs %v", a.NameID, pairs)
	}
	if sts, err := saml.VerifyForSTS(c.Raw, m, saml.STSExpect{Skew: saml.DefaultSkew}, now); err == nil && sts.NameID != a.NameID {
		t.Errorf("STS reads the subject %q", sts.NameID)
	}
}

// checkRefused holds a case to its own check. What a refusal costs is shown by
// BenchmarkRefuse.
func checkRefused(t *testing.T, c forge.Case, m *saml.Metadata) {
	a, err := saml.Verify(c.Raw, m, expect(), now)
	if err == nil {
		t.Fatalf("accepted as %q", a.NameID)
	}
	if got := fault.Of(err).Code; got != c.Check {
		t.Fatalf("refused by %s (%v), want %s", got, err, c.Check)
	}
}
