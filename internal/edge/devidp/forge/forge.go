// Package forge makes SAML responses for tests: honest ones, and every kind of
// bad one that an attacker or a broken identity provider could send.
//
// It is imported by tests alone. What it signs it signs with the development
// identity provider's own code, which shares nothing with the verifier. It
// must never be linked into a program.
package forge

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"testing"
	"time"

	"carnet.dev/carnet/internal/edge/devidp"
)

// The names that honest answers carry unless a test changes them.
const (
	EntityID = "http://localhost:8482/metadata"
	SSOURL   = "http://localhost:8482/sso"
	ACS      = "http://127.0.0.1:8480/saml/consume"
	Subject  = "alice"
	Role     = "arn:aws:iam::111122223333:role/analyst"
	Provider = "arn:aws:iam::111122223333:saml-provider/dev-idp"
)

// Attribute names of AWS.
const (
	AttrRole            = "https://aws.amazon.com/SAML/Attributes/Role"
	AttrRoleSessionName = "https://aws.amazon.com/SAML/Attributes/RoleSessionName"
)

// IdP is an identity provider that signs whatever a test asks for.
type IdP struct {
	devidp.Signer
	EntityID string
}

// New makes an identity provider with a fresh RSA key, valid around now.
func New(tb testing.TB, now time.Time) *IdP {
	tb.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		tb.Fatal(err)
	}
	return WithKey(tb, key, now)
}

// NewECDSA makes an identity provider with a fresh P-256 key.
func NewECDSA(tb testing.TB, now time.Time) *IdP {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return WithKey(tb, key, now)
}

// WithKey makes an identity provider with a given key.
func WithKey(tb testing.TB, key crypto.Signer, now time.Time) *IdP {
	tb.Helper()
	cert, err := devidp.SelfSign(key, "forge", now.Add(-24*time.Hour), now.Add(24*time.Hour))
	if err != nil {
		tb.Fatal(err)
	}
	return &IdP{Signer: devidp.Signer{Key: key, Certificate: cert}, EntityID: EntityID}
}

// Metadata describes the identity provider.
func (i *IdP) Metadata() []byte { return devidp.Describe(i.EntityID, SSOURL, i.Certificate) }

// Answer is an honest answer for the subject alice with one role, made now for
// a request; requestID may be empty. A test changes what it wants to be wrong.
func (i *IdP) Answer(requestID string, now time.Time) devidp.Answer {
	return devidp.Answer{
		ResponseID: devidp.NewID(), AssertionID: devidp.NewID(), Issuer: i.EntityID, InResponseTo: requestID,
		Destination: ACS, Recipient: ACS, Audiences: []string{ACS},
		NameID: Subject, NameIDFormat: "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified",
		IssueInstant: now, NotBefore: now.Add(-5 * time.Second), NotOnOrAfter: now.Add(5 * time.Minute),
		SessionIndex: devidp.NewID(), SessionNotOnOrAfter: now.Add(12 * time.Hour),
		Attributes: []devidp.Attribute{
			{Name: AttrRole, Values: []string{Role + "," + Provider}},
			{Name: AttrRoleSessionName, Values: []string{Subject}},
		},
		SignAssertion: true,
	}
}

// Respond signs an answer and gives the XML.
func (i *IdP) Respond(tb testing.TB, a devidp.Answer) []byte {
	tb.Helper()
	raw, err := i.Signer.Respond(a)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// Encode gives the SAMLResponse field as a browser posts it.
func Encode(raw []byte) string { return base64.StdEncoding.EncodeToString(raw) }
