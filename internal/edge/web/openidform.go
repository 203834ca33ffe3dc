package web

import (
	"net/url"
	"strconv"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/service/federation"
)

// openIDPlaces are the addresses that an OpenID provider has to know of us.
type openIDPlaces struct{ Callback, BackChannel, SignedOut string }

func (web *Web) openIDPlaces() openIDPlaces {
	base := strings.TrimSuffix(web.BaseURL.String(), "/")
	return openIDPlaces{Callback: base + oidcCallback, BackChannel: base + oidcLogout, SignedOut: base + "/signed-out"}
}

// IsOIDC reports whether people sign in by OpenID Connect.
func (c providerCard) IsOIDC() bool { return c.Protocol == federation.OIDC }

// openIDForm is what the form has for an OpenID provider alone.
type openIDForm struct {
	Protocol federation.Protocol
	OIDC     federation.OIDCSettings
	// Secret is a client secret on its way in: it goes back into the form of the
	// one who just sent it, where that was not taken yet, and nowhere else.
	Secret    string
	SecretSet bool // one is stored

	Scopes, ACRValues, MaxAge string
}

// IsOIDC reports whether the form is one for an OpenID provider.
func (f openIDForm) IsOIDC() bool { return f.Protocol == federation.OIDC }

// openIDFormOf fills the form with what is stored, but the secret.
func openIDFormOf(p federation.IdP) openIDForm {
	f := openIDForm{Protocol: p.Protocol, OIDC: p.OIDC, SecretSet: !p.OIDC.ClientSecret.IsZero(), Scopes: text(p.OIDC.Scopes), ACRValues: text(p.OIDC.ACRValues)}
	f.OIDC.ClientSecret = secret.Text{}
	if p.OIDC.MaxAge != nil {
		f.MaxAge = strconv.Itoa(*p.OIDC.MaxAge)
	}
	return f
}

func readOpenIDForm(form url.Values) openIDForm {
	get := func(name string) string { return strings.TrimSpace(form.Get(name)) }
	if get("protocol") != string(federation.OIDC) {
		return openIDForm{}
	}
	return openIDForm{Protocol: federation.OIDC, Secret: get("client_secret"), Scopes: form.Get("scopes"), ACRValues: form.Get("acr_values"), MaxAge: get("max_age"),
		OIDC: federation.OIDCSettings{BackChannelLogout: get("back_channel_logout") != "", Issuer: get("issuer"), ClientID: get("client_id"), ClientAuth: get("client_auth"),
			UserNameClaim: get("user_name_claim"), DisplayNameClaim: get("display_name_claim"), MailClaim: get("mail_claim"),
			GroupsClaim: get("groups_claim"), RolesClaim: get("roles_claim")}}
}

// fillOpenID puts the form into an OpenID provider. An empty secret stays what is
// stored.
func (f openIDForm) fillOpenID(p federation.IdP) (federation.IdP, error) {
	sealed := p.OIDC.SealedSecret
	p.OIDC = f.OIDC
	p.OIDC.SealedSecret, p.OIDC.ClientSecret = sealed, secret.New(f.Secret)
	p.OIDC.Scopes, p.OIDC.ACRValues = lines(f.Scopes), lines(f.ACRValues)
	if f.MaxAge != "" {
		seconds, err := strconv.Atoi(f.MaxAge)
		if err != nil {
			return p, fault.Coded(fault.Invalid, "federation.max-age", "“"+f.MaxAge+"” is no number of seconds").WithMend("write seconds, such as 43200, or leave the field empty")
		}
		p.OIDC.MaxAge = &seconds
	}
	return p, nil
}
