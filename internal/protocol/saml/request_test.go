package saml_test

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/xml"
	"io"
	"net/url"
	"strings"
	"testing"

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
}

func request() saml.AuthnRequest {
	return saml.AuthnRequest{
		ID: "_r1", Issuer: "https://carnet.example/saml/consume?a=1&b=<2>", ACS: "https://carnet.example/saml/consume",
		Destination: "https://idp.example/sso?tenant=a%20b", IssueInstant: now, ForceAuthn: true,
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
	deflated, err := base64.StdEncoding.DecodeString(u.Query().Get("SAMLRequest"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := io.ReadAll(flate.NewReader(bytes.NewReader(deflated)))
	if err != nil {
		t.Fatal(err)
	}
	checkRequest(t, doc, r)
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

func checkRequest(t *testing.T, doc []byte, r saml.AuthnRequest) {
	t.Helper()
	var got sentRequest
	if err := xml.Unmarshal(doc, &got); err != nil {
		t.Fatalf("%v in %s", err, doc)
	}
	if got.ID != r.ID || got.Version != "2.0" || got.IssueInstant != "2026-11-21T12:00:00Z" || got.Destination != r.Destination ||
		got.ACS != r.ACS || got.Binding != saml.BindingPOST || got.ForceAuthn != "true" || got.Issuer != r.Issuer ||
		len(got.Context) != 2 || got.Context[1] != r.AuthnContext[1] {
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
