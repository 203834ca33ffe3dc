package server

import (
	"carnet.dev/carnet/internal/app/config"
	"carnet.dev/carnet/internal/edge/upstream/jwks"
	"carnet.dev/carnet/internal/edge/upstream/openid"
)

// openIDProviders asks the OpenID providers that people sign in with, and keeps
// their keys. Their issuers are an administrator's word; egress.allow says which
// of them may be inside.
func (s *state) openIDProviders() (*openid.Source, *jwks.Source, error) {
	client, err := guarded(s.config)
	if err != nil {
		return nil, nil, err
	}
	return openid.New(openid.Config{Client: client, Now: s.now}), jwks.New(jwks.Config{Client: client, Loopback: client, Now: s.now}), nil
}

// oidcURL is our redirect URI at OpenID providers; oidcLogoutURL is where they say
// that somebody signed out there, signedOutURL where they send a browser then.
func oidcURL(c *config.Config) string       { return c.BaseURL + "/sign-in/oidc/callback" }
func oidcLogoutURL(c *config.Config) string { return c.BaseURL + "/sign-in/oidc/logout" }
func signedOutURL(c *config.Config) string  { return c.BaseURL + "/signed-out" }
