package api_test

import (
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/api/ssodoc"
	"carnet.dev/carnet/internal/edge/upstream/jwks/issuertest"
)

// TestAdministratorEntersAnOpenIDProvider, changes it, and never sees its client
// secret again.
func TestAdministratorEntersAnOpenIDProvider(t *testing.T) {
	t.Parallel()
	w, base, _ := serve(t)
	c, op := administratorOf(t, base), issuertest.NewOP(t, "https://us/cb", time.Now)
	in := newProvider("OP")
	age := 600
	in.OIDC = &ssodoc.OpenIDSettings{Issuer: op.URL, ClientID: "carnet", ClientSecret: "s3cret", RolesClaim: "roles", MaxAge: &age}
	in.Settings = &ssodoc.Settings{RoleTemplates: []ssodoc.RoleTemplate{{Group: "a-{x}", Account: "111122223333", Role: "{x}"}}}
	p, err := c.AddIdentityProvider(t.Context(), in)
	if err != nil || p.Protocol != "oidc" || p.EntityID != op.URL || p.OIDC == nil || !p.OIDC.ClientSecretSet || p.OIDC.ClientAuth != "basic" ||
		p.OIDC.UserNameClaim != "preferred_username" || len(p.OIDC.Scopes) != 2 || *p.OIDC.MaxAge != 600 || len(p.Metadata.Certificates) != 0 {
		t.Fatalf("added %+v, %v", p, err)
	}
	kept := w.sso.List()[0]
	if kept.OIDC.ClientSecret.Reveal() != "s3cret" {
		t.Error("the client secret was lost")
	}
	_, _, body := call(t, "GET", base+"/api/v1/identity-providers", "", "Cookie", "carnet=admin")
	if strings.Contains(string(body), "s3cret") || !strings.Contains(string(body), `"client_secret_set":true`) {
		t.Errorf("shown: %s", body)
	}
	// What is shown can be given back.
	shown := p.Settings
	change := ssodoc.IdentityProviderChange{Revision: p.Revision, Settings: &shown,
		OIDC: &ssodoc.OpenIDSettings{Issuer: op.URL, ClientID: "other", ClientAuth: p.OIDC.ClientAuth, Scopes: p.OIDC.Scopes}}
	if p, err = c.ChangeIdentityProvider(t.Context(), p.ID, change); err != nil || p.OIDC.ClientID != "other" || p.OIDC.RolesClaim != "" || p.OIDC.MaxAge != nil || !p.OIDC.ClientSecretSet {
		t.Errorf("changed to %+v, %v", p.OIDC, err)
	}
	if got := w.sso.List()[0].OIDC.ClientSecret.Reveal(); got != "s3cret" {
		t.Error("the client secret did not stay")
	}
	for name, bad := range map[string]ssodoc.OpenIDSettings{"another issuer": {Issuer: "https://other.example", ClientID: "c"}, "no client": {Issuer: op.URL}} {
		if _, err := c.ChangeIdentityProvider(t.Context(), p.ID, ssodoc.IdentityProviderChange{OIDC: &bad}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	s, err := c.SingleSignOn(t.Context())
	if err != nil || s.OIDCRedirectURL != base+"/sign-in/oidc/callback" || s.OIDCLogoutURL != base+"/sign-in/oidc/logout" || s.SignedOutURL != base+"/signed-out" {
		t.Errorf("%+v, %v", s, err)
	}
}
