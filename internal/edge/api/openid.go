package api

import (
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/api/ssodoc"
	"carnet.dev/carnet/internal/service/federation"
)

// openIDOf reads what an administrator entered of an OpenID provider.
func openIDOf(in ssodoc.OpenIDSettings) federation.OIDCSettings {
	return federation.OIDCSettings{Issuer: in.Issuer, ClientID: in.ClientID, ClientSecret: secret.New(in.ClientSecret), ClientAuth: in.ClientAuth, Scopes: in.Scopes,
		UserNameClaim: in.UserNameClaim, DisplayNameClaim: in.DisplayNameClaim, MailClaim: in.MailClaim, GroupsClaim: in.GroupsClaim, RolesClaim: in.RolesClaim,
		ACRValues: in.ACRValues, MaxAge: in.MaxAge, BackChannelLogout: in.BackChannelLogout}
}

// openIDDocument shows an OpenID provider, with the defaults written out; nil for
// a SAML identity provider.
func openIDDocument(p federation.IdP) *ssodoc.OpenIDProvider {
	if p.Protocol != federation.OIDC {
		return nil
	}
	o := p.OIDC.WithDefaults()
	return &ssodoc.OpenIDProvider{Issuer: o.Issuer, ClientID: o.ClientID, ClientSecretSet: !o.ClientSecret.IsZero(), ClientAuth: o.ClientAuth, Scopes: list(o.Scopes),
		UserNameClaim: o.UserNameClaim, DisplayNameClaim: o.DisplayNameClaim, MailClaim: o.MailClaim, GroupsClaim: o.GroupsClaim, RolesClaim: o.RolesClaim,
		ACRValues: list(o.ACRValues), MaxAge: o.MaxAge, BackChannelLogout: o.BackChannelLogout}
}
