// Package openid speaks with OpenID providers as a relying party: discovery, the
// token endpoint, and userinfo.
//
// Only issuers that an administrator configured are asked, through the guarded
// client; the one document that may name more addresses is their own discovery
// document, and those pass the same guard. Codes, client secrets and tokens go to
// no other place than the endpoint, follow no redirect, and stand in no error.
package openid

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/egress"
	"carnet.dev/carnet/internal/edge/upstream/kept"
	"carnet.dev/carnet/internal/protocol/openid"
)

// The codes of faults: the provider can't be reached, or refused what it was
// asked.
const (
	CodeAway    = "openid.away"
	CodeRefused = "openid.refused"
)

// Config is what a Source stands on.
type Config struct {
	Client *egress.Client
	Now    func() time.Time
	Fresh  time.Duration // as of kept.Config
	Stale  time.Duration
	Again  time.Duration
}

// Source asks OpenID providers. Safe for concurrent use.
type Source struct {
	client *egress.Client
	known  *kept.Source[string, *openid.Provider]
}

// New makes a Source.
func New(c Config) *Source {
	s := &Source{client: c.Client}
	s.known = kept.New(kept.Config[string, *openid.Provider]{Fetch: s.fetch, Left: away, Now: c.Now, Fresh: c.Fresh, Stale: c.Stale, Again: c.Again})
	return s
}

// Provider gives what an issuer publishes about itself. Faults: CodeAway
// (Unavailable), openid.CodeDocument (Misconfigured), and those of egress.
func (s *Source) Provider(ctx context.Context, issuer string) (*openid.Provider, error) {
	return s.known.Get(ctx, issuer, false)
}

func (s *Source) fetch(ctx context.Context, issuer string) (*openid.Provider, error) {
	document, err := s.client.Get(ctx, openid.DiscoveryURL(issuer))
	if err != nil {
		return nil, unreached(issuer, err)
	}
	return openid.ParseProvider(document, issuer)
}

func away(issuer string, err error) error {
	return fault.Coded(fault.Unavailable, CodeAway, fmt.Sprintf("the identity provider %s can't be reached", issuer)).WithCause(err).
		WithMend("try again in a moment; an administrator can look at the network between, and at egress.allow")
}

// unreached keeps a refusal of our own guard, and what else went wrong private.
func unreached(issuer string, err error) error {
	if f := fault.Of(err); f.Kind != fault.Unavailable {
		return f
	}
	return away(issuer, err)
}

// Redeem trades a code at the token endpoint (OpenID Connect Core 1.0, section
// 3.1.3.1). Faults: CodeRefused (Unauthenticated: the code; Misconfigured: us),
// openid.CodeTokens, CodeAway, and those of egress.
func (s *Source) Redeem(ctx context.Context, p *openid.Provider, r openid.CodeRequest) (openid.Tokens, error) {
	form := url.Values{"grant_type": {"authorization_code"}, "code": {r.Code.Reveal()}, "redirect_uri": {r.RedirectURI}, "code_verifier": {r.Verifier.Reveal()}}
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"application/json"}}
	switch {
	case r.ClientSecret.IsZero():
		form.Set("client_id", r.ClientID)
	case r.InBody:
		form.Set("client_id", r.ClientID)
		form.Set("client_secret", r.ClientSecret.Reveal())
	default: // each half is form-encoded first (RFC 6749, section 2.3.1)
		request := http.Request{Header: header}
		request.SetBasicAuth(url.QueryEscape(r.ClientID), url.QueryEscape(r.ClientSecret.Reveal()))
	}
	status, body, err := s.client.Send(ctx, http.MethodPost, p.Token, header, []byte(form.Encode()))
	if err != nil {
		return openid.Tokens{}, unreached(p.Issuer, err)
	}
	if status == http.StatusOK {
		return openid.ParseTokens(body)
	}
	return openid.Tokens{}, refused(p.Issuer, status, body)
}

// refused says in the provider's own words why the token endpoint gave nothing.
func refused(issuer string, status int, body []byte) error {
	code, description := openid.ParseRefusal(body)
	said := fmt.Sprintf("the identity provider %s gave no tokens: status %d", issuer, status)
	if code != "" {
		said += ", " + code
	}
	if description != "" {
		said += " (" + description + ")"
	}
	switch {
	case code == "invalid_grant":
		return fault.Coded(fault.Unauthenticated, CodeRefused, said).WithMend("begin again at the sign-in page")
	case status >= 500 && code == "":
		return fault.Coded(fault.Unavailable, CodeRefused, said).WithMend("try again in a moment")
	}
	return fault.Coded(fault.Misconfigured, CodeRefused, said).
		WithMend("an administrator has to look at client id, client secret and redirect address, here and at the identity provider")
}

// UserInfo asks for the claims of the subject of an ID token. Faults as for
// Redeem.
func (s *Source) UserInfo(ctx context.Context, p *openid.Provider, access secret.Text, subject string) (openid.Claims, error) {
	header := http.Header{"Authorization": {"Bearer " + access.Reveal()}, "Accept": {"application/json"}}
	status, body, err := s.client.Send(ctx, http.MethodGet, p.UserInfo, header, nil)
	if err != nil {
		return nil, unreached(p.Issuer, err)
	}
	if status != http.StatusOK {
		return nil, fault.Coded(fault.Misconfigured, openid.CodeUserInfo,
			fmt.Sprintf("the userinfo endpoint of the identity provider %s answered with status %d", p.Issuer, status)).
			WithMend("an administrator can have the claims sent in the ID token")
	}
	return openid.ParseUserInfo(body, subject)
}
