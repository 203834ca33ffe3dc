package devidp_test

//lint:file-ignore SA1019 PKCS #1 v1.5 has to be read to see that it was made

import (
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"

	"carnet.dev/carnet/internal/edge/devidp"
)

const slo = acs

// provider is a service provider with a key of its own.
func provider(t *testing.T) (devidp.Signer, devidp.SP) {
	t.Helper()
	keyPEM, certPEM, err := devidp.NewKey(now)
	if err != nil {
		t.Fatal(err)
	}
	key, cert, err := devidp.ParseKey(keyPEM, certPEM)
	if err != nil {
		t.Fatal(err)
	}
	return devidp.Signer{Key: key, Certificate: cert}, devidp.SP{
		EntityID: acs, ACS: acs, SLO: slo, Signing: []*x509.Certificate{cert}, Encrypt: key.Public().(*rsa.PublicKey),
	}
}

// spMetadata is what the service provider gives out.
func spMetadata(cert *x509.Certificate) []byte {
	c := base64.StdEncoding.EncodeToString(cert.Raw)
	return []byte(`<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" entityID="` + acs + `"><SPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">
<KeyDescriptor use="signing"><KeyInfo xmlns="http://www.w3.org/2000/09/xmldsig#"><X509Data><X509Certificate>` + c[:64] + "\n" + c[64:] + `</X509Certificate></X509Data></KeyInfo></KeyDescriptor>
<KeyDescriptor use="encryption"><KeyInfo xmlns="http://www.w3.org/2000/09/xmldsig#"><X509Data><X509Certificate>` + c + `</X509Certificate></X509Data></KeyInfo></KeyDescriptor>
<SingleLogoutService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="https://other.example"/>
<SingleLogoutService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST" Location="` + slo + `"/>
<AssertionConsumerService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST" Location="` + acs + `" index="0"/>
</SPSSODescriptor></EntityDescriptor>`)
}

func TestParseSP(t *testing.T) {
	t.Parallel()
	signer, want := provider(t)
	sp, err := devidp.ParseSP(spMetadata(signer.Certificate))
	if err != nil || sp.EntityID != acs || sp.ACS != acs || sp.SLO != slo || len(sp.Signing) != 1 || !sp.Encrypt.Equal(want.Encrypt) {
		t.Fatalf("%+v, %v", sp, err)
	}
	for _, bad := range []string{"", "<x/>", `<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" entityID="x"/>`,
		strings.Replace(string(spMetadata(signer.Certificate)), "<X509Certificate>", "<X509Certificate>%", 1)} {
		if sp, err := devidp.ParseSP([]byte(bad)); err == nil {
			t.Errorf("%.40q gives %+v", bad, sp)
		}
	}
}

// TestLogoutAskedByTheServiceProvider: both bindings; only what the service
// provider signed is answered, and the answer is signed.
func TestLogoutAskedByTheServiceProvider(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	sp, known := provider(t)
	if err := w.idp.Know(known); err != nil {
		t.Fatal(err)
	}
	evil, _ := provider(t)
	ask := devidp.Logout{ID: "_l1", Issuer: acs, Destination: w.idp.SLOURL(), IssueInstant: now, NameID: "alice", SessionIndexes: []string{"_s"}}
	unsigned, err := devidp.Serialize(ask.Document())
	if err != nil {
		t.Fatal(err)
	}
	redirect := func(s devidp.Signer) string {
		q, err := s.RedirectQuery("SAMLRequest", unsigned, "state")
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	post := func(s devidp.Signer) url.Values {
		raw, err := s.Post(ask)
		if err != nil {
			t.Fatal(err)
		}
		return url.Values{"SAMLRequest": {base64.StdEncoding.EncodeToString(raw)}, "RelayState": {"state"}}
	}
	for name, send := range map[string]func() (int, http.Header, string){
		"by redirect": func() (int, http.Header, string) { return w.do(http.MethodGet, w.base+"/slo?"+redirect(sp), nil) },
		"by POST":     func() (int, http.Header, string) { return w.do(http.MethodPost, w.base+"/slo", post(sp)) },
	} {
		status, _, page := send()
		if status != http.StatusOK || fields(page).Get("RelayState") != "state" {
			t.Fatalf("%s: %d %s", name, status, page)
		}
		raw, err := base64.StdEncoding.DecodeString(fields(page).Get("SAMLResponse"))
		if err != nil {
			t.Fatal(err)
		}
		doc := etree.NewDocument()
		if err := doc.ReadFromBytes(raw); err != nil {
			t.Fatal(err)
		}
		root := doc.Root()
		if root.Tag != "LogoutResponse" || root.SelectAttrValue("InResponseTo", "") != "_l1" || root.FindElement("./Signature") == nil ||
			root.SelectAttrValue("Destination", "") != slo || root.FindElement("./Status/StatusCode").SelectAttrValue("Value", "") != devidp.StatusSuccess {
			t.Errorf("%s: %s", name, raw)
		}
	}
	swapped := strings.Replace(redirect(sp), "RelayState=state", "RelayState=other", 1)
	for name, send := range map[string]func() (int, http.Header, string){
		"foreign key by redirect": func() (int, http.Header, string) { return w.do(http.MethodGet, w.base+"/slo?"+redirect(evil), nil) },
		"foreign key by POST":     func() (int, http.Header, string) { return w.do(http.MethodPost, w.base+"/slo", post(evil)) },
		"changed relay state":     func() (int, http.Header, string) { return w.do(http.MethodGet, w.base+"/slo?"+swapped, nil) },
		"parameter twice": func() (int, http.Header, string) {
			return w.do(http.MethodGet, w.base+"/slo?"+redirect(sp)+"&RelayState=state", nil)
		},
		"not signed": func() (int, http.Header, string) {
			return w.do(http.MethodPost, w.base+"/slo", url.Values{"SAMLRequest": {base64.StdEncoding.EncodeToString(unsigned)}})
		},
		"nothing": func() (int, http.Header, string) { return w.do(http.MethodGet, w.base+"/slo", nil) },
	} {
		if status, _, page := send(); status != http.StatusBadRequest || strings.Contains(page, "SAMLResponse") {
			t.Errorf("%s: %d", name, status)
		}
	}
}

// TestLogoutThatBeginsHere: asks for the password, and posts a signed request.
func TestLogoutThatBeginsHere(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	form := url.Values{"from": {acs}, "user": {"alice"}, "password": {password}}
	if status, _, _ := w.do(http.MethodPost, w.base+"/sign-out", form); status != http.StatusBadRequest {
		t.Errorf("for a service provider that takes none: %d", status)
	}
	sp, known := provider(t)
	if err := w.idp.Know(known); err != nil {
		t.Fatal(err)
	}
	status, header, page := w.do(http.MethodPost, w.base+"/sign-out", form)
	raw, err := base64.StdEncoding.DecodeString(fields(page).Get("SAMLRequest"))
	if status != http.StatusOK || err != nil || !strings.Contains(string(raw), ">alice<") || !strings.Contains(string(raw), "SignatureValue") {
		t.Fatalf("%d %v %s", status, err, raw)
	}
	wantPolicy(t, header, page, "form-action http://127.0.0.1:8480 'self'")
	form.Set("password", "guess")
	if status, _, _ := w.do(http.MethodPost, w.base+"/sign-out", form); status != http.StatusForbidden {
		t.Errorf("a wrong password: %d", status)
	}
	for status, says := range map[string]string{"": "is signed out", devidp.StatusResponder: "did not sign"} {
		raw, err := sp.Post(devidp.Logout{ID: "_a", Issuer: acs, InResponseTo: "_l", IssueInstant: now, Status: status})
		if err != nil {
			t.Fatal(err)
		}
		code, _, page := w.do(http.MethodPost, w.base+"/slo", url.Values{"SAMLResponse": {base64.StdEncoding.EncodeToString(raw)}})
		if code != http.StatusOK || !strings.Contains(page, says) {
			t.Errorf("%q: %d %s", status, code, page)
		}
	}
}

// TestSignedRequests: a bad signature is refused once the keys are known; none
// at all only where signatures are wanted.
func TestSignedRequests(t *testing.T) {
	t.Parallel()
	w := start(t, func(c *devidp.Config) { c.WantSignedRequests = true })
	sp, known := provider(t)
	if err := w.idp.Know(known); err != nil {
		t.Fatal(err)
	}
	evil, _ := provider(t)
	r := request()
	r.Destination = w.idp.SSOURL()
	xml, err := r.PostForm(nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(xml)
	if err != nil {
		t.Fatal(err)
	}
	for signer, want := range map[*devidp.Signer]int{&sp: http.StatusOK, &evil: http.StatusBadRequest} {
		q, err := signer.RedirectQuery("SAMLRequest", raw, "state")
		if err != nil {
			t.Fatal(err)
		}
		status, _, page := w.do(http.MethodGet, w.base+"/sso?"+q, nil)
		if status != want {
			t.Fatalf("%d, want %d", status, want)
		}
		if want == http.StatusOK {
			if _, _, page = w.signIn(page, "alice", password); fields(page).Get("SAMLResponse") == "" {
				t.Errorf("the form lost the signature: %s", page)
			}
		}
	}
	if status, _, _ := w.do(http.MethodPost, w.base+"/sso", url.Values{"SAMLRequest": {xml}}); status != http.StatusBadRequest {
		t.Errorf("an unsigned request: %d", status)
	}
	if !strings.Contains(string(w.idp.Metadata()), `WantAuthnRequestsSigned="true"`) {
		t.Error("the metadata does not say so")
	}
}

// TestEncryptedAndRefusedContexts: what goes to the browser where assertions
// are encrypted, and where the context asked for can't be had.
func TestEncryptedAndRefusedContexts(t *testing.T) {
	t.Parallel()
	w := start(t, func(c *devidp.Config) { c.Encrypt = true })
	_, known := provider(t)
	if err := w.idp.Know(known); err != nil {
		t.Fatal(err)
	}
	_, _, page := w.do(http.MethodGet, w.base+"/start?RelayState=here", nil)
	_, _, page = w.signIn(page, "alice", password)
	raw, _ := base64.StdEncoding.DecodeString(fields(page).Get("SAMLResponse"))
	if s := string(raw); !strings.Contains(s, "EncryptedAssertion") || strings.Contains(s, "alice") || fields(page).Get("RelayState") != "here" {
		t.Errorf("%s", s)
	}
	r := request()
	r.AuthnContext = []string{"urn:oasis:names:tc:SAML:2.0:ac:classes:SmartcardPKI"}
	form, err := r.PostForm(nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _, page = w.do(http.MethodPost, w.base+"/sso", url.Values{"SAMLRequest": {form}})
	_, _, page = w.signIn(page, "alice", password)
	raw, _ = base64.StdEncoding.DecodeString(fields(page).Get("SAMLResponse"))
	if s := string(raw); !strings.Contains(s, "NoAuthnContext") || !strings.Contains(s, "SignatureValue") || strings.Contains(s, "Assertion ") {
		t.Errorf("%s", s)
	}
}

// TestEncryption: each way, opened again with the key.
func TestEncryption(t *testing.T) {
	t.Parallel()
	signer, known := provider(t)
	key := signer.Key.(crypto.Decrypter)
	for _, content := range []string{"", devidp.AES128GCM, devidp.AES192GCM, devidp.AES256GCM, devidp.AES128CBC, devidp.AES256CBC} {
		for _, way := range []string{"", devidp.OAEP11, devidp.PKCS1v1} {
			el, err := devidp.Encryption{Content: content, Key: way, Beside: way == ""}.Seal([]byte("<x/>"), known.Encrypt)
			if err != nil {
				t.Fatal(err)
			}
			wrapped, err := base64.StdEncoding.DecodeString(el.FindElement(".//EncryptedKey/CipherData/CipherValue").Text())
			if err != nil {
				t.Fatal(err)
			}
			options := map[string]crypto.DecrypterOpts{
				"": &rsa.OAEPOptions{Hash: crypto.SHA1}, devidp.OAEP11: &rsa.OAEPOptions{Hash: crypto.SHA256}, devidp.PKCS1v1: &rsa.PKCS1v15DecryptOptions{},
			}[way]
			if got, err := key.Decrypt(nil, wrapped, options); err != nil || len(got)%8 != 0 || len(got) < 16 {
				t.Errorf("%s %s: %v", content, way, err)
			}
		}
	}
	if _, err := (devidp.Encryption{Content: "x"}).Seal(nil, known.Encrypt); err == nil {
		t.Error("an unknown way was taken")
	}
	if _, err := (devidp.Encryption{Key: "x"}).Seal(nil, known.Encrypt); err == nil {
		t.Error("an unknown way for the key was taken")
	}
}

// TestLogoutLife: what is asked for has an end.
func TestLogoutLife(t *testing.T) {
	t.Parallel()
	l := devidp.Logout{ID: "_1", Issuer: "x", NotOnOrAfter: now.Add(5 * time.Minute), NameID: "a", NameQualifier: "q", SPNameQualifier: "s"}
	raw, err := devidp.Serialize(l.Document())
	if err != nil || !strings.Contains(string(raw), `NotOnOrAfter="2026-11-21T12:05:00.000Z"`) || !strings.Contains(string(raw), `NameQualifier="q" SPNameQualifier="s"`) {
		t.Errorf("%s %v", raw, err)
	}
}
