package saml

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"net/url"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
)

// AuthnRequest asks an identity provider to sign a person in
// (saml-core-2.0-os section 3.4.1).
type AuthnRequest struct {
	ID           string // an XML NCName: begins with a letter or "_"
	Issuer       string // our entity ID
	ACS          string // where the response shall be posted
	Destination  string // the single sign-on URL
	IssueInstant time.Time
	ForceAuthn   bool
	AuthnContext []string // class references, any of which is wanted; may be empty
}

// RedirectURL gives the URL of the HTTP-Redirect binding
// (saml-bindings-2.0-os section 3.4.4.1), unsigned.
func (r AuthnRequest) RedirectURL(relayState string) (string, error) {
	u, err := url.Parse(r.Destination)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return "", refuse(fault.Misconfigured, CheckDestination, "The single sign-on URL of the identity provider is not an absolute URL")
	}
	doc, err := r.document()
	if err != nil {
		return "", err
	}
	var deflated bytes.Buffer
	w, err := flate.NewWriter(&deflated, flate.BestSpeed)
	if err != nil {
		return "", fmt.Errorf("deflate: %w", err)
	}
	if _, err := w.Write(doc); err != nil {
		return "", fmt.Errorf("deflate: %w", err)
	}
	if err := w.Close(); err != nil {
		return "", fmt.Errorf("deflate: %w", err)
	}
	// The identity provider's own query stays as it is and comes first.
	query := "SAMLRequest=" + url.QueryEscape(base64.StdEncoding.EncodeToString(deflated.Bytes()))
	if relayState != "" {
		query += "&RelayState=" + url.QueryEscape(relayState)
	}
	if u.RawQuery != "" {
		query = u.RawQuery + "&" + query
	}
	u.RawQuery, u.Fragment = query, ""
	return u.String(), nil
}

// PostForm gives the SAMLRequest field of the HTTP-POST binding
// (saml-bindings-2.0-os section 3.5.4), unsigned.
func (r AuthnRequest) PostForm() (string, error) {
	doc, err := r.document()
	if err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(doc), nil
}

func (r AuthnRequest) document() ([]byte, error) {
	if !isID(r.ID) {
		return nil, refuse(fault.Internal, CheckID, "The request's ID is no XML name")
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<samlp:AuthnRequest xmlns:samlp="%s" xmlns:saml="%s" ID="%s" Version="2.0" IssueInstant="%s" Destination="%s" AssertionConsumerServiceURL="%s" ProtocolBinding="%s"`,
		nsProtocol, nsAssertion, r.ID, r.IssueInstant.UTC().Format(time.RFC3339), escape(r.Destination), escape(r.ACS), BindingPOST)
	if r.ForceAuthn {
		b.WriteString(` ForceAuthn="true"`)
	}
	fmt.Fprintf(&b, `><saml:Issuer>%s</saml:Issuer>`, escape(r.Issuer))
	if len(r.AuthnContext) > 0 {
		b.WriteString(`<samlp:RequestedAuthnContext Comparison="exact">`)
		for _, c := range r.AuthnContext {
			fmt.Fprintf(&b, `<saml:AuthnContextClassRef>%s</saml:AuthnContextClassRef>`, escape(c))
		}
		b.WriteString(`</samlp:RequestedAuthnContext>`)
	}
	b.WriteString(`</samlp:AuthnRequest>`)
	return []byte(b.String()), nil
}

// SPMetadata describes us to an identity provider. samlURL is entity ID and
// ACS at once.
func SPMetadata(samlURL string) ([]byte, error) {
	u, err := url.Parse(samlURL)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return nil, refuse(fault.Misconfigured, CheckMetadata, "The SAML URL is not an absolute URL")
	}
	s := escape(samlURL)
	return fmt.Appendf(nil, `<?xml version="1.0" encoding="UTF-8"?>
<md:EntityDescriptor xmlns:md="%s" entityID="%s">
  <md:SPSSODescriptor AuthnRequestsSigned="false" WantAssertionsSigned="true" protocolSupportEnumeration="%s">
    <md:NameIDFormat>urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified</md:NameIDFormat>
    <md:AssertionConsumerService Binding="%s" Location="%s" index="0" isDefault="true"/>
  </md:SPSSODescriptor>
</md:EntityDescriptor>
`, nsMetadata, s, nsProtocol, BindingPOST, s), nil
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a strings.Builder does not fail
	return b.String()
}
