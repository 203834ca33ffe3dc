package saml

import (
	"bytes"
	"compress/flate"
	"crypto/x509"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/beevik/etree"

	"carnet.dev/carnet/internal/core/fault"
)

const (
	// MaxLogout is the largest decoded logout message taken, in bytes.
	MaxLogout = 64 << 10
	// MaxLogoutAge is how old a logout message may be by its IssueInstant,
	// without skew: a captured one can't end login sessions for ever.
	MaxLogoutAge = 5 * time.Minute
)

// LogoutInput is a logout message as it came. A relay state is no part of it:
// that of a redirect is signed and stands once when the message was taken, that
// of a POST is anybody's.
type LogoutInput struct {
	// Binding is BindingRedirect or BindingPOST.
	Binding string
	// RawQuery is the query of a redirect exactly as it was sent: the signature
	// is over its encoding.
	RawQuery string
	// XML is the decoded field of a POST (see Decode).
	XML []byte
}

// LogoutExpect is what we know of the logout message that we wait for.
type LogoutExpect struct {
	// URL is where the message came: its Destination has to name it.
	URL string
	// RequestID is the ID of the LogoutRequest that we sent; read by
	// VerifyLogoutResponse only.
	RequestID                           string
	Skew                                time.Duration // callers pass DefaultSkew
	AcceptExpiredCertificate, AllowSHA1 bool
}

// VerifyLogoutRequest checks a logout request of the identity provider: it has
// to be signed, for us, and new. Every refusal is a *fault.Fault whose Code is
// one of the Check constants. One-time use of its ID is the caller's.
func VerifyLogoutRequest(in LogoutInput, idp *Metadata, want LogoutExpect, now time.Time) (*LogoutRequest, error) {
	v := want.verifier(idp, now)
	el, issued, err := v.verifyMessage(in, KindLogoutRequest)
	if err != nil {
		return nil, err
	}
	r := &LogoutRequest{ID: attrValue(el, "ID"), Issuer: idp.EntityID, Destination: want.URL, IssueInstant: issued}
	if r.NotOnOrAfter, _, err = v.until(el, "NotOnOrAfter", CheckExpired, CheckExpired); err != nil {
		return nil, err
	}
	name, err := readNameID(el)
	if err != nil {
		return nil, err
	}
	r.NameID, r.NameIDFormat, r.NameQualifier, r.SPNameQualifier = name.name, name.format, name.qualifier, name.spQualifier
	for _, index := range named(el, nsProtocol, "SessionIndex") {
		s, ok := text(index)
		if s = strings.TrimSpace(s); !ok || s == "" || len(s) > 1024 {
			return nil, refuse(fault.Invalid, CheckShape, "A SessionIndex is empty, too long, or holds markup")
		}
		r.SessionIndexes = append(r.SessionIndexes, s)
	}
	return r, nil
}

// VerifyLogoutResponse checks the identity provider's answer to our request
// like VerifyLogoutRequest. A status other than success is no refusal: the
// caller reads it.
func VerifyLogoutResponse(in LogoutInput, idp *Metadata, want LogoutExpect, now time.Time) (*LogoutResponse, error) {
	v := want.verifier(idp, now)
	el, issued, err := v.verifyMessage(in, KindLogoutResponse)
	if err != nil {
		return nil, err
	}
	r := &LogoutResponse{ID: attrValue(el, "ID"), InResponseTo: attrValue(el, "InResponseTo"), Issuer: idp.EntityID, Destination: want.URL, IssueInstant: issued}
	if want.RequestID == "" || r.InResponseTo != want.RequestID {
		return nil, refuse(fault.Unauthenticated, CheckInResponseTo, "The logout response answers another request than ours")
	}
	r.Status, r.SubStatus, err = statusCodes(el)
	return r, err
}

func (want LogoutExpect) verifier(idp *Metadata, now time.Time) *verifier {
	return &verifier{idp: idp, now: now, want: Expect{
		ACS: want.URL, Skew: want.Skew, MaxBytes: MaxLogout, AcceptExpiredCertificate: want.AcceptExpiredCertificate,
		AllowSHA1: want.AllowSHA1,
	}}
}

// verifyMessage verifies the signature of a logout message and what all of them
// say. It gives the verified element and its time of issue.
func (v *verifier) verifyMessage(in LogoutInput, kind Kind) (root *etree.Element, issued time.Time, err error) {
	if v.idp == nil || v.idp.EntityID == "" || v.want.ACS == "" {
		return nil, issued, refuse(fault.Misconfigured, CheckIssuer, "There is no identity provider or no URL to verify with")
	}
	q, raw, err := in.read()
	if err != nil {
		return nil, issued, err
	}
	if root, err = parseTree(raw, responseLimits(v.want.MaxBytes)); err != nil {
		return nil, issued, err
	}
	c := census{ids: map[string]bool{}}
	if err := c.walk(root); err != nil {
		return nil, issued, err
	}
	if !is(root, nsProtocol, string(kind)) || c.assertions > 0 || attrValue(root, "Version") != "2.0" || !isID(attrValue(root, "ID")) {
		return nil, issued, refuse(fault.Invalid, CheckShape, "The document is not a SAML 2.0 "+string(kind)+" with an ID and without assertions")
	}
	if err := v.checkIssuer(root); err != nil { // again below, on what was verified
		return nil, issued, err
	}
	switch {
	case q != nil && len(c.signatures) > 0, len(c.signatures) > 1,
		len(c.signatures) == 1 && (c.signatures[0].Parent() != root || !is(c.signatures[0], nsSignature, "Signature")):
		err = refuse(fault.Invalid, CheckSignaturePlace, "There is a signature where none may be: want one, in the query or directly in the message")
	case q == nil && len(c.signatures) == 0, q != nil && (q.algorithm == "" || q.signature == ""):
		err = refuse(fault.Unauthenticated, CheckUnsigned, "The logout message is not signed")
	case q == nil:
		root, err = v.verifyElement(root, c.signatures[0])
	default:
		err = v.verifyQuery(q)
	}
	if err != nil {
		return nil, issued, err
	}
	issued, err = v.checkMessage(root, kind)
	return root, issued, err
}

// checkMessage checks a verified message. A signed one has to name where it was
// sent (saml-bindings-2.0-os sections 3.4.5.2 and 3.5.5.2).
func (v *verifier) checkMessage(el *etree.Element, kind Kind) (issued time.Time, err error) {
	if err := v.checkIssuer(el); err != nil {
		return issued, err
	}
	if d := attrValue(el, "Destination"); d != v.want.ACS {
		return issued, refuse(fault.Unauthenticated, CheckDestination, fmt.Sprintf("The %s was made for %q, not for %q", kind, clip(d), v.want.ACS))
	}
	issued, ok := instant(attrValue(el, "IssueInstant"))
	if !ok || v.early(issued) {
		return issued, refuse(fault.Unauthenticated, CheckIssueInstant, "The message's time of issue is missing, malformed or in the future")
	}
	return issued, v.notPast(issued.Add(MaxLogoutAge), CheckExpired)
}

// Document gives the XML of the message, unverified: it serves to find its
// issuer and kind.
func (in LogoutInput) Document() ([]byte, error) {
	_, raw, err := in.read()
	return raw, err
}

// query is what a redirect carries. signed is what the signature has to be
// over: message, relay state and algorithm in this order, as they were sent
// (saml-bindings-2.0-os section 3.4.4.1).
type query struct{ signed, algorithm, signature string }

// read gives the XML and, of a redirect, its query.
func (in LogoutInput) read() (*query, []byte, error) {
	switch in.Binding {
	case BindingPOST:
		return nil, in.XML, nil
	case BindingRedirect:
		return readQuery(in.RawQuery)
	}
	return nil, nil, refuse(fault.Unsupported, CheckShape, "Logout messages come by redirect or POST")
}

// readQuery reads the parameters that mean something. One that comes twice, or
// whose name is written in another way, is refused: the signature would be over
// one reading and the meaning of another.
func readQuery(raw string) (*query, []byte, error) {
	malformed := refuse(fault.Invalid, CheckQuery, "The redirect has to carry one SAMLRequest or SAMLResponse, and no parameter twice or malformed")
	if len(raw) > 2*MaxLogout {
		return nil, nil, refuse(fault.TooLarge, CheckSize, "The redirect is over the size limit")
	}
	sent, plain := map[string]string{}, map[string]string{}
	for pair := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(pair, "=")
		decodedName, err := url.QueryUnescape(name)
		decoded, valueErr := url.QueryUnescape(value)
		if err != nil || valueErr != nil || strings.Contains(pair, ";") {
			return nil, nil, malformed
		}
		if !slices.Contains([]string{"SAMLRequest", "SAMLResponse", "RelayState", "SigAlg", "Signature"}, decodedName) {
			continue
		}
		if _, twice := sent[name]; twice || decodedName != name {
			return nil, nil, malformed
		}
		sent[name], plain[name] = pair, decoded
	}
	message := plain["SAMLRequest"] + plain["SAMLResponse"]
	if message == "" || (sent["SAMLRequest"] != "" && sent["SAMLResponse"] != "") {
		return nil, nil, malformed
	}
	parts := slices.DeleteFunc([]string{sent["SAMLRequest"], sent["SAMLResponse"], sent["RelayState"], sent["SigAlg"]}, func(s string) bool { return s == "" })
	doc, err := inflate(message)
	return &query{signed: strings.Join(parts, "&"), algorithm: plain["SigAlg"], signature: plain["Signature"]}, doc, err
}

// inflate gives the XML of a redirect, at most MaxLogout bytes of it.
func inflate(message string) ([]byte, error) {
	deflated, err := decodeBase64(message)
	if err != nil {
		return nil, refuse(fault.Invalid, CheckEncoding, "The message is not base64")
	}
	raw, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(deflated)), MaxLogout+1))
	switch {
	case err != nil:
		return nil, refuse(fault.Invalid, CheckEncoding, "The message is not deflated")
	case len(raw) > MaxLogout:
		return nil, refuse(fault.TooLarge, CheckSize, "The message is over the size limit")
	}
	return raw, nil
}

func (v *verifier) verifyQuery(q *query) error {
	algorithm, err := v.signatureAlgorithm(q.algorithm)
	if err != nil {
		return err
	}
	value, err := decodeBase64(q.signature)
	if err != nil {
		return refuse(fault.Invalid, CheckSignatureShape, "The signature value is not base64")
	}
	return v.tryCertificates(algorithm, value, func(cert *x509.Certificate, signature []byte) bool {
		return cert.CheckSignature(algorithm, []byte(q.signed), signature) == nil
	})
}
