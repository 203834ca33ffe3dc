package federation

import (
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/openid"
)

// UserNameIn gives the name under which the subject of an ID token signs in. A
// person stays (identity provider, sub) whatever it is. A mail address is a name
// only where the provider says that it was verified: else people could choose
// another's. Faults: Misconfigured "oidc.user-name".
func (s *Speaker) UserNameIn(c openid.Claims) (string, error) {
	claim := s.IdP.OIDC.WithDefaults().UserNameClaim
	name := c.Text(claim)
	switch {
	case name == "":
		return "", fault.Coded(fault.Misconfigured, "oidc.user-name", "the ID token holds no text in the claim "+
			quote(claim)+", which names people of identity provider "+s.IdP.Name).
			WithMend("an administrator has to send that claim, ask for its scope, or set another one as user name")
	case claim == "email" && c.Value("email_verified") != true && c.Value("email_verified") != "true":
		return "", fault.Coded(fault.Misconfigured, "oidc.user-name", "identity provider "+s.IdP.Name+
			" does not say that the mail address, which is the user name, was verified").
			WithMend("have the address verified at the identity provider, or set another claim as user name")
	case !presentable(name, 256) || name != strings.TrimSpace(name):
		return "", fault.Coded(fault.Misconfigured, "oidc.user-name", "the user name of the ID token is not 1 to 256 printable characters")
	}
	return name, nil
}

// DisplayNameIn gives the name to show for the subject; empty when none is sent.
func (s *Speaker) DisplayNameIn(c openid.Claims) string {
	return shown(c.Text(s.IdP.OIDC.WithDefaults().DisplayNameClaim))
}

// MailIn gives the mail address to show for the subject; empty when none is
// sent. It names nobody.
func (s *Speaker) MailIn(c openid.Claims) string {
	return shown(c.Text(s.IdP.OIDC.WithDefaults().MailClaim))
}

// GroupsIn gives the names of the groups of the subject; none where the claim is
// something else than texts.
func (s *Speaker) GroupsIn(c openid.Claims) []string {
	groups, _ := c.Texts(s.IdP.OIDC.WithDefaults().GroupsClaim)
	return groups
}

// RolesIn gives the values of the roles claim; none where none is set. Not ok
// where it is something else than texts.
func (s *Speaker) RolesIn(c openid.Claims) (values []string, ok bool) {
	if s.IdP.OIDC.RolesClaim == "" {
		return nil, true
	}
	return c.Texts(s.IdP.OIDC.RolesClaim)
}

// Wants lists the claims that a sign-in needs: it asks the userinfo endpoint
// where the ID token lacks one.
func (s *Speaker) Wants() []string {
	o := s.IdP.OIDC.WithDefaults()
	out := []string{o.UserNameClaim}
	if o.RolesClaim != "" {
		out = append(out, o.RolesClaim)
	}
	if len(s.IdP.RoleTemplates) > 0 || len(s.IdP.AdministratorGroups) > 0 {
		out = append(out, o.GroupsClaim)
	}
	return out
}

func shown(v string) string {
	if v = strings.TrimSpace(v); presentable(v, 200) {
		return v
	}
	return ""
}
