package federation

import (
	"slices"
	"strings"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/ascii"
	"carnet.dev/carnet/internal/protocol/saml"
)

// Speaker is an identity provider ready for use: its parsed metadata and the
// questions that its list answers. Immutable; safe for concurrent use.
type Speaker struct {
	IdP  IdP
	SAML *saml.Metadata
}

// Bound says why an assertion of this identity provider does not count; the
// empty Bound means that it does.
type Bound string

// MayAssertRole says whether the list covers a role. The text of a Bound is
// fit for a note to the person: it names the list, not what is on it.
func (s *Speaker) MayAssertRole(r arn.Role) Bound {
	if !slices.Contains(s.IdP.Accounts, r.Account) {
		return Bound("account " + r.Account + " is not on the list of identity provider " + s.IdP.Name)
	}
	role := r.String()
	for _, p := range s.IdP.RolePatterns {
		if ascii.Glob(p, role) {
			return ""
		}
	}
	return Bound("no role pattern of identity provider " + s.IdP.Name + " covers it")
}

// MayAssertUser says whether the list covers a user name: by the part after
// the last "@", letter case aside. A name without "@" has no domain and passes
// only where domains are not restricted.
func (s *Speaker) MayAssertUser(userName string) Bound {
	i := strings.LastIndexByte(userName, '@')
	for _, d := range s.IdP.UserNameDomains {
		if d == Any || (i >= 0 && ascii.Lower(userName[i+1:]) == d) {
			return ""
		}
	}
	return Bound("the domain of user name " + clip(userName) + " is not on the list of identity provider " + s.IdP.Name)
}

// GroupsAttribute names the attribute that carries group names.
func (s *Speaker) GroupsAttribute() string {
	if s.IdP.GroupsAttribute == "" {
		return "groups"
	}
	return s.IdP.GroupsAttribute
}

// MakesAdministrator reports whether a member of these groups administers
// Carnet. Group names are compared exactly.
func (s *Speaker) MakesAdministrator(groups []string) bool {
	return slices.ContainsFunc(groups, func(g string) bool {
		return slices.Contains(s.IdP.AdministratorGroups, g)
	})
}

func clip(s string) string {
	const most = 120
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// Expect gives base with what is set for this identity provider: what has to
// be signed, and what is admitted beyond the standard.
func (s *Speaker) Expect(base saml.Expect) saml.Expect {
	p := s.IdP.Settings
	base.AllowUnsolicited = p.AllowUnsolicited && base.RequestID == ""
	base.AcceptExpiredCertificate = p.CertificateDates == DatesIgnore
	switch p.Signed {
	case SignedResponse:
		base.Signed = saml.SignedResponse
	case SignedAssertion:
		base.Signed = saml.SignedAssertion
	case SignedBoth:
		base.Signed = saml.SignedBoth
	default:
		base.Signed = saml.SignedEither
	}
	return base
}
