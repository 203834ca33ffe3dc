// Package saml verifies SAML 2.0 responses as a service provider and as STS,
// reads identity provider metadata, and makes requests and metadata of our own.
//
// It is pure: bytes and a time go in, facts or a named refusal come out. Facts
// are read only from the bytes that a pinned key signed, never from the
// response around them; KeyInfo is never believed; one response holds exactly
// one assertion. A raw response is a credential: it never appears in an error.
// Encrypted assertions are refused by name.
package saml

import (
	"time"

	"carnet.dev/carnet/internal/core/fault"
)

// Verify checks a decoded response (XML, at most want.MaxBytes) against the
// identity provider's metadata and what we wait for. Every refusal is a
// *fault.Fault whose Code is one of the Check constants. One-time use of
// Assertion.ID and the match of IdP and request are the caller's.
func Verify(raw []byte, idp *Metadata, want Expect, now time.Time) (*Assertion, error) {
	return nil, refuse(fault.Unsupported, CheckShape, "responses can't be read yet")
}

// VerifyForSTS checks a decoded response as AssumeRoleWithSAML does: by the
// same verifier, but not bound to a request or to one recipient, which is
// returned instead. Exactly one SubjectConfirmation is required (IAM User
// Guide, "Configure SAML assertions"). The rule that an assertion is redeemed
// within five minutes of its IssueInstant is the caller's.
func VerifyForSTS(raw []byte, idp *Metadata, want STSExpect, now time.Time) (*Assertion, error) {
	return nil, refuse(fault.Unsupported, CheckShape, "responses can't be read yet")
}

// Decode turns the posted SAMLResponse into XML. The posted text itself is
// what STS has to get, unmodified. limit is in decoded bytes; zero means
// MaxResponse.
func Decode(posted string, limit int) ([]byte, error) {
	return nil, refuse(fault.Unsupported, CheckEncoding, "responses can't be read yet")
}
