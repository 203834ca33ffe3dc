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
	// AtSTS tells that STS takes it. It does not look at what lies between the
	// browser and the service provider, as AWS's does not; in the subject's
	// confirmation it is stricter.
	AtSTS bool
	// Setting is what has to be set for the case: empty for the strictest, else
	// one of the constants.
	Setting string
	Raw     []byte
}

// maker builds the corpus from responses that are honest but for one thing.
type maker struct {
	tb        testing.TB
	source    Source
	idp, evil *IdP
	now       time.Time
	facts     devidp.Answer // of the source's response
	acs       string
	subject   string
	role      string // the first pair
	prefix    string // of the assertion's namespace, with its colon
	// fresh makes each document anew, with IDs of its own: honest ones have to
	// be, since each is taken once.
	fresh bool
	cases []Case
}

// Corpus is CorpusFrom of the development identity provider itself.
func Corpus(tb testing.TB, idp *IdP, requestID string, now time.Time) []Case {
	tb.Helper()
	return CorpusFrom(tb, Own(tb, idp, requestID, now), now)
}

// CorpusFrom gives responses to the source's request, attacks and honest
// variants, as the identity provider or an attacker without its key could make
// them now. The classes follow the published attacks on SAML implementations;
// each name says what is wrong.
func CorpusFrom(tb testing.TB, source Source, now time.Time) []Case {
	tb.Helper()
	m := newMaker(tb, source, now)
	m.fresh = true
	m.honestVariants()
	m.fresh = false
	m.signatures()
	m.references()
	m.wrapping()
	m.texts()
	m.parser()
	m.exhaustion()
	m.protocol()
	m.subjects()
	if source.EncryptTo != nil {
		m.encryption()
	}
	return m.cases
}

func newMaker(tb testing.TB, source Source, now time.Time) *maker {
	tb.Helper()
	m := &maker{tb: tb, source: source, idp: source.IdP, evil: New(tb, now), now: now}
	m.evil.EntityID = source.IdP.EntityID
	honest := m.parse(source.Assertion)
	m.facts = facts(honest)
	m.acs, m.subject, m.role = m.facts.Recipient, m.facts.NameID, m.facts.Attributes[0].Values[0]
	if space := m.find(honest, "./Assertion/Subject/NameID").Space; space != "" {
		m.prefix = space + ":"
	}
	return m
}

func (m *maker) add(class, name, check string, raw []byte) {
	m.cases = append(m.cases, Case{Class: class, Name: name, Check: check, Raw: raw, AtSTS: (check == "") != otherwiseAtSTS(class, name)})
}

// otherwiseAtSTS lists the cases that STS answers otherwise than the service
// provider.
func otherwiseAtSTS(class, name string) bool {
	switch class {
	case "honest":
		return name == "900 roles" || // over AWS's 100,000 characters
			strings.HasSuffix(name, "first") && strings.HasPrefix(name, "a ") // a second confirmation
	case "protocol":
		return strings.HasPrefix(name, "audience ") || strings.HasPrefix(name, "destination ") || name == "two audience restrictions, we are in one" ||
			name == "answers another request" || name == "answers no request"
	case "encryption":
		return name == "audience of another service provider inside"
	case "subject":
		return name == "confirmation answers another request"
	}
	return false
}

func (m *maker) fatal(err error) {
	m.tb.Helper()
	if err != nil {
		m.tb.Fatal(err)
	}
}

func (m *maker) write(root *etree.Element) []byte {
	m.settle(root)
	raw, err := devidp.Serialize(root)
	m.fatal(err)
	return raw
}

// document is what the source said, unsigned, with IDs of its own and made now.
func (m *maker) document(change func(*devidp.Answer)) (*etree.Element, devidp.Answer) {
	r := m.parse(m.source.Assertion)
	for _, s := range r.FindElements("//Signature") {
		remove(s)
	}
	declare(m.find(r, "./Assertion"))
	a := m.facts
	a.Attributes = append([]devidp.Attribute{}, m.facts.Attributes...)
	a.ResponseID, a.AssertionID = devidp.NewID(), devidp.NewID()
	later := m.now.Sub(m.facts.IssueInstant)
	a.IssueInstant, a.NotBefore, a.NotOnOrAfter = m.now, m.facts.NotBefore.Add(later), m.now.Add(5*time.Minute)
	a.SignAssertion, a.SignReply = true, false
	change(&a)
	put(r, m.facts, a)
	return r, a
}

// answer signs a document whose fields were changed.
func (m *maker) answer(change func(*devidp.Answer)) []byte { return m.signedBy(m.idp, change) }

func (m *maker) signedBy(idp *IdP, change func(*devidp.Answer)) []byte {
	r, a := m.document(change)
	assertion := m.find(r, "./Assertion")
	if a.SignAssertion {
		m.fatal(idp.Sign(assertion))
	}
	if a.EncryptTo != nil {
		encrypted, err := a.Encryption.Encrypt(assertion, a.EncryptTo)
		m.fatal(err)
		r.InsertChildAt(assertion.Index(), encrypted)
		remove(assertion)
	}
	if a.SignReply {
		m.fatal(idp.Sign(r))
	}
	return m.write(r)
}

// built changes the document before the assertion is signed: what a broken or
// ill-configured identity provider sends.
func (m *maker) built(change func(response, assertion *etree.Element)) []byte {
	r := m.unsigned()
	assertion := m.find(r, "./Assertion")
	change(r, assertion)
	m.settle(r)
	m.fatal(m.idp.Sign(assertion))
	return m.write(r)
}

// builtReply is built with the response signed instead.
func (m *maker) builtReply(change func(response, assertion *etree.Element)) []byte {
	r := m.unsigned()
	change(r, m.find(r, "./Assertion"))
	m.settle(r)
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

// signed gives an honest signed document as a tree: the very one that the
// source sent, where that will do.
func (m *maker) signed(assertion, reply bool) *etree.Element {
	switch {
	case !m.fresh && assertion && !reply:
		return m.parse(m.source.Assertion)
	case !m.fresh && !assertion && reply:
		return m.parse(m.source.Response)
	}
	return m.parse(m.answer(func(a *devidp.Answer) { a.SignAssertion, a.SignReply = assertion, reply }))
}

func (m *maker) parse(raw []byte) *etree.Element {
	doc := etree.NewDocument()
	m.fatal(doc.ReadFromBytes(raw))
	return doc.Root()
}

// edited replaces text in an honest response, the assertion signed. The prefix
// saml: and the subject's name stand for those of the source.
func (m *maker) edited(old, replacement string) []byte {
	old, replacement = m.inTheirWords(old), m.inTheirWords(replacement)
	raw := string(m.write(m.signed(true, false)))
	if !strings.Contains(raw, old) {
		m.tb.Fatalf("the honest response does not hold %q", old)
	}
	return []byte(strings.Replace(raw, old, replacement, 1))
}

func (m *maker) inTheirWords(s string) string {
	s = strings.ReplaceAll(s, "<saml:", "<"+m.prefix)
	return strings.ReplaceAll(s, "</saml:", "</"+m.prefix)
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
	info := signature.FindElement("./SignedInfo")
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
	h.Write(m.canonical(info))
	value, err := m.idp.Key.Sign(rand.Reader, h.Sum(nil), hash)
	m.fatal(err)
	signature.FindElement("./SignatureValue").SetText(base64.StdEncoding.EncodeToString(value))
}

// redigest computes the DigestValue of el's signature again, by hash.
func (m *maker) redigest(el *etree.Element, hash crypto.Hash) {
	h := hash.New()
	h.Write(m.canonicalWithout(el, ""))
	el.FindElement("./Signature/SignedInfo/Reference/DigestValue").SetText(base64.StdEncoding.EncodeToString(h.Sum(nil)))
}

// canonical is the exclusive canonical form of el where it stands.
func (m *maker) canonical(el *etree.Element) []byte {
	m.settle(root(el))
	alone := el.Copy()
	inherit(alone, el.Parent())
	out, err := dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("").Canonicalize(alone)
	m.fatal(err)
	return out
}

// canonicalWithout is that of a signed element without its signature, some
// prefixes kept.
func (m *maker) canonicalWithout(el *etree.Element, kept string) []byte {
	m.settle(root(el))
	bare := el.Copy()
	inherit(bare, el.Parent())
	bare.RemoveChild(bare.FindElement("./Signature"))
	out, err := dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList(kept).Canonicalize(bare)
	m.fatal(err)
	return out
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

// another binds the prefix of an element to another namespace.
func another(el *etree.Element, namespace string) {
	if el.Space == "" {
		el.CreateAttr("xmlns", namespace)
		return
	}
	el.CreateAttr("xmlns:"+el.Space, namespace)
}

func base64SHA256(b []byte) string {
	sum := sha256.Sum256(b)
	return base64.StdEncoding.EncodeToString(sum[:])
}

func remove(el *etree.Element) { el.Parent().RemoveChild(el) }
