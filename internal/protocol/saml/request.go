package saml

import (
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
	return "", refuse(fault.Unsupported, CheckShape, "requests can't be made yet")
}

// PostForm gives the SAMLRequest field of the HTTP-POST binding
// (saml-bindings-2.0-os section 3.5.4), unsigned.
func (r AuthnRequest) PostForm() (string, error) {
	return "", refuse(fault.Unsupported, CheckShape, "requests can't be made yet")
}

// SPMetadata describes us to an identity provider. samlURL is entity ID, ACS
// and logout URL at once.
func SPMetadata(samlURL string) ([]byte, error) {
	return nil, refuse(fault.Unsupported, CheckShape, "metadata can't be made yet")
}
