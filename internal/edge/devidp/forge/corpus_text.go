package forge

import (
	"fmt"
	"strings"
	"unicode/utf16"

	"github.com/beevik/etree"
)

// texts are attacks on how the text of a signed element is read: canonical
// form drops comments, and a reader that stops at one reads a shorter name
// (CVE-2018-0489, CVE-2017-11427 to 11430).
func (m *maker) texts() {
	add := func(name, check, old, replacement string) { m.add("text", name, check, m.edited(old, replacement)) }
	add("comment inside NameID", "saml.xml", ">alice</saml:NameID>", ">ali<!-- -->ce</saml:NameID>")
	add("comment before NameID's text", "saml.xml", ">alice</saml:NameID>", "><!---->alice</saml:NameID>")
	add("comment inside Audience", "saml.xml", "/saml/consume</saml:Audience>", "/saml/<!---->consume</saml:Audience>")
	add("comment inside a role", "saml.xml", "role/analyst", "role/ana<!---->lyst")
	add("comment between elements", "saml.xml", "<saml:Subject>", "<!-- x --><saml:Subject>")
	add("processing instruction inside NameID", "saml.xml", ">alice</saml:NameID>", ">ali<?x y?>ce</saml:NameID>")
	add("element inside NameID", "saml.signature", ">alice</saml:NameID>", ">ali<b/>ce</saml:NameID>")
	add("NUL in NameID", "saml.xml", ">alice</saml:NameID>", ">alice\x00</saml:NameID>")
	add("NUL by reference in NameID", "saml.xml", ">alice</saml:NameID>", ">alice&#0;</saml:NameID>")
	add("zero width space in NameID", "saml.signature", ">alice</saml:NameID>", ">ali\u200bce</saml:NameID>")
	add("surrogate by reference", "saml.xml", ">alice</saml:NameID>", ">alice&#xD800;</saml:NameID>")
	add("broken UTF-8", "saml.xml", ">alice</saml:NameID>", ">alice\xff</saml:NameID>")
	add("overlong UTF-8", "saml.xml", ">alice</saml:NameID>", ">alice\xc0\xaf</saml:NameID>")
	add("vertical tab", "saml.xml", ">alice</saml:NameID>", ">alice\v</saml:NameID>")
	add("]]> in text", "saml.xml", ">alice</saml:NameID>", ">alice]]></saml:NameID>")
}

// parser are attacks on the XML reader: two readers that understand a document
// differently (CVE-2020-29509 to 29511, CVE-2025-25291, CVE-2025-66568).
func (m *maker) parser() {
	add := func(name, check string, raw []byte) { m.add("parser", name, check, raw) }
	honest := string(m.answer(noChange))
	before := func(prefix string) []byte { return []byte(prefix + honest) }
	for name, dtd := range map[string]string{
		"plain": `<!DOCTYPE r>`, "with an entity": `<!DOCTYPE r [<!ENTITY e "x">]>`, "external": `<!DOCTYPE r SYSTEM "http://127.0.0.1:1/x">`,
		"in lower case": `<!doctype r>`, "with quotes and a comment": `<!DOCTYPE r [<!ENTITY a '"'><!-- " -->]>`, "as a bare element declaration": `<!ELEMENT r ANY>`,
	} {
		add("document type "+name, "saml.dtd", before(dtd))
	}
	add("billion laughs", "saml.dtd", before(`<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>`))
	add("document type inside the root", "saml.dtd", m.edited("<saml:Subject>", `<!DOCTYPE r><saml:Subject>`))
	add("entity in NameID", "saml.xml", m.edited(">alice</saml:NameID>", ">&admin;</saml:NameID>"))
	add("entity in ID", "saml.xml", m.edited(`Version="2.0"`, `Version="&v;"`))
	add("processing instruction before the root", "saml.xml", before("<?php x?>"))
	add("stylesheet instruction", "saml.xml", before(`<?xml-stylesheet href="x"?>`))
	add("XML declaration twice", "saml.xml", before(`<?xml version="1.0"?><?xml version="1.0"?>`))
	add("XML declaration after a space", "saml.xml", before(` <?xml version="1.0"?>`))
	add("XML 1.1", "saml.xml", before(`<?xml version="1.1"?>`))
	add("declared as ISO 8859-1", "saml.xml", before(`<?xml version="1.0" encoding="iso-8859-1"?>`))
	add("declared as UTF-7", "saml.xml", before(`<?xml version="1.0" encoding="utf-7"?>`))
	add("UTF-16", "saml.xml", inUTF16(honest))
	add("byte order mark", "saml.xml", before("\xef\xbb\xbf"))
	add("text before the root", "saml.xml", before("x"))
	add("text after the root", "saml.xml", []byte(honest+"x"))
	add("two roots", "saml.xml", []byte(honest+honest))
	add("comment after the root", "saml.xml", []byte(honest+"<!-- x -->"))
	add("document cut short", "saml.xml", []byte(honest[:len(honest)-20]))
	add("empty", "saml.xml", nil)
	add("HTML", "saml.xml", []byte("<!-- x --><html><br></html>"))
	add("JSON", "saml.xml", []byte(`{"NameID":"alice"}`))
	add("undeclared prefix", "saml.xml", m.edited("<saml:Subject>", `<saml:Subject x:y="z">`))
	add("relative namespace", "saml.xml", m.edited("<saml:Subject>", `<saml:Subject xmlns:x="1">`))
	add("broken namespace", "saml.xml", m.edited("<saml:Subject>", `<saml:Subject xmlns:x="urn: &lt;x">`))
	add("prefix undeclared again", "saml.xml", m.edited("<saml:Subject>", `<saml:Subject xmlns:saml="">`))
	add("xml prefix bound elsewhere", "saml.xml", m.edited("<saml:Subject>", `<saml:Subject xmlns:xml="urn:x">`))
	add("xmlns prefix bound", "saml.xml", m.edited("<saml:Subject>", `<saml:Subject xmlns:xmlns="urn:x">`))
	add("namespace of namespaces bound", "saml.xml", m.edited("<saml:Subject>", `<saml:Subject xmlns:x="http://www.w3.org/2000/xmlns/">`))
	add("attribute twice", "saml.xml", m.edited(`<saml:Conditions `, `<saml:Conditions NotOnOrAfter="2099-01-01T00:00:00Z" `))
	add("attribute twice by two prefixes", "saml.xml", m.edited("<saml:Subject>", `<saml:Subject xmlns:a="urn:x" xmlns:b="urn:x" a:c="1" b:c="2">`))
	add("name with two colons", "saml.xml", m.edited("<saml:Subject>", `<saml:Subject><x::y/>`))
	add("name that begins with a colon", "saml.xml", m.edited("<saml:Subject>", `<saml:Subject :x="y">`))
	add("name that ends with a colon", "saml.xml", m.edited("<saml:Subject>", `<saml:Subject x:="y">`))
	add("attribute without quotes", "saml.xml", m.edited(`<saml:Subject>`, `<saml:Subject x=y>`))
	add("attributes without space between", "saml.xml", m.edited(`<saml:Subject>`, `<saml:Subject x="1"y="2">`))
	add("end tag of another element", "saml.xml", m.edited("</saml:Subject>", "</saml:Conditions>"))
	add("end tag by another prefix", "saml.xml", m.edited("</saml:Subject>", "</x:Subject>"))
	add("XInclude for the NameID", "saml.signature", m.edited(">alice</saml:NameID>", `><xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="file:///etc/hostname" parse="text"/></saml:NameID>`))
	add("undeclared default namespace on the subject", "saml.signature", m.edited("<saml:Subject>", `<saml:Subject xmlns="">x`))
}

// exhaustion are inputs that cost a careless reader seconds or gigabytes,
// before any signature is looked at.
func (m *maker) exhaustion() {
	add := func(name, check string, raw []byte) { m.add("exhaustion", name, check, raw) }
	inSubject := func(s string) []byte { return m.edited("<saml:Subject>", s+"<saml:Subject>") }
	add("20,000 nested elements", "saml.limits", inSubject(strings.Repeat("<x>", 20000)+strings.Repeat("</x>", 20000)))
	add("20,000 attributes on one element", "saml.limits", inSubject("<x"+numbered(" a%d=''", 20000)+"/>"))
	add("10,000 attribute elements", "saml.limits", inSubject(numbered(`<saml:Attribute Name="%d"/>`, 10000)))
	add("10 MB of text", "saml.size", inSubject(strings.Repeat("x", 10<<20)))
	add("2,000 namespaces", "saml.limits", inSubject("<x"+numbered(" xmlns:n%d='urn:x'", 2000)+"/>"))
	add("40 namespaces in scope, over several elements", "saml.limits",
		inSubject("<a"+numbered(" xmlns:a%d='urn:x'", 20)+"><b"+numbered(" xmlns:b%d='urn:x'", 20)+"/></a>"))
	add("an attribute value of 2 MB", "saml.size", m.edited(`Version="2.0"`, `Version="`+strings.Repeat("2", 2<<20)+`"`))
	add("5,000 transforms", "saml.limits", m.resigned(func(_, info *etree.Element) {
		t := m.find(info, "./Reference/Transforms")
		one := t.ChildElements()[1]
		for range 5000 {
			t.AddChild(one.Copy())
		}
	}))
	add("500 transforms", "saml.signature-shape", m.resigned(func(_, info *etree.Element) {
		t := m.find(info, "./Reference/Transforms")
		one := t.ChildElements()[1]
		for range 500 {
			t.AddChild(one.Copy())
		}
	}))
	add("300 references", "saml.signature-shape", m.resigned(func(_, info *etree.Element) {
		r := m.find(info, "./Reference")
		for range 300 {
			info.AddChild(r.Copy())
		}
	}))
	add("200 signatures", "saml.signature-place", m.changed(func(_, as *etree.Element) {
		s := m.find(as, "./Signature")
		for range 200 {
			as.AddChild(s.Copy())
		}
	}))
	add("a name of 100,000 letters", "saml.xml", inSubject("<"+strings.Repeat("a", 100000)))
}

func numbered(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

func inUTF16(s string) []byte {
	out := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(s)) {
		out = append(out, byte(u), byte(u>>8))
	}
	return out
}
