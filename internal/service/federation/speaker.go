package federation

import (
	"slices"
	"strings"

	"carnet.dev/carnet/internal/core/arn"
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
	text := r.String()
	for _, p := range s.IdP.RolePatterns {
		if matches(p, text) {
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
		if d == Any || (i >= 0 && asciiLower(userName[i+1:]) == d) {
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

// matches reports whether pattern covers the whole of text; "*" stands for any
// run of bytes, everything else for itself. Linear in pattern × text at most.
func matches(pattern, text string) bool {
	first, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == text
	}
	text, ok := strings.CutPrefix(text, first)
	if !ok {
		return false
	}
	parts := strings.Split(rest, "*")
	for _, part := range parts[:len(parts)-1] {
		i := strings.Index(text, part)
		if i < 0 {
			return false
		}
		text = text[i+len(part):]
	}
	return strings.HasSuffix(text, parts[len(parts)-1])
}

// asciiLower folds A-Z only: Unicode folding would let K (Kelvin) pass for k.
func asciiLower(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

func clip(s string) string {
	const most = 120
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
