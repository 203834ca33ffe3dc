package saml_test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/devidp"
	"carnet.dev/carnet/internal/edge/devidp/forge"
	"carnet.dev/carnet/internal/protocol/saml"
)

// aggregate wraps entities in a list, the second half in a list inside it.
func aggregate(entities ...[]byte) []byte {
	var b strings.Builder
	b.WriteString(`<md:EntitiesDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" cacheDuration="PT6H">`)
	for i, e := range entities {
		if i == len(entities)/2 {
			b.WriteString(`<md:EntitiesDescriptor Name="urn:inner">`)
		}
		b.Write(e)
	}
	b.WriteString(`</md:EntitiesDescriptor></md:EntitiesDescriptor>`)
	return []byte(b.String())
}

func TestMetadataOfAFederation(t *testing.T) {
	t.Parallel()
	one := rsaIdP()
	entity := func(i int) []byte {
		return devidp.Describe(fmt.Sprintf("urn:idp:%d", i), forge.SSOURL, one.Certificate)
	}
	sp, err := saml.SPMetadata(saml.SP{URL: forge.ACS})
	if err != nil {
		t.Fatal(err)
	}
	sp = sp[strings.Index(string(sp), "<md:"):]
	if m, err := saml.ParseMetadata(aggregate(sp, entity(1))); err != nil || m.EntityID != "urn:idp:1" || m.CacheDuration != 6*time.Hour {
		t.Errorf("one beside service providers: %+v %v", m, err)
	}
	several := aggregate(entity(1), sp, entity(2), entity(3))
	_, err = saml.ParseMetadata(several)
	wantCode(t, err, saml.CheckMetadata)
	if f := fault.Of(err); !strings.Contains(f.Public, "urn:idp:1, urn:idp:2, urn:idp:3") {
		t.Errorf("the refusal does not name them: %s", f.Public)
	}
	if m, err := saml.ParseMetadataFor(several, "urn:idp:2"); err != nil || m.EntityID != "urn:idp:2" {
		t.Errorf("%+v %v", m, err)
	}
	for src, id := range map[string]string{string(several): "urn:idp:4", string(aggregate(entity(1), entity(1))): "urn:idp:1", string(entity(1)): ""} {
		_, err := saml.ParseMetadataFor([]byte(src), id)
		wantCode(t, err, saml.CheckMetadata)
	}
	var many [][]byte
	for i := range 30 {
		many = append(many, entity(i))
	}
	_, err = saml.ParseMetadata(aggregate(many...))
	if f := fault.Of(err); !strings.Contains(f.Public, "and 20 more") || len(f.Public) > 1000 {
		t.Errorf("%s", f.Public)
	}
}

func TestMetadataOfLogoutAndNames(t *testing.T) {
	t.Parallel()
	src := strings.Replace(string(rsaIdP().Metadata()), "<md:NameIDFormat>", `<md:SingleLogoutService Binding="`+saml.BindingRedirect+`" Location="https://idp.example/slo" ResponseLocation="https://idp.example/answer"/>`+
		`<md:SingleLogoutService Binding="`+saml.BindingPOST+`" Location="https://idp.example/post"/><md:NameIDFormat> urn:x
</md:NameIDFormat><md:NameIDFormat>`, 1)
	m, err := saml.ParseMetadata([]byte(src))
	if err != nil {
		t.Fatal(err)
	}
	for binding, want := range map[string][2]string{
		saml.BindingRedirect: {"https://idp.example/slo", "https://idp.example/answer"},
		saml.BindingPOST:     {"https://idp.example/post", "https://idp.example/post"},
		"urn:none":           {"", ""},
	} {
		at, ok := m.SLOLocation(binding)
		answer, ok2 := m.SLOResponseLocation(binding)
		if at != want[0] || answer != want[1] || ok != (at != "") || ok2 != ok {
			t.Errorf("%s: %s and %s", binding, at, answer)
		}
	}
	if len(m.NameIDFormats) != 2 || m.NameIDFormats[0] != "urn:x" {
		t.Errorf("formats %q", m.NameIDFormats)
	}
	_, err = saml.ParseMetadata([]byte(strings.Replace(src, "https://idp.example/answer", "javascript:alert(1)", 1)))
	wantCode(t, err, saml.CheckMetadata)
}

func TestCacheDuration(t *testing.T) {
	t.Parallel()
	src := string(rsaIdP().Metadata())
	for stated, want := range map[string]time.Duration{
		"PT1H": time.Hour, "P1D": 24 * time.Hour, "P1Y2M3DT4H5M6.5S": (365+60+3)*24*time.Hour + 4*time.Hour + 5*time.Minute + 6500*time.Millisecond,
		"PT604800S": 168 * time.Hour, "P9999999999999Y": 3650 * 24 * time.Hour,
		"": -1, "P": -1, "PT": -1, "P1": -1, "1H": -1, "P1H": -1, "PT1D": -1, "-P1D": -1, "PT1H1H": -1, "P1.5D": -1, "PT1.S.S": -1, "P1DT": -1, "PTT1H": -1, "P1D ": -1, strings.Repeat("P", 100): -1,
	} {
		m, err := saml.ParseMetadata([]byte(strings.Replace(src, "<md:EntityDescriptor ", `<md:EntityDescriptor cacheDuration="`+stated+`" `, 1)))
		if (err != nil) != (want < 0) || (err == nil && m.CacheDuration != want) {
			t.Errorf("%q: %+v %v", stated, m, err)
		}
	}
}

// TestMetadataWithoutACertificate (CVE-2026-28323 class): no certificate never
// means that anything verifies, neither when it is read nor when it is used.
func TestMetadataWithoutACertificate(t *testing.T) {
	t.Parallel()
	idp := rsaIdP()
	none := devidp.Describe(forge.EntityID, forge.SSOURL)
	_, err := saml.ParseMetadata(none)
	wantCode(t, err, saml.CheckMetadata)
	_, err = saml.BuildMetadata(forge.EntityID, forge.SSOURL, "", nil)
	wantCode(t, err, saml.CheckMetadata)
	m := &saml.Metadata{EntityID: forge.EntityID}
	unsigned := idp.Answer(requestID, now)
	unsigned.SignAssertion = false
	_, err = saml.Verify(idp.Respond(t, unsigned), m, expect(), now)
	wantCode(t, err, saml.CheckUnsigned)
	_, err = saml.Verify(idp.Respond(t, idp.Answer(requestID, now)), m, expect(), now)
	wantCode(t, err, saml.CheckSignature)
	_, err = saml.Verify(written(t, sealed(t, idp, devidp.Encryption{}, true, false)), m, decrypting(false), now)
	wantCode(t, err, saml.CheckSignature)
	for _, in := range []saml.LogoutInput{byPost(t, idp, logout()), byRedirect(t, idp, logout(), "")} {
		_, err = saml.VerifyLogoutRequest(in, m, logoutExpect(), now)
		wantCode(t, err, saml.CheckSignature)
	}
}

// TestMetadataWithSeveralKeys: two keys, one of them expired: each is held to
// its own dates, and neither spoils the other.
func TestMetadataWithSeveralKeys(t *testing.T) {
	t.Parallel()
	idp := rsaIdP()
	old, err := devidp.SelfSign(otherIdP().Key, "old", now.Add(-48*time.Hour), now.Add(-24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	m, err := saml.ParseMetadata(devidp.Describe(forge.EntityID, forge.SSOURL, old, idp.Certificate))
	if err != nil || len(m.Certificates) != 2 {
		t.Fatalf("%+v %v", m, err)
	}
	_, err = saml.Verify(idp.Respond(t, idp.Answer(requestID, now)), m, expect(), now)
	wantCode(t, err, "")
	raw := otherIdP().Respond(t, otherIdP().Answer(requestID, now))
	_, err = saml.Verify(raw, m, expect(), now)
	wantCode(t, err, saml.CheckCertificate)
	want := expect()
	want.AcceptExpiredCertificate = true
	_, err = saml.Verify(raw, m, want, now)
	wantCode(t, err, "")
}

func TestBuildMetadata(t *testing.T) {
	t.Parallel()
	idp := rsaIdP()
	certificates := []*x509.Certificate{idp.Certificate, otherIdP().Certificate}
	for _, slo := range []string{"", "https://idp.example/slo?a=1&b=2"} {
		src, err := saml.BuildMetadata(`urn:idp?a=1&b="<2>"`, "https://idp.example/sso?x=1&y", slo, certificates)
		if err != nil {
			t.Fatal(err)
		}
		m, err := saml.ParseMetadata(src)
		if err != nil || m.EntityID != `urn:idp?a=1&b="<2>"` || len(m.Certificates) != 2 {
			t.Fatalf("%+v %v", m, err)
		}
		if at, ok := m.SSOLocation(saml.BindingPOST); !ok || at != "https://idp.example/sso?x=1&y" {
			t.Errorf("sign-on at %q", at)
		}
		if at, ok := m.SLOLocation(saml.BindingRedirect); at != slo || ok != (slo != "") {
			t.Errorf("logout at %q", at)
		}
	}
	for _, c := range [][3]string{{"", forge.SSOURL, ""}, {"urn:x", "", ""}, {"urn:x", "idp.example", ""}, {"urn:x", forge.SSOURL, "javascript:x"}, {"urn:x\x00", forge.SSOURL, "x"}} {
		_, err := saml.BuildMetadata(c[0], c[1], c[2], certificates)
		wantCode(t, err, saml.CheckMetadata)
	}
}

func TestParseCertificates(t *testing.T) {
	t.Parallel()
	one, two := rsaIdP().Certificate, ecdsaIdP().Certificate
	in := func(c *x509.Certificate) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	bare := base64.StdEncoding.EncodeToString(one.Raw)
	for name, c := range map[string]struct {
		src  string
		want int
	}{
		"PEM":                       {in(one), 1},
		"two in PEM":                {in(one) + "\r\n" + in(two), 2},
		"PEM with text before":      {"subject=CN=x\n" + in(one), 1},
		"bare base64":               {bare, 1},
		"bare base64 in lines":      {"\n  " + bare[:64] + "\r\n  " + bare[64:] + "\n", 1},
		"nothing":                   {"", 0},
		"spaces":                    {" \n", 0},
		"a private key":             {"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", 0},
		"a key behind":              {in(one) + "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n", 0},
		"cut off":                   {in(one)[:200], 0},
		"the second cut off":        {in(one) + in(two)[:100], 0},
		"text behind":               {in(one) + "x", 0},
		"not a certificate":         {"AAAA", 0},
		"not base64":                {"https://idp.example/cert", 0},
		"eleven":                    {strings.Repeat(in(one), 11), 0},
		"over the limit":            {strings.Repeat("A", 1<<20+1), 0},
		"the empty list of nothing": {"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", 0},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := saml.ParseCertificates([]byte(c.src))
			if (err == nil) != (c.want > 0) || (err == nil && len(got) != c.want) {
				t.Errorf("%d certificates, %v", len(got), err)
			}
			if err != nil && strings.Contains(fault.Of(err).Error(), "AAAA") {
				t.Errorf("the error repeats what may be a key: %v", err)
			}
		})
	}
}

// FuzzParseCertificates holds that what is taken can verify.
func FuzzParseCertificates(f *testing.F) {
	m := providersKept(f)[0]
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: m.Certificates[0].Raw}))
	f.Add([]byte(base64.StdEncoding.EncodeToString(m.Certificates[0].Raw)))
	f.Fuzz(func(t *testing.T, src []byte) {
		certificates, err := saml.ParseCertificates(src)
		if err != nil {
			return
		}
		if _, err := saml.BuildMetadata("urn:x", forge.SSOURL, "", certificates); err != nil {
			t.Fatalf("%d certificates were taken, and can't be used: %v", len(certificates), err)
		}
	})
}

// TestOwnMetadata: keys of a rollover stand side by side, encryption keys only
// where encryption is wanted, and in the order of the schema.
func TestOwnMetadata(t *testing.T) {
	t.Parallel()
	current, next := certificateOf(t, ourKey()), rsaIdP().Certificate
	type metadata struct {
		SP struct {
			Signed string `xml:"AuthnRequestsSigned,attr"`
			Keys   []struct {
				Use         string `xml:"use,attr"`
				Certificate string `xml:"KeyInfo>X509Data>X509Certificate"`
				Methods     []struct {
					Algorithm string `xml:"Algorithm,attr"`
				} `xml:"EncryptionMethod"`
			} `xml:"KeyDescriptor"`
			SLO []struct {
				Binding  string `xml:"Binding,attr"`
				Location string `xml:"Location,attr"`
			} `xml:"SingleLogoutService"`
		} `xml:"urn:oasis:names:tc:SAML:2.0:metadata SPSSODescriptor"`
	}
	for _, encrypted := range []bool{false, true} {
		src, err := saml.SPMetadata(saml.SP{
			URL: forge.ACS, Signing: []*x509.Certificate{current, next}, Encryption: []*x509.Certificate{current}, WantEncrypted: encrypted, AuthnRequestsSigned: encrypted,
		})
		if err != nil {
			t.Fatal(err)
		}
		var got metadata
		if err := xml.Unmarshal(src, &got); err != nil {
			t.Fatal(err)
		}
		var uses []string
		for _, k := range got.SP.Keys {
			uses = append(uses, k.Use)
			if (len(k.Methods) > 0) != (k.Use == "encryption") {
				t.Errorf("%s has the methods %v", k.Use, k.Methods)
			}
		}
		want := []string{"signing", "signing"}
		if encrypted {
			want = append(want, "encryption")
		}
		if !slices.Equal(uses, want) || got.SP.Signed != fmt.Sprint(encrypted) || got.SP.Keys[1].Certificate != base64.StdEncoding.EncodeToString(next.Raw) {
			t.Errorf("%+v", got)
		}
		if len(got.SP.SLO) != 2 || got.SP.SLO[0].Binding != saml.BindingRedirect || got.SP.SLO[1].Binding != saml.BindingPOST || got.SP.SLO[0].Location != forge.ACS {
			t.Errorf("logout %+v", got.SP.SLO)
		}
		at := -1
		for _, tag := range []string{"<md:KeyDescriptor", "<md:SingleLogoutService", "<md:NameIDFormat", "<md:AssertionConsumerService"} {
			i := strings.Index(string(src), tag)
			if i < at {
				t.Errorf("%s stands before its place in the schema", tag)
			}
			at = i
		}
		if m, err := devidp.ParseSP(src); err != nil || (m.Encrypt != nil) != encrypted {
			t.Errorf("the development identity provider reads it as %+v: %v", m, err)
		}
	}
}
