package forge

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"

	"carnet.dev/carnet/internal/edge/devidp"
)

//go:embed dialects/*.xml
var dialectFiles embed.FS

// Dialect is how one product writes a response. They are written down from the
// products' documentation and published samples, since the products can't be
// run here, and are signed when a test runs.
type Dialect struct {
	Name, file string
	// Signs is what the product signs unless it is told otherwise.
	Signs devidp.Answer
	// Encrypts tells that it encrypts unless it is told otherwise.
	Encrypts bool
	style    signatureStyle
}

// signatureStyle is how a product writes its signatures.
type signatureStyle struct {
	prefix  string // with its colon; empty for a default namespace
	kept    string // prefixes listed to be kept
	lines   string // what breaks base64 into lines of 76; empty for one line
	keyInfo string // what stands in KeyInfo; {CERTIFICATE} for the certificate
	indent  bool   // line breaks between the parts
}

const (
	plainKeyInfo = `<ds:KeyInfo><ds:X509Data><ds:X509Certificate>{CERTIFICATE}</ds:X509Certificate></ds:X509Data></ds:KeyInfo>`
	// AD FS changes to a default namespace in KeyInfo, and back.
	adfsKeyInfo = `<KeyInfo xmlns="http://www.w3.org/2000/09/xmldsig#"><ds:X509Data><ds:X509Certificate>{CERTIFICATE}</ds:X509Certificate></ds:X509Data></KeyInfo>`
	pingKeyInfo = `<ds:KeyInfo><ds:X509Data><ds:X509Certificate>{CERTIFICATE}</ds:X509Certificate></ds:X509Data><ds:KeyValue><ds:RSAKeyValue><ds:Modulus>AQAB</ds:Modulus><ds:Exponent>AQAB</ds:Exponent></ds:RSAKeyValue></ds:KeyValue></ds:KeyInfo>`
)

// Dialects lists those of the identity providers that have a page in the
// documentation and can't be run here.
func Dialects() []Dialect {
	assertion, response := devidp.Answer{SignAssertion: true}, devidp.Answer{SignReply: true}
	both := devidp.Answer{SignAssertion: true, SignReply: true}
	return []Dialect{
		{"Okta", "okta", both, false, signatureStyle{prefix: "ds:", kept: "xs", keyInfo: plainKeyInfo}},
		{"Entra ID", "entra-id", assertion, false, signatureStyle{keyInfo: plainKeyInfo}},
		{"Google Workspace", "google", response, false, signatureStyle{prefix: "ds:", lines: "\n", indent: true, keyInfo: strings.Replace(plainKeyInfo, "<ds:X509Certificate>", "<ds:X509SubjectName>ST=California,C=US,OU=Google For Work,CN=Google,L=Mountain View,O=Google Inc.</ds:X509SubjectName><ds:X509Certificate>", 1)}},
		{"OneLogin", "onelogin", assertion, false, signatureStyle{prefix: "ds:", keyInfo: plainKeyInfo}},
		{"PingFederate", "pingfederate", assertion, false, signatureStyle{prefix: "ds:", lines: "\n", indent: true, keyInfo: pingKeyInfo}},
		{"PingFederate without KeyInfo", "pingfederate", response, false, signatureStyle{prefix: "ds:", lines: "\n", indent: true}},
		{"AD FS", "adfs", assertion, false, signatureStyle{prefix: "ds:", keyInfo: adfsKeyInfo}},
		{"Shibboleth", "shibboleth", response, true, signatureStyle{prefix: "ds:", kept: "xsd", lines: "&#13;\n", indent: true, keyInfo: plainKeyInfo}},
	}
}

// Respond writes a response of the dialect for alice, signed as signs tells;
// encryptTo, when not nil, encrypts the assertion.
func (d Dialect) Respond(tb testing.TB, idp *IdP, requestID string, signs devidp.Answer, encryptTo *rsa.PublicKey, now time.Time) []byte {
	tb.Helper()
	text, err := dialectFiles.ReadFile("dialects/" + d.file + ".xml")
	if err != nil {
		tb.Fatal(err)
	}
	stamp := func(after time.Duration) string { return now.Add(after).UTC().Format("2006-01-02T15:04:05.000Z") }
	filled := strings.NewReplacer(
		"{ACS}", ACS, "{REQUEST}", requestID, "{ISSUER}", idp.EntityID, "{USER}", Subject, "{ROLE}", Role, "{PROVIDER}", Provider,
		"{R}", devidp.NewID()[1:], "{A}", devidp.NewID()[1:],
		"{NOW}", stamp(0), "{BEGIN}", stamp(-5*time.Minute), "{END}", stamp(5*time.Minute), "{LATER}", stamp(8*time.Hour),
	).Replace(strings.TrimSuffix(string(text), "\n"))
	doc := etree.NewDocument()
	if err := doc.ReadFromString(filled); err != nil {
		tb.Fatalf("%s: %v", d.Name, err)
	}
	response := doc.Root()
	assertion := response.FindElement("./Assertion")
	if signs.SignAssertion {
		d.style.sign(tb, idp, assertion)
	}
	if encryptTo != nil {
		d.encrypt(tb, assertion, encryptTo)
	}
	if signs.SignReply {
		d.style.sign(tb, idp, response)
	}
	doc.WriteSettings.CanonicalText = true // a carriage return stays one
	out, err := doc.WriteToBytes()
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// encrypt puts an EncryptedAssertion as Shibboleth writes it in the place of
// the assertion: with an Id, a recipient, and the certificate in the key's
// KeyInfo.
func (d Dialect) encrypt(tb testing.TB, assertion *etree.Element, to *rsa.PublicKey) {
	tb.Helper()
	alone := assertion.Copy()
	inherit(alone, assertion.Parent())
	sealed, err := devidp.Encryption{Content: devidp.AES128GCM}.Encrypt(alone, to)
	if err != nil {
		tb.Fatal(err)
	}
	sealed.FindElement("./EncryptedData").CreateAttr("Id", devidp.NewID())
	key := sealed.FindElement(".//EncryptedKey")
	key.CreateAttr("Id", devidp.NewID())
	key.CreateAttr("Recipient", ACS)
	info := etree.NewElement("ds:KeyInfo")
	info.CreateElement("ds:X509Data").CreateElement("ds:X509Certificate").SetText("AAAA")
	key.InsertChildAt(1, info)
	parent := assertion.Parent()
	parent.InsertChildAt(assertion.Index(), sealed)
	remove(assertion)
}

// sign puts a signature behind the element's Issuer, written in the product's
// style.
func (s signatureStyle) sign(tb testing.TB, idp *IdP, el *etree.Element) {
	tb.Helper()
	digest := sha256.Sum256(s.canonical(tb, el, s.kept))
	list := ""
	if s.kept != "" {
		list = `<ec:InclusiveNamespaces xmlns:ec="http://www.w3.org/2001/10/xml-exc-c14n#" PrefixList="` + s.kept + `"/>`
	}
	brk := ""
	if s.indent {
		brk = "\n"
	}
	text := strings.NewReplacer("{N}", brk, "{ID}", el.SelectAttrValue("ID", ""), "{LIST}", list, "{DIGEST}", base64.StdEncoding.EncodeToString(digest[:]),
		"{KEYINFO}", strings.Replace(s.keyInfo, "{CERTIFICATE}", s.broken(idp.Certificate.Raw), 1)).Replace(
		`<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#">{N}<ds:SignedInfo>{N}<ds:CanonicalizationMethod Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/>{N}` +
			`<ds:SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"/>{N}<ds:Reference URI="#{ID}">{N}<ds:Transforms>{N}` +
			`<ds:Transform Algorithm="http://www.w3.org/2000/09/xmldsig#enveloped-signature"/>{N}<ds:Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#">{LIST}</ds:Transform>{N}` +
			`</ds:Transforms>{N}<ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/>{N}<ds:DigestValue>{DIGEST}</ds:DigestValue>{N}</ds:Reference>{N}` +
			`</ds:SignedInfo>{N}<ds:SignatureValue></ds:SignatureValue>{N}{KEYINFO}</ds:Signature>`)
	if s.prefix == "" {
		text = strings.NewReplacer("xmlns:ds=", "xmlns=", "<ds:", "<", "</ds:", "</").Replace(text)
	}
	doc := etree.NewDocument()
	if err := doc.ReadFromString(text); err != nil {
		tb.Fatal(err)
	}
	signature := doc.Root().Copy()
	el.InsertChildAt(el.FindElement("./Issuer").Index()+1, signature)
	sum := sha256.Sum256(s.canonical(tb, signature.FindElement("./SignedInfo"), ""))
	value, err := idp.Key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		tb.Fatal(err)
	}
	signature.FindElement("./SignatureValue").SetText(strings.ReplaceAll(s.broken(value), "&#13;", "\r"))
}

// canonical is the exclusive canonical form of an element where it stands.
func (s signatureStyle) canonical(tb testing.TB, el *etree.Element, kept string) []byte {
	tb.Helper()
	alone := el.Copy()
	inherit(alone, el.Parent())
	out, err := dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList(kept).Canonicalize(alone)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// broken writes base64 in lines as the product does.
func (s signatureStyle) broken(raw []byte) string {
	text := base64.StdEncoding.EncodeToString(raw)
	if s.lines == "" {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i += 76 {
		b.WriteString(s.lines + text[i:min(i+76, len(text))])
	}
	return b.String() + s.lines
}
