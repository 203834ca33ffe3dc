package saml

import (
	"regexp"
	"strings"

	"github.com/beevik/etree"

	"carnet.dev/carnet/internal/core/fault"
)

// envelope is a response of the one shape that we take: exactly one assertion,
// in the clear or encrypted, directly inside it, and at most one signature on
// each of the two. Nothing in it is verified yet.
type envelope struct {
	response, assertion, sealed           *etree.Element // one of assertion and sealed
	responseSignature, assertionSignature *etree.Element
}

// census counts what may exist once only, wherever it hides.
type census struct {
	ids        map[string]bool
	assertions int // encrypted ones too
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
	case strings.EqualFold(el.Tag, "Assertion"), strings.EqualFold(el.Tag, "EncryptedAssertion"):
		c.assertions++
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
	e := &envelope{response: root, assertion: one(root, nsAssertion, "Assertion"), sealed: one(root, nsAssertion, "EncryptedAssertion")}
	if c.assertions != 1 || (e.assertion == nil && e.sealed == nil) {
		return nil, refuse(fault.Invalid, CheckShape, "The response has to hold exactly one assertion, directly inside it")
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
			is(p, nsProtocol, "Status") || p == e.assertion || p == e.sealed
		if !known || seen[p.Tag] {
			return refuse(fault.Invalid, CheckShape, "The response holds an unknown part, or one twice")
		}
		seen[p.Tag] = true
	}
	for _, el := range []*etree.Element{e.response, e.assertion} {
		switch {
		case el == nil:
		case attrValue(el, "Version") != "2.0":
			return refuse(fault.Invalid, CheckVersion, "Response and assertion have to be of SAML version 2.0")
		case !isID(attrValue(el, "ID")):
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
		case e.assertion != nil && s.Parent() == e.assertion && e.assertionSignature == nil:
			e.assertionSignature = s
		default:
			return refuse(fault.Invalid, CheckSignaturePlace, "There is a signature where none may be: want one directly in the response, the assertion, or each")
		}
	}
	return nil
}

// checkStatus reads what the identity provider says of itself. The texts come
// from an unsigned place, so only the names of codes are repeated.
func checkStatus(response *etree.Element) error {
	code, sub, err := statusCodes(response)
	if err != nil || code == StatusSuccess {
		return err
	}
	name := statusName(code)
	if sub != "" {
		name += ", " + statusName(sub)
	}
	return refuse(fault.Unauthenticated, CheckStatus, "The identity provider did not sign you in: "+name)
}

// statusCodes gives the status code and the one inside it, which may be missing
// (saml-core-2.0-os section 3.2.2.2).
func statusCodes(message *etree.Element) (code, sub string, err error) {
	if status := one(message, nsProtocol, "Status"); status != nil {
		if outer := one(status, nsProtocol, "StatusCode"); outer != nil {
			code = attrValue(outer, "Value")
			if inner := one(outer, nsProtocol, "StatusCode"); inner != nil {
				sub = attrValue(inner, "Value")
			}
			return code, sub, nil
		}
	}
	return "", "", refuse(fault.Invalid, CheckStatus, "The message has no status, or several")
}

var statusURN = regexp.MustCompile(`^urn:oasis:names:tc:SAML:2\.0:status:([A-Za-z]{1,32})$`)

func statusName(urn string) string {
	if name := statusURN.FindStringSubmatch(urn); name != nil {
		return name[1]
	}
	return "a status of its own"
}
