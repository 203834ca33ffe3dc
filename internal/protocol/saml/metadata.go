package saml

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/beevik/etree"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/xmlsafe"
)

// Binding names of SAML 2.0 (saml-bindings-2.0-os section 3).
const (
	BindingRedirect = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
	BindingPOST     = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
)

const (
	maxMetadata     = 1 << 20
	maxCertificates = 10 // as AWS allows per SAML provider
	minRSABits      = 2048
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

func unusable(why string) error {
	return refuse(fault.Invalid, CheckMetadata, "The metadata can't be used: "+why).
		WithMend("export the metadata at the identity provider again")
}

// ParseMetadata reads the metadata of one identity provider
// (saml-metadata-2.0-os), at most 1 MiB. Metadata without a signing
// certificate is refused: nothing could be verified with it. Its own signature
// is not read; it is an administrator's word that it is the right one.
func ParseMetadata(src []byte) (*Metadata, error) {
	src = bytes.TrimPrefix(src, []byte("\xef\xbb\xbf"))
	root, err := parseTree(src, xmlsafe.Limits{
		Bytes: maxMetadata, Depth: 32, Elements: 20_000, Attributes: 40_000, PerElement: 24, Prefixes: 32, Comments: true,
	})
	if err != nil {
		return nil, err
	}
	entity, role, err := findIdentityProvider(root)
	if err != nil {
		return nil, err
	}
	m := &Metadata{EntityID: attrValue(entity, "entityID")}
	if m.EntityID == "" || len(m.EntityID) > 1024 {
		return nil, unusable("it names no entityID, or one over 1024 characters")
	}
	if w := attrValue(role, "WantAuthnRequestsSigned"); w == "true" || w == "1" {
		m.WantAuthnRequestsSigned = true
	}
	if err := m.readValidity(root, entity, role); err != nil {
		return nil, err
	}
	if m.SSO, err = endpoints(role, "SingleSignOnService"); err != nil {
		return nil, err
	}
	if m.SLO, err = endpoints(role, "SingleLogoutService"); err != nil {
		return nil, err
	}
	if len(m.SSO) == 0 {
		return nil, unusable("it has no single sign-on service by redirect or POST")
	}
	m.Certificates, err = signingCertificates(role)
	return m, err
}

// findIdentityProvider finds the one SAML 2.0 identity provider, which may be
// wrapped in a list of entities.
func findIdentityProvider(root *etree.Element) (entity, role *etree.Element, err error) {
	entities := []*etree.Element{root}
	if is(root, nsMetadata, "EntitiesDescriptor") {
		entities = named(root, nsMetadata, "EntityDescriptor")
	} else if !is(root, nsMetadata, "EntityDescriptor") {
		return nil, nil, unusable("it is not SAML 2.0 metadata")
	}
	found := 0
	for _, e := range entities {
		for _, r := range named(e, nsMetadata, "IDPSSODescriptor") {
			if slices.Contains(strings.Fields(attrValue(r, "protocolSupportEnumeration")), nsProtocol) {
				entity, role = e, r
				found++
			}
		}
	}
	if found != 1 {
		return nil, nil, unusable("it has to describe exactly one SAML 2.0 identity provider")
	}
	return entity, role, nil
}

// readValidity takes the earliest validUntil of the three levels.
func (m *Metadata) readValidity(levels ...*etree.Element) error {
	for _, el := range levels {
		s, stated := attr(el, "validUntil")
		if !stated {
			continue
		}
		t, ok := instant(s)
		if !ok {
			return unusable("validUntil is malformed")
		}
		if m.ValidUntil.IsZero() || t.Before(m.ValidUntil) {
			m.ValidUntil = t
		}
	}
	return nil
}

// endpoints reads the places of a service that the browser can be sent to.
func endpoints(role *etree.Element, tag string) ([]Endpoint, error) {
	var out []Endpoint
	for _, el := range named(role, nsMetadata, tag) {
		e := Endpoint{Binding: attrValue(el, "Binding"), Location: attrValue(el, "Location")}
		if e.Binding != BindingRedirect && e.Binding != BindingPOST {
			continue
		}
		u, err := url.Parse(e.Location)
		if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil {
			return nil, unusable("a " + tag + " location is no absolute http or https URL")
		}
		out = append(out, e)
	}
	return out, nil
}

// signingCertificates reads every certificate that may sign, each once.
func signingCertificates(role *etree.Element) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for _, key := range named(role, nsMetadata, "KeyDescriptor") {
		if use, stated := attr(key, "use"); stated && use != "signing" {
			continue
		}
		for _, info := range named(key, nsSignature, "KeyInfo") {
			for _, data := range named(info, nsSignature, "X509Data") {
				for _, el := range named(data, nsSignature, "X509Certificate") {
					cert, err := readCertificate(el)
					if err != nil {
						return nil, err
					}
					if !slices.ContainsFunc(out, cert.Equal) {
						out = append(out, cert)
					}
				}
			}
		}
	}
	switch {
	case len(out) == 0:
		return nil, unusable("it has no signing certificate, so nothing could be verified with it")
	case len(out) > maxCertificates:
		return nil, unusable("it has more than 10 signing certificates")
	}
	return out, nil
}

func readCertificate(el *etree.Element) (*x509.Certificate, error) {
	encoded, ok := text(el)
	if !ok {
		return nil, unusable("a certificate holds markup")
	}
	der, err := decodeBase64(encoded)
	if err != nil {
		return nil, unusable("a certificate is not base64")
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, unusable("a certificate is malformed")
	}
	switch key := cert.PublicKey.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() < minRSABits {
			return nil, unusable("the RSA key of a certificate is shorter than 2048 bits")
		}
	case *ecdsa.PublicKey:
	default:
		return nil, unusable("the key of a certificate is neither RSA nor ECDSA")
	}
	return cert, nil
}
