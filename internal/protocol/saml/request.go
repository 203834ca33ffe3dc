package saml

import (
	"fmt"
	"strings"
	"time"
)

// AuthnRequest asks an identity provider to sign a person in
// (saml-core-2.0-os section 3.4.1).
type AuthnRequest struct {
	ID           string // an XML NCName: begins with a letter or "_"
	Issuer       string // our entity ID
	ACS          string // where the response shall be posted
	Destination  string // the single sign-on URL
	IssueInstant time.Time
	ForceAuthn   bool     // ask the person again, whatever login session is open
	NameIDFormat string   // whole URN of the NameID wanted; empty leaves it to the identity provider
	AuthnContext []string // class references, any of which is wanted; may be empty
}

// RedirectURL gives the URL of the HTTP-Redirect binding; a nil signer leaves
// the request unsigned.
func (r AuthnRequest) RedirectURL(relayState string, s *Signer) (string, error) {
	doc, err := r.document()
	if err != nil {
		return "", err
	}
	return redirectURL(r.Destination, "SAMLRequest", doc, relayState, s)
}

// PostForm gives the SAMLRequest field of the HTTP-POST binding; a nil signer
// leaves the request unsigned. The relay state is a field of its own.
func (r AuthnRequest) PostForm(s *Signer) (string, error) {
	doc, err := r.document()
	if err != nil {
		return "", err
	}
	return postForm(doc, s)
}

func (r AuthnRequest) document() ([]byte, error) {
	rest := attribute("AssertionConsumerServiceURL", r.ACS) + attribute("ProtocolBinding", BindingPOST)
	if r.ForceAuthn {
		rest += attribute("ForceAuthn", "true")
	}
	begin, err := head("AuthnRequest", r.ID, r.Issuer, r.Destination, r.IssueInstant, rest)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	b.WriteString(begin)
	if r.NameIDFormat != "" {
		fmt.Fprintf(&b, `<samlp:NameIDPolicy%s AllowCreate="true"/>`, attribute("Format", r.NameIDFormat))
	}
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
