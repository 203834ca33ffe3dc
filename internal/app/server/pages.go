package server

import (
	"net/url"
	"slices"

	"carnet.dev/carnet/internal/app/config"
	"carnet.dev/carnet/internal/edge/web"
)

// pages is what the pages stand on.
func (srv *Server) pages(base *url.URL, o Options) web.Config {
	c := srv.config
	return web.Config{
		Login: srv.login, Arrivals: srv.login, Logouts: srv.login, LoginSessions: srv.login,
		Providers: srv.federation, ProviderCare: srv.federation, Metadata: srv.federation, Installation: srv.federation, Keys: srv.spkeys,
		Devices: srv.oauth, Consents: srv.oauth, OwnIssuers: srv.issuer, Clients: srv.oauth, Machines: srv.directory.ServicePrincipals,
		Policies: srv.workload, Delegations: srv.workload, Denials: srv.denials, Trail: srv.reader, OIDC: ofOIDC(c),
		Attaching: srv.attachments, Clusters: srv.clusters, ClusterCare: srv.clusters, ClusterLogins: srv.attachments, Managing: srv.clusters, Subjects: srv.state,
		People: srv.peoplePages(), OwnSignIns: ownSignIns{srv.peoplePages()},
		GatewayKeys: srv.gatewayKeys, OwnGatewayKeys: ownSignIns{srv.peoplePages()},
		BaseURL: base, SAMLURL: c.SAMLURL(), Issuers: srv.issuerURLs(), Trusts: srv.trusts, SAMLMetadata: srv.samlMetadata, Accounts: webAccounts(c), Ready: srv.ready, Beside: srv.besideReady, Now: o.Now,
	}
}

// ofOIDC is what the configuration says of our issuers, for their page.
func ofOIDC(c *config.Config) web.OIDC {
	out := web.OIDC{Audiences: c.OIDC.Audiences, DeviceOff: c.OIDC.DeviceFlow == config.Refuse}
	switch p := c.OIDC.Publish; {
	case p.Folder != "":
		out.Published = "the folder " + p.Folder
	case p.On():
		out.Published = "the bucket " + p.Bucket + " of upstream " + p.Upstream
	}
	for i, a := range webAccounts(c) {
		if !slices.Contains(c.Accounts[i].Exchanges, config.ExchangeWebIdentity) {
			continue
		}
		out.WebIdentity = append(out.WebIdentity, a)
		if b := c.Accounts[i].Bridge; b.Renew == config.Accepted && slices.Contains(c.Accounts[i].Exchanges, config.ExchangeSAML) {
			out.Bridges = append(out.Bridges, web.Bridge{Account: a, Cap: b.Cap, AuthnContexts: b.AuthnContexts})
		}
	}
	return out
}

// SAMLMetadata describes this service provider to identity providers, with its
// keys as they are now.
func (srv *Server) SAMLMetadata() ([]byte, error) { return srv.samlMetadata() }
