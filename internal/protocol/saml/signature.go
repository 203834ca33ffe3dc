package saml

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"math/big"
	"slices"
	"strings"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"

	"carnet.dev/carnet/internal/core/fault"
)

// verifyElement verifies the signature on el with the pinned certificates and
// gives the element again, re-read from the very bytes that were digested and
// without the signature. Whatever the signature says of keys is not read.
func (v *verifier) verifyElement(el, signature *etree.Element) (verified *etree.Element, err error) {
	id := attrValue(el, "ID")
	algorithm, err := v.checkSignatureShape(signature, id)
	if err != nil {
		return nil, err
	}
	detached, value := detach(el, signature)
	raw, err := decodeBase64(value.Text())
	if err != nil {
		return nil, refuse(fault.Invalid, CheckSignatureShape, "The signature value is not base64")
	}
	return verified, v.tryCertificates(algorithm, raw, func(cert *x509.Certificate, encoded []byte) bool {
		value.SetText(base64.StdEncoding.EncodeToString(encoded))
		again, err := validate(detached, cert)
		if err != nil || again == nil || attrValue(again, "ID") != id || again.Tag != el.Tag {
			return false
		}
		verified = again
		return true
	})
}

// tryCertificates asks about each pinned certificate whose key is of the
// algorithm's type, until one verifies that is inside its dates.
func (v *verifier) tryCertificates(algorithm x509.SignatureAlgorithm, raw []byte, verifies func(cert *x509.Certificate, signature []byte) bool) error {
	outdated := false
	for _, cert := range v.idp.Certificates {
		encoded, ok := signatureFor(cert, algorithm, raw)
		if !ok || !verifies(cert, encoded) {
			continue
		}
		if !v.want.AcceptExpiredCertificate && (v.now.Before(cert.NotBefore) || v.now.After(cert.NotAfter)) {
			outdated = true // another certificate may be for the same key
			continue
		}
		v.certificate = cert
		v.pass(CheckSignature, algorithm.String(), cert.Subject.String())
		return nil
	}
	if outdated {
		return refuse(fault.Misconfigured, CheckCertificate, "The identity provider's signing certificate is outside its dates")
	}
	return refuse(fault.Unauthenticated, CheckSignature, "The signature does not verify with the identity provider's certificates")
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
	for ; above != nil; above = above.Parent() {
		for _, a := range above.Attr {
			declared := slices.ContainsFunc(el.Attr, func(b etree.Attr) bool { return a.Space == b.Space && a.Key == b.Key })
			if (a.Space == "xmlns" || (a.Space == "" && a.Key == "xmlns")) && !declared {
				el.CreateAttr(a.FullKey(), a.Value)
			}
		}
	}
}

// signatureAlgorithms are the methods that are known, SHA-1 only where it is
// switched on. HMAC and all else are not in the list.
var signatureAlgorithms = map[string]x509.SignatureAlgorithm{
	dsig.RSASHA1SignatureMethod: x509.SHA1WithRSA, dsig.ECDSASHA1SignatureMethod: x509.ECDSAWithSHA1,
	dsig.RSASHA256SignatureMethod: x509.SHA256WithRSA, dsig.ECDSASHA256SignatureMethod: x509.ECDSAWithSHA256,
	dsig.RSASHA384SignatureMethod: x509.SHA384WithRSA, dsig.ECDSASHA384SignatureMethod: x509.ECDSAWithSHA384,
	dsig.RSASHA512SignatureMethod: x509.SHA512WithRSA, dsig.ECDSASHA512SignatureMethod: x509.ECDSAWithSHA512,
}

// hashes are the digest methods and the masks of RSA-OAEP.
var hashes = map[string]crypto.Hash{
	nsSignature + "sha1": crypto.SHA1, nsEncryption11 + "mgf1sha1": crypto.SHA1,
	nsEncryption + "sha256": crypto.SHA256, nsEncryption11 + "mgf1sha256": crypto.SHA256,
	nsSignatureMore + "sha384": crypto.SHA384, nsEncryption11 + "mgf1sha384": crypto.SHA384,
	nsEncryption + "sha512": crypto.SHA512, nsEncryption11 + "mgf1sha512": crypto.SHA512,
}

// signatureAlgorithm gives what a signature method stands for, where allowed.
func (v *verifier) signatureAlgorithm(method string) (x509.SignatureAlgorithm, error) {
	a, known := signatureAlgorithms[method]
	if !known || (!v.want.AllowSHA1 && (a == x509.SHA1WithRSA || a == x509.ECDSAWithSHA1)) {
		return 0, refuse(fault.Unauthenticated, CheckAlgorithm, "The signature uses an algorithm that is not allowed")
	}
	return a, nil
}

// signatureFor gives the signature value in the form that crypto/x509 takes,
// when the certificate's key is of the algorithm's type. XML signatures write
// ECDSA as r and s side by side (xmldsig-core1 section 6.4.3); DER, which some
// signers write, is taken as it is.
func signatureFor(cert *x509.Certificate, algorithm x509.SignatureAlgorithm, raw []byte) ([]byte, bool) {
	elliptic := algorithm >= x509.ECDSAWithSHA1 && algorithm <= x509.ECDSAWithSHA512
	switch key := cert.PublicKey.(type) {
	case *rsa.PublicKey:
		return raw, !elliptic
	case *ecdsa.PublicKey:
		if !elliptic {
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
// canonicalized, by allowed algorithms, and nothing beside it. It returns what
// the signature method stands for.
func (v *verifier) checkSignatureShape(signature *etree.Element, id string) (x509.SignatureAlgorithm, error) {
	wrong := func(what string) (x509.SignatureAlgorithm, error) {
		return 0, refuse(fault.Invalid, CheckSignatureShape, "The signature has a form that is not allowed: "+what)
	}
	parts, ok := sequence(signature, nsSignature+"SignedInfo", nsSignature+"SignatureValue", nsSignature+"KeyInfo?")
	if !ok {
		return wrong("want SignedInfo, SignatureValue and at most one KeyInfo")
	}
	if _, plain := text(parts[1]); !plain {
		return wrong("SignatureValue holds elements")
	}
	info, ok := sequence(parts[0], nsSignature+"CanonicalizationMethod", nsSignature+"SignatureMethod", nsSignature+"Reference")
	if !ok {
		return wrong("want exactly one canonicalization, method and reference")
	}
	reference, ok := sequence(info[2], nsSignature+"Transforms", nsSignature+"DigestMethod", nsSignature+"DigestValue")
	if !ok || attrValue(info[2], "URI") != "#"+id {
		return wrong("want one reference, to the signed element itself")
	}
	transforms, ok := sequence(reference[0], nsSignature+"Transform", nsSignature+"Transform")
	if !ok || attrValue(transforms[0], "Algorithm") != nsSignature+"enveloped-signature" || len(transforms[0].ChildElements()) > 0 ||
		!isCanonicalization(transforms[1]) || !isCanonicalization(info[0]) {
		return wrong("want the two transforms enveloped signature and exclusive canonicalization")
	}
	if len(info[1].Child) > 0 || len(reference[1].Child) > 0 {
		return wrong("a method has parameters")
	}
	if _, plain := text(reference[2]); !plain {
		return wrong("DigestValue holds elements")
	}
	switch hashes[attrValue(reference[1], "Algorithm")] {
	case 0:
		return v.signatureAlgorithm("")
	case crypto.SHA1:
		if !v.want.AllowSHA1 {
			return v.signatureAlgorithm("")
		}
	}
	return v.signatureAlgorithm(attrValue(info[1], "Algorithm"))
}

// isCanonicalization holds for exclusive canonicalization, which may list
// prefixes to keep.
func isCanonicalization(method *etree.Element) bool {
	inner, ok := children(method)
	if !ok || len(inner) > 1 || strings.TrimSuffix(attrValue(method, "Algorithm"), "WithComments") != nsExclusive {
		return false
	}
	return len(inner) == 0 || (is(inner[0], nsExclusive, "InclusiveNamespaces") && len(inner[0].Child) == 0)
}

// sequence gives the elements directly inside el, which have to be those named,
// in that order, by namespace and tag. One whose name ends in "?" may be
// missing, and is nil then.
func sequence(el *etree.Element, names ...string) ([]*etree.Element, bool) {
	parts, ok := children(el)
	found := make([]*etree.Element, len(names))
	for i, name := range names {
		bare, optional := strings.CutSuffix(name, "?")
		switch {
		case len(parts) > 0 && parts[0].NamespaceURI()+parts[0].Tag == bare:
			found[i], parts = parts[0], parts[1:]
		case !optional:
			return nil, false
		}
	}
	return found, ok && len(parts) == 0
}

// decodeBase64 reads base64 in which lines are broken and indented.
func decodeBase64(s string) ([]byte, error) {
	return base64.StdEncoding.DecodeString(strings.Join(strings.Fields(s), ""))
}
