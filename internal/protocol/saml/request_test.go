package saml_test

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/xml"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"

	"carnet.dev/carnet/internal/edge/devidp"
	"carnet.dev/carnet/internal/protocol/saml"
)

type sentRequest struct {
	XMLName      xml.Name `xml:"urn:oasis:names:tc:SAML:2.0:protocol AuthnRequest"`
	ID           string   `xml:"ID,attr"`
	Version      string   `xml:"Version,attr"`
	IssueInstant string   `xml:"IssueInstant,attr"`
	Destination  string   `xml:"Destination,attr"`
	ACS          string   `xml:"AssertionConsumerServiceURL,attr"`
	Binding      string   `xml:"ProtocolBinding,attr"`
	ForceAuthn   string   `xml:"ForceAuthn,attr"`
	Issuer       string   `xml:"urn:oasis:names:tc:SAML:2.0:assertion Issuer"`
	Context      []string `xml:"RequestedAuthnContext>AuthnContextClassRef"`
	Policy       struct {
		Format      string `xml:"Format,attr"`
		AllowCreate string `xml:"AllowCreate,attr"`
	} `xml:"NameIDPolicy"`
}

func request() saml.AuthnRequest {
	return saml.AuthnRequest{
		ID: "_r1", Issuer: "https://carnet.example/saml/consume?a=1&b=<2>", ACS: "https://carnet.example/saml/consume",
		Destination: "https://idp.example/sso?tenant=a%20b", IssueInstant: now, ForceAuthn: true,
		NameIDFormat: "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent",
		AuthnContext: []string{"urn:oasis:names:tc:SAML:2.0:ac:classes:X509", `urn:"x"`},
	}
}

func TestRedirectURL(t *testing.T) {
	t.Parallel()
	r := request()
	const relay = "a+b/c=d&e f"
	s, err := r.RedirectURL(relay, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(s, "https://idp.example/sso?tenant=a%20b&SAMLRequest=") {
		t.Errorf("the identity provider's own query is changed: %s", s)
	}
	u, err := url.Parse(s)
	if err != nil || u.Query().Get("RelayState") != relay {
		t.Fatalf("relay state %q, %v", u.Query().Get("RelayState"), err)
	}
	checkRequest(t, inflated(t, u.Query().Get("SAMLRequest")), r)
	if s, err := r.RedirectURL("", nil); err != nil || strings.Contains(s, "RelayState") {
		t.Errorf("an empty relay state is sent: %s %v", s, err)
	}
}

func TestPostForm(t *testing.T) {
	t.Parallel()
	r := request()
	form, err := r.PostForm(nil)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := base64.StdEncoding.DecodeString(form)
	if err != nil {
		t.Fatal(err)
	}
	checkRequest(t, doc, r)
}

// TestSignedRequests: the signature verifies with our certificate, over the
// query as it is sent, and over the document.
func TestSignedRequests(t *testing.T) {
	t.Parallel()
	r := request()
	us := &saml.Signer{Key: ourKey(), Certificate: certificateOf(t, ourKey())}
	s, err := r.RedirectURL("relay &=", us)
	if err != nil {
		t.Fatal(err)
	}
	_, query, _ := strings.Cut(s, "?tenant=a%20b&")
	signed, signature, ok := strings.Cut(query, "&Signature=")
	value, err := url.QueryUnescape(signature)
	if !ok || err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	if err := us.Certificate.CheckSignature(x509.SHA256WithRSA, []byte(signed), decoded(t, value)); err != nil {
		t.Errorf("the query: %v", err)
	}
	names := ""
	for _, p := range strings.Split(query, "&") {
		name, _, _ := strings.Cut(p, "=")
		names += name + " "
	}
	if names != "SAMLRequest RelayState SigAlg Signature " {
		t.Errorf("parameters %s", names)
	}
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	checkRequest(t, inflated(t, u.Query().Get("SAMLRequest")), r)

	form, err := r.PostForm(us)
	if err != nil {
		t.Fatal(err)
	}
	checkRequest(t, decoded(t, form), r)
	doc := etree.NewDocument()
	if err := doc.ReadFromBytes(decoded(t, form)); err != nil {
		t.Fatal(err)
	}
	if children := doc.Root().ChildElements(); children[0].Tag != "Issuer" || children[1].Tag != "Signature" {
		t.Error("the signature does not stand behind the issuer, where the schema wants it")
	}
	ctx := dsig.NewDefaultValidationContext(&dsig.MemoryX509CertificateStore{Roots: []*x509.Certificate{us.Certificate}})
	ctx.Clock = dsig.NewFakeClockAt(now)
	if _, err := ctx.Validate(doc.Root()); err != nil {
		t.Errorf("the document: %v", err)
	}
}

func certificateOf(t *testing.T, key *rsa.PrivateKey) *x509.Certificate {
	t.Helper()
	cert, err := devidp.SelfSign(key, "us", now.Add(-time.Hour), now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func checkRequest(t *testing.T, doc []byte, r saml.AuthnRequest) {
	t.Helper()
	var got sentRequest
	if err := xml.Unmarshal(doc, &got); err != nil {
		t.Fatalf("%v in %s", err, doc)
	}
	if got.ID != r.ID || got.Version != "2.0" || got.IssueInstant != "2026-11-21T12:00:00Z" || got.Destination != r.Destination ||
		got.ACS != r.ACS || got.Binding != saml.BindingPOST || got.ForceAuthn != "true" || got.Issuer != r.Issuer ||
		got.Policy.Format != r.NameIDFormat || got.Policy.AllowCreate != "true" || len(got.Context) != 2 || got.Context[1] != r.AuthnContext[1] {
		t.Errorf("%+v", got)
	}
}

func TestRequestsThatCantBeMade(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*saml.AuthnRequest){
		"destination without host":  func(r *saml.AuthnRequest) { r.Destination = "/sso" },
		"a script as destination":   func(r *saml.AuthnRequest) { r.Destination = "javascript://x/%0aalert(1)" },
		"an ID that is no XML name": func(r *saml.AuthnRequest) { r.ID = `1" x="` },
		"no ID":                     func(r *saml.AuthnRequest) { r.ID = "" },
	} {
		r := request()
		change(&r)
		if s, err := r.RedirectURL("x", nil); err == nil {
			t.Errorf("%s: %s", name, s)
		}
	}
}

func TestSPMetadata(t *testing.T) {
	t.Parallel()
	const samlURL = "https://carnet.example/saml/consume?a=1&b=2"
	doc, err := saml.SPMetadata(saml.SP{URL: samlURL})
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		EntityID string `xml:"entityID,attr"`
		SP       struct {
			WantAssertionsSigned bool `xml:"WantAssertionsSigned,attr"`
			ACS                  []struct {
				Binding  string `xml:"Binding,attr"`
				Location string `xml:"Location,attr"`
			} `xml:"AssertionConsumerService"`
		} `xml:"urn:oasis:names:tc:SAML:2.0:metadata SPSSODescriptor"`
	}
	if err := xml.Unmarshal(doc, &got); err != nil {
		t.Fatal(err)
	}
	if got.EntityID != samlURL || !got.SP.WantAssertionsSigned || len(got.SP.ACS) != 1 || got.SP.ACS[0].Location != samlURL || got.SP.ACS[0].Binding != saml.BindingPOST {
		t.Errorf("%+v", got)
	}
	for _, bad := range []string{"", "carnet.example", "ftp://carnet.example/", "/saml/consume"} {
		if _, err := saml.SPMetadata(saml.SP{URL: bad}); err == nil {
			t.Errorf("%q makes metadata", bad)
		}
	}
}
