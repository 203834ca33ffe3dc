package saml

import (
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
)

// SP is what we tell identity providers of ourselves.
type SP struct {
	// URL is entity ID, ACS and logout URL at once.
	URL string
	// Signing holds the certificates of our signing keys, the current one and,
	// during a rollover, the next.
	Signing []*x509.Certificate
	// Encryption holds the certificates to encrypt for. They are published only
	// with WantEncrypted: many identity providers encrypt as soon as they see one.
	Encryption    []*x509.Certificate
	WantEncrypted bool
	// AuthnRequestsSigned tells that our requests are signed.
	AuthnRequestsSigned bool
}

// SPMetadata describes us to an identity provider (saml-metadata-2.0-os).
func SPMetadata(sp SP) ([]byte, error) {
	u, err := url.Parse(sp.URL)
	if err != nil || !isWebURL(u) {
		return nil, refuse(fault.Misconfigured, CheckMetadata, "The SAML URL is not an absolute URL")
	}
	var b strings.Builder
	at := escape(sp.URL)
	fmt.Fprintf(&b, `<?xml version="1.0" encoding="UTF-8"?>
<md:EntityDescriptor xmlns:md="%s" xmlns:ds="%s" entityID="%s">
  <md:SPSSODescriptor AuthnRequestsSigned="%t" WantAssertionsSigned="true" protocolSupportEnumeration="%s">
`, nsMetadata, nsSignature, at, sp.AuthnRequestsSigned, nsProtocol)
	writeKeys(&b, "signing", sp.Signing, "")
	if sp.WantEncrypted {
		// In the order wanted; without the list some choose AES-CBC.
		methods := ""
		for _, m := range []string{nsEncryption11 + "aes256-gcm", nsEncryption11 + "aes128-gcm", nsEncryption11 + "rsa-oaep", nsEncryption + "rsa-oaep-mgf1p"} {
			methods += fmt.Sprintf("\n      <md:EncryptionMethod Algorithm=\"%s\"/>", m)
		}
		writeKeys(&b, "encryption", sp.Encryption, methods)
	}
	for _, binding := range []string{BindingRedirect, BindingPOST} {
		fmt.Fprintf(&b, "    <md:SingleLogoutService Binding=\"%s\" Location=\"%s\"/>\n", binding, at)
	}
	fmt.Fprintf(&b, `    <md:NameIDFormat>urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified</md:NameIDFormat>
    <md:AssertionConsumerService Binding="%s" Location="%s" index="0" isDefault="true"/>
  </md:SPSSODescriptor>
</md:EntityDescriptor>
`, BindingPOST, at)
	return []byte(b.String()), nil
}

func writeKeys(b *strings.Builder, use string, certificates []*x509.Certificate, methods string) {
	for _, c := range certificates {
		fmt.Fprintf(b, "    <md:KeyDescriptor use=\"%s\">\n      <ds:KeyInfo><ds:X509Data><ds:X509Certificate>%s</ds:X509Certificate></ds:X509Data></ds:KeyInfo>%s\n    </md:KeyDescriptor>\n",
			use, base64.StdEncoding.EncodeToString(c.Raw), methods)
	}
}

// BuildMetadata writes the metadata of an identity provider whose fields were
// entered by hand, in a form that ParseMetadata reads. sloURL may be empty.
// What ParseMetadata would refuse is refused here.
func BuildMetadata(entityID, ssoURL, sloURL string, certificates []*x509.Certificate) ([]byte, error) {
	var b strings.Builder
	fmt.Fprintf(&b, `<?xml version="1.0" encoding="UTF-8"?>
<md:EntityDescriptor xmlns:md="%s" xmlns:ds="%s" entityID="%s">
  <md:IDPSSODescriptor protocolSupportEnumeration="%s">
`, nsMetadata, nsSignature, escape(entityID), nsProtocol)
	writeKeys(&b, "signing", certificates, "")
	for _, service := range []struct{ tag, at string }{{"SingleLogoutService", sloURL}, {"SingleSignOnService", ssoURL}} {
		for _, binding := range []string{BindingRedirect, BindingPOST} {
			if service.at != "" {
				fmt.Fprintf(&b, "    <md:%s Binding=\"%s\" Location=\"%s\"/>\n", service.tag, binding, escape(service.at))
			}
		}
	}
	b.WriteString("  </md:IDPSSODescriptor>\n</md:EntityDescriptor>\n")
	out := []byte(b.String())
	if _, err := ParseMetadata(out); err != nil {
		return nil, err
	}
	return out, nil
}
