package forge

import (
	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
)

const (
	nsAssertion  = "urn:oasis:names:tc:SAML:2.0:assertion"
	nsProtocol   = "urn:oasis:names:tc:SAML:2.0:protocol"
	nsEncryption = "http://www.w3.org/2001/04/xmlenc#"
)

// customary are the prefixes that the cases write. A document that binds them
// to nothing has others for the same namespaces.
var customary = map[string]string{"saml": nsAssertion, "samlp": nsProtocol, "ds": dsig.Namespace, "xenc": nsEncryption}

// settle gives elements with a customary prefix that is not declared where
// they stand the document's own prefix for its namespace, or declares it. What
// is declared is left alone, however odd.
func (m *maker) settle(root *etree.Element) {
	for _, el := range append([]*etree.Element{root}, root.FindElements(".//*")...) {
		namespace, known := customary[el.Space]
		if !known || bound(el, el.Space) != "" || undeclared(el, el.Space) {
			continue
		}
		if prefix, ok := prefixOf(el, namespace); ok {
			el.Space = prefix
			continue
		}
		el.CreateAttr("xmlns:"+el.Space, namespace)
	}
}

// bound gives what a prefix stands for at an element.
func bound(el *etree.Element, prefix string) string {
	for ; el != nil; el = el.Parent() {
		for _, a := range el.Attr {
			if isDeclaration(a, prefix) {
				return a.Value
			}
		}
	}
	return ""
}

// undeclared reports that some element above takes the prefix back on purpose.
func undeclared(el *etree.Element, prefix string) bool {
	for ; el != nil; el = el.Parent() {
		for _, a := range el.Attr {
			if isDeclaration(a, prefix) {
				return true
			}
		}
	}
	return false
}

func isDeclaration(a etree.Attr, prefix string) bool {
	if prefix == "" {
		return a.Space == "" && a.Key == "xmlns"
	}
	return a.Space == "xmlns" && a.Key == prefix
}

// prefixOf finds a prefix, or none, that stands for a namespace at an element.
func prefixOf(el *etree.Element, namespace string) (string, bool) {
	for above := el; above != nil; above = above.Parent() {
		for _, a := range above.Attr {
			prefix, declares := a.Key, a.Space == "xmlns"
			if a.Space == "" && a.Key == "xmlns" {
				prefix, declares = "", true
			}
			if declares && a.Value == namespace && bound(el, prefix) == namespace {
				return prefix, true
			}
		}
	}
	return "", false
}

// inherit declares on el what is in scope above it.
func inherit(el, above *etree.Element) {
	for ; above != nil; above = above.Parent() {
		for _, a := range above.Attr {
			if a.Space != "xmlns" && (a.Space != "" || a.Key != "xmlns") {
				continue
			}
			if el.SelectAttr(a.FullKey()) == nil {
				el.CreateAttr(a.FullKey(), a.Value)
			}
		}
	}
}

// declare makes an element stand by itself: it declares what it inherits.
func declare(el *etree.Element) { inherit(el, el.Parent()) }

func root(el *etree.Element) *etree.Element {
	for el.Parent() != nil {
		el = el.Parent()
	}
	return el
}
