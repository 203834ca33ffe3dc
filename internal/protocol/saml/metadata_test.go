package saml_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/edge/devidp"
	"carnet.dev/carnet/internal/edge/devidp/forge"
	"carnet.dev/carnet/internal/protocol/saml"
)

func TestParseMetadata(t *testing.T) {
	t.Parallel()
	one, two := rsaIdP(), ecdsaIdP()
	honest := string(devidp.Describe(forge.EntityID, forge.SSOURL, one.Certificate, two.Certificate, one.Certificate))
	in := func(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(honest) }
	for _, c := range []struct{ name, src string }{
		{"as it is", honest},
		{"with a byte order mark", "\xef\xbb\xbf" + honest},
		{"with declaration and comments", `<?xml version="1.0" encoding="UTF-8"?><!-- exported -->` + honest},
		{"in a list", `<md:EntitiesDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" validUntil="2027-01-01T00:00:00Z">` + honest + `</md:EntitiesDescriptor>`},
		{"keys for any use", in(` use="signing"`, "")},
		{"other bindings beside", in("<md:NameIDFormat>", `<md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:SOAP" Location="soap"/><md:NameIDFormat>`)},
		{"a WS-Federation role beside", in("</md:EntityDescriptor>", `<md:RoleDescriptor xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xml:lang="en" xsi:type="x"/></md:EntityDescriptor>`)},
	} {
		m, err := saml.ParseMetadata([]byte(c.src))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if m.EntityID != forge.EntityID || len(m.Certificates) != 2 || !m.Certificates[0].Equal(one.Certificate) || m.WantAuthnRequestsSigned {
			t.Errorf("%s: %+v", c.name, m)
		}
		for _, binding := range []string{saml.BindingRedirect, saml.BindingPOST} {
			if at, ok := m.SSOLocation(binding); !ok || at != forge.SSOURL {
				t.Errorf("%s: %s at %q", c.name, binding, at)
			}
		}
		if _, ok := m.SSOLocation("urn:none"); ok {
			t.Errorf("%s: an unknown binding has a location", c.name)
		}
	}
}

func TestMetadataDetails(t *testing.T) {
	t.Parallel()
	src := string(rsaIdP().Metadata())
	src = strings.NewReplacer(`WantAuthnRequestsSigned="false"`, `WantAuthnRequestsSigned="1" validUntil="2027-03-01T00:00:00Z"`,
		`<md:EntityDescriptor `, `<md:EntityDescriptor validUntil="2027-02-01T00:00:00Z" `,
		"<md:NameIDFormat>", `<md:SingleLogoutService Binding="`+saml.BindingPOST+`" Location="https://idp.example/slo"/><md:NameIDFormat>`).Replace(src)
	m, err := saml.ParseMetadata([]byte(src))
	if err != nil {
		t.Fatal(err)
	}
	if !m.WantAuthnRequestsSigned || !m.ValidUntil.Equal(time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v", m)
	}
	if len(m.SLO) != 1 || m.SLO[0].Location != "https://idp.example/slo" {
		t.Errorf("single logout %v", m.SLO)
	}
}

func TestMetadataThatCantBeUsed(t *testing.T) {
	t.Parallel()
	idp := rsaIdP()
	honest := string(idp.Metadata())
	encoded := base64.StdEncoding.EncodeToString(idp.Certificate.Raw)
	in := func(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(honest) }
	var eleven []byte
	{
		others := ecdsaIdP()
		certificates := []*forge.IdP{others}
		for len(certificates) < 11 {
			certificates = append(certificates, forge.NewECDSA(t, now))
		}
		d := devidp.Describe(forge.EntityID, forge.SSOURL)
		var keys strings.Builder
		for _, c := range certificates {
			keys.WriteString(`<md:KeyDescriptor><ds:KeyInfo><ds:X509Data><ds:X509Certificate>` + base64.StdEncoding.EncodeToString(c.Certificate.Raw) +
				`</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>`)
		}
		eleven = []byte(strings.Replace(string(d), "<md:NameIDFormat>", keys.String()+"<md:NameIDFormat>", 1))
	}
	for name, c := range map[string]struct{ src, check string }{
		"no certificate":                   {string(devidp.Describe(forge.EntityID, forge.SSOURL)), saml.CheckMetadata},
		"only an encryption certificate":   {in(`use="signing"`, `use="encryption"`), saml.CheckMetadata},
		"a certificate that is not base64": {in(encoded, "%"), saml.CheckMetadata},
		"a certificate that is none":       {in(encoded, "AAAA"), saml.CheckMetadata},
		"markup in a certificate":          {in(encoded, "<b/>"+encoded), saml.CheckMetadata},
		"a short RSA key":                  {string(weak(t)), saml.CheckMetadata},
		"a key of another kind":            {string(edwards(t)), saml.CheckMetadata},
		"eleven certificates":              {string(eleven), saml.CheckMetadata},
		"no entity ID":                     {in("entityID=", "entityId="), saml.CheckMetadata},
		"no sign-on service":               {in("SingleSignOnService", "SingleSignOffService"), saml.CheckMetadata},
		"a script as location":             {in(forge.SSOURL, "javascript:alert(1)"), saml.CheckMetadata},
		"a location with a password":       {in(forge.SSOURL, "https://user:password@idp.example/sso"), saml.CheckMetadata},
		"a relative location":              {in(forge.SSOURL, "/sso"), saml.CheckMetadata},
		"SAML 1.1 only":                    {in("urn:oasis:names:tc:SAML:2.0:protocol", "urn:oasis:names:tc:SAML:1.1:protocol"), saml.CheckMetadata},
		"a service provider":               {in("IDPSSODescriptor", "SPSSODescriptor"), saml.CheckMetadata},
		"two identity providers": {`<md:EntitiesDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata">` + honest + honest + `</md:EntitiesDescriptor>`,
			saml.CheckMetadata},
		"malformed end":   {in(`<md:EntityDescriptor `, `<md:EntityDescriptor validUntil="soon" `), saml.CheckMetadata},
		"another root":    {"<html/>", saml.CheckMetadata},
		"not XML":         {"entityID: x", saml.CheckXML},
		"a document type": {"<!DOCTYPE x>" + honest, saml.CheckDTD},
		"over 1 MiB":      {honest + strings.Repeat(" ", 1<<20), saml.CheckSize},
		"nested too deep": {strings.Repeat("<a>", 50) + strings.Repeat("</a>", 50), saml.CheckLimits},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := saml.ParseMetadata([]byte(c.src))
			wantCode(t, err, c.check)
		})
	}
}

func weak(t *testing.T) []byte {
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	return forge.WithKey(t, key, now).Metadata()
}

func edwards(t *testing.T) []byte {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return forge.WithKey(t, key, now).Metadata()
}
