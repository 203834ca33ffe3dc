// Package issuerapi is what the world sees of Carnet's OpenID issuers: discovery
// and key sets, and the endpoints of OAuth beside them.
//
// Each issuer has the same endpoints below its own path. Discovery and key sets
// are public, the same for everyone, and served from bytes that lie ready. It
// must never answer an error at an endpoint in another form than OAuth's, nor
// let an answer of a token endpoint be kept by anyone.
package issuerapi

import (
	"net/url"

	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/issuer"
)

// Documents are those of the issuers.
type Documents interface {
	// Path is where the issuer's endpoints lie on this server.
	Path(issuer.Level) string
	Discovery(issuer.Level) issuer.Document
	JWKS(issuer.Level) issuer.Document
}

// Config is what the endpoints stand on.
type Config struct {
	Documents Documents
	// AccountHost is the host, with its port, on which the account level is
	// asked beside the site's own; empty: none.
	AccountHost string
	// Clients, Grants, Tokens and Devices are the authorization server; nil
	// Grants: there is none.
	Clients Clients
	Grants  Grants
	Tokens  Tokens
	Devices Devices // nil: devices can't sign in by a code
	// BaseURL is where people sign in and are asked.
	BaseURL *url.URL
	// Page writes an error for a person.
	Page httpd.ErrorWriter
	// APIAudience is the audience of access tokens.
	APIAudience string
}

// Routes lists the endpoints of both issuers.
func Routes(c Config) []httpd.Route {
	var all []httpd.Route
	for _, l := range issuer.Levels() {
		rows := documents(c.Documents, l)
		if c.Grants != nil {
			rows = append(rows, endpoints{c, l}.routes()...)
		}
		if l == issuer.Account && c.AccountHost != "" {
			for i := range rows {
				rows[i].Hosts = []string{c.AccountHost}
			}
		}
		all = append(all, rows...)
	}
	return all
}
