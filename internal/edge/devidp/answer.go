package devidp

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
)

const (
	nsProtocol  = "urn:oasis:names:tc:SAML:2.0:protocol"
	nsAssertion = "urn:oasis:names:tc:SAML:2.0:assertion"
	nsMetadata  = "urn:oasis:names:tc:SAML:2.0:metadata"

	attrPrefix = "https://aws.amazon.com/SAML/Attributes/"
	formatURI  = "urn:oasis:names:tc:SAML:2.0:attrname-format:uri"
	formatName = "urn:oasis:names:tc:SAML:2.0:attrname-format:basic"
)

// Attribute is one attribute of an answer.
type Attribute struct {
	Name, NameFormat string
	Values           []string
}

// Answer is everything that a response says, before it is signed. Empty
// strings and zero times are left out of the document.
type Answer struct {
	ResponseID, AssertionID  string
	Issuer                   string
	InResponseTo             string
	Destination, Recipient   string
	Audiences                []string // all in one AudienceRestriction
	NameID, NameIDFormat     string
	IssueInstant             time.Time
	NotBefore, NotOnOrAfter  time.Time
	SessionIndex             string
	SessionNotOnOrAfter      time.Time
	Attributes               []Attribute
	SignAssertion, SignReply bool // SignReply signs the whole response
	// EncryptTo encrypts the assertion, after it is signed, for the owner of
	// this key; nil leaves it readable.
	EncryptTo  *rsa.PublicKey
	Encryption Encryption
	// Status and SubStatus, when set, make it an answer without assertion.
	Status, SubStatus string
}

// NewID makes an ID for a response, an assertion or a request.
func NewID() string {
	b := make([]byte, 16)
	rand.Read(b)
	return "_" + hex.EncodeToString(b)
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func setAttr(el *etree.Element, name, value string) {
	if value != "" {
		el.CreateAttr(name, value)
	}
}

func setTime(el *etree.Element, name string, t time.Time) {
	if !t.IsZero() {
		el.CreateAttr(name, stamp(t))
	}
}

func leaf(parent *etree.Element, tag, value string) *etree.Element {
	el := parent.CreateElement(tag)
	el.SetText(value)
	return el
}

// Document builds the unsigned response.
func (a Answer) Document() *etree.Element {
	r := etree.NewElement("samlp:Response")
	r.CreateAttr("xmlns:samlp", nsProtocol)
	r.CreateAttr("xmlns:saml", nsAssertion)
	r.CreateAttr("ID", a.ResponseID)
	r.CreateAttr("Version", "2.0")
	setTime(r, "IssueInstant", a.IssueInstant)
	setAttr(r, "Destination", a.Destination)
	setAttr(r, "InResponseTo", a.InResponseTo)
	leaf(r, "saml:Issuer", a.Issuer)
	setStatus(r, a.Status, a.SubStatus)
	if a.Status == "" {
		r.AddChild(a.assertion())
	}
	return r
}

func (a Answer) assertion() *etree.Element {
	el := etree.NewElement("saml:Assertion")
	el.CreateAttr("xmlns:saml", nsAssertion)
	el.CreateAttr("ID", a.AssertionID)
	el.CreateAttr("Version", "2.0")
	setTime(el, "IssueInstant", a.IssueInstant)
	leaf(el, "saml:Issuer", a.Issuer)
	a.subject(el.CreateElement("saml:Subject"))
	conditions := el.CreateElement("saml:Conditions")
	setTime(conditions, "NotBefore", a.NotBefore)
	setTime(conditions, "NotOnOrAfter", a.NotOnOrAfter)
	if len(a.Audiences) > 0 {
		restriction := conditions.CreateElement("saml:AudienceRestriction")
		for _, audience := range a.Audiences {
			leaf(restriction, "saml:Audience", audience)
		}
	}
	authn := el.CreateElement("saml:AuthnStatement")
	setTime(authn, "AuthnInstant", a.IssueInstant)
	setAttr(authn, "SessionIndex", a.SessionIndex)
	setTime(authn, "SessionNotOnOrAfter", a.SessionNotOnOrAfter)
	leaf(authn.CreateElement("saml:AuthnContext"), "saml:AuthnContextClassRef", "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport")
	if len(a.Attributes) > 0 {
		a.attributes(el.CreateElement("saml:AttributeStatement"))
	}
	return el
}

func (a Answer) subject(el *etree.Element) {
	name := leaf(el, "saml:NameID", a.NameID)
	setAttr(name, "Format", a.NameIDFormat)
	confirmation := el.CreateElement("saml:SubjectConfirmation")
	confirmation.CreateAttr("Method", "urn:oasis:names:tc:SAML:2.0:cm:bearer")
	data := confirmation.CreateElement("saml:SubjectConfirmationData")
	setAttr(data, "InResponseTo", a.InResponseTo)
	setAttr(data, "Recipient", a.Recipient)
	setTime(data, "NotOnOrAfter", a.NotOnOrAfter)
}

func (a Answer) attributes(el *etree.Element) {
	for _, at := range a.Attributes {
		attribute := el.CreateElement("saml:Attribute")
		attribute.CreateAttr("Name", at.Name)
		setAttr(attribute, "NameFormat", at.NameFormat)
		for _, v := range at.Values {
			leaf(attribute, "saml:AttributeValue", v)
		}
	}
}

// Signer signs with one key.
type Signer struct {
	Key         crypto.Signer
	Certificate *x509.Certificate
}

// Respond builds and signs a response: the assertion first, which may then be
// encrypted, then the response around it.
func (s Signer) Respond(a Answer) ([]byte, error) {
	r := a.Document()
	assertion := r.FindElement("./Assertion")
	if a.SignAssertion && assertion != nil {
		if err := s.Sign(assertion); err != nil {
			return nil, err
		}
	}
	if a.EncryptTo != nil && assertion != nil {
		encrypted, err := a.Encryption.Encrypt(assertion, a.EncryptTo)
		if err != nil {
			return nil, err
		}
		r.RemoveChild(assertion)
		r.AddChild(encrypted)
	}
	if a.SignReply {
		if err := s.Sign(r); err != nil {
			return nil, err
		}
	}
	return Serialize(r)
}

// Sign puts an enveloped signature behind the element's Issuer, where the
// SAML schema wants it. The element has to declare the namespaces it uses.
func (s Signer) Sign(el *etree.Element) error {
	ctx, err := dsig.NewSigningContext(s.Key, [][]byte{s.Certificate.Raw})
	if err != nil {
		return fmt.Errorf("devidp: %w", err)
	}
	ctx.Canonicalizer = dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("")
	signature, err := ctx.ConstructSignature(el.Copy(), true)
	if err != nil {
		return fmt.Errorf("devidp: sign: %w", err)
	}
	place := 0
	if issuer := el.FindElement("./Issuer"); issuer != nil {
		place = issuer.Index() + 1
	}
	el.InsertChildAt(place, signature)
	return nil
}

// Serialize writes a document with the root el.
func Serialize(el *etree.Element) ([]byte, error) {
	doc := etree.NewDocumentWithRoot(el.Copy())
	return doc.WriteToBytes()
}

// Metadata is the document that a service provider imports.
func (p *IdP) Metadata() []byte {
	return describe(p.config.EntityID, p.SSOURL(), p.SLOURL(), p.config.WantSignedRequests, p.config.Certificate)
}

// Describe makes the metadata of an identity provider with the certificates
// that it signs with.
func Describe(entityID, ssoURL string, certificates ...*x509.Certificate) []byte {
	return describe(entityID, ssoURL, "", false, certificates...)
}

// DescribeWithLogout is Describe with a place for single logout.
func DescribeWithLogout(entityID, ssoURL, sloURL string, certificates ...*x509.Certificate) []byte {
	return describe(entityID, ssoURL, sloURL, false, certificates...)
}

func describe(entityID, ssoURL, sloURL string, wantSigned bool, certificates ...*x509.Certificate) []byte {
	e := etree.NewElement("md:EntityDescriptor")
	e.CreateAttr("xmlns:md", nsMetadata)
	e.CreateAttr("xmlns:ds", dsig.Namespace)
	e.CreateAttr("entityID", entityID)
	role := e.CreateElement("md:IDPSSODescriptor")
	role.CreateAttr("WantAuthnRequestsSigned", strconv.FormatBool(wantSigned))
	role.CreateAttr("protocolSupportEnumeration", nsProtocol)
	for _, c := range certificates {
		key := role.CreateElement("md:KeyDescriptor")
		key.CreateAttr("use", "signing")
		leaf(key.CreateElement("ds:KeyInfo").CreateElement("ds:X509Data"), "ds:X509Certificate", base64.StdEncoding.EncodeToString(c.Raw))
	}
	endpoints(role, "md:SingleLogoutService", sloURL)
	leaf(role, "md:NameIDFormat", nameIDFormat)
	endpoints(role, "md:SingleSignOnService", ssoURL)
	doc := etree.NewDocumentWithRoot(e)
	doc.Indent(2)
	out, err := doc.WriteToBytes()
	if err != nil {
		return nil // writing to memory does not fail
	}
	return out
}

// endpoints names one address under both bindings, redirect first.
func endpoints(role *etree.Element, tag, address string) {
	if address == "" {
		return
	}
	for _, binding := range []string{"HTTP-Redirect", "HTTP-POST"} {
		el := role.CreateElement(tag)
		el.CreateAttr("Binding", "urn:oasis:names:tc:SAML:2.0:bindings:"+binding)
		el.CreateAttr("Location", address)
	}
}
