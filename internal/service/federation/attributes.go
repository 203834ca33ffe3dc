package federation

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/saml"
)

// UserName gives the name under which the subject of an assertion signs in:
// its NameID, or the one value of the attribute that is set for it. A person
// stays (identity provider, NameID) either way. Faults: Misconfigured
// "saml.user-name" when there is no such name or not exactly one.
func (s *Speaker) UserName(a *saml.Assertion) (string, error) {
	name := a.NameID
	if attr := s.IdP.UserNameAttribute; attr != "" {
		values := a.AttributeMatch(attr)
		if len(values) != 1 {
			return "", fault.Coded(fault.Misconfigured, "saml.user-name", "the response does not hold exactly one value of the attribute "+
				quote(attr)+", which names people of identity provider "+s.IdP.Name).
				WithMend("an administrator has to send that attribute, or set another one as user name")
		}
		name = values[0]
	}
	if !presentable(name, 256) || name != strings.TrimSpace(name) {
		return "", fault.Coded(fault.Misconfigured, "saml.nameid",
			"the user name of the response is not 1 to 256 printable characters")
	}
	return name, nil
}

// DisplayName gives the name to show for the subject; empty when none is sent.
func (s *Speaker) DisplayName(a *saml.Assertion) string {
	return firstOf(a, s.IdP.DisplayNameAttribute, "displayName", "urn:oid:2.16.840.1.113730.3.1.241",
		"http://schemas.microsoft.com/identity/claims/displayname")
}

// Mail gives the mail address to show for the subject; empty when none is
// sent. It names nobody.
func (s *Speaker) Mail(a *saml.Assertion) string {
	return firstOf(a, s.IdP.MailAttribute, "mail", "email", "urn:oid:0.9.2342.19200300.100.1.3",
		"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress")
}

// Groups gives the names of the groups of the subject, in document order.
func (s *Speaker) Groups(a *saml.Assertion) []string {
	return a.AttributeMatch(s.GroupsAttribute())
}

// firstOf gives the first value that can be shown, of the attribute that was
// set, else of the usual ones. These values name nothing, they only decorate.
func firstOf(a *saml.Assertion, set string, usual ...string) string {
	if set != "" {
		usual = []string{set}
	}
	for _, n := range usual {
		for _, v := range a.AttributeMatch(n) {
			if v = strings.TrimSpace(v); presentable(v, 200) {
				return v
			}
		}
	}
	return ""
}

func presentable(s string, most int) bool {
	return s != "" && len(s) <= most && utf8.ValidString(s) &&
		strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}
