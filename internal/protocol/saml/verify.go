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
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/beevik/etree"

	"carnet.dev/carnet/internal/core/fault"
)

// Verify checks a decoded response (XML, at most want.MaxBytes) against the
// identity provider's metadata and what we wait for. Every refusal is a
// *fault.Fault whose Code is one of the Check constants. One-time use of
// Assertion.ID and the match of IdP and request are the caller's.
func Verify(raw []byte, idp *Metadata, want Expect, now time.Time) (*Assertion, error) {
	if want.ACS == "" || want.Audience == "" {
		return nil, refuse(fault.Misconfigured, CheckRecipient, "The service provider has no URL to compare with")
	}
	v := verifier{idp: idp, now: now, skew: want.Skew, acceptExpired: want.AcceptExpiredCertificate, signed: want.Signed, sp: &want}
	return v.verify(raw, want.MaxBytes)
}

// VerifyForSTS checks a decoded response as AssumeRoleWithSAML does: by the
// same verifier, but not bound to a request or to one recipient, which is
// returned instead. Exactly one SubjectConfirmation is required (IAM User
// Guide, "Configure SAML assertions"). The rule that an assertion is redeemed
// within five minutes of its IssueInstant is the caller's.
func VerifyForSTS(raw []byte, idp *Metadata, want STSExpect, now time.Time) (*Assertion, error) {
	v := verifier{idp: idp, now: now, skew: want.Skew, acceptExpired: want.AcceptExpiredCertificate}
	return v.verify(raw, want.MaxBytes)
}

// Decode turns the posted SAMLResponse into XML. The posted text itself is
// what STS has to get, unmodified. limit is in decoded bytes; zero means
// MaxResponse.
func Decode(posted string, limit int) ([]byte, error) {
	if limit <= 0 {
		limit = MaxResponse
	}
	// Some senders break lines, which base64 text may hold on top.
	if len(posted) > base64.StdEncoding.EncodedLen(limit)*66/64+4 {
		return nil, refuse(fault.TooLarge, CheckSize, "The response is over the size limit")
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(posted)
	if err != nil {
		return nil, refuse(fault.Invalid, CheckEncoding, "The response is not base64")
	}
	if len(raw) > limit {
		return nil, refuse(fault.TooLarge, CheckSize, "The response is over the size limit")
	}
	return raw, nil
}

// ClaimedIssuer reads who a response says it is from, unverified: it serves to
// choose the metadata to verify with, and for nothing else.
func ClaimedIssuer(raw []byte, limit int) (string, error) {
	root, err := parseTree(raw, responseLimits(limit))
	if err != nil {
		return "", err
	}
	for _, el := range []*etree.Element{one(root, nsAssertion, "Assertion"), root} {
		if el == nil {
			continue
		}
		if issuer := one(el, nsAssertion, "Issuer"); issuer != nil {
			if s, ok := text(issuer); ok && s != "" && len(s) <= 1024 {
				return s, nil
			}
		}
	}
	return "", refuse(fault.Invalid, CheckIssuer, "The response names no issuer")
}

// verifier holds one verification. sp is nil for STS.
type verifier struct {
	idp           *Metadata
	now           time.Time
	skew          time.Duration
	acceptExpired bool
	signed        Signed
	sp            *Expect

	certificate *x509.Certificate // that verified last
}

func (v *verifier) verify(raw []byte, maxBytes int) (*Assertion, error) {
	if v.idp == nil || v.idp.EntityID == "" {
		return nil, refuse(fault.Misconfigured, CheckIssuer, "There is no identity provider to verify with")
	}
	root, err := parseTree(raw, responseLimits(maxBytes))
	if err != nil {
		return nil, err
	}
	env, err := readEnvelope(root)
	if err != nil {
		return nil, err
	}
	// Once before the signature, for the better message; the same check
	// counts when it is made again on what was verified.
	if err := v.checkIssuer(env.assertion); err != nil {
		return nil, err
	}
	response, assertion, err := v.verifySignatures(env)
	if err != nil {
		return nil, err
	}
	if err := v.checkResponse(response); err != nil {
		return nil, err
	}
	a, err := v.readAssertion(assertion)
	if err != nil {
		return nil, err
	}
	if env.responseSignature != nil {
		a.ResponseID = attrValue(response, "ID")
	}
	a.Certificate = v.certificate
	return a, nil
}

// verifySignatures verifies every signature there is. The assertion it gives
// is always from verified bytes; the response is when it was signed itself.
func (v *verifier) verifySignatures(env *envelope) (response, assertion *etree.Element, err error) {
	needResponse := v.signed == SignedResponse || v.signed == SignedBoth
	needAssertion := v.signed == SignedAssertion || v.signed == SignedBoth
	if (needResponse && env.responseSignature == nil) || (needAssertion && env.assertionSignature == nil) {
		return nil, nil, refuse(fault.Unauthenticated, CheckUnsigned, "The response is not signed the way that is set for this identity provider")
	}
	response = env.response
	if env.responseSignature != nil {
		if response, err = v.verifyElement(env.response, env.responseSignature); err != nil {
			return nil, nil, err
		}
		assertion = one(response, nsAssertion, "Assertion")
	}
	if env.assertionSignature != nil {
		if assertion, err = v.verifyElement(env.assertion, env.assertionSignature); err != nil {
			return nil, nil, err
		}
	}
	if assertion == nil || !is(assertion, nsAssertion, "Assertion") {
		return nil, nil, refuse(fault.Unauthenticated, CheckSignature, "The signed part holds no assertion")
	}
	return response, assertion, nil
}

// checkResponse checks what the response says of itself. Unless it is signed
// anybody could have written that: it only ever refuses, and gives no facts.
func (v *verifier) checkResponse(response *etree.Element) error {
	if issuer := one(response, nsAssertion, "Issuer"); issuer != nil {
		if err := v.checkIssuer(response); err != nil {
			return err
		}
	}
	if v.sp == nil {
		return nil
	}
	if d, ok := attr(response, "Destination"); ok && d != v.sp.ACS {
		return refuse(fault.Unauthenticated, CheckDestination, fmt.Sprintf("The response was made for %q, not for %q", clip(d), v.sp.ACS)).
			WithMend("set the SAML URL of this installation as ACS URL at the identity provider")
	}
	return v.checkInResponseTo(attrValue(response, "InResponseTo"))
}

// checkInResponseTo binds to the request that we sent, or to none.
func (v *verifier) checkInResponseTo(got string) error {
	switch {
	case v.sp.RequestID == "" && !v.sp.AllowUnsolicited:
		return refuse(fault.Unauthenticated, CheckUnsolicited, "The response answers no request of ours").
			WithMend("begin the sign-in at Carnet")
	case got != v.sp.RequestID:
		return refuse(fault.Unauthenticated, CheckInResponseTo, "The response answers another request than the one of this sign-in").
			WithMend("begin the sign-in again, in one window")
	}
	return nil
}

func (v *verifier) checkIssuer(el *etree.Element) error {
	issuer := one(el, nsAssertion, "Issuer")
	if issuer == nil {
		return refuse(fault.Unauthenticated, CheckIssuer, "The assertion names no issuer, or several")
	}
	if s, ok := text(issuer); !ok || strings.TrimSpace(s) != v.idp.EntityID {
		return refuse(fault.Unauthenticated, CheckIssuer, fmt.Sprintf("The response is from %q, not from %q", clip(strings.TrimSpace(s)), v.idp.EntityID)).
			WithMend("import the metadata of the identity provider that sent it")
	}
	return nil
}

// past reports whether end is over, with the allowed skew.
func (v *verifier) past(end time.Time) bool { return !v.now.Before(end.Add(v.skew)) }

// early reports whether begin is still to come, with the allowed skew.
func (v *verifier) early(begin time.Time) bool { return v.now.Add(v.skew).Before(begin) }
