// Package oauth is Carnet's OAuth 2.0 authorization server and OpenID provider:
// clients, their proof, and every grant that ends in a token.
//
// An authorization request is held to what its client registered, asks the
// person where an administrator did not say that it needn't, and ends in a code
// of 60 seconds (RFC 6749 section 4.1, with PKCE S256 of RFC 7636 for everybody
// and the issuer of RFC 9207). Codes and refresh tokens are random, for one use,
// and stored as digests. What a sign-in gave ends with its login session: access
// tokens (RFC 9068) carry it and the revocation epoch, refresh tokens are rows
// that go with it. A code used twice, or a refresh token used again past the
// grace for a lost answer, ends everything that came of it.
//
// Tokens are signed by service/issuer; the sub of each is user:, sp: or job: and
// an id. An access token opens our own API and nothing else, an ID token never
// does. It must never redirect to an address that the client did not register,
// tell a stranger whether a client, code or token exists, or put a secret into a
// row, a log or an error.
package oauth

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/service/issuer"
)

// The grant types (RFC 6749, 8628, 8693, 7523).
const (
	GrantCode     = "authorization_code"
	GrantRefresh  = "refresh_token"
	GrantClient   = "client_credentials"
	GrantExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	GrantJWT      = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	GrantDevice   = "urn:ietf:params:oauth:grant-type:device_code"
)

// GrantTypes lists the grants, in the order of the discovery document.
func GrantTypes() []string {
	return []string{GrantCode, GrantRefresh, GrantClient, GrantExchange, GrantJWT, GrantDevice}
}

// The ways in which a client proves itself (RFC 6749 section 2.3, RFC 7523,
// OpenID Connect Core section 9).
const (
	MethodBasic      = "client_secret_basic"
	MethodPost       = "client_secret_post"
	MethodPrivateKey = "private_key_jwt"
	MethodNone       = "none" // public clients alone
)

// Methods lists them.
func Methods() []string { return []string{MethodBasic, MethodPost, MethodPrivateKey, MethodNone} }

// Client is a program that may ask for tokens, as an administrator registered
// it, or a service principal, which is a client by itself.
type Client struct {
	// ID is oac_… for a registered client, spn_… for a service principal.
	ID   string
	Name string
	// Public clients have no credentials: programs on people's own machines
	// (RFC 8252) and in browsers.
	Public bool
	// RedirectURIs are compared letter for letter, but for the port of a
	// loopback address (RFC 8252 section 7.3).
	RedirectURIs []string
	Grants       []string // of GrantTypes
	Scopes       []string // of the scopes below
	// Audiences are the names for which it may have ID tokens made, besides its
	// own: "sts.amazonaws.com", or one that an administrator listed.
	Audiences []string
	// Trusted: people are not asked before it gets what it wants.
	Trusted bool
	// ResourceServer: it may ask about tokens that others hold (RFC 7662).
	ResourceServer bool
	// ServicePrincipal is who the client is where it acts for nobody; empty for
	// one that acts for people alone.
	ServicePrincipal identity.ServicePrincipalID
	// IDTokenAlg is RS256 or ES256; empty: what the issuer signs with.
	IDTokenAlg string
	Enabled    bool
	Created    time.Time
	// Owner is who answers for it, in an administrator's words.
	Owner string
}

// May reports whether the client was given a grant type.
func (c Client) May(grant string) bool { return slices.Contains(c.Grants, grant) }

// CredentialKind says what a client proves itself with.
type CredentialKind string

// The kinds.
const (
	SecretCredential CredentialKind = "secret" // a random text; its digest is stored
	KeyCredential    CredentialKind = "key"    // a public key, for private_key_jwt
)

// Credential is one means of proof of a client or service principal.
type Credential struct {
	ID       identity.CredentialID
	Client   string // oac_… or spn_…
	Kind     CredentialKind
	Owner    string // who answers for it, in an administrator's words
	Created  time.Time
	Expires  time.Time // zero: never; secrets always end
	LastUsed time.Time // zero: not yet; told to the hour
	// JWK is the public key of a KeyCredential (RFC 7517).
	JWK []byte
}

const (
	// SecretPrefix begins every client secret, so that scanners find a lost one.
	SecretPrefix = "carnet_s_"
	// refreshPrefix begins every refresh token.
	refreshPrefix = "carnet_r_"
	// SecretLifetime is how long a secret counts where nothing else is said.
	SecretLifetime = 730 * 24 * time.Hour
	// MostCredentials bounds the credentials of each kind of one client.
	MostCredentials = 5
	// CodeLifetime is how long a code may take to be redeemed.
	CodeLifetime = time.Minute
	// ApprovalLifetime is how long a person may think about an approval.
	ApprovalLifetime = 10 * time.Minute
	// AccessLifetime is the longest life of an access token.
	AccessLifetime = time.Hour
	// ReuseGrace is how long a refresh token that was used counts once more, for
	// an answer that was lost.
	ReuseGrace = 10 * time.Second
)

// Presented is a client's proof, as the edge found it in a request: at most one.
type Presented struct {
	Level  issuer.Level
	ID     string // client_id; may be empty with an assertion
	Method string // of Methods
	Secret secret.Text
	// Assertion is the JWT of private_key_jwt, unread.
	Assertion string
	// Grant is the grant type that is asked for; empty at other endpoints.
	Grant string
}

// Form holds the parameters of one request, each once and none of them empty:
// the edge has refused duplicates (RFC 6749 section 3.1) and dropped empty ones.
type Form map[string]string

// Has reports whether the parameter was given.
func (f Form) Has(name string) bool { return f[name] != "" }

// TokenRequest is a request to the token endpoint, by a client that proved
// itself.
type TokenRequest struct {
	Level     issuer.Level
	Client    Client
	Form      Form
	Source    netip.Addr
	UserAgent string
}

// TokenResponse is its answer (RFC 6749 section 5.1). Zero fields are left out.
type TokenResponse struct {
	AccessToken, IDToken, RefreshToken secret.Text
	// IssuedTokenType is a URN of RFC 8693, for token exchange.
	IssuedTokenType string
	TokenType       string // "Bearer", or "N_A" where no access token was made
	Scope           string
	ExpiresIn       time.Duration
}

// Grant turns one grant type's request into tokens. Errors are faults with a
// code of RFC 6749 section 5.2 or of the grant's own RFC.
type Grant func(ctx context.Context, r TokenRequest) (TokenResponse, error)

// Owner is the person who approved, from their login session: nothing that is
// issued for them outlives it.
type Owner struct {
	Person       identity.PersonID
	LoginSession identity.LoginSessionID
	UserName     string
	DisplayName  string
	// AuthTime is when they proved themselves to their identity provider.
	AuthTime time.Time
	Ends     time.Time
	ACR      string // the identity provider's authentication context; may be empty
}

// Subject is the sub of a person's tokens.
func (o Owner) Subject() string { return subjectOf(o.Person) }

const (
	personPrefix    = "user:"
	principalPrefix = "sp:"
	jobPrefix       = "job:"
)

func subjectOf(p identity.PersonID) string { return personPrefix + string(p) }

// personOf gives the person of a sub; empty for any other.
func personOf(sub string) identity.PersonID {
	id, ok := strings.CutPrefix(sub, personPrefix)
	if !ok {
		return ""
	}
	return identity.PersonID(id)
}
