package forge

import (
	"crypto"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"strings"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"

	"carnet.dev/carnet/internal/edge/devidp"
)

const algorithms = "http://www.w3.org/2001/04/xmldsig-more#"

// signatures are attacks on whether, by whom and how the thing is signed.
func (m *maker) signatures() {
	add := func(name, check string, raw []byte) { m.add("signature", name, check, raw) }
	add("nothing is signed", "saml.unsigned", m.answer(func(a *devidp.Answer) { a.SignAssertion = false }))
	add("signature removed from the assertion", "saml.unsigned", m.changed(func(_, as *etree.Element) { remove(m.find(as, "./Signature")) }))
	add("signature removed from the response", "saml.unsigned", m.changedReply(func(r, _ *etree.Element) { remove(m.find(r, "./Signature")) }))

	add("signed by a foreign key, its certificate in KeyInfo", "saml.signature", m.signedBy(m.evil, noChange))
	add("signed by a foreign key, the true certificate in KeyInfo", "saml.signature", m.foreign(func(s *etree.Element) {
		m.find(s, "./KeyInfo/X509Data/X509Certificate").SetText(base64.StdEncoding.EncodeToString(m.idp.Certificate.Raw))
	}))
	add("signed by a foreign key, no KeyInfo", "saml.signature", m.foreign(func(s *etree.Element) { remove(m.find(s, "./KeyInfo")) }))
	add("signed by a foreign key, RetrievalMethod in KeyInfo", "saml.signature", m.foreign(func(s *etree.Element) {
		k := m.find(s, "./KeyInfo")
		k.CreateElement("ds:RetrievalMethod").CreateAttr("URI", "http://127.0.0.1:1/key")
	}))
	add("signed by a foreign key, bare RSA key in KeyInfo", "saml.signature", m.foreign(func(s *etree.Element) {
		k := m.find(s, "./KeyInfo")
		remove(m.find(k, "./X509Data"))
		k.CreateElement("ds:KeyValue").CreateElement("ds:RSAKeyValue").CreateElement("ds:Modulus").SetText("AQAB")
	}))

	add("true assertion signature, foreign response signature", "saml.signature", m.changed(func(r, _ *etree.Element) { m.fatal(m.evil.Sign(r)) }))
	add("true response signature, foreign assertion signature", "saml.signature", m.builtReply(func(_, as *etree.Element) { m.fatal(m.evil.Sign(as)) }))
	add("signature value with one bit flipped", "saml.signature", m.changed(func(_, as *etree.Element) { m.flip(m.find(as, "./Signature/SignatureValue")) }))
	add("signature value empty", "saml.signature", m.changed(func(_, as *etree.Element) { m.find(as, "./Signature/SignatureValue").SetText("") }))
	add("signature value not base64", "saml.signature-shape", m.changed(func(_, as *etree.Element) { m.find(as, "./Signature/SignatureValue").SetText("%%%") }))
	add("digest of another document", "saml.signature", m.changed(func(_, as *etree.Element) {
		m.flip(m.find(as, "./Signature/SignedInfo/Reference/DigestValue"))
	}))
	add("digest of the changed document, not signed again", "saml.signature", m.changed(func(_, as *etree.Element) {
		m.find(as, "./Subject/NameID").SetText("mallory")
		m.redigest(as, crypto.SHA256)
	}))
	add("signature of another response of the same IdP", "saml.signature-shape", m.changed(func(_, as *etree.Element) {
		other := m.find(m.parse(m.answer(noChange)), "./Assertion/Signature").Copy()
		remove(m.find(as, "./Signature"))
		as.InsertChildAt(1, other)
	}))
	m.methods(add)
	m.changedFields(add)
}

// foreign signs an honest answer with the attacker's key and then changes the
// signature.
func (m *maker) foreign(change func(signature *etree.Element)) []byte {
	r := m.parse(m.signedBy(m.evil, noChange))
	change(m.find(r, "./Assertion/Signature"))
	return m.write(r)
}

func (m *maker) flip(el *etree.Element) {
	raw, err := base64.StdEncoding.DecodeString(el.Text())
	m.fatal(err)
	raw[len(raw)/2] ^= 1
	el.SetText(base64.StdEncoding.EncodeToString(raw))
}

// methods are algorithms outside the allow-list.
func (m *maker) methods(add func(name, check string, raw []byte)) {
	method := func(uri string) []byte {
		return m.resigned(func(_, info *etree.Element) { m.find(info, "./SignatureMethod").CreateAttr("Algorithm", uri) })
	}
	add("RSA with SHA-1", "saml.algorithm", method(dsig.RSASHA1SignatureMethod))
	add("RSA with MD5", "saml.algorithm", method(algorithms+"rsa-md5"))
	add("signature method unknown", "saml.algorithm", method("urn:none"))
	add("signature method empty", "saml.algorithm", method(""))
	add("SHA-1 digest", "saml.algorithm", m.changed(func(_, as *etree.Element) {
		m.find(as, "./Signature/SignedInfo/Reference/DigestMethod").CreateAttr("Algorithm", "http://www.w3.org/2000/09/xmldsig#sha1")
		m.redigest(as, crypto.SHA1)
		m.resign(m.find(as, "./Signature"))
	}))
	for name, key := range map[string][]byte{
		"DER":  m.idp.Certificate.Raw,
		"PEM":  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: m.idp.Certificate.Raw}),
		"SPKI": m.idp.Certificate.RawSubjectPublicKeyInfo,
	} {
		add("HMAC keyed with the public certificate as "+name, "saml.algorithm", m.changed(func(_, as *etree.Element) {
			m.find(as, "./Subject/NameID").SetText("mallory")
			m.redigest(as, crypto.SHA256)
			info := m.find(as, "./Signature/SignedInfo")
			m.find(info, "./SignatureMethod").CreateAttr("Algorithm", algorithms+"hmac-sha256")
			mac := hmac.New(sha256.New, key)
			mac.Write(m.canonical(info))
			m.find(as, "./Signature/SignatureValue").SetText(base64.StdEncoding.EncodeToString(mac.Sum(nil)))
		}))
	}
	add("HMACOutputLength 0", "saml.signature-shape", m.resigned(func(_, info *etree.Element) {
		m.find(info, "./SignatureMethod").CreateElement("ds:HMACOutputLength").SetText("0")
	}))
}

// changedFields changes what an attacker would want to change.
func (m *maker) changedFields(add func(name, check string, raw []byte)) {
	for _, path := range []string{
		"./Subject/NameID", "./Conditions/AudienceRestriction/Audience", "./AttributeStatement/Attribute/AttributeValue",
		"./AuthnStatement/AuthnContext/AuthnContextClassRef",
	} {
		add("signed text changed: "+strings.TrimPrefix(path, "./"), "saml.signature", m.changed(func(_, as *etree.Element) {
			m.find(as, path).SetText("arn:aws:iam::111122223333:role/admin")
		}))
	}
	for path, name := range map[string]string{
		"./Conditions": "NotOnOrAfter", "./AuthnStatement": "SessionNotOnOrAfter", ".": "IssueInstant",
		"./Subject/SubjectConfirmation/SubjectConfirmationData": "NotOnOrAfter",
	} {
		add("signed time changed: "+name+" of "+path, "saml.signature", m.changed(func(_, as *etree.Element) {
			el := as
			if path != "." {
				el = m.find(as, path)
			}
			el.CreateAttr(name, "2099-01-01T00:00:00Z")
		}))
	}
	add("an attribute value added", "saml.signature", m.changed(func(_, as *etree.Element) {
		m.find(as, "./AttributeStatement/Attribute").CreateElement("saml:AttributeValue").SetText(m.role)
	}))
	add("an attribute statement added", "saml.signature", m.changed(func(_, as *etree.Element) {
		as.CreateElement("saml:AttributeStatement").CreateElement("saml:Attribute").CreateAttr("Name", "groups")
	}))
	add("white space added inside the assertion", "saml.signature", m.changed(func(_, as *etree.Element) { as.CreateText("\n ") }))
	add("assertion removed from a signed response", "saml.shape", m.changedReply(func(_, as *etree.Element) { remove(as) }))
	add("response attribute changed in a signed response", "saml.signature", m.changedReply(func(r, _ *etree.Element) { r.CreateAttr("Consent", "urn:x") }))
}

// references are signatures of forms that nobody needs, made with the true key.
func (m *maker) references() {
	add := func(name string, change func(signature, info *etree.Element)) {
		m.add("reference", name, "saml.signature-shape", m.resigned(change))
	}
	uri := func(value string) func(_, info *etree.Element) {
		return func(_, info *etree.Element) { m.find(info, "./Reference").CreateAttr("URI", value) }
	}
	transform := func(i int, value string) func(_, info *etree.Element) {
		return func(_, info *etree.Element) {
			info.FindElements("./Reference/Transforms/Transform")[i].CreateAttr("Algorithm", value)
		}
	}
	add("no reference", func(_, info *etree.Element) { remove(m.find(info, "./Reference")) })
	add("two references", func(_, info *etree.Element) { info.AddChild(m.find(info, "./Reference").Copy()) })
	add("reference without URI", func(_, info *etree.Element) { m.find(info, "./Reference").RemoveAttr("URI") })
	add("reference to the whole document", uri(""))
	add("reference to a file", uri("file:///etc/passwd"))
	add("reference to a server", uri("http://127.0.0.1:1/x"))
	add("reference by xpointer", uri("#xpointer(/)"))
	add("reference to an ID that does not exist", uri("#_nobody"))
	add("reference with a second fragment", uri("#a#b"))
	for name, alg := range map[string]string{
		"XPath": "http://www.w3.org/TR/1999/REC-xpath-19991116", "XPath filter": "http://www.w3.org/2002/06/xmldsig-filter2",
		"XSLT": "http://www.w3.org/TR/1999/REC-xslt-19991116", "base64": dsig.Namespace + "base64",
		"inclusive canonicalization": "http://www.w3.org/TR/2001/REC-xml-c14n-20010315", "nothing": "",
		"a second enveloped signature": dsig.Namespace + "enveloped-signature",
	} {
		add("transform is "+name, transform(1, alg))
	}
	add("first transform is canonicalization", transform(0, dsig.CanonicalXML10ExclusiveAlgorithmId.String()))
	add("no transforms", func(_, info *etree.Element) { remove(m.find(info, "./Reference/Transforms")) })
	add("one transform", func(_, info *etree.Element) { remove(m.find(info, "./Reference/Transforms/Transform")) })
	add("three transforms", func(_, info *etree.Element) {
		t := m.find(info, "./Reference/Transforms")
		t.AddChild(t.ChildElements()[1].Copy())
	})
	add("enveloped transform with an XPath inside", func(_, info *etree.Element) {
		m.find(info, "./Reference/Transforms/Transform").CreateElement("ds:XPath").SetText("self::text()")
	})
	add("inclusive canonicalization of SignedInfo", func(_, info *etree.Element) {
		m.find(info, "./CanonicalizationMethod").CreateAttr("Algorithm", "http://www.w3.org/TR/2001/REC-xml-c14n-20010315")
	})
	add("digest method with parameters", func(_, info *etree.Element) {
		m.find(info, "./Reference/DigestMethod").CreateElement("ds:X")
	})
	add("element inside DigestValue", func(_, info *etree.Element) { m.find(info, "./Reference/DigestValue").CreateElement("ds:X") })
	add("two DigestValues", func(_, info *etree.Element) {
		r := m.find(info, "./Reference")
		r.AddChild(m.find(r, "./DigestValue").Copy())
	})
	add("manifest reference beside", func(_, info *etree.Element) { info.CreateElement("ds:Manifest") })
	add("two SignedInfo", func(s, info *etree.Element) { s.InsertChildAt(0, info.Copy()) })
	add("two SignatureValues", func(s, _ *etree.Element) { s.AddChild(m.find(s, "./SignatureValue").Copy()) })
	add("an Object in the signature", func(s, _ *etree.Element) { s.CreateElement("ds:Object") })
	add("two KeyInfo", func(s, _ *etree.Element) { s.AddChild(m.find(s, "./KeyInfo").Copy()) })
	add("text in the signature", func(s, _ *etree.Element) { s.CreateText("x") })
	add("SignedInfo of another namespace", func(_, info *etree.Element) { another(info, "urn:x") })

	m.add("reference", "comment in DigestValue", "saml.xml", m.resigned(func(_, info *etree.Element) {
		m.find(info, "./Reference/DigestValue").CreateComment("x")
	}))
	m.add("reference", "DigestValue smuggled into StatusDetail", "saml.signature", m.changed(func(r, as *etree.Element) {
		value := m.find(as, "./Signature/SignedInfo/Reference/DigestValue")
		smuggled := value.Copy()
		inherit(smuggled, value.Parent())
		m.find(r, "./Status").CreateElement("samlp:StatusDetail").AddChild(smuggled)
		m.find(as, "./Subject/NameID").SetText("mallory")
	}))
}
