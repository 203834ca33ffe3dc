package forge

import (
	"crypto"
	"fmt"
	"strings"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"

	"carnet.dev/carnet/internal/edge/devidp"
)

// honestVariants are the same statement in the forms that identity providers
// write it: each has to be taken, with the same facts.
func (m *maker) honestVariants() {
	add := func(name string, raw []byte) { m.add("honest", name, "", raw) }
	add("as it came, assertion signed", m.source.Assertion)
	add("as it came, response signed", m.source.Response)
	add("assertion signed", m.answer(noChange))
	add("response signed", m.answer(func(a *devidp.Answer) { a.SignAssertion, a.SignReply = false, true }))
	add("both signed", m.answer(func(a *devidp.Answer) { a.SignReply = true }))
	add("no destination", m.answer(func(a *devidp.Answer) { a.Destination = "" }))
	add("no end of the login session", m.answer(func(a *devidp.Answer) { a.SessionNotOnOrAfter = time.Time{} }))
	add("two audiences, ours first", m.answer(func(a *devidp.Answer) { a.Audiences = []string{m.acs, "https://signin.aws.amazon.com/saml"} }))
	add("two audiences, ours second", m.answer(func(a *devidp.Answer) { a.Audiences = []string{"https://signin.aws.amazon.com/saml", m.acs} }))
	add("with an XML declaration", append([]byte(`<?xml version="1.0" encoding="UTF-8" standalone="no"?>`+"\n"), m.answer(noChange)...))
	add("with line breaks around", []byte("\n"+string(m.answer(noChange))+"\r\n"))
	add("900 roles", m.answer(func(a *devidp.Answer) {
		values := []string{m.role}
		for i := len(values); i < 900; i++ {
			values = append(values, fmt.Sprintf("arn:aws:iam::111122223333:role/r%03d,arn:aws:iam::111122223333:saml-provider/corp", i))
		}
		a.Attributes[0].Values = values
	}))
	m.honestDocuments(add)
	m.honestSignatures(add)
}

// honestDocuments differ in how the document is written.
func (m *maker) honestDocuments(add func(name string, raw []byte)) {
	add("pretty-printed, assertion signed", m.built(func(_, as *etree.Element) { indent(as) }))
	add("pretty-printed, response signed", m.builtReply(func(r, _ *etree.Element) { indent(r) }))
	add("namespaces declared on the response only", m.inherited())
	add("prefixes that nobody expects", m.renamed())
	add("values typed as xs:string, prefix kept by list", m.typed())
	add("restrictions twice, ours in both", m.built(func(_, as *etree.Element) {
		c := m.find(as, "./Conditions")
		c.AddChild(m.find(c, "./AudienceRestriction").Copy())
	}))
	add("OneTimeUse and ProxyRestriction", m.built(func(_, as *etree.Element) {
		c := m.find(as, "./Conditions")
		c.CreateElement("saml:OneTimeUse")
		c.CreateElement("saml:ProxyRestriction").CreateAttr("Count", "0")
	}))
	add("a holder-of-key confirmation first", m.built(func(_, as *etree.Element) {
		c := m.find(as, "./Subject/SubjectConfirmation")
		other := c.Copy()
		other.CreateAttr("Method", "urn:oasis:names:tc:SAML:2.0:cm:holder-of-key")
		c.Parent().InsertChildAt(c.Index(), other)
	}))
	add("a bearer confirmation for another recipient first", m.built(func(_, as *etree.Element) {
		c := m.find(as, "./Subject/SubjectConfirmation")
		other := c.Copy()
		m.find(other, "./SubjectConfirmationData").CreateAttr("Recipient", "https://other.example")
		c.Parent().InsertChildAt(c.Index(), other)
	}))
	add("extensions and a status message", m.changed(func(r, _ *etree.Element) {
		e := etree.NewElement("samlp:Extensions")
		e.CreateElement("x:Hint").CreateAttr("xmlns:x", "urn:x")
		r.InsertChildAt(1, e)
		m.find(r, "./Status").CreateElement("samlp:StatusMessage").SetText("fine")
	}))
	add("times with an offset and without fraction", m.built(func(_, as *etree.Element) {
		as.CreateAttr("IssueInstant", m.now.Format("2006-01-02T15:04:05")+"+00:00")
	}))
	add("the same attribute name twice", m.built(func(_, as *etree.Element) {
		at := m.find(as, "./AttributeStatement/Attribute[@Name='"+AttrRoleSessionName+"']").Copy()
		at.CreateAttr("Name", "groups")
		m.find(as, "./AttributeStatement").AddChild(at)
		m.find(as, "./AttributeStatement").AddChild(at.Copy())
	}))
	add("a structured attribute value", m.built(func(_, as *etree.Element) {
		at := m.find(as, "./AttributeStatement").CreateElement("saml:Attribute")
		at.CreateAttr("Name", "urn:oid:1.3.6.1.4.1.5923.1.1.1.10")
		at.CreateElement("saml:AttributeValue").CreateElement("saml:NameID").SetText("x")
	}))
	add("NameID in CDATA", m.edited(">alice</saml:NameID>", "><![CDATA[ali]]>ce</saml:NameID>"))
	add("NameID by character references", m.edited(">alice</saml:NameID>", ">&#97;&#x6C;ice</saml:NameID>"))
}

// honestSignatures differ in how the signature is written.
func (m *maker) honestSignatures(add func(name string, raw []byte)) {
	signature := func(change func(s *etree.Element)) []byte {
		return m.changed(func(_, as *etree.Element) { change(m.find(as, "./Signature")) })
	}
	add("no KeyInfo", signature(func(s *etree.Element) { remove(m.find(s, "./KeyInfo")) }))
	add("a foreign certificate in KeyInfo", signature(func(s *etree.Element) { m.find(s, "./KeyInfo/X509Data/X509Certificate").SetText("AAAA") }))
	add("an Id on the signature", signature(func(s *etree.Element) { s.CreateAttr("Id", "_sig") }))
	add("signature at the end", signature(func(s *etree.Element) {
		as := s.Parent()
		as.RemoveChild(s)
		as.AddChild(s)
	}))
	add("signature value in indented lines", signature(func(s *etree.Element) {
		v := m.find(s, "./SignatureValue")
		v.SetText("\n    " + v.Text()[:64] + "\r\n    " + v.Text()[64:] + "\n")
	}))
	for _, h := range []struct {
		name   string
		hash   crypto.Hash
		digest string
	}{{"sha384", crypto.SHA384, algorithms + "sha384"}, {"sha512", crypto.SHA512, "http://www.w3.org/2001/04/xmlenc#sha512"}} {
		family := "rsa-"
		if strings.Contains(fmt.Sprintf("%T", m.idp.Key), "ecdsa") {
			family = "ecdsa-"
		}
		add("signed with "+h.name, m.changed(func(_, as *etree.Element) {
			m.find(as, "./Signature/SignedInfo/SignatureMethod").CreateAttr("Algorithm", algorithms+family+h.name)
			m.find(as, "./Signature/SignedInfo/Reference/DigestMethod").CreateAttr("Algorithm", h.digest)
			m.redigest(as, h.hash)
			m.resign(m.find(as, "./Signature"))
		}))
	}
	add("canonicalization with comments, of which there are none", m.resigned(func(_, info *etree.Element) {
		info.FindElements("./Reference/Transforms/Transform")[1].CreateAttr("Algorithm", dsig.CanonicalXML10ExclusiveWithCommentsAlgorithmId.String())
	}))
}

func indent(el *etree.Element) {
	el.IndentWithSettings(&etree.IndentSettings{Spaces: 2})
}

func (m *maker) unsigned() *etree.Element {
	r, _ := m.document(noChange)
	return r
}

// inherited signs an assertion whose namespace is declared on the response
// around it, as many identity providers do.
func (m *maker) inherited() []byte {
	r := m.signed(true, false)
	as := m.find(r, "./Assertion")
	inherit(r, as)
	for _, a := range append([]etree.Attr{}, as.Attr...) {
		if a.Space == "xmlns" && bound(r, a.Key) == a.Value {
			as.RemoveAttr(a.FullKey())
		}
	}
	return m.write(r)
}

// renamed signs a document that uses another prefix.
func (m *maker) renamed() []byte {
	r := m.unsigned()
	as := m.find(r, "./Assertion")
	for _, el := range append([]*etree.Element{r}, r.FindElements(".//*")...) {
		if bound(el, el.Space) == nsAssertion {
			el.Space = "a2"
		}
	}
	r.CreateAttr("xmlns:a2", nsAssertion)
	as.CreateAttr("xmlns:a2", nsAssertion)
	m.fatal(m.idp.Sign(as))
	return m.write(r)
}

// typed writes attribute values as several identity providers do: with a type
// whose prefix is not visibly used, and so is listed to be kept.
func (m *maker) typed() []byte {
	r := m.unsigned()
	as := m.find(r, "./Assertion")
	for _, v := range as.FindElements("./AttributeStatement/Attribute/AttributeValue") {
		v.CreateAttr("xmlns:xs", "http://www.w3.org/2001/XMLSchema")
		v.CreateAttr("xmlns:xsi", "http://www.w3.org/2001/XMLSchema-instance")
		v.CreateAttr("xsi:type", "xs:string")
	}
	m.fatal(m.idp.Sign(as))
	list := m.find(as, "./Signature/SignedInfo/Reference/Transforms").ChildElements()[1].CreateElement("ec:InclusiveNamespaces")
	list.CreateAttr("xmlns:ec", dsig.CanonicalXML10ExclusiveAlgorithmId.String())
	list.CreateAttr("PrefixList", "xs")
	m.find(as, "./Signature/SignedInfo/Reference/DigestValue").SetText(base64SHA256(m.canonicalWithout(as, "xs")))
	m.resign(m.find(as, "./Signature"))
	return m.write(r)
}
