package forge

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"

	"carnet.dev/carnet/internal/edge/devidp"
)

// Case is one response of the corpus.
type Case struct {
	Class, Name string
	// Check is the code of the check that has to refuse it; empty for honest
	// variants, which have to be taken.
	Check string
	Raw   []byte
}

// maker builds the corpus from answers that are honest but for one thing.
type maker struct {
	tb        testing.TB
	idp, evil *IdP
	requestID string
	now       time.Time
	cases     []Case
}

// Corpus gives responses to the request, attacks and honest variants, as the
// identity provider or an attacker without its key could make them now. The
// classes follow the published attacks on SAML implementations; each name says
// what is wrong.
func Corpus(tb testing.TB, idp *IdP, requestID string, now time.Time) []Case {
	tb.Helper()
	m := &maker{tb: tb, idp: idp, evil: New(tb, now), requestID: requestID, now: now}
	m.evil.EntityID = idp.EntityID
	m.honestVariants()
	m.signatures()
	m.references()
	m.wrapping()
	m.texts()
	m.parser()
	m.exhaustion()
	m.protocol()
	m.subjects()
	return m.cases
}

func (m *maker) add(class, name, check string, raw []byte) {
	m.cases = append(m.cases, Case{Class: class, Name: name, Check: check, Raw: raw})
}

func (m *maker) fatal(err error) {
	m.tb.Helper()
	if err != nil {
		m.tb.Fatal(err)
	}
}

func (m *maker) write(root *etree.Element) []byte {
	raw, err := devidp.Serialize(root)
	m.fatal(err)
	return raw
}

// answer signs an answer whose fields were changed.
func (m *maker) answer(change func(*devidp.Answer)) []byte {
	a := m.idp.Answer(m.requestID, m.now)
	change(&a)
	return m.idp.Respond(m.tb, a)
}

// built changes the document before the assertion is signed: what a broken or
// ill-configured identity provider sends.
func (m *maker) built(change func(response, assertion *etree.Element)) []byte {
	r := m.idp.Answer(m.requestID, m.now).Document()
	assertion := r.FindElement("./Assertion")
	change(r, assertion)
	m.fatal(m.idp.Sign(assertion))
	return m.write(r)
}

// builtReply is built with the response signed instead.
func (m *maker) builtReply(change func(response, assertion *etree.Element)) []byte {
	r := m.idp.Answer(m.requestID, m.now).Document()
	change(r, r.FindElement("./Assertion"))
	m.fatal(m.idp.Sign(r))
	return m.write(r)
}

// changed changes a signed document: what an attacker without the key sends.
func (m *maker) changed(change func(response, assertion *etree.Element)) []byte {
	r := m.signed(true, false)
	change(r, r.FindElement("./Assertion"))
	return m.write(r)
}

// changedReply is changed with the response signed instead.
func (m *maker) changedReply(change func(response, assertion *etree.Element)) []byte {
	r := m.signed(false, true)
	change(r, r.FindElement("./Assertion"))
	return m.write(r)
}

// signed gives an honest signed document as a tree.
func (m *maker) signed(assertion, reply bool) *etree.Element {
	a := m.idp.Answer(m.requestID, m.now)
	a.SignAssertion, a.SignReply = assertion, reply
	return m.parse(m.idp.Respond(m.tb, a))
}

func (m *maker) parse(raw []byte) *etree.Element {
	doc := etree.NewDocument()
	m.fatal(doc.ReadFromBytes(raw))
	return doc.Root()
}

// edited replaces text in an honest response, the assertion signed.
func (m *maker) edited(old, replacement string) []byte {
	raw := string(m.answer(func(*devidp.Answer) {}))
	if !strings.Contains(raw, old) {
		m.tb.Fatalf("the honest response does not hold %q", old)
	}
	return []byte(strings.Replace(raw, old, replacement, 1))
}

// resigned changes the signature of an honest assertion and signs its
// SignedInfo again with the identity provider's key: it shows whether the
// verifier fixes the form, and needs a key that no attacker has.
func (m *maker) resigned(change func(signature, info *etree.Element)) []byte {
	return m.changed(func(_, assertion *etree.Element) {
		signature := assertion.FindElement("./Signature")
		change(signature, signature.FindElement("./SignedInfo"))
		m.resign(signature)
	})
}

// resign computes the SignatureValue again, by the hash of the method named.
func (m *maker) resign(signature *etree.Element) {
	info := signature.FindElement("./SignedInfo").Copy()
	info.CreateAttr("xmlns:ds", dsig.Namespace)
	canonical, err := dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("").Canonicalize(info)
	m.fatal(err)
	hash := crypto.SHA256
	switch method := info.FindElement("./SignatureMethod").SelectAttrValue("Algorithm", ""); {
	case strings.HasSuffix(method, "sha1"):
		hash = crypto.SHA1
	case strings.HasSuffix(method, "sha384"):
		hash = crypto.SHA384
	case strings.HasSuffix(method, "sha512"):
		hash = crypto.SHA512
	}
	h := hash.New()
	h.Write(canonical)
	value, err := m.idp.Key.Sign(rand.Reader, h.Sum(nil), hash)
	m.fatal(err)
	signature.FindElement("./SignatureValue").SetText(base64.StdEncoding.EncodeToString(value))
}

// redigest computes the DigestValue of el's signature again, by hash.
func (m *maker) redigest(el *etree.Element, hash crypto.Hash) {
	bare := el.Copy()
	bare.RemoveChild(bare.FindElement("./Signature"))
	canonical, err := dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("").Canonicalize(bare)
	m.fatal(err)
	h := hash.New()
	h.Write(canonical)
	el.FindElement("./Signature/SignedInfo/Reference/DigestValue").SetText(base64.StdEncoding.EncodeToString(h.Sum(nil)))
}

// find gives an element or fails the test: a case that changes nothing would
// prove nothing.
func (m *maker) find(el *etree.Element, path string) *etree.Element {
	found := el.FindElement(path)
	if found == nil {
		m.tb.Fatalf("the honest response has no %s", path)
	}
	return found
}

// evilTwin copies an assertion, gives it another subject and drops its signature.
func (m *maker) evilTwin(assertion *etree.Element, id string) *etree.Element {
	twin := assertion.Copy()
	if s := twin.FindElement("./Signature"); s != nil {
		twin.RemoveChild(s)
	}
	m.find(twin, "./Subject/NameID").SetText("mallory")
	if id != "" {
		twin.CreateAttr("ID", id)
	}
	return twin
}

func base64SHA256(b []byte) string {
	sum := sha256.Sum256(b)
	return base64.StdEncoding.EncodeToString(sum[:])
}

func remove(el *etree.Element) { el.Parent().RemoveChild(el) }
