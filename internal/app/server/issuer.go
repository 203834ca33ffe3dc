package server

import (
	"context"
	"net/url"
	"sync/atomic"

	"carnet.dev/carnet/internal/app/config"
	"carnet.dev/carnet/internal/edge/api"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/edge/issuerapi"
	sqlissuer "carnet.dev/carnet/internal/edge/sql/issuer"
	"carnet.dev/carnet/internal/edge/upstream/jwks"
	"carnet.dev/carnet/internal/protocol/oidc"
	"carnet.dev/carnet/internal/service/federation"
	"carnet.dev/carnet/internal/service/issuer"
)

// openIssuer opens our OpenID issuers. The account level is named by the
// configuration, or by the organisation's own id.
func (s *state) openIssuer(ctx context.Context) (err error) {
	c := s.config.OIDC
	installation, err := s.federation.Installation()
	if err != nil {
		return err
	}
	id := c.AccountID
	if id == "" {
		id = installation.Organisation
	}
	s.issuer, err = issuer.Open(ctx, issuer.Config{
		Store: sqlissuer.Store{DB: s.db}, Sealer: s.ring, State: s.db, Trail: s.trail, Now: s.now, Logger: s.log,
		BaseURL: s.config.BaseURL, PublicURL: c.PublicURL, AccountURL: c.AccountURL, AccountID: id, Unified: unified(s.federation),
		Signing: c.Signing, Audiences: c.Audiences, NoDevice: c.DeviceFlow == config.Refuse,
		Every: c.Rotation.Every, Prepublish: c.Rotation.Prepublish, Grace: c.Rotation.Grace,
		Elsewhere: c.Publish.On(),
	})
	return err
}

// unified asks for unified login. While it can't be read what was read last
// holds: issuers don't change at AWS because our database is away.
func unified(f *federation.Service) func() bool {
	var off atomic.Bool
	return func() bool {
		if i, err := f.Installation(); err == nil {
			off.Store(!i.UnifiedLogin)
		}
		return !off.Load()
	}
}

// issuers lists our issuers for the API.
func (s *state) issuers() []api.Issuer {
	var all []api.Issuer
	for _, l := range issuer.Levels() {
		all = append(all, api.Issuer{Level: string(l), Issuer: s.issuer.URL(l), Registered: s.issuer.Registered() == l})
	}
	return all
}

// RegisteredIssuer is the issuer that AWS and local accounts are to trust.
func (srv *Server) RegisteredIssuer() string { return srv.issuer.URL(srv.issuer.Registered()) }

func (s *state) issuerURLs() federation.IssuerURLs {
	return federation.IssuerURLs{Workspace: s.issuer.URL(issuer.Workspace), Account: s.issuer.URL(issuer.Account)}
}

// sayIssuer warns where an account at AWS is to take our tokens, and AWS can't
// trust the issuer that mints them.
func (srv *Server) sayIssuer() {
	name := srv.issuer.URL(srv.issuer.Registered())
	why := issuer.NotForAWS(name)
	for _, a := range srv.config.Accounts {
		if why != "" && a.Kind == config.AccountAWS && a.Accepts(config.ExchangeWebIdentity) {
			srv.log.Warn("AWS can't trust the issuer that mints for it: see carnet issuer check", "issuer", name, "why", why, "account", a.ID)
		}
	}
}

// issuerRoutes are discovery, key sets and endpoints of both issuers.
func (srv *Server) issuerRoutes(base *url.URL, page httpd.ErrorWriter) []httpd.Route {
	at, err := url.Parse(srv.config.OIDC.AccountURL)
	if err != nil {
		at = &url.URL{} // the configuration was held to its form
	}
	c := issuerapi.Config{Documents: srv.issuer, AccountHost: at.Host, Clients: srv.oauth, Grants: srv.oauth, Tokens: srv.oauth, Devices: srv.oauth,
		BaseURL: base, Page: page, APIAudience: srv.issuer.APIAudience()}
	return issuerapi.Routes(c)
}

// keySets gives our own issuers' keys from memory, and those of others by
// discovery. Our own are never asked for: what is told of them elsewhere counts
// for others, not for us.
type keySets struct {
	own    *issuer.Service
	others *jwks.Source
}

// Keys gives the key set of an issuer.
func (k keySets) Keys(ctx context.Context, issuerURL string, unknown bool) (*oidc.KeySet, error) {
	if keys, ours := k.own.KeySet(issuerURL); ours {
		return keys, nil
	}
	return k.others.Keys(ctx, issuerURL, unknown)
}
