package saml

import (
	"crypto/rsa"
	"crypto/x509"
	"time"
)

// Limits on what one response may hold.
const (
	// MaxResponse is the largest decoded response taken at the ACS, in bytes.
	MaxResponse = 512 << 10
	// MaxSTSCharacters is the longest SAMLAssertion parameter that AWS STS
	// takes, in base64 characters (AWS STS API, AssumeRoleWithSAML).
	MaxSTSCharacters = 100_000
	// MaxRoles is the most Role values read from one assertion.
	MaxRoles = 900
	// DefaultSkew is the clock difference allowed between an identity
	// provider and us.
	DefaultSkew = 60 * time.Second
)

// Signed says which elements of a response have to carry a signature. One
// that is there must verify, whether wanted or not.
type Signed uint8

// The policies. There is none that accepts a response without a signature.
const (
	SignedEither    Signed = iota // response or assertion, at least one
	SignedResponse                // the response, at least
	SignedAssertion               // the assertion, at least
	SignedBoth
)

// Expect is what the service provider knows of the response it waits for.
type Expect struct {
	// ACS is our assertion consumer service URL: the Recipient of the bearer
	// confirmation and, where present, the Destination of the response.
	ACS string
	// Audience is our entity ID; each AudienceRestriction has to name it.
	Audience string
	// RequestID is the ID of the AuthnRequest that we sent; empty when the
	// response answers none.
	RequestID string
	// AllowUnsolicited admits a response that answers no request. It loosens
	// no other check.
	AllowUnsolicited bool
	// AuthnContexts are the class references of which the assertion has to carry
	// one; empty takes any. AuthnSince, unless zero, is when the person has to
	// have signed in or later. A request is not always signed, so what it asked
	// for (RequestedAuthnContext, ForceAuthn) counts only when it is checked here.
	AuthnContexts []string
	AuthnSince    time.Time
	// Skew is the allowed clock difference; callers pass DefaultSkew. Zero
	// allows none.
	Skew time.Duration
	// MaxBytes bounds the decoded response; zero means MaxResponse.
	MaxBytes int
	// AcceptExpiredCertificate takes a pinned certificate outside its dates.
	AcceptExpiredCertificate bool
	// AllowSHA1 admits RSA and ECDSA signatures and digests with SHA-1.
	AllowSHA1 bool
	// Signed says what has to be signed.
	Signed Signed
	// Decrypt opens encrypted assertions; nil refuses them by name.
	Decrypt *Decrypter
	// RequireEncrypted refuses an assertion in the clear.
	RequireEncrypted bool
}

// Decrypter opens what was encrypted for us: keys wrapped by RSA-OAEP, content
// by AES-GCM. RSA 1.5 is never taken.
type Decrypter struct {
	// Keys are tried in order: the current one first, then retired ones whose
	// certificate identity providers may still use.
	Keys []*rsa.PrivateKey
	// AllowCBC admits AES-CBC, which protects content against reading only.
	AllowCBC bool
}

// STSExpect is what STS knows of an assertion: not for whom it was made. It
// may have been made for any service provider; Recipient becomes the condition
// key saml:aud and the trust policy decides (AWS IAM User Guide, "Available
// keys for SAML-based AWS STS federation").
type STSExpect struct {
	Skew                     time.Duration
	MaxBytes                 int
	AcceptExpiredCertificate bool
	AllowSHA1                bool
	// Decrypt opens encrypted assertions; nil refuses them by name.
	Decrypt *Decrypter
	// RequireEncrypted refuses an assertion in the clear.
	RequireEncrypted bool
	AuthnContexts    []string // as for Expect
}

// Assertion holds the facts of one verified assertion. Each of them was read
// from the bytes that a pinned key signed, none from the response around them.
type Assertion struct {
	// ID is the assertion's, unique per identity provider: the key of one-time use.
	ID string
	// ResponseID is the response's ID when the response itself was signed,
	// else empty.
	ResponseID string
	// Encrypted: the assertion came encrypted for us.
	Encrypted bool

	Issuer          string
	NameID          string // the subject, as the identity provider wrote it
	NameIDFormat    string // whole URN; empty when absent
	NameQualifier   string
	SPNameQualifier string

	// Recipient is the ACS URL that the bearer confirmation names.
	Recipient string
	// Audiences holds every Audience of every AudienceRestriction.
	Audiences []string
	// InResponseTo is the request's ID in the bearer confirmation; empty when
	// unsolicited.
	InResponseTo string

	IssueInstant time.Time
	AuthnInstant time.Time
	// NotOnOrAfter is the earlier of the confirmation's and the conditions'
	// end, without skew: what one-time use has to remember, plus the skew.
	NotOnOrAfter time.Time
	// SessionNotOnOrAfter bounds what may be derived from the sign-in; zero
	// when the identity provider sets no bound.
	SessionNotOnOrAfter time.Time
	SessionIndex        string
	// AuthnContext is the class reference, such as
	// urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport.
	AuthnContext string

	Attributes []Attribute

	// Certificate is the pinned one whose key verified the signature.
	Certificate *x509.Certificate
}

// Attribute is one attribute with its values in document order. Elements of
// the same Name stand apart, as received; Values joins them.
type Attribute struct {
	Name         string
	FriendlyName string
	NameFormat   string
	Values       []string
}

// Values gives all values of the attributes called exactly name, in document
// order.
func (a *Assertion) Values(name string) []string {
	var out []string
	for _, at := range a.Attributes {
		if at.Name == name {
			out = append(out, at.Values...)
		}
	}
	return out
}

// AttributeMatch gives all values of the attributes that a setting names: by
// Name, and when no attribute has that Name, by FriendlyName. It serves mapped
// facts such as groups and mail; what AWS reads is found by Values alone.
func (a *Assertion) AttributeMatch(name string) []string {
	out := a.Values(name)
	if len(out) > 0 || name == "" {
		return out
	}
	for _, at := range a.Attributes {
		if at.FriendlyName == name {
			out = append(out, at.Values...)
		}
	}
	return out
}

// Single gives the one value of the attribute called exactly name. It reports
// false when there is no value or more than one: a second value is never
// ignored.
func (a *Assertion) Single(name string) (string, bool) {
	v := a.Values(name)
	if len(v) != 1 {
		return "", false
	}
	return v[0], true
}
