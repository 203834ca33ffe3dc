// Package saml verifies SAML 2.0 responses as a service provider and as STS,
// reads identity provider metadata, and makes requests and metadata of our own.
//
// It is pure: bytes and a time go in, facts or a named refusal come out. Facts
// are read only from the bytes that a pinned key signed, never from the
// response around them; KeyInfo is never believed; one response holds exactly
// one assertion. A raw response is a credential: it never appears in an error.
//
// An encrypted assertion is decrypted, put in its place and read by the same
// rules. Until a signature has verified nobody learns from error or time what a
// changed ciphertext decrypts to. Logout messages take the same way: one signed
// root element, or one signed query.
package saml

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"slices"
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
	return (&verifier{idp: idp, now: now, want: want, bound: true}).verify(raw)
}

// Examine is Verify for a test sign-in: it also lists each check that the one
// verifier made, in its order, with what it found. The last one is the refusal
// where there is one; checks behind it were not made.
func Examine(raw []byte, idp *Metadata, want Expect, now time.Time) (*Assertion, []CheckResult, error) {
	v := verifier{idp: idp, now: now, want: want, bound: true, examine: true}
	a, err := v.verify(raw)
	if err != nil {
		f := fault.Of(err)
		v.note(CheckResult{Code: f.Code, Detail: f.Public})
	}
	return a, v.results, err
}

// CheckResult is one check that was made.
type CheckResult struct {
	Code   string // one of the Check constants
	OK     bool
	Detail string // what was found, or why it was refused; no secret
}

// VerifyForSTS checks a decoded response as AssumeRoleWithSAML does: by the
// same verifier, but not bound to a request or to one recipient, which is
// returned instead. Exactly one SubjectConfirmation is required (IAM User
// Guide, "Configure SAML assertions"). The rule that an assertion is redeemed
// within five minutes of its IssueInstant is the caller's.
func VerifyForSTS(raw []byte, idp *Metadata, want STSExpect, now time.Time) (*Assertion, error) {
	return (&verifier{idp: idp, now: now, want: Expect{
		Skew: want.Skew, MaxBytes: want.MaxBytes, AcceptExpiredCertificate: want.AcceptExpiredCertificate, AllowSHA1: want.AllowSHA1,
		Decrypt: want.Decrypt, RequireEncrypted: want.RequireEncrypted, AuthnContexts: want.AuthnContexts,
	}}).verify(raw)
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

// ClaimedIssuer reads who a message says it is from, unverified: it serves to
// choose the metadata to verify with, and for nothing else.
func ClaimedIssuer(raw []byte, limit int) (string, error) {
	root, err := parseTree(raw, responseLimits(limit))
	if err != nil {
		return "", err
	}
	for _, el := range append(named(root, nsAssertion, "Assertion"), root) {
		if issuer := one(el, nsAssertion, "Issuer"); issuer != nil {
			if s, ok := text(issuer); ok && s != "" && len(s) <= 1024 {
				return s, nil
			}
		}
	}
	return "", refuse(fault.Invalid, CheckIssuer, "The response names no issuer")
}

// MessageKind reads the name of the root element and nothing else, unverified:
// it serves to choose who verifies the message.
func MessageKind(raw []byte) (Kind, error) {
	const front = 16 << 10 // where a root has to begin: a stranger may fill the rest
	d := xml.NewDecoder(bytes.NewReader(raw[:min(len(raw), front)]))
	for {
		t, err := d.Token()
		if err != nil {
			return "", refuse(fault.Invalid, CheckXML, "The document is not XML that we read")
		}
		if root, ok := t.(xml.StartElement); ok {
			k := Kind(root.Name.Local)
			if root.Name.Space != nsProtocol || (k != KindResponse && k != KindLogoutRequest && k != KindLogoutResponse) {
				return "", refuse(fault.Invalid, CheckShape, "The document is not a SAML 2.0 response or logout message")
			}
			return k, nil
		}
	}
}

// verifier holds one verification. It is bound to our URL and to our request
// but for STS and for logout messages.
type verifier struct {
	idp   *Metadata
	now   time.Time
	want  Expect
	bound bool

	certificate *x509.Certificate // that verified last
	examine     bool
	results     []CheckResult
}

// pass notes a check that was passed, for Examine.
func (v *verifier) pass(check string, found ...string) {
	if v.examine {
		v.note(CheckResult{Code: check, OK: true, Detail: clip(strings.Join(found, ", "))})
	}
}

// note keeps the last result of a check: one that is made twice counts where it
// is made on verified bytes.
func (v *verifier) note(r CheckResult) {
	v.results = append(slices.DeleteFunc(v.results, func(old CheckResult) bool { return old.Code == r.Code }), r)
}

func (v *verifier) verify(raw []byte) (*Assertion, error) {
	if v.idp == nil || v.idp.EntityID == "" || (v.bound && (v.want.ACS == "" || v.want.Audience == "")) {
		return nil, refuse(fault.Misconfigured, CheckIssuer, "There is no identity provider, or no URL of ours, to verify with")
	}
	root, err := parseTree(raw, responseLimits(v.want.MaxBytes))
	if err != nil {
		return nil, err
	}
	v.pass(CheckXML)
	env, err := readEnvelope(root)
	if err != nil {
		return nil, err
	}
	v.pass(CheckShape)
	if env.assertion != nil {
		if v.want.RequireEncrypted {
			return nil, refuse(fault.Unauthenticated, CheckEncrypted, "The assertion is not encrypted, which is required for this identity provider")
		}
		// Once before the signature, for the better message; the same check
		// counts when it is made again on what was verified.
		if err := v.checkIssuer(env.assertion); err != nil {
			return nil, err
		}
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
	a.Certificate, a.Encrypted = v.certificate, env.sealed != nil
	return a, nil
}

// verifySignatures verifies every signature there is. The assertion it gives
// is always from verified bytes; the response is when it was signed itself.
func (v *verifier) verifySignatures(env *envelope) (response, assertion *etree.Element, err error) {
	reply := env.responseSignature != nil
	// Whether an encrypted assertion is signed shows when it is open.
	if err := v.checkSigned(reply, env.assertionSignature != nil || env.sealed != nil); err != nil {
		return nil, nil, err
	}
	response = env.response
	if reply {
		if response, err = v.verifyElement(env.response, env.responseSignature); err != nil {
			return nil, nil, err
		}
		assertion = one(response, nsAssertion, "Assertion")
	}
	switch {
	case env.sealed != nil:
		assertion, err = v.unseal(response, reply)
	case env.assertionSignature != nil:
		assertion, err = v.verifyElement(env.assertion, env.assertionSignature)
	}
	if err != nil {
		return nil, nil, err
	}
	if assertion == nil || !is(assertion, nsAssertion, "Assertion") {
		return nil, nil, refuse(fault.Unauthenticated, CheckSignature, "The signed part holds no assertion")
	}
	return response, assertion, nil
}

// checkSigned holds the policy on which of the two is signed.
func (v *verifier) checkSigned(response, assertion bool) error {
	if !response && !assertion {
		return refuse(fault.Unauthenticated, CheckUnsigned, "Neither the response nor the assertion is signed")
	}
	needResponse := v.want.Signed == SignedResponse || v.want.Signed == SignedBoth
	needAssertion := v.want.Signed == SignedAssertion || v.want.Signed == SignedBoth
	if (needResponse && !response) || (needAssertion && !assertion) {
		return refuse(fault.Unauthenticated, CheckUnsigned, "The response is not signed the way that is set for this identity provider")
	}
	return nil
}

// checkResponse checks what the response says of itself. Unless it is signed
// anybody could have written that: it only ever refuses, and gives no facts.
func (v *verifier) checkResponse(response *etree.Element) error {
	if issuer := one(response, nsAssertion, "Issuer"); issuer != nil {
		if err := v.checkIssuer(response); err != nil {
			return err
		}
	}
	if !v.bound {
		return nil
	}
	if d, ok := attr(response, "Destination"); ok && d != v.want.ACS {
		return refuse(fault.Unauthenticated, CheckDestination, fmt.Sprintf("The response was made for %q, not for %q", clip(d), v.want.ACS))
	}
	v.pass(CheckDestination, attrValue(response, "Destination"))
	if err := v.checkInResponseTo(attrValue(response, "InResponseTo")); err != nil {
		return err
	}
	v.pass(CheckInResponseTo, v.want.RequestID)
	return nil
}

// checkInResponseTo binds to the request that we sent, or to none.
func (v *verifier) checkInResponseTo(got string) error {
	switch {
	case v.want.RequestID == "" && !v.want.AllowUnsolicited:
		return refuse(fault.Unauthenticated, CheckUnsolicited, "The response answers no request of ours")
	case got != v.want.RequestID:
		return refuse(fault.Unauthenticated, CheckInResponseTo, "The response answers another request than the one of this sign-in")
	}
	return nil
}

func (v *verifier) checkIssuer(el *etree.Element) error {
	issuer := one(el, nsAssertion, "Issuer")
	if issuer == nil {
		return refuse(fault.Unauthenticated, CheckIssuer, "The assertion names no issuer, or several")
	}
	s, ok := text(issuer)
	if !ok || strings.TrimSpace(s) != v.idp.EntityID {
		return refuse(fault.Unauthenticated, CheckIssuer, fmt.Sprintf("The response is from %q, not from %q", clip(strings.TrimSpace(s)), v.idp.EntityID))
	}
	v.pass(CheckIssuer, v.idp.EntityID)
	return nil
}

// early reports whether begin is still to come, with the allowed skew.
func (v *verifier) early(begin time.Time) bool { return v.now.Add(v.want.Skew).Before(begin) }
