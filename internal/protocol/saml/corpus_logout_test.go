package saml_test

import (
	"testing"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/devidp/forge"
	"carnet.dev/carnet/internal/protocol/saml"
)

// TestLogoutCorpus: only what the identity provider signed, for us and lately,
// ends a login session; each other message is refused by its own check.
func TestLogoutCorpus(t *testing.T) {
	t.Parallel()
	m := metadata(t, rsaIdP())
	attacks := 0
	for _, c := range forge.LogoutCorpus(t, forge.Own(t, rsaIdP(), requestID, now), now) {
		in := saml.LogoutInput{Binding: saml.BindingPOST, XML: c.Raw}
		if c.Query != "" {
			in = saml.LogoutInput{Binding: saml.BindingRedirect, RawQuery: c.Query}
		}
		r, err := saml.VerifyLogoutRequest(in, m, saml.LogoutExpect{URL: forge.ACS, Skew: saml.DefaultSkew}, now)
		switch {
		case c.Check == "" && err != nil:
			t.Errorf("%s: refused: %v", c.Name, err)
		case c.Check == "":
			if r.NameID != forge.Subject && r.NameID != "nobody" {
				t.Errorf("%s: for %q", c.Name, r.NameID)
			}
		case err == nil:
			t.Errorf("%s: taken, for %q", c.Name, r.NameID)
		case fault.Of(err).Code != c.Check:
			t.Errorf("%s: %v (%s), want %s", c.Name, err, fault.Of(err).Code, c.Check)
		default:
			attacks++
		}
	}
	if attacks < 60 {
		t.Errorf("%d attacks", attacks)
	}
}
