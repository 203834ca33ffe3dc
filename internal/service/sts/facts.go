package sts

import (
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/protocol/policy"
	"carnet.dev/carnet/internal/protocol/saml"
	"carnet.dev/carnet/internal/protocol/sessiontoken"
)

// Limits of session tags (STS API Reference).
const (
	maxTags     = 50
	maxTagKey   = 128
	maxTagValue = 256
)

// facts is what STS takes from an assertion or an ID token beyond its own fields.
type facts struct {
	sessionName    string
	sourceIdentity string
	duration       time.Duration // SessionDuration of an assertion; 0 when absent
	tags           []sessiontoken.Tag
	transitive     []string
	subjectType    string
	nameQualifier  string
}

// read takes AWS's attributes from a verified assertion. A second value where
// one belongs is refused, never ignored.
func (s *Service) read(a *saml.Assertion, provider arn.SAMLProvider) (*facts, error) {
	f := &facts{subjectType: subjectType(a.NameIDFormat), nameQualifier: nameQualifier(a.Issuer, provider)}
	names := a.Values(saml.AttrRoleSessionName)
	if len(names) == 0 {
		return nil, identityFault("RoleSessionName is required in AuthnResponse")
	}
	if len(names) > 1 || !identity.ValidSessionName(names[0]) {
		return nil, identityFault("RoleSessionName in AuthnResponse must match [a-zA-Z_0-9+=,.@-]{2,64}")
	}
	f.sessionName = names[0]
	if values := a.Values(saml.AttrSessionDuration); len(values) > 0 {
		n, err := strconv.Atoi(values[0])
		f.duration = time.Duration(n) * time.Second
		if len(values) > 1 || err != nil || n > int(MostDuration/time.Second) || f.duration < s.MinDuration {
			return nil, identityFault(fmt.Sprintf("SessionDuration in AuthnResponse must be a number of seconds from %d to %d", int(s.MinDuration/time.Second), int(MostDuration/time.Second)))
		}
	}
	if values := a.Values(saml.AttrSourceIdentity); len(values) > 0 {
		if len(values) > 1 || !validSourceIdentity(values[0]) {
			return nil, identityFault("SourceIdentity in AuthnResponse must match [a-zA-Z_0-9+=,.@-]{2,64}")
		}
		f.sourceIdentity = values[0]
	}
	return f, f.readTags(a)
}

func (f *facts) readTags(a *saml.Assertion) error {
	seen := map[string]bool{}
	for _, attribute := range a.Attributes {
		key, ok := strings.CutPrefix(attribute.Name, saml.AttrPrincipalTagPrefix)
		if !ok {
			continue
		}
		folded := strings.ToLower(key)
		switch {
		case seen[folded]:
			return identityFault(fmt.Sprintf("Duplicate tag keys found in AuthnResponse: %q", clip(key)))
		case len(attribute.Values) != 1:
			return identityFault(fmt.Sprintf("PrincipalTag %q in AuthnResponse must have exactly one value", clip(key)))
		case !validTag(key, 1, maxTagKey) || !validTag(attribute.Values[0], 0, maxTagValue) || strings.HasPrefix(folded, "aws:"):
			return identityFault(fmt.Sprintf("PrincipalTag %q in AuthnResponse is not a valid session tag", clip(key)))
		}
		seen[folded] = true
		f.tags = append(f.tags, sessiontoken.Tag{Key: key, Value: attribute.Values[0]})
	}
	if len(f.tags) > maxTags {
		return identityFault(fmt.Sprintf("AuthnResponse has %d session tags, more than %d", len(f.tags), maxTags))
	}
	transitive := map[string]bool{}
	for _, key := range a.Values(saml.AttrTransitiveTagKeys) {
		folded := strings.ToLower(key)
		if !seen[folded] || transitive[folded] {
			return identityFault(fmt.Sprintf("The transitive tag key %q in AuthnResponse must be one of the session tags, named once", clip(key)))
		}
		transitive[folded] = true
		f.transitive = append(f.transitive, key)
	}
	return nil
}

// validTag holds the characters of tags and a length in characters.
func validTag(s string, least, most int) bool {
	n := utf8.RuneCountInString(s)
	return n >= least && n <= most && tagText(s)
}

// tagText holds [\p{L}\p{Z}\p{N}_.:/=+\-@]*.
func tagText(s string) bool {
	for _, c := range s {
		if !unicode.In(c, unicode.L, unicode.Z, unicode.N) && !strings.ContainsRune("_.:/=+-@", c) {
			return false
		}
	}
	return true
}

// subjectType is the NameID format without SAML 2.0's prefix.
func subjectType(format string) string {
	if format == "" {
		return "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"
	}
	return strings.TrimPrefix(format, "urn:oasis:names:tc:SAML:2.0:nameid-format:")
}

// nameQualifier is AWS's: a digest of who speaks for whom. SHA-1 is part of
// the definition and protects nothing here.
func nameQualifier(issuer string, provider arn.SAMLProvider) string {
	sum := sha1.Sum([]byte(issuer + provider.Account + "/" + provider.Name))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// context is what a trust policy may ask of an assertion (IAM User Guide,
// "Available keys for SAML-based AWS STS federation").
func (f *facts) context(ctx *policy.Context, a *saml.Assertion, provider arn.SAMLProvider) {
	ctx.Set("saml:aud", a.Recipient)
	ctx.Set("saml:iss", a.Issuer)
	ctx.Set("saml:sub", a.NameID)
	ctx.Set("saml:sub_type", f.subjectType)
	ctx.Set("saml:doc", provider.Account+"/"+provider.Name)
	ctx.Set("saml:namequalifier", f.nameQualifier)
	for _, known := range directoryKeys() {
		var values []string
		for _, name := range known.names {
			values = append(values, a.Values(name)...)
		}
		if len(values) > 0 {
			ctx.Set(known.key, values...)
		}
	}
}

type directoryKey struct {
	key   string
	names []string // attribute names that carry it
}

// directoryKeys lists the attributes of directories that become condition
// keys, by the object identifiers of eduPerson, eduOrg and X.500.
func directoryKeys() []directoryKey {
	const person, org, x500, cosine = "urn:oid:1.3.6.1.4.1.5923.1.1.1.", "urn:oid:1.3.6.1.4.1.5923.1.2.1.", "urn:oid:2.5.4.", "urn:oid:0.9.2342.19200300.100.1."
	return []directoryKey{
		{"saml:edupersonaffiliation", []string{person + "1"}},
		{"saml:edupersonnickname", []string{person + "2"}},
		{"saml:edupersonorgdn", []string{person + "3"}},
		{"saml:edupersonorgunitdn", []string{person + "4"}},
		{"saml:edupersonprimaryaffiliation", []string{person + "5"}},
		{"saml:edupersonprincipalname", []string{person + "6"}},
		{"saml:edupersonentitlement", []string{person + "7"}},
		{"saml:edupersonprimaryorgunitdn", []string{person + "8"}},
		{"saml:edupersonscopedaffiliation", []string{person + "9"}},
		{"saml:edupersontargetedid", []string{person + "10"}},
		{"saml:edupersonassurance", []string{person + "11"}},
		{"saml:eduorghomepageuri", []string{org + "2"}},
		{"saml:eduorgidentityauthnpolicyuri", []string{org + "3"}},
		{"saml:eduorglegalname", []string{org + "4"}},
		{"saml:eduorgsuperioruri", []string{org + "5"}},
		{"saml:eduorgwhitepagesuri", []string{org + "6"}},
		{"saml:cn", []string{x500 + "3"}},
		{"saml:commonname", []string{x500 + "3"}},
		{"saml:surname", []string{x500 + "4"}},
		{"saml:name", []string{x500 + "41", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name"}},
		{"saml:givenname", []string{x500 + "42"}},
		{"saml:x500uniqueidentifier", []string{x500 + "45"}},
		{"saml:uid", []string{cosine + "1"}},
		{"saml:mail", []string{cosine + "3"}},
		{"saml:organizationstatus", []string{cosine + "45"}},
		{"saml:primarygroupsid", []string{"http://schemas.microsoft.com/ws/2008/06/identity/claims/primarygroupsid"}},
	}
}
