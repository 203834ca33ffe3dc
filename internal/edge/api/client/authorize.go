package client

import (
	"crypto/sha256"
	"encoding/base64"
	"net/url"

	"carnet.dev/carnet/internal/core/secret"
)

// Authorize is what a command line asks of a person's browser: the page at
// /cli/authorize (OAuth 2.0 for native apps, RFC 8252, with PKCE, RFC 7636).
type Authorize struct {
	// Verifier is the PKCE secret of this sign-in; 43 to 128 characters.
	Verifier secret.Text
	// State comes back unchanged; at most 128 characters.
	State string
	// RedirectURI is http on a loopback address and a port:
	// http://127.0.0.1:PORT/PATH, http://[::1]:PORT/PATH or localhost.
	RedirectURI string
	// Machine is shown to the person who approves; at most 64 characters.
	Machine string
}

// AuthorizeURL gives the address to open. After approval the browser is sent
// to RedirectURI with code and state, after refusal with error=access_denied
// and state.
func (c *Client) AuthorizeURL(a Authorize) string {
	sum := sha256.Sum256([]byte(a.Verifier.Reveal()))
	u := c.base.JoinPath("/cli/authorize")
	u.RawQuery = url.Values{
		"code_challenge":        {base64.RawURLEncoding.EncodeToString(sum[:])},
		"code_challenge_method": {"S256"},
		"redirect_uri":          {a.RedirectURI},
		"state":                 {a.State},
		"machine":               {a.Machine},
	}.Encode()
	return u.String()
}
