package devidp

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
)

// SP is a service provider that may ask for sign-ins.
type SP struct {
	EntityID string
	ACS      string              // the only place where its responses go
	SLO      string              // where logout messages go, by POST; empty where it has none
	Signing  []*x509.Certificate // that its requests are signed with
	Encrypt  *rsa.PublicKey      // that assertions may be encrypted for
	// EncryptCertificate is the certificate of Encrypt, where one was read.
	EncryptCertificate *x509.Certificate
}

// spMetadata is what is read of a service provider's metadata.
type spMetadata struct {
	XMLName  xml.Name `xml:"urn:oasis:names:tc:SAML:2.0:metadata EntityDescriptor"`
	EntityID string   `xml:"entityID,attr"`
	Role     struct {
		Keys []struct {
			Use          string   `xml:"use,attr"`
			Certificates []string `xml:"KeyInfo>X509Data>X509Certificate"`
		} `xml:"KeyDescriptor"`
		ACS []endpoint `xml:"AssertionConsumerService"`
		SLO []endpoint `xml:"SingleLogoutService"`
	} `xml:"SPSSODescriptor"`
}

type endpoint struct {
	Binding  string `xml:"Binding,attr"`
	Location string `xml:"Location,attr"`
}

const bindingPost = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"

// ParseSP reads a service provider's metadata. Of several certificates for
// encryption it takes the first.
func ParseSP(metadata []byte) (SP, error) {
	var m spMetadata
	if err := xml.Unmarshal(metadata, &m); err != nil {
		return SP{}, fmt.Errorf("devidp: metadata: %w", err)
	}
	sp := SP{EntityID: m.EntityID, ACS: postLocation(m.Role.ACS), SLO: postLocation(m.Role.SLO)}
	if sp.EntityID == "" || sp.ACS == "" {
		return SP{}, errors.New("devidp: the metadata names no entity ID, or no place for responses by POST")
	}
	for _, k := range m.Role.Keys {
		for _, text := range k.Certificates {
			der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
			if err != nil {
				return SP{}, fmt.Errorf("devidp: certificate: %w", err)
			}
			c, err := x509.ParseCertificate(der)
			if err != nil {
				return SP{}, fmt.Errorf("devidp: certificate: %w", err)
			}
			if k.Use != "encryption" {
				sp.Signing = append(sp.Signing, c)
			}
			if public, ok := c.PublicKey.(*rsa.PublicKey); ok && k.Use != "signing" && sp.Encrypt == nil {
				sp.Encrypt, sp.EncryptCertificate = public, c
			}
		}
	}
	return sp, nil
}

func postLocation(all []endpoint) string {
	for _, e := range all {
		if e.Binding == bindingPost {
			return e.Location
		}
	}
	return ""
}

// Know adds a service provider, or puts it in place of the one with the same
// entity ID: for one whose keys exist only after this identity provider does.
func (p *IdP) Know(sp SP) error {
	if err := sp.check(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.known {
		if p.known[i].EntityID == sp.EntityID {
			p.known[i] = sp
			return nil
		}
	}
	p.known = append(p.known, sp)
	return nil
}

func (sp SP) check() error {
	if a, err := url.Parse(sp.ACS); err != nil || a.Host == "" || sp.EntityID == "" {
		return fmt.Errorf("devidp: service provider %q: want an entity ID and an absolute ACS URL", sp.EntityID)
	}
	return nil
}

// signed reports how a message of sp is signed: not, well, or badly. query is
// the raw query of a message by redirect, message the XML of one by POST.
func (sp SP) signed(query string, message []byte) (signed, good bool) {
	if query != "" {
		return sp.signedQuery(query)
	}
	doc := etree.NewDocument()
	if doc.ReadFromBytes(message) != nil || doc.Root() == nil || doc.Root().FindElement("./Signature") == nil {
		return false, false
	}
	for _, c := range sp.Signing {
		ctx := dsig.ValidationContext{
			CertificateStore: &dsig.MemoryX509CertificateStore{Roots: []*x509.Certificate{c}}, IdAttribute: "ID",
			Clock: dsig.NewFakeClockAt(c.NotBefore),
		}
		if verified, err := ctx.Validate(doc.Root()); err == nil && verified != nil {
			return true, true
		}
	}
	return true, false
}

// signedQuery checks the signature of the redirect binding over the parameters
// as they came (saml-bindings-2.0-os section 3.4.4.1).
func (sp SP) signedQuery(query string) (signed, good bool) {
	raw := map[string]string{}
	for part := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(part, "=")
		if _, twice := raw[name]; twice {
			return true, false
		}
		raw[name] = value
	}
	if raw["Signature"] == "" {
		return false, false
	}
	var content []string
	for _, name := range []string{"SAMLRequest", "SAMLResponse", "RelayState", "SigAlg"} {
		if value, ok := raw[name]; ok {
			content = append(content, name+"="+value)
		}
	}
	algorithm, err := url.QueryUnescape(raw["SigAlg"])
	if err != nil || algorithm != dsig.RSASHA256SignatureMethod {
		return true, false
	}
	text, err := url.QueryUnescape(raw["Signature"])
	if err != nil {
		return true, false
	}
	signature, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return true, false
	}
	sum := sha256.Sum256([]byte(strings.Join(content, "&")))
	for _, c := range sp.Signing {
		if key, ok := c.PublicKey.(*rsa.PublicKey); ok && rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) == nil {
			return true, true
		}
	}
	return true, false
}
