package federation

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/openid"
)

// Protocol is how people sign in by an identity provider.
type Protocol string

// The protocols. The zero value is SAML.
const (
	SAML Protocol = ""
	OIDC Protocol = "oidc"
)

// String gives the protocol's name as the API and pages have it.
func (p Protocol) String() string {
	if p == SAML {
		return "saml"
	}
	return string(p)
}

// How we prove ourselves at the token endpoint (OpenID Connect Core 1.0,
// section 9).
const (
	ClientAuthBasic = "basic" // client_secret_basic, default
	ClientAuthPost  = "post"  // client_secret_post
	ClientAuthNone  = "none"  // a public client: PKCE alone
)

// The claims that are read where none is set.
const (
	DefaultUserNameClaim = "preferred_username"
	DefaultGroupsClaim   = "groups"
)

// OIDCSettings are what an administrator sets for an OpenID provider. The zero
// value of each but issuer and client is what works with most of them. The names
// in JSON are those of the API and the database.
type OIDCSettings struct {
	// Issuer is its issuer identifier, letter for letter; all else about it is
	// found by discovery.
	Issuer string `json:"issuer,omitempty"`
	// ClientID is what it calls us.
	ClientID string `json:"client_id,omitempty"`
	// ClientSecret is in memory alone; SealedSecret is its stored form.
	ClientSecret secret.Text `json:"-"`
	SealedSecret []byte      `json:"-"`
	// ClientAuth is one of the ClientAuth values.
	ClientAuth string `json:"client_auth,omitempty"`
	// Scopes are asked for beside openid; empty: profile and email.
	Scopes []string `json:"scopes,omitempty"`
	// UserNameClaim names the claim with the user name, DisplayNameClaim and
	// MailClaim those to show, GroupsClaim and RolesClaim lists of texts. Each
	// is the name of a claim, or a path with dots. Empty: the usual ones;
	// without RolesClaim roles come from templates alone.
	UserNameClaim    string `json:"user_name_claim,omitempty"`
	DisplayNameClaim string `json:"display_name_claim,omitempty"`
	MailClaim        string `json:"mail_claim,omitempty"`
	GroupsClaim      string `json:"groups_claim,omitempty"`
	RolesClaim       string `json:"roles_claim,omitempty"`
	// ACRValues are asked for, and the acr of the ID token has to be one of
	// them; empty: any.
	ACRValues []string `json:"acr_values,omitempty"`
	// MaxAge bounds how long ago the person may have signed in there, in
	// seconds; nil: as long as it likes. 0 asks for a fresh sign-in each time.
	MaxAge *int `json:"max_age,omitempty"`
	// BackChannelLogout: an administrator has entered our logout address there,
	// so that it tells us by itself when a sign-in ends. Roles are renewed for
	// longer then.
	BackChannelLogout bool `json:"back_channel_logout,omitempty"`
}

// WithDefaults gives the settings with their defaults by name, as they are
// shown.
func (o OIDCSettings) WithDefaults() OIDCSettings {
	for to, standard := range map[*string]string{
		&o.ClientAuth: ClientAuthBasic, &o.UserNameClaim: DefaultUserNameClaim, &o.GroupsClaim: DefaultGroupsClaim,
		&o.DisplayNameClaim: "name", &o.MailClaim: "email",
	} {
		if *to == "" {
			*to = standard
		}
	}
	if len(o.Scopes) == 0 {
		o.Scopes = []string{"profile", "email"}
	}
	return o
}

// MaxAgeTime is MaxAge as a time; ok where there is one.
func (o OIDCSettings) MaxAgeTime() (d time.Duration, ok bool) {
	if o.MaxAge == nil {
		return 0, false
	}
	return time.Duration(*o.MaxAge) * time.Second, true
}

// Limits of what an administrator may enter.
const (
	maxClientID  = 256
	maxSecret    = 1024
	maxScopes    = 20
	maxACRValues = 10
	maxMaxAge    = 30 * 24 * 3600 // seconds
)

// checkOIDC brings an OpenID provider into its stored form.
func (s *Service) checkOIDC(p IdP) (IdP, error) {
	if err := onlyOIDC(p); err != nil {
		return IdP{}, err
	}
	p.Settings = Settings{RoleTemplates: p.RoleTemplates}
	o := &p.OIDC
	for _, f := range []*string{&o.Issuer, &o.ClientID, &o.ClientAuth, &o.UserNameClaim, &o.DisplayNameClaim, &o.MailClaim, &o.GroupsClaim, &o.RolesClaim} {
		*f = strings.TrimSpace(*f)
	}
	if err := issuer(o.Issuer); err != nil {
		return IdP{}, err
	}
	if err := o.checkClient(); err != nil {
		return IdP{}, err
	}
	for _, c := range []struct{ name, what string }{
		{o.UserNameClaim, "user-name claim"}, {o.DisplayNameClaim, "display-name claim"}, {o.MailClaim, "mail claim"},
		{o.GroupsClaim, "groups claim"}, {o.RolesClaim, "roles claim"},
	} {
		if _, err := text(c.name); err != nil || len(c.name) > maxClientID {
			return IdP{}, fault.New(fault.Invalid, c.what+": want at most 256 bytes of printable text").
				WithMend("give the claim's name as it stands in the ID token")
		}
	}
	var err error
	if o.Scopes, err = words(o.Scopes, "scope", maxScopes); err != nil {
		return IdP{}, err
	}
	if o.Scopes = slices.DeleteFunc(o.Scopes, func(s string) bool { return s == "openid" }); slices.Contains(o.Scopes, "offline_access") {
		return IdP{}, fault.New(fault.Invalid, "the scope offline_access is not asked for: Carnet keeps no refresh token of an identity provider").
			WithMend("leave it out")
	}
	if o.ACRValues, err = words(o.ACRValues, "acr value", maxACRValues); err != nil {
		return IdP{}, err
	}
	if o.MaxAge != nil && (*o.MaxAge < 0 || *o.MaxAge > maxMaxAge) {
		return IdP{}, fault.New(fault.Invalid, "max age: want 0 to 2592000 seconds (30 days)")
	}
	p.EntityID, p.Metadata = o.Issuer, nil
	return p, checkTemplates(&p)
}

// onlyOIDC refuses settings that mean nothing to an OpenID provider, rather than
// to seem to follow them.
func onlyOIDC(p IdP) error {
	rest := p.Settings.WithDefaults()
	rest.RoleTemplates = nil
	given, err := json.Marshal(rest)
	none, bad := json.Marshal(Settings{}.WithDefaults())
	if err != nil || bad != nil || string(given) != string(none) || len(p.Metadata) > 0 || p.GroupsAttribute != "" {
		return fault.New(fault.Invalid, "the settings of a SAML identity provider were given for an OpenID provider").
			WithMend("leave out metadata, attributes, signatures and encryption; an OpenID provider has an issuer, a client and claims")
	}
	return nil
}

// issuer holds an issuer to the form that discovery asks for (OpenID Connect
// Discovery 1.0, section 3).
func issuer(text string) error {
	const discovery = "/.well-known/openid-configuration"
	u, err := url.Parse(text)
	switch {
	case text == "":
		return fault.New(fault.Invalid, "the issuer is missing").WithMend("copy it from the identity provider; its discovery document names it as issuer")
	case strings.HasSuffix(text, discovery):
		return fault.New(fault.Invalid, quote(text)+" is the discovery document, not the issuer").
			WithMend("enter the issuer: " + clip(strings.TrimSuffix(text, discovery)) + ", or just what that document names as issuer")
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || len(text) > maxURL || !printable(text) || strings.Contains(text, " "):
		return fault.New(fault.Invalid, "the issuer "+quote(text)+" is not a URL without query").
			WithMend("copy it from the identity provider; its discovery document names it as issuer")
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())):
		return fault.New(fault.Invalid, "the issuer "+quote(text)+" is not https").
			WithMend("serve the identity provider by https; plain http is for loopback only")
	}
	return nil
}

// checkClient holds what names and proves us there.
func (o *OIDCSettings) checkClient() error {
	if o.ClientAuth == ClientAuthBasic {
		o.ClientAuth = ""
	}
	secret := o.ClientSecret.Reveal()
	switch {
	case o.ClientID == "" || len(o.ClientID) > maxClientID || !printable(o.ClientID):
		return fault.New(fault.Invalid, "the client id is not 1 to 256 printable characters").
			WithMend("register Carnet as a web application at the identity provider, and copy the client id")
	case !slices.Contains([]string{"", ClientAuthPost, ClientAuthNone}, o.ClientAuth):
		return fault.New(fault.Invalid, "client authentication: "+quote(o.ClientAuth)+" is no such choice").WithMend("want basic, post or none")
	case o.ClientAuth == ClientAuthNone && secret != "":
		return fault.New(fault.Invalid, "a client secret was given for a public client").WithMend("leave it out, or choose basic or post")
	case o.ClientAuth != ClientAuthNone && secret == "":
		return fault.New(fault.Invalid, "the client secret is missing").
			WithMend("copy it from the identity provider, or choose client authentication none for a public client")
	case len(secret) > maxSecret || !printable(secret):
		return fault.New(fault.Invalid, "the client secret is not at most 1024 printable characters").WithMend("copy it again from the identity provider")
	}
	return nil
}

// words are values that travel in one parameter, parted by spaces.
func words(list []string, what string, most int) ([]string, error) {
	out, err := entries(list, what, func(e string) (string, error) {
		if len(e) > 256 || strings.ContainsAny(e, " \"\\") || !printable(e) {
			return "", fmt.Errorf("want at most 256 printable characters without spaces")
		}
		return e, nil
	})
	if err == nil && len(out) > most {
		err = fault.New(fault.Invalid, fmt.Sprintf("%d entries of kind %s: want at most %d", len(out), what, most))
	}
	return out, err
}

// Sealer seals the secrets of OpenID clients, bound to their identity provider.
type Sealer interface {
	Seal(purpose string, aad, plain []byte) ([]byte, error)
	Open(purpose string, aad, sealed []byte) ([]byte, error)
}

const secretPurpose = "oidc-client-secret"

// seal makes the stored form of a client secret.
func (s *Service) seal(p *IdP) (err error) {
	p.OIDC.SealedSecret = nil
	if p.OIDC.ClientSecret.IsZero() {
		return nil
	}
	if s.sealer == nil {
		return fault.New(fault.Unsupported, "this installation keeps no secrets")
	}
	p.OIDC.SealedSecret, err = s.sealer.Seal(secretPurpose, []byte(p.ID), []byte(p.OIDC.ClientSecret.Reveal()))
	return err
}

// speaker readies a stored identity provider for use.
func (s *Service) speaker(p IdP) (*Speaker, error) {
	if p.Protocol == SAML {
		meta, err := parse(p.Metadata, p.EntityID)
		return &Speaker{IdP: p, SAML: meta}, err
	}
	if len(p.OIDC.SealedSecret) > 0 {
		if s.sealer == nil {
			return nil, fault.New(fault.Unsupported, "this installation keeps no secrets")
		}
		plain, err := s.sealer.Open(secretPurpose, []byte(p.ID), p.OIDC.SealedSecret)
		if err != nil {
			return nil, err
		}
		p.OIDC.ClientSecret = secret.New(string(plain))
	}
	return &Speaker{IdP: p}, nil
}

// discover looks once whether the issuer is what it is said to be, so that a
// wrong one is not stored.
func (s *Service) discover(ctx context.Context, issuer string) error {
	if s.fetcher == nil {
		return nil
	}
	document, err := s.fetcher.Get(ctx, openid.DiscoveryURL(issuer))
	if err != nil {
		return err
	}
	_, err = openid.ParseProvider(document, issuer)
	return err
}

// ByIssuer gives the enabled OpenID providers with this issuer; several where
// we have more clients there. Errors: Unavailable.
func (s *Service) ByIssuer(issuer string) ([]*Speaker, error) {
	r, err := s.roll()
	if err != nil {
		return nil, err
	}
	var out []*Speaker
	for _, sp := range r.byName {
		if sp.IdP.Protocol == OIDC && sp.IdP.Enabled && sp.IdP.OIDC.Issuer == issuer {
			out = append(out, sp)
		}
	}
	return out, nil
}
