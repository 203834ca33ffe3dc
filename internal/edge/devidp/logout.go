package devidp

import (
	"bytes"
	"compress/flate"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
)

// The status codes that answers use (saml-core-2.0-os section 3.2.2.2).
const (
	StatusSuccess        = "urn:oasis:names:tc:SAML:2.0:status:Success"
	StatusResponder      = "urn:oasis:names:tc:SAML:2.0:status:Responder"
	StatusNoAuthnContext = "urn:oasis:names:tc:SAML:2.0:status:NoAuthnContext"
)

// Logout is a LogoutRequest or, with InResponseTo, the LogoutResponse to one.
// Empty strings and zero times are left out.
type Logout struct {
	ID, Issuer, Destination        string
	IssueInstant, NotOnOrAfter     time.Time
	NameID, NameIDFormat           string
	NameQualifier, SPNameQualifier string
	SessionIndexes                 []string
	InResponseTo                   string // makes it a response
	Status                         string // of a response; StatusSuccess when empty
}

// Document builds the unsigned message.
func (l Logout) Document() *etree.Element {
	name := "samlp:LogoutRequest"
	if l.InResponseTo != "" {
		name = "samlp:LogoutResponse"
	}
	r := etree.NewElement(name)
	r.CreateAttr("xmlns:samlp", nsProtocol)
	r.CreateAttr("xmlns:saml", nsAssertion)
	r.CreateAttr("ID", l.ID)
	r.CreateAttr("Version", "2.0")
	setTime(r, "IssueInstant", l.IssueInstant)
	setAttr(r, "Destination", l.Destination)
	setAttr(r, "InResponseTo", l.InResponseTo)
	setTime(r, "NotOnOrAfter", l.NotOnOrAfter)
	leaf(r, "saml:Issuer", l.Issuer)
	if l.InResponseTo != "" {
		setStatus(r, l.Status)
		return r
	}
	id := leaf(r, "saml:NameID", l.NameID)
	setAttr(id, "Format", l.NameIDFormat)
	setAttr(id, "NameQualifier", l.NameQualifier)
	setAttr(id, "SPNameQualifier", l.SPNameQualifier)
	for _, index := range l.SessionIndexes {
		leaf(r, "samlp:SessionIndex", index)
	}
	return r
}

// setStatus writes a status: the top code and, where there are more, the codes
// below it.
func setStatus(r *etree.Element, codes ...string) {
	el := r.CreateElement("samlp:Status")
	if len(codes) == 0 || codes[0] == "" {
		codes = []string{StatusSuccess}
	}
	for _, c := range codes {
		if c == "" {
			return
		}
		el = el.CreateElement("samlp:StatusCode")
		el.CreateAttr("Value", c)
	}
}

// Field names the form field or query parameter of the message.
func (l Logout) Field() string {
	if l.InResponseTo != "" {
		return "SAMLResponse"
	}
	return "SAMLRequest"
}

// Post signs a message for the POST binding and gives its XML.
func (s Signer) Post(l Logout) ([]byte, error) {
	r := l.Document()
	if err := s.Sign(r); err != nil {
		return nil, err
	}
	return Serialize(r)
}

// RedirectQuery deflates a message and signs it as the redirect binding wants
// (saml-bindings-2.0-os section 3.4.4.1), with RSA and SHA-256: the query
// string. An empty relay state is left out.
func (s Signer) RedirectQuery(field string, message []byte, relayState string) (string, error) {
	deflated, err := deflate(message)
	if err != nil {
		return "", err
	}
	query := field + "=" + url.QueryEscape(base64.StdEncoding.EncodeToString(deflated))
	if relayState != "" {
		query += "&RelayState=" + url.QueryEscape(relayState)
	}
	return s.SignQuery(query)
}

// SignQuery appends SigAlg and Signature to a query.
func (s Signer) SignQuery(query string) (string, error) {
	query += "&SigAlg=" + url.QueryEscape(dsig.RSASHA256SignatureMethod)
	sum := sha256.Sum256([]byte(query))
	signature, err := s.Key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("devidp: sign: %w", err)
	}
	return query + "&Signature=" + url.QueryEscape(base64.StdEncoding.EncodeToString(signature)), nil
}

func deflate(message []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(message); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
