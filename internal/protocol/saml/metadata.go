package saml

import (
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/url"
	"slices"
	"strconv"
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
	// ResponseLocation is where answers go; empty when they go to Location.
	ResponseLocation string
}

// Metadata is what an administrator told us of an identity provider.
type Metadata struct {
	EntityID string
	SSO      []Endpoint // single sign-on services
	SLO      []Endpoint // single logout services; may be empty
	// Certificates holds the pinned signing certificates, at least one.
	Certificates            []*x509.Certificate
	WantAuthnRequestsSigned bool
	NameIDFormats           []string      // whole URNs, as offered; may be empty
	ValidUntil              time.Time     // zero when not stated
	CacheDuration           time.Duration // zero when not stated
}

// SSOLocation gives the single sign-on URL for a binding.
func (m *Metadata) SSOLocation(binding string) (string, bool) {
	e, ok := endpointOf(m.SSO, binding)
	return e.Location, ok
}

// SLOLocation gives the URL for logout requests by a binding.
func (m *Metadata) SLOLocation(binding string) (string, bool) {
	e, ok := endpointOf(m.SLO, binding)
	return e.Location, ok
}

// SLOResponseLocation gives the URL for logout responses by a binding.
func (m *Metadata) SLOResponseLocation(binding string) (string, bool) {
	e, ok := endpointOf(m.SLO, binding)
	if e.ResponseLocation != "" {
		return e.ResponseLocation, ok
	}
	return e.Location, ok
}

func endpointOf(places []Endpoint, binding string) (Endpoint, bool) {
	for _, e := range places {
		if e.Binding == binding {
			return e, true
		}
	}
	return Endpoint{}, false
}

func unusable(why string) error {
	return refuse(fault.Invalid, CheckMetadata, "The metadata can't be used: "+why)
}

// ParseMetadata reads the metadata of one identity provider
// (saml-metadata-2.0-os), at most 1 MiB, which may be a list that holds one.
// Metadata without a signing certificate is refused: nothing could be verified
// with it. Its own signature is not read; it is an administrator's word that it
// is the right one. Encryption certificates are not read: we encrypt nothing.
func ParseMetadata(src []byte) (*Metadata, error) { return parseMetadata(src, "") }

// ParseMetadataFor is ParseMetadata for one entity of a list of several.
func ParseMetadataFor(src []byte, entityID string) (*Metadata, error) {
	if entityID == "" {
		return nil, unusable("no entity ID to look for was given")
	}
	return parseMetadata(src, entityID)
}

func parseMetadata(src []byte, wanted string) (*Metadata, error) {
	src = bytes.TrimPrefix(src, []byte("\xef\xbb\xbf"))
	root, err := parseTree(src, xmlsafe.Limits{
		Bytes: maxMetadata, Depth: 32, Elements: 20_000, Attributes: 40_000, PerElement: 24, Prefixes: 32, Comments: true,
	})
	if err != nil {
		return nil, err
	}
	entity, role, err := findIdentityProvider(root, wanted)
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
	for _, el := range named(role, nsMetadata, "NameIDFormat") {
		if s, ok := text(el); ok {
			m.NameIDFormats = append(m.NameIDFormats, strings.TrimSpace(s))
		}
	}
	m.Certificates, err = signingCertificates(role)
	return m, err
}

// findIdentityProvider finds the one SAML 2.0 identity provider, or the one of
// the wanted name, in a list of entities too.
func findIdentityProvider(root *etree.Element, wanted string) (entity, role *etree.Element, err error) {
	if !is(root, nsMetadata, "EntitiesDescriptor") && !is(root, nsMetadata, "EntityDescriptor") {
		return nil, nil, unusable("it is not SAML 2.0 metadata")
	}
	var names []string
	for _, e := range entities(root) {
		for _, r := range named(e, nsMetadata, "IDPSSODescriptor") {
			name := attrValue(e, "entityID")
			if (wanted == "" || name == wanted) && slices.Contains(strings.Fields(attrValue(r, "protocolSupportEnumeration")), nsProtocol) {
				entity, role, names = e, r, append(names, clip(name))
			}
		}
	}
	switch {
	case len(names) == 1:
		return entity, role, nil
	case len(names) == 0 && wanted != "":
		return nil, nil, unusable("it describes no SAML 2.0 identity provider " + clip(wanted))
	case len(names) == 0:
		return nil, nil, unusable("it describes no SAML 2.0 identity provider")
	case len(names) > 10:
		names = append(names[:10], fmt.Sprintf("and %d more", len(names)-10))
	}
	return nil, nil, refuse(fault.Invalid, CheckMetadata, "The metadata can't be used: it describes several SAML 2.0 identity providers: "+strings.Join(names, ", ")).
		WithMend("name the entity ID of the one that is meant, or export its metadata alone")
}

// entities gives every entity of a list, which may hold lists.
func entities(root *etree.Element) []*etree.Element {
	if is(root, nsMetadata, "EntityDescriptor") {
		return []*etree.Element{root}
	}
	out := named(root, nsMetadata, "EntityDescriptor")
	for _, list := range named(root, nsMetadata, "EntitiesDescriptor") {
		out = append(out, entities(list)...)
	}
	return out
}

// readValidity takes the earliest validUntil and the shortest cacheDuration of
// the three levels.
func (m *Metadata) readValidity(levels ...*etree.Element) error {
	for _, el := range levels {
		if s, stated := attr(el, "cacheDuration"); stated {
			d, ok := duration(s)
			if !ok {
				return unusable("cacheDuration is malformed")
			}
			if m.CacheDuration == 0 || d < m.CacheDuration {
				m.CacheDuration = d
			}
		}
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
		e := Endpoint{Binding: attrValue(el, "Binding"), Location: attrValue(el, "Location"), ResponseLocation: attrValue(el, "ResponseLocation")}
		if e.Binding != BindingRedirect && e.Binding != BindingPOST {
			continue
		}
		for _, at := range []string{e.Location, cmp.Or(e.ResponseLocation, e.Location)} {
			if u, err := url.Parse(at); err != nil || !isWebURL(u) || u.User != nil {
				return nil, unusable("a " + tag + " location is no absolute http or https URL")
			}
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
	return usableCertificate(der)
}

// usableCertificate reads a certificate whose key is strong enough. Its dates
// are judged when it is used, and by the setting of the identity provider.
func usableCertificate(der []byte) (*x509.Certificate, error) {
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

// ParseCertificates reads the signing certificates that an administrator
// entered: one or more in PEM, or one as bare base64, as it stands in metadata.
func ParseCertificates(src []byte) ([]*x509.Certificate, error) {
	if len(src) > maxMetadata {
		return nil, refuse(fault.TooLarge, CheckSize, "The certificates are over the size limit")
	}
	var out []*x509.Certificate
	if !bytes.Contains(src, []byte("-----BEGIN")) {
		der, err := decodeBase64(string(src))
		if err != nil || len(der) == 0 {
			return nil, unusable("what was entered is neither PEM nor base64")
		}
		cert, err := usableCertificate(der)
		return append(out, cert), err
	}
	for {
		block, rest := pem.Decode(src)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, unusable("the PEM holds something else than certificates")
		}
		cert, err := usableCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		if out, src = append(out, cert), rest; len(out) > maxCertificates {
			return nil, unusable("it has more than 10 signing certificates")
		}
	}
	if len(out) == 0 || len(bytes.TrimSpace(src)) > 0 {
		return nil, unusable("the PEM is broken, or text stands behind it")
	}
	return out, nil
}

// duration reads an xs:duration of days, hours, minutes and seconds; months and
// years are taken as 30 and 365 days.
func duration(s string) (time.Duration, bool) {
	rest, ok := strings.CutPrefix(s, "P")
	if !ok || len(s) > 64 || rest == "" || strings.HasSuffix(rest, "T") {
		return 0, false
	}
	const day = 24 * time.Hour
	units := map[string]time.Duration{"Y": 365 * day, "M": 30 * day, "D": day, "TH": time.Hour, "TM": time.Minute, "TS": time.Second}
	total, part := time.Duration(0), ""
	for rest != "" {
		if part == "" && rest[0] == 'T' {
			part, rest = "T", rest[1:]
		}
		n := strings.IndexFunc(rest, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
		if n < 1 {
			return 0, false
		}
		value, err := strconv.ParseFloat(rest[:n], 64)
		unit := units[part+rest[n:n+1]]
		if err != nil || unit == 0 || (unit != time.Second && strings.Contains(rest[:n], ".")) {
			return 0, false
		}
		delete(units, part+rest[n:n+1])
		total, rest = total+time.Duration(min(value*float64(unit), float64(10*365*day))), rest[n+1:]
	}
	return total, true
}
