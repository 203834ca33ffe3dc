package server

import (
	"context"
	"net/url"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/web"
)

// pages is what the pages stand on.
func (srv *Server) pages(base *url.URL, o Options) web.Config {
	c := srv.config
	return web.Config{
		Login: srv.login, Arrivals: srv.login, Logouts: srv.login, LoginSessions: srv.login,
		Providers: srv.federation, ProviderCare: srv.federation, Installation: srv.federation, Keys: srv.spkeys,
		BaseURL: base, SAMLURL: c.SAMLURL(), SAMLMetadata: srv.samlMetadata, Accounts: webAccounts(c), Ready: srv.ready, Now: o.Now,
		Fetch: func(ctx context.Context, address string) ([]byte, error) {
			// A page names no file of the host.
			if !strings.HasPrefix(address, "https://") && !strings.HasPrefix(address, "http://") {
				return nil, fault.New(fault.Invalid, "the metadata address is not a web address").WithMend("give an https address")
			}
			return identityMetadata(ctx, c, address)
		},
	}
}

// SAMLMetadata describes this service provider to identity providers, with its
// keys as they are now.
func (srv *Server) SAMLMetadata() ([]byte, error) { return srv.samlMetadata() }
