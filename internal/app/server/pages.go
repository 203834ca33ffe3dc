package server

import (
	"net/url"

	"carnet.dev/carnet/internal/edge/web"
)

// pages is what the pages stand on.
func (srv *Server) pages(base *url.URL, o Options) web.Config {
	c := srv.config
	return web.Config{
		Login: srv.login, Arrivals: srv.login, Logouts: srv.login, LoginSessions: srv.login,
		Providers: srv.federation, ProviderCare: srv.federation, Metadata: srv.federation, Installation: srv.federation, Keys: srv.spkeys, Devices: srv.oauth, Consents: srv.oauth,
		BaseURL: base, SAMLURL: c.SAMLURL(), Issuers: srv.issuerURLs(), SAMLMetadata: srv.samlMetadata, Accounts: webAccounts(c), Ready: srv.ready, Now: o.Now,
	}
}

// SAMLMetadata describes this service provider to identity providers, with its
// keys as they are now.
func (srv *Server) SAMLMetadata() ([]byte, error) { return srv.samlMetadata() }
