package saml

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"math/big"
	"strings"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"

	"carnet.dev/carnet/internal/core/fault"
)

// verifyElement verifies the signature on el with the pinned certificates and
// gives the element again, re-read from the very bytes that were digested and
// without the signature. Whatever the signature says of keys is not read.
func (v *verifier) verifyElement(el, signature *etree.Element) (*etree.Element, error) {
	id := attrValue(el, "ID")
	algorithm, err := checkSignatureShape(signature, id)
	if err != nil {
		return nil, err
	}
	detached, value := detach(el, signature)
	raw, err := decodeBase64(value.Text())
	if err != nil {
		return nil, refuse(fault.Invalid, CheckSignatureShape, "The signature value is not base64")
	}
	outdated := false
	for _, cert := range v.idp.Certificates {
		encoded, ok := signatureFor(cert, algorithm, raw)
		if !ok {
			continue
		}
		value.SetText(base64.StdEncoding.EncodeToString(encoded))
		verified, err := validate(detached, cert)
		if err != nil || verified == nil || attrValue(verified, "ID") != id || verified.Tag != el.Tag {
			continue
		}
		if !v.acceptExpired && (v.now.Before(cert.NotBefore) || v.now.After(cert.NotAfter)) {
			outdated = true // another certificate may be for the same key
			continue
		}
		v.certificate = cert
		return verified, nil
	}
	if outdated {
		return nil, refuse(fault.Misconfigured, CheckCertificate, "The identity provider's signing certificate is outside its dates").
			WithMend("import the identity provider's current metadata")
	}
	return nil, refuse(fault.Unauthenticated, CheckSignature, "The signature does not verify with the identity provider's certificates").
		WithMend("import the identity provider's current metadata; if that does not help, the response was changed on its way")
}

// validate asks the signature library about one element and one certificate.
// The library's clock stands inside the certificate's dates: those are judged
// by verifyElement, after the signature. Of an element that has attributes of
// two foreign namespaces the library may compute another order than the
// standard's: such a response is refused.
func validate(el *etree.Element, cert *x509.Certificate) (*etree.Element, error) {
	ctx := dsig.ValidationContext{
		CertificateStore: &dsig.MemoryX509CertificateStore{Roots: []*x509.Certificate{cert}},
		IdAttribute:      "ID",
		Clock:            dsig.NewFakeClockAt(cert.NotBefore),
	}
	return ctx.Validate(el)
}

// detach copies el out of its document: with the namespaces that were in
// scope, without KeyInfo, and with the checked signature as first child, so
// that it is the first that the library finds. The enveloped-signature
// transform removes it, so its place is not part of what is digested. It
// returns the SignatureValue of the copy too.
func detach(el, signature *etree.Element) (copied, value *etree.Element) {
	copied = el.Copy()
	inherit(copied, el.Parent())
	copied.RemoveChildAt(signature.Index())
	s := signature.Copy()
	if keyInfo := one(signature, nsSignature, "KeyInfo"); keyInfo != nil {
		s.RemoveChildAt(keyInfo.Index())
	}
	copied.InsertChildAt(0, s)
	return copied, one(s, nsSignature, "SignatureValue")
}

// inherit declares on el the namespaces in scope above it.
func inherit(el *etree.Element, above *etree.Element) {
	declared := map[string]bool{}
	note := func(a etree.Attr) (name string, isDeclaration bool) {
		if a.Space == "xmlns" || (a.Space == "" && a.Key == "xmlns") {
			return a.FullKey(), true
		}
		return "", false
	}
	for _, a := range el.Attr {
		if name, ok := note(a); ok {
			declared[name] = true
		}
	}
	for ; above != nil; above = above.Parent() {
		for _, a := range above.Attr {
			if name, ok := note(a); ok && !declared[name] {
				declared[name] = true
				el.CreateAttr(name, a.Value)
			}
		}
	}
}

// algorithmFamily gives the key type of an allowed signature method. SHA-1,
// HMAC and all else are not in the list.
func algorithmFamily(method string) (x509.PublicKeyAlgorithm, bool) {
	switch method {
	case dsig.RSASHA256SignatureMethod, dsig.RSASHA384SignatureMethod, dsig.RSASHA512SignatureMethod:
		return x509.RSA, true
	case dsig.ECDSASHA256SignatureMethod, dsig.ECDSASHA384SignatureMethod, dsig.ECDSASHA512SignatureMethod:
		return x509.ECDSA, true
	}
	return x509.UnknownPublicKeyAlgorithm, false
}

func allowedDigest(method string) bool {
	switch method {
	case "http://www.w3.org/2001/04/xmlenc#sha256", "http://www.w3.org/2001/04/xmldsig-more#sha384", "http://www.w3.org/2001/04/xmlenc#sha512":
		return true
	}
	return false
}

func isExclusive(method string) bool {
	return method == dsig.CanonicalXML10ExclusiveAlgorithmId.String() || method == dsig.CanonicalXML10ExclusiveWithCommentsAlgorithmId.String()
}

// signatureFor gives the signature value in the form that crypto/x509 takes,
// when the certificate's key is of the algorithm's type. XML signatures write
// ECDSA as r and s side by side (xmldsig-core1 section 6.4.3); DER, which some
// signers write, is taken as it is.
func signatureFor(cert *x509.Certificate, algorithm x509.PublicKeyAlgorithm, raw []byte) ([]byte, bool) {
	switch key := cert.PublicKey.(type) {
	case *rsa.PublicKey:
		return raw, algorithm == x509.RSA
	case *ecdsa.PublicKey:
		if algorithm != x509.ECDSA {
			return nil, false
		}
		if size := (key.Params().BitSize + 7) / 8; len(raw) == 2*size {
			der, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(raw[:size]), new(big.Int).SetBytes(raw[size:])})
			return der, err == nil
		}
		return raw, true
	}
	return nil, false
}

// checkSignatureShape pins the one form of signature that is taken: one
// reference to the element with this ID, enveloped and exclusively
// canonicalized, by allowed algorithms, and nothing beside it. It returns the
// key type of the signature method.
func checkSignatureShape(signature *etree.Element, id string) (x509.PublicKeyAlgorithm, error) {
	wrong := func(what string) (x509.PublicKeyAlgorithm, error) {
		return 0, refuse(fault.Invalid, CheckSignatureShape, "The signature has a form that is not allowed: "+what)
	}
	parts, ok := sequence(signature, "SignedInfo", "SignatureValue", "KeyInfo?")
	if !ok {
		return wrong("want SignedInfo, SignatureValue and at most one KeyInfo")
	}
	if _, plain := text(parts[1]); !plain {
		return wrong("SignatureValue holds elements")
	}
	info, ok := sequence(parts[0], "CanonicalizationMethod", "SignatureMethod", "Reference")
	if !ok {
		return wrong("want exactly one canonicalization, method and reference")
	}
	reference, ok := sequence(info[2], "Transforms", "DigestMethod", "DigestValue")
	if !ok || attrValue(info[2], "URI") != "#"+id {
		return wrong("want one reference, to the signed element itself")
	}
	transforms, ok := sequence(reference[0], "Transform", "Transform")
	if !ok || !isEnveloped(transforms[0]) || !isCanonicalization(transforms[1]) || !isCanonicalization(info[0]) {
		return wrong("want the two transforms enveloped signature and exclusive canonicalization")
	}
	if len(info[1].Child) > 0 || len(reference[1].Child) > 0 {
		return wrong("a method has parameters")
	}
	if _, plain := text(reference[2]); !plain {
		return wrong("DigestValue holds elements")
	}
	family, ok := algorithmFamily(attrValue(info[1], "Algorithm"))
	if !ok || !allowedDigest(attrValue(reference[1], "Algorithm")) {
		return 0, refuse(fault.Unauthenticated, CheckAlgorithm, "The signature uses an algorithm that is not allowed").
			WithMend("have the identity provider sign with RSA or ECDSA and SHA-256 or better")
	}
	return family, nil
}

func isEnveloped(transform *etree.Element) bool {
	return attrValue(transform, "Algorithm") == dsig.EnvelopedSignatureAltorithmId.String() && len(transform.ChildElements()) == 0
}

// isCanonicalization holds for exclusive canonicalization, which may list
// prefixes to keep.
func isCanonicalization(method *etree.Element) bool {
	inner, ok := children(method)
	if !ok || len(inner) > 1 || !isExclusive(attrValue(method, "Algorithm")) {
		return false
	}
	return len(inner) == 0 || (is(inner[0], nsExclusive, "InclusiveNamespaces") && len(inner[0].Child) == 0)
}

// sequence gives the elements directly inside el when they are exactly those
// named, of the signature namespace and in order. A name with "?" may be left
// out at the end.
func sequence(el *etree.Element, names ...string) ([]*etree.Element, bool) {
	parts, ok := children(el)
	if !ok || len(parts) > len(names) {
		return nil, false
	}
	for i, name := range names {
		bare, optional := strings.CutSuffix(name, "?")
		if i >= len(parts) {
			if !optional {
				return nil, false
			}
			continue
		}
		if !is(parts[i], nsSignature, bare) {
			return nil, false
		}
	}
	return parts, true
}

// decodeBase64 reads base64 in which lines are broken and indented.
func decodeBase64(s string) ([]byte, error) {
	return base64.StdEncoding.DecodeString(strings.Join(strings.Fields(s), ""))
}
