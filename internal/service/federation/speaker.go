package federation

import (
	"slices"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/ascii"
	"carnet.dev/carnet/internal/protocol/saml"
)

// Speaker is an identity provider ready for use: its parsed metadata and the
// questions that its list answers. Immutable; safe for concurrent use.
type Speaker struct {
	IdP  IdP
	SAML *saml.Metadata // nil for an OpenID provider
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
// be signed or encrypted, how and when the person has to have signed in, and
// what is admitted beyond the standard. base.Decrypt holds our keys; it is taken
// away where encryption is off. base.AuthnSince counts with ForceAuthn alone.
func (s *Speaker) Expect(base saml.Expect) saml.Expect {
	p := s.IdP.Settings
	base.AllowSHA1 = p.AllowSHA1
	base.Decrypt = s.decrypter(base.Decrypt)
	base.RequireEncrypted = p.Encryption == EncryptionRequired
	base.AllowUnsolicited = p.AllowUnsolicited && base.RequestID == ""
	base.AcceptExpiredCertificate = p.CertificateDates == DatesIgnore
	base.AuthnContexts = p.AuthnContexts
	if !p.ForceAuthn {
		base.AuthnSince = time.Time{}
	}
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

// ExpectAtSTS is Expect for STS of the local authority, which reads the same
// assertions: base holds what its SAML provider says, and our own keys open
// what was encrypted for a sign-in here.
func (s *Speaker) ExpectAtSTS(base saml.STSExpect, ours *saml.Decrypter) saml.STSExpect {
	p := s.IdP.Settings
	base.AllowSHA1 = base.AllowSHA1 || p.AllowSHA1
	base.AcceptExpiredCertificate = base.AcceptExpiredCertificate || p.CertificateDates == DatesIgnore
	base.RequireEncrypted = base.RequireEncrypted || p.Encryption == EncryptionRequired
	base.AuthnContexts = p.AuthnContexts
	if ours = s.decrypter(ours); ours != nil {
		if base.Decrypt != nil {
			ours.Keys = slices.Concat(base.Decrypt.Keys, ours.Keys)
		}
		base.Decrypt = ours
	}
	return base
}

// ExpectLogout is Expect for logout messages.
func (s *Speaker) ExpectLogout(base saml.LogoutExpect) saml.LogoutExpect {
	base.AllowSHA1 = s.IdP.AllowSHA1
	base.AcceptExpiredCertificate = s.IdP.CertificateDates == DatesIgnore
	return base
}

func (s *Speaker) decrypter(ours *saml.Decrypter) *saml.Decrypter {
	if ours == nil || s.IdP.Encryption == "" || s.IdP.Encryption == EncryptionOff {
		return nil
	}
	return &saml.Decrypter{Keys: ours.Keys, AllowCBC: s.IdP.AllowCBC}
}

// Describe gives sp as these identity providers have to see us: whether our
// requests are signed, and keys to encrypt for only where one of them may
// encrypt, since many do as soon as they see a key.
func Describe(sp saml.SP, all ...IdP) saml.SP {
	sp.AuthnRequestsSigned, sp.WantEncrypted = false, false
	for _, p := range all {
		sp.AuthnRequestsSigned = sp.AuthnRequestsSigned || p.Enabled && p.SignRequests
		sp.WantEncrypted = sp.WantEncrypted || p.Enabled && p.Encryption != "" && p.Encryption != EncryptionOff
	}
	return sp
}
