package saml

import (
	"bytes"
	"compress/flate"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"

	"carnet.dev/carnet/internal/core/fault"
)

// Signer signs what we send, by RSA and SHA-256.
type Signer struct {
	Key         *rsa.PrivateKey
	Certificate *x509.Certificate // goes into KeyInfo; identity providers pin it by our metadata
}

// redirectURL gives the URL of the HTTP-Redirect binding
// (saml-bindings-2.0-os section 3.4.4.1). parameter is SAMLRequest or
// SAMLResponse; a nil signer leaves it unsigned.
func redirectURL(destination, parameter string, doc []byte, relayState string, s *Signer) (string, error) {
	u, err := url.Parse(destination)
	if err != nil || !isWebURL(u) {
		return "", refuse(fault.Misconfigured, CheckDestination, "The URL of the identity provider to send to is not an absolute URL")
	}
	deflated, err := deflate(doc)
	if err != nil {
		return "", err
	}
	query := parameter + "=" + url.QueryEscape(base64.StdEncoding.EncodeToString(deflated))
	if relayState != "" {
		query += "&RelayState=" + url.QueryEscape(relayState)
	}
	if s != nil {
		query += "&SigAlg=" + url.QueryEscape(dsig.RSASHA256SignatureMethod)
		digest := sha256.Sum256([]byte(query))
		value, err := rsa.SignPKCS1v15(rand.Reader, s.Key, crypto.SHA256, digest[:])
		if err != nil {
			return "", fmt.Errorf("sign the query: %w", err)
		}
		query += "&Signature=" + url.QueryEscape(base64.StdEncoding.EncodeToString(value))
	}
	// The identity provider's own query stays as it is, comes first, and is not signed.
	if u.RawQuery != "" {
		query = u.RawQuery + "&" + query
	}
	u.RawQuery, u.Fragment = query, ""
	return u.String(), nil
}

func isWebURL(u *url.URL) bool {
	return u.Host != "" && (u.Scheme == "https" || u.Scheme == "http")
}

func deflate(doc []byte) ([]byte, error) {
	var deflated bytes.Buffer
	w, err := flate.NewWriter(&deflated, flate.BestSpeed)
	if err != nil {
		return nil, fmt.Errorf("deflate: %w", err)
	}
	if _, err := w.Write(doc); err != nil {
		return nil, fmt.Errorf("deflate: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("deflate: %w", err)
	}
	return deflated.Bytes(), nil
}

// postForm gives the form field of the HTTP-POST binding
// (saml-bindings-2.0-os section 3.5.4); a nil signer leaves it unsigned.
func postForm(doc []byte, s *Signer) (string, error) {
	if s != nil {
		var err error
		if doc, err = s.envelop(doc); err != nil {
			return "", err
		}
	}
	return base64.StdEncoding.EncodeToString(doc), nil
}

// envelop puts a signature behind the Issuer of a document of ours.
func (s *Signer) envelop(doc []byte) ([]byte, error) {
	tree := etree.NewDocument()
	if err := tree.ReadFromBytes(doc); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	ctx, err := dsig.NewSigningContext(s.Key, [][]byte{s.Certificate.Raw})
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	ctx.Canonicalizer = dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("")
	signature, err := ctx.ConstructSignature(tree.Root().Copy(), true)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	tree.Root().InsertChildAt(1, signature)
	return tree.WriteToBytes()
}

// head writes the start tag of a message, with what all have in common, and its
// Issuer. rest holds further attributes, each with a space before it.
func head(tag, id, issuer, destination string, issued time.Time, rest string) (string, error) {
	if !isID(id) {
		return "", refuse(fault.Internal, CheckID, "The ID of the message is no XML name")
	}
	return fmt.Sprintf(`<samlp:%s xmlns:samlp="%s" xmlns:saml="%s" ID="%s" Version="2.0" IssueInstant="%s" Destination="%s"%s><saml:Issuer>%s</saml:Issuer>`,
		tag, nsProtocol, nsAssertion, id, stamp(issued), escape(destination), rest, escape(issuer)), nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// attribute writes name="value" with a space before it, nothing for an empty value.
func attribute(name, value string) string {
	if value == "" {
		return ""
	}
	return fmt.Sprintf(` %s="%s"`, name, escape(value))
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a strings.Builder does not fail
	return b.String()
}
