package saml

import (
	"strings"

	"github.com/beevik/etree"

	"carnet.dev/carnet/internal/core/fault"
)

// envelope is a response of the one shape that we take: exactly one assertion,
// directly inside it, and at most one signature on each of the two. Nothing in
// it is verified yet.
type envelope struct {
	response, assertion                   *etree.Element
	responseSignature, assertionSignature *etree.Element
}

// census counts what may exist once only, wherever it hides.
type census struct {
	ids        map[string]bool
	assertions []*etree.Element
	encrypted  bool
	signatures []*etree.Element
}

func (c *census) walk(el *etree.Element) error {
	for i := range el.Attr {
		a := &el.Attr[i]
		if a.Space == "xmlns" || !strings.EqualFold(a.Key, "id") {
			continue
		}
		if a.Space != "" {
			return refuse(fault.Invalid, CheckID, "An ID attribute has a namespace: it could pass for another one")
		}
		if c.ids[a.Value] {
			return refuse(fault.Invalid, CheckID, "Two elements have the same ID")
		}
		c.ids[a.Value] = true
	}
	switch {
	case strings.EqualFold(el.Tag, "Assertion"):
		c.assertions = append(c.assertions, el)
	case strings.EqualFold(el.Tag, "EncryptedAssertion"):
		c.encrypted = true
	case strings.EqualFold(el.Tag, "Signature"):
		c.signatures = append(c.signatures, el)
	}
	for _, t := range el.Child {
		if child, ok := t.(*etree.Element); ok {
			if err := c.walk(child); err != nil {
				return err
			}
		}
	}
	return nil
}

// readEnvelope holds the shape. It refuses whatever a reader with looser rules
// could take for the signed part.
func readEnvelope(root *etree.Element) (*envelope, error) {
	if !is(root, nsProtocol, "Response") {
		return nil, refuse(fault.Invalid, CheckShape, "The document is not a SAML 2.0 response")
	}
	if err := checkStatus(root); err != nil {
		return nil, err
	}
	c := census{ids: map[string]bool{}}
	if err := c.walk(root); err != nil {
		return nil, err
	}
	if c.encrypted {
		return nil, refuse(fault.Unsupported, CheckEncrypted, "The assertion is encrypted, which is not supported").
			WithMend("switch assertion encryption off for this application at the identity provider")
	}
	if len(c.assertions) != 1 {
		return nil, refuse(fault.Invalid, CheckShape, "The response has to hold exactly one assertion")
	}
	e := &envelope{response: root, assertion: one(root, nsAssertion, "Assertion")}
	if e.assertion == nil {
		return nil, refuse(fault.Invalid, CheckShape, "The assertion does not stand directly in the response")
	}
	if err := e.checkParts(); err != nil {
		return nil, err
	}
	return e, e.placeSignatures(c.signatures)
}

// checkParts admits only what the schema puts directly inside a response.
func (e *envelope) checkParts() error {
	parts, ok := children(e.response)
	if !ok {
		return refuse(fault.Invalid, CheckShape, "There is text between the parts of the response")
	}
	seen := map[string]bool{}
	for _, p := range parts {
		known := is(p, nsAssertion, "Issuer") || is(p, nsSignature, "Signature") || is(p, nsProtocol, "Extensions") ||
			is(p, nsProtocol, "Status") || p == e.assertion
		if !known || seen[p.Tag] {
			return refuse(fault.Invalid, CheckShape, "The response holds an unknown part, or one twice")
		}
		seen[p.Tag] = true
	}
	for _, el := range []*etree.Element{e.response, e.assertion} {
		if attrValue(el, "Version") != "2.0" {
			return refuse(fault.Invalid, CheckVersion, "Response and assertion have to be of SAML version 2.0")
		}
		if !isID(attrValue(el, "ID")) {
			return refuse(fault.Invalid, CheckID, "Response and assertion need an ID that is an XML name")
		}
	}
	return nil
}

func (e *envelope) placeSignatures(found []*etree.Element) error {
	for _, s := range found {
		switch {
		case !is(s, nsSignature, "Signature"):
			return refuse(fault.Invalid, CheckSignaturePlace, "There is a signature of an unknown kind")
		case s.Parent() == e.response && e.responseSignature == nil:
			e.responseSignature = s
		case s.Parent() == e.assertion && e.assertionSignature == nil:
			e.assertionSignature = s
		default:
			return refuse(fault.Invalid, CheckSignaturePlace, "There is a signature where none may be: want one directly in the response, the assertion, or each")
		}
	}
	if len(found) == 0 {
		return refuse(fault.Unauthenticated, CheckUnsigned, "Neither the response nor the assertion is signed").
			WithMend("have the identity provider sign the response, the assertion, or both")
	}
	return nil
}

// checkStatus reads what the identity provider says of itself. The texts come
// from an unsigned place, so only known codes are repeated.
func checkStatus(response *etree.Element) error {
	const success = "urn:oasis:names:tc:SAML:2.0:status:Success"
	status := one(response, nsProtocol, "Status")
	if status == nil {
		return refuse(fault.Invalid, CheckStatus, "The response has no status")
	}
	code := one(status, nsProtocol, "StatusCode")
	if code == nil {
		return refuse(fault.Invalid, CheckStatus, "The response has no status")
	}
	if attrValue(code, "Value") == success {
		return nil
	}
	reason := statusName(attrValue(code, "Value"))
	if sub := one(code, nsProtocol, "StatusCode"); sub != nil {
		reason += ", " + statusName(attrValue(sub, "Value"))
	}
	return refuse(fault.Unauthenticated, CheckStatus, "The identity provider did not sign you in: "+reason).
		WithMend("try again; if it stays, ask the administrator of the identity provider")
}

// statusName gives the last part of a status code of saml-core-2.0-os section
// 3.2.2.2.
func statusName(uri string) string {
	name, ok := strings.CutPrefix(uri, "urn:oasis:names:tc:SAML:2.0:status:")
	if !ok {
		return "a status of its own"
	}
	switch name {
	case "Requester", "Responder", "VersionMismatch", "AuthnFailed", "InvalidAttrNameOrValue", "InvalidNameIDPolicy",
		"NoAuthnContext", "NoAvailableIDP", "NoPassive", "NoSupportedIDP", "PartialLogout", "ProxyCountExceeded",
		"RequestDenied", "RequestUnsupported", "RequestVersionDeprecated", "RequestVersionTooHigh", "RequestVersionTooLow",
		"ResourceNotRecognized", "TooManyResponses", "UnknownAttrProfile", "UnknownPrincipal", "UnsupportedBinding":
		return name
	}
	return "a status of its own"
}
