package federation

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
)

// The values of the settings that choose. The empty value is the default, and
// the only stored form of it.
const (
	BindingRedirect = "redirect" // RequestBinding, default
	BindingPost     = "post"

	SignedEither    = "either" // Signed, default: at least one of the two
	SignedResponse  = "response"
	SignedAssertion = "assertion"
	SignedBoth      = "both"

	EncryptionOff      = "off" // Encryption, default
	EncryptionAllowed  = "allowed"
	EncryptionRequired = "required"

	DatesEnforce = "enforce" // CertificateDates, default
	DatesIgnore  = "ignore"
)

// Settings are what an administrator sets per identity provider beyond its
// list. The zero value is the strictest that works with most of them. The
// names in JSON are those of the API and the database.
type Settings struct {
	// RequestBinding is how a browser takes our AuthnRequest along:
	// BindingRedirect or BindingPost.
	RequestBinding string `json:"request_binding,omitempty"`
	// SignRequests signs AuthnRequests with our current signing key. Logout
	// messages are always signed.
	SignRequests bool `json:"sign_requests,omitempty"`
	// ForceAuthn asks for a fresh sign-in at the identity provider, and refuses
	// one from before it was asked for.
	ForceAuthn bool `json:"force_authn,omitempty"`
	// AuthnContexts are class references, any of which is asked for: a person
	// who signed in by another way is refused, whoever changed the request.
	AuthnContexts []string `json:"authn_contexts,omitempty"`
	// AllowUnsolicited admits responses that answer no request of ours.
	AllowUnsolicited bool `json:"allow_unsolicited,omitempty"`
	// Signed says what has to carry a signature; never neither.
	Signed string `json:"signed,omitempty"`
	// Encryption says whether assertions may or must be encrypted for us.
	Encryption string `json:"encryption,omitempty"`
	// AllowCBC takes AES-CBC beside AES-GCM, AllowSHA1 SHA-1 in signatures:
	// both are broken or brittle, for identity providers that know no better.
	AllowCBC  bool `json:"allow_cbc,omitempty"`
	AllowSHA1 bool `json:"allow_sha1,omitempty"`
	// CertificateDates says whether the dates of the signing certificates
	// count. They are pinned by an administrator, so many ignore them.
	CertificateDates string `json:"certificate_dates,omitempty"`
	// MapSessionName admits a RoleSessionName that is not the user name.
	MapSessionName bool `json:"map_session_name,omitempty"`
	// UserNameAttribute, DisplayNameAttribute and MailAttribute name
	// attributes by Name, else by FriendlyName. Empty: NameID, and the usual
	// names of the other two.
	UserNameAttribute    string `json:"user_name_attribute,omitempty"`
	DisplayNameAttribute string `json:"display_name_attribute,omitempty"`
	MailAttribute        string `json:"mail_attribute,omitempty"`
	// RoleTemplates derive roles from groups, for an identity provider that
	// can't send role ARNs.
	RoleTemplates []RoleTemplate `json:"role_templates,omitempty"`
	// MetadataURL is where the metadata is refreshed from; empty: it is not.
	MetadataURL string `json:"metadata_url,omitempty"`
	// MetadataPin lists the SHA-256 digests (hex) of signing certificates that
	// refreshed metadata may bring beside those in use. Any other waits for an
	// administrator.
	MetadataPin []string `json:"metadata_pin,omitempty"`
}

// RoleTemplate derives a role from the name of a group. Group is a pattern
// that covers the whole name; {name} in it captures 1 to 64 characters that a
// role name may have, and stands for that text in Account, Role and Provider.
type RoleTemplate struct {
	Group    string `json:"group"`
	Account  string `json:"account"`  // 12 digits, or a capture
	Role     string `json:"role"`     // the role's name, with its path where it has one
	Provider string `json:"provider"` // the name of the SAML provider in that account; empty for an OpenID provider
}

// WithDefaults gives the settings with their defaults by name, as they are
// shown.
func (s Settings) WithDefaults() Settings {
	for _, c := range []struct {
		value    *string
		standard string
	}{
		{&s.RequestBinding, BindingRedirect}, {&s.Signed, SignedEither}, {&s.Encryption, EncryptionOff}, {&s.CertificateDates, DatesEnforce},
	} {
		if *c.value == "" {
			*c.value = c.standard
		}
	}
	return s
}

// Account is a configured account, as far as settings ask.
type Account struct {
	ID   string // 12 digits
	Name string
	AWS  bool // kept by AWS, not by the local authority
	// WebIdentity: it takes AssumeRoleWithWebIdentity.
	WebIdentity bool
	// SAMLDecryption: the SAML provider at AWS holds our decryption key, so
	// that AWS can read an encrypted assertion.
	SAMLDecryption bool
}

// Limits of settings.
const (
	maxAuthnContexts = 10
	maxTemplates     = 100
	maxURL           = 2048 // bytes
)

// checkSettings brings settings into their stored form; each error says what
// to mend.
func (s *Service) checkSettings(p *IdP) error {
	t := &p.Settings
	for _, c := range []struct {
		value    *string
		what     string
		standard string
		others   []string
	}{
		{&t.RequestBinding, "request binding", BindingRedirect, []string{BindingPost}},
		{&t.Signed, "signed", SignedEither, []string{SignedResponse, SignedAssertion, SignedBoth}},
		{&t.Encryption, "encryption", EncryptionOff, []string{EncryptionAllowed, EncryptionRequired}},
		{&t.CertificateDates, "certificate dates", DatesEnforce, []string{DatesIgnore}},
	} {
		switch {
		case *c.value == c.standard:
			*c.value = ""
		case *c.value != "" && !slices.Contains(c.others, *c.value):
			return fault.New(fault.Invalid, c.what+": "+quote(*c.value)+" is no such choice").
				WithMend("want one of " + strings.Join(append([]string{c.standard}, c.others...), ", "))
		}
	}
	for _, a := range []struct {
		value *string
		what  string
	}{
		{&t.UserNameAttribute, "user-name attribute"}, {&t.DisplayNameAttribute, "display-name attribute"},
		{&t.MailAttribute, "mail attribute"}, {&p.GroupsAttribute, "groups attribute"},
	} {
		*a.value = strings.TrimSpace(*a.value)
		if _, err := text(*a.value); err != nil {
			return fault.New(fault.Invalid, a.what+": "+err.Error()).WithMend("give the attribute's Name or FriendlyName as the identity provider sends it")
		}
	}
	var err error
	if t.AuthnContexts, err = entries(t.AuthnContexts, "authentication context", authnContext); err != nil {
		return err
	}
	if len(t.AuthnContexts) > maxAuthnContexts {
		return fault.New(fault.Invalid, fmt.Sprintf("%d authentication contexts: want at most %d", len(t.AuthnContexts), maxAuthnContexts))
	}
	if t.MetadataPin, err = entries(t.MetadataPin, "metadata pin", fingerprint); err != nil {
		return err
	}
	if err := checkTemplates(p); err != nil {
		return err
	}
	if t.MetadataURL = strings.TrimSpace(t.MetadataURL); t.MetadataURL != "" {
		if err := metadataURL(t.MetadataURL); err != nil {
			return err
		}
	}
	return s.checkEncryption(p)
}

// checkEncryption refuses what could never work: AWS reads the assertion
// itself, so an account that takes nothing else has to hold our key.
func (s *Service) checkEncryption(p *IdP) error {
	if p.Encryption == "" {
		if p.AllowCBC {
			return fault.New(fault.Invalid, "CBC is allowed, but encryption is off").WithMend("set encryption to allowed or required, or leave CBC off")
		}
		return nil
	}
	for _, a := range s.accounts {
		if slices.Contains(p.Accounts, a.ID) && a.AWS && !a.WebIdentity && !a.SAMLDecryption {
			return fault.Coded(fault.Invalid, "federation.encryption", "encryption can't be used with account "+a.label()+
				": AWS reads the assertion itself, and its SAML provider does not hold our decryption key").
				WithMend("upload the key to the SAML provider at AWS and set saml_decryption: true for that account in carnet.yaml, " +
					"or take the account off the identity provider's list")
		}
	}
	return nil
}

func (a Account) label() string {
	if a.Name == "" {
		return a.ID
	}
	return a.ID + " (" + a.Name + ")"
}

// Warnings says in plain words what about an identity provider's settings is
// weaker than need be, or makes some of its accounts work differently. Each is
// to be shown before the settings are saved.
func (s *Service) Warnings(p IdP) []string { return Warnings(p, s.accounts) }

// Warnings is Service.Warnings with the accounts named.
func Warnings(p IdP, accounts []Account) []string {
	var out []string
	warn := func(when bool, format string, args ...any) {
		if when {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	encrypted := p.Encryption == EncryptionAllowed || p.Encryption == EncryptionRequired
	for _, a := range accounts {
		if !slices.Contains(p.Accounts, a.ID) || !a.AWS {
			continue
		}
		warn(encrypted && !a.SAMLDecryption && a.WebIdentity,
			"Account %s can't read encrypted assertions: its roles are served by web identity alone.", a.label())
		warn(encrypted && !a.SAMLDecryption && !a.WebIdentity,
			"Account %s can't read encrypted assertions: none of its roles can be had while encryption is on.", a.label())
		warn(encrypted && a.SAMLDecryption,
			"Account %s reads encrypted assertions only while its SAML provider at AWS holds our current decryption key: upload the new one there before each change of keys.", a.label())
		warn(p.Protocol == SAML && len(p.RoleTemplates) > 0 && !a.WebIdentity,
			"AWS takes only roles that stand in the assertion: roles that a template derives in account %s can't be had by SAML.", a.label())
	}
	for _, a := range accounts {
		warn(p.Protocol == OIDC && !a.WebIdentity && slices.Contains(p.Accounts, a.ID),
			"Account %s takes no web identity: none of its roles can be had by signing in with an OpenID provider.", a.label())
	}
	warn(p.AllowSHA1, "SHA-1 signatures are accepted. Forging one is within reach of a rich attacker: ask the identity provider for SHA-256.")
	warn(p.AllowCBC, "AES-CBC is accepted. It does not notice changes of its own: ask the identity provider for AES-GCM.")
	warn(p.CertificateDates == DatesIgnore, "The dates of the signing certificates don't count: a certificate is trusted until it is taken out.")
	warn(p.AllowUnsolicited, "Sign-ins that nobody asked for here are accepted. Each asks “continue as …?” first.")
	warn(p.MapSessionName, "The RoleSessionName need not be the user name: the trail at AWS then shows what the identity provider chose.")
	warn(slices.Contains(p.UserNameDomains, Any), "The user names of every domain are accepted.")
	if m, err := parse(p.Metadata, p.EntityID); err == nil && p.Protocol == SAML {
		warn(m.WantAuthnRequestsSigned && !p.SignRequests, "The metadata asks for signed requests, and requests are not signed.")
	}
	return out
}

func authnContext(e string) (string, error) {
	u, err := url.Parse(e)
	if err != nil || !u.IsAbs() || len(e) > 512 || strings.ContainsAny(e, " <>\"") || !printable(e) {
		return "", fmt.Errorf("want a class reference such as urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport")
	}
	return e, nil
}

func fingerprint(e string) (string, error) {
	f := strings.ToLower(strings.ReplaceAll(e, ":", ""))
	if len(f) != 64 || strings.Trim(f, "0123456789abcdef") != "" {
		return "", fmt.Errorf("want the SHA-256 digest of a certificate: 64 hexadecimal digits")
	}
	return f, nil
}

func metadataURL(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.User != nil || len(raw) > maxURL || !printable(raw):
		return fault.New(fault.Invalid, "the metadata address "+quote(raw)+" is not a URL").WithMend("give an https address without user name and password")
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())):
		return fault.New(fault.Invalid, "the metadata address "+quote(raw)+" is not https").
			WithMend("whoever answers there names the keys that people sign in by; plain http is for loopback only")
	}
	return nil
}
