package saml

import (
	"crypto/x509"
	"time"

	"carnet.dev/carnet/internal/core/fault"
)

// Binding names of SAML 2.0 (saml-bindings-2.0-os section 3).
const (
	BindingRedirect = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
	BindingPOST     = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
)

// Endpoint is one place of a service, by binding.
type Endpoint struct {
	Binding  string
	Location string // absolute URL
}

// Metadata is what an administrator told us of an identity provider.
type Metadata struct {
	EntityID string
	SSO      []Endpoint // single sign-on services
	SLO      []Endpoint // single logout services; may be empty
	// Certificates holds the pinned signing certificates, at least one.
	Certificates            []*x509.Certificate
	WantAuthnRequestsSigned bool
	ValidUntil              time.Time // zero when not stated
}

// SSOLocation gives the URL for a binding.
func (m *Metadata) SSOLocation(binding string) (string, bool) {
	for _, e := range m.SSO {
		if e.Binding == binding {
			return e.Location, true
		}
	}
	return "", false
}

// ParseMetadata reads the metadata of one identity provider. Metadata without
// a signing certificate is refused: nothing could be verified with it.
func ParseMetadata(src []byte) (*Metadata, error) {
	return nil, refuse(fault.Unsupported, CheckMetadata, "metadata can't be read yet")
}
