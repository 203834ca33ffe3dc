package saml

import (
	"fmt"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
)

// Kind says what a message is by the name of its root.
type Kind string

// The kinds of messages that come to us.
const (
	KindResponse       Kind = "Response"
	KindLogoutRequest  Kind = "LogoutRequest"
	KindLogoutResponse Kind = "LogoutResponse"
)

// LogoutRequest asks the other side to end login sessions of one person
// (saml-core-2.0-os section 3.7.1).
type LogoutRequest struct {
	ID, Issuer, Destination string
	IssueInstant            time.Time
	NotOnOrAfter            time.Time // zero when not stated
	NameID, NameIDFormat    string
	NameQualifier           string
	SPNameQualifier         string
	// SessionIndexes names the login sessions; empty means all of the person.
	SessionIndexes []string
}

// LogoutResponse answers a LogoutRequest (saml-core-2.0-os section 3.7.2).
type LogoutResponse struct {
	ID, InResponseTo, Issuer, Destination string
	IssueInstant                          time.Time
	// Status is one of the Status constants, or another whole URN; SubStatus
	// the second level, mostly empty.
	Status, SubStatus string
}

// Status codes of saml-core-2.0-os section 3.2.2.2.
const (
	StatusSuccess       = "urn:oasis:names:tc:SAML:2.0:status:Success"
	StatusRequester     = "urn:oasis:names:tc:SAML:2.0:status:Requester"
	StatusResponder     = "urn:oasis:names:tc:SAML:2.0:status:Responder"
	StatusPartialLogout = "urn:oasis:names:tc:SAML:2.0:status:PartialLogout"
	StatusRequestDenied = "urn:oasis:names:tc:SAML:2.0:status:RequestDenied"
)

// RedirectURL gives the URL of the HTTP-Redirect binding. Logout messages have
// to be signed.
func (r LogoutRequest) RedirectURL(relayState string, s *Signer) (string, error) {
	return sendByRedirect(r.document, r.Destination, "SAMLRequest", relayState, s)
}

// PostForm gives the SAMLRequest field of the HTTP-POST binding.
func (r LogoutRequest) PostForm(s *Signer) (string, error) { return sendByPost(r.document, s) }

// RedirectURL gives the URL of the HTTP-Redirect binding. Logout messages have
// to be signed.
func (r LogoutResponse) RedirectURL(relayState string, s *Signer) (string, error) {
	return sendByRedirect(r.document, r.Destination, "SAMLResponse", relayState, s)
}

// PostForm gives the SAMLResponse field of the HTTP-POST binding.
func (r LogoutResponse) PostForm(s *Signer) (string, error) { return sendByPost(r.document, s) }

func sendByRedirect(document func() ([]byte, error), destination, parameter, relayState string, s *Signer) (string, error) {
	doc, err := signable(document, s)
	if err != nil {
		return "", err
	}
	return redirectURL(destination, parameter, doc, relayState, s)
}

func sendByPost(document func() ([]byte, error), s *Signer) (string, error) {
	doc, err := signable(document, s)
	if err != nil {
		return "", err
	}
	return postForm(doc, s)
}

func signable(document func() ([]byte, error), s *Signer) ([]byte, error) {
	if s == nil {
		return nil, refuse(fault.Misconfigured, CheckUnsigned, "There is no key to sign the logout message with").
			WithMend("make a signing key: carnet sso keys add")
	}
	return document()
}

func (r LogoutRequest) document() ([]byte, error) {
	rest := ""
	if !r.NotOnOrAfter.IsZero() {
		rest = attribute("NotOnOrAfter", stamp(r.NotOnOrAfter))
	}
	begin, err := head("LogoutRequest", r.ID, r.Issuer, r.Destination, r.IssueInstant, rest)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	b.WriteString(begin)
	fmt.Fprintf(&b, `<saml:NameID%s%s%s>%s</saml:NameID>`, attribute("Format", r.NameIDFormat),
		attribute("NameQualifier", r.NameQualifier), attribute("SPNameQualifier", r.SPNameQualifier), escape(r.NameID))
	for _, index := range r.SessionIndexes {
		fmt.Fprintf(&b, `<samlp:SessionIndex>%s</samlp:SessionIndex>`, escape(index))
	}
	b.WriteString(`</samlp:LogoutRequest>`)
	return []byte(b.String()), nil
}

func (r LogoutResponse) document() ([]byte, error) {
	begin, err := head("LogoutResponse", r.ID, r.Issuer, r.Destination, r.IssueInstant, attribute("InResponseTo", r.InResponseTo))
	if err != nil {
		return nil, err
	}
	sub := ""
	if r.SubStatus != "" {
		sub = `<samlp:StatusCode` + attribute("Value", r.SubStatus) + `/>`
	}
	return fmt.Appendf(nil, `%s<samlp:Status><samlp:StatusCode%s>%s</samlp:StatusCode></samlp:Status></samlp:LogoutResponse>`,
		begin, attribute("Value", r.Status), sub), nil
}
