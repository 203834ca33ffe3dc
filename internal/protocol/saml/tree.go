package saml

import (
	"errors"
	"regexp"
	"strings"
	"time"

	"github.com/beevik/etree"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/xmlsafe"
)

// Namespaces of SAML 2.0, XML signatures and XML encryption.
const (
	nsProtocol  = "urn:oasis:names:tc:SAML:2.0:protocol"
	nsAssertion = "urn:oasis:names:tc:SAML:2.0:assertion"
	nsMetadata  = "urn:oasis:names:tc:SAML:2.0:metadata"
	nsSignature = "http://www.w3.org/2000/09/xmldsig#"
	nsExclusive = "http://www.w3.org/2001/10/xml-exc-c14n#"

	nsSignatureMore = "http://www.w3.org/2001/04/xmldsig-more#"

	nsEncryption   = "http://www.w3.org/2001/04/xmlenc#"
	nsEncryption11 = "http://www.w3.org/2009/xmlenc11#"
)

// responseLimits leaves room for MaxRoles values beside a thousand groups, each
// with the three declarations that some identity providers repeat per value.
func responseLimits(maxBytes int) xmlsafe.Limits {
	if maxBytes <= 0 {
		maxBytes = MaxResponse
	}
	return xmlsafe.Limits{Bytes: maxBytes, Depth: 24, Elements: 4096, Attributes: 16384, PerElement: 24, Prefixes: 32}
}

// parseTree admits a document and names what is wrong with it.
func parseTree(raw []byte, l xmlsafe.Limits) (*etree.Element, error) {
	root, err := xmlsafe.Parse(raw, l)
	if err == nil {
		return root, nil
	}
	var x *xmlsafe.Error
	if !errors.As(err, &x) {
		return nil, fault.Wrap(err, fault.Invalid, "The document is not XML that we read").WithCode(CheckXML)
	}
	kind, check := fault.Invalid, CheckXML
	switch x.Reason {
	case xmlsafe.TooLarge:
		kind, check = fault.TooLarge, CheckSize
	case xmlsafe.TooMany:
		kind, check = fault.TooLarge, CheckLimits
	case xmlsafe.Declared:
		check = CheckDTD
	}
	return nil, refuse(kind, check, "The document is not XML that we read: "+string(x.Reason)+", "+x.Detail).WithCause(err)
}

// is reports whether el is the element tag of the namespace.
func is(el *etree.Element, namespace, tag string) bool {
	return el.Tag == tag && el.NamespaceURI() == namespace
}

// attr reads an attribute without prefix; etree's own look-up would also take
// one of another namespace.
func attr(el *etree.Element, name string) (string, bool) {
	for i := range el.Attr {
		if el.Attr[i].Space == "" && el.Attr[i].Key == name {
			return el.Attr[i].Value, true
		}
	}
	return "", false
}

func attrValue(el *etree.Element, name string) string {
	v, _ := attr(el, name)
	return v
}

// text gives the whole text of an element that holds nothing else; false when
// it holds elements, which must never cut a name short.
func text(el *etree.Element) (string, bool) {
	s := ""
	for _, t := range el.Child {
		c, ok := t.(*etree.CharData)
		if !ok {
			return "", false
		}
		s += c.Data
	}
	return s, true
}

// children gives the elements inside el; false when there is text beside them.
func children(el *etree.Element) ([]*etree.Element, bool) {
	out := make([]*etree.Element, 0, len(el.Child))
	for _, t := range el.Child {
		switch t := t.(type) {
		case *etree.Element:
			out = append(out, t)
		case *etree.CharData:
			if strings.TrimSpace(t.Data) != "" {
				return nil, false
			}
		}
	}
	return out, true
}

// named gives the elements of one name directly inside el.
func named(el *etree.Element, namespace, tag string) []*etree.Element {
	var out []*etree.Element
	for _, t := range el.Child {
		if c, ok := t.(*etree.Element); ok && is(c, namespace, tag) {
			out = append(out, c)
		}
	}
	return out
}

// one gives the only element of a name directly inside el, nil when there is
// none or more than one.
func one(el *etree.Element, namespace, tag string) *etree.Element {
	if found := named(el, namespace, tag); len(found) == 1 {
		return found[0]
	}
	return nil
}

// instant reads an xs:dateTime, which SAML wants in UTC (saml-core-2.0-os
// section 1.3.3); a stated offset is understood.
func instant(s string) (time.Time, bool) {
	if len(s) > 40 {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.Year() < 2000 {
		return time.Time{}, false
	}
	return t.UTC(), true
}

var asciiID = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)

// isID holds for the ASCII part of xs:ID.
func isID(s string) bool { return len(s) <= 256 && asciiID.MatchString(s) }

// clip bounds what a public text repeats of outside input.
func clip(s string) string { return fault.Clip(s) }
