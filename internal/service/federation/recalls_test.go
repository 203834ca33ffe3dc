package federation_test

import (
	"testing"

	"carnet.dev/carnet/internal/service/federation"
)

// TestRecalls: an OpenID provider that has our logout address tells us when a
// person has to go; single logout of SAML needs the person's browser.
func TestRecalls(t *testing.T) {
	t.Parallel()
	told := federation.OIDCSettings{BackChannelLogout: true}
	for name, tt := range map[string]struct {
		idp  federation.IdP
		want bool
	}{
		"SAML":                         {federation.IdP{}, false},
		"SAML with what it can't have": {federation.IdP{OIDC: told}, false},
		"OpenID":                       {federation.IdP{Protocol: federation.OIDC}, false},
		"OpenID, logout entered":       {federation.IdP{Protocol: federation.OIDC, OIDC: told}, true},
	} {
		if got := (&federation.Speaker{IdP: tt.idp}).Recalls(); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
