package saml

import (
	"cmp"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"

	"carnet.dev/carnet/internal/core/fault"
)

// unseal gives the verified assertion inside the encrypted one of a response,
// which is verified already when authentic.
//
// Until a signature has verified, neither error nor time may tell what a
// changed ciphertext decrypts to (Jager and Somorovsky 2011, "How To Break XML
// Encryption"). So whatever is wrong behind the form of the encryption is one
// refusal, that of a bad signature, and a decoy goes the rest of the way. Where
// the content is authentic the true cause is told: the response around it was
// signed, or AES-GCM held.
func (v *verifier) unseal(response *etree.Element, authentic bool) (*etree.Element, error) {
	sealed := one(response, nsAssertion, "EncryptedAssertion")
	if sealed == nil {
		return nil, refuse(fault.Unauthenticated, CheckSignature, "The signed part holds no assertion")
	}
	plain, size, proven, err := v.open(sealed)
	if err != nil {
		return nil, err
	}
	told := plain != nil && (proven || authentic)
	env, err := disclose(response, sealed, plain)
	if err == nil {
		err = v.checkSigned(authentic, env.assertionSignature != nil)
	}
	switch {
	case err == nil && env.assertionSignature == nil:
		return env.assertion, nil
	case err != nil && told:
		return nil, err
	case err != nil:
		if env, err = v.decoy(response, sealed, size); err != nil {
			return nil, err
		}
	}
	assertion, err := v.verifyElement(env.assertion, env.assertionSignature)
	if code := fault.Of(err); err == nil || code.Code == CheckCertificate || (told && code.Code != CheckSignature) {
		return assertion, err
	}
	return nil, refuse(fault.Unauthenticated, CheckSignature, "The encrypted assertion can't be read with our keys, or its signature does not verify with the identity provider's certificates").
		WithMend("import our current metadata at the identity provider, and its current metadata here")
}

// disclose puts the decrypted assertion in the place of the encrypted one, in a
// copy, and holds the whole to the same limits and shape again.
func disclose(response, sealed *etree.Element, plain []byte) (*envelope, error) {
	assertion, err := parseTree(plain, responseLimits(len(plain)))
	if err != nil {
		return nil, err
	}
	if !is(assertion, nsAssertion, "Assertion") {
		return nil, refuse(fault.Invalid, CheckShape, "What was encrypted is not an assertion")
	}
	whole := response.Copy()
	whole.RemoveChildAt(sealed.Index())
	whole.InsertChildAt(sealed.Index(), assertion)
	return readEnvelope(whole)
}

// decoy gives an assertion about as long as the one that could not be read. It
// has a signature of the right form that verifies with nothing.
func (v *verifier) decoy(response, sealed *etree.Element, size int) (*envelope, error) {
	id := make([]byte, 16)
	rand.Read(id)
	method, length := dsig.RSASHA256SignatureMethod, 256
	if len(v.idp.Certificates) > 0 {
		switch key := v.idp.Certificates[0].PublicKey.(type) {
		case *rsa.PublicKey:
			length = key.Size()
		case *ecdsa.PublicKey:
			method, length = dsig.ECDSASHA256SignatureMethod, 2*((key.Params().BitSize+7)/8)
		}
	}
	const filling = `<saml:AttributeValue>arn:aws:iam::000000000000:role/none,arn:aws:iam::000000000000:saml-provider/none</saml:AttributeValue>`
	plain := fmt.Appendf(nil, `<saml:Assertion xmlns:saml="%[1]s" ID="_%[2]x" Version="2.0"><ds:Signature xmlns:ds="%[3]s"><ds:SignedInfo>`+
		`<ds:CanonicalizationMethod Algorithm="%[4]s"/><ds:SignatureMethod Algorithm="%[5]s"/><ds:Reference URI="#_%[2]x"><ds:Transforms>`+
		`<ds:Transform Algorithm="%[3]senveloped-signature"/><ds:Transform Algorithm="%[4]s"/></ds:Transforms><ds:DigestMethod Algorithm="%[6]ssha256"/>`+
		`<ds:DigestValue>AAAA</ds:DigestValue></ds:Reference></ds:SignedInfo><ds:SignatureValue>%[7]s</ds:SignatureValue></ds:Signature>%[8]s</saml:Assertion>`,
		nsAssertion, id, nsSignature, nsExclusive, method, nsEncryption,
		base64.StdEncoding.EncodeToString(slices.Repeat([]byte{0x5a}, length)), strings.Repeat(filling, min(size/len(filling), 3000)))
	env, err := disclose(response, sealed, plain)
	if err == nil {
		// A changed text under a genuine SignedInfo is canonicalized before it fails.
		_, _ = dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("").Canonicalize(env.assertion.Copy())
	}
	return env, err
}

// contentCiphers are the ways of AES that are known, CBC only where switched on.
var contentCiphers = map[string]struct {
	name   string
	length int // of the key, in bytes
	gcm    bool
}{
	nsEncryption11 + "aes128-gcm": {"AES-128-GCM", 16, true}, nsEncryption + "aes128-cbc": {"AES-128-CBC", 16, false},
	nsEncryption11 + "aes192-gcm": {"AES-192-GCM", 24, true}, nsEncryption + "aes192-cbc": {"AES-192-CBC", 24, false},
	nsEncryption11 + "aes256-gcm": {"AES-256-GCM", 32, true}, nsEncryption + "aes256-cbc": {"AES-256-CBC", 32, false},
}

// open decrypts an EncryptedAssertion (saml-core-2.0-os section 2.3.4,
// xmlenc-core1). It refuses by name only what anybody can see: form and
// algorithms. plain is nil when no key of ours opens it; size is about how long
// it would be. proven: by AES-GCM it is what the sender encrypted, whoever that is.
func (v *verifier) open(sealed *etree.Element) (plain []byte, size int, proven bool, err error) {
	if v.want.Decrypt == nil {
		return nil, 0, false, refuse(fault.Unsupported, CheckEncrypted, "The assertion is encrypted, which is not switched on for this identity provider")
	}
	data, key, err := encryptedParts(sealed)
	if err != nil {
		return nil, 0, false, err
	}
	oaep := keyTransport(key.method)
	aesMode, known := contentCiphers[attrValue(data.method, "Algorithm")]
	if oaep == nil || !known || len(data.method.ChildElements()) > 0 || (!aesMode.gcm && !v.want.Decrypt.AllowCBC) {
		return nil, 0, false, refuse(fault.Unauthenticated, CheckAlgorithm, "The assertion is encrypted by an algorithm that is not allowed")
	}
	if len(data.value) < 28 || (!aesMode.gcm && len(data.value)%aes.BlockSize != 0) {
		return nil, 0, false, refuseEncryption("the encrypted content is too short or cut off")
	}
	v.pass(CheckEncrypted, aesMode.name)
	// With a random key the content opens to nothing.
	contentKey := make([]byte, aesMode.length)
	rand.Read(contentKey)
	for _, k := range v.want.Decrypt.Keys {
		if got, err := k.Decrypt(nil, key.value, oaep); err == nil && len(got) == len(contentKey) {
			contentKey = got
			break
		}
	}
	return decipher(contentKey, data.value, aesMode.gcm), len(data.value), aesMode.gcm, nil
}

// decipher gives the plain text, nil when it can't be had.
func decipher(key, value []byte, gcm bool) []byte {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil
	}
	if gcm {
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil
		}
		plain, _ := aead.Open(nil, value[:aead.NonceSize()], value[aead.NonceSize():], nil)
		return plain
	}
	plain := make([]byte, len(value)-aes.BlockSize)
	cipher.NewCBCDecrypter(block, value[:aes.BlockSize]).CryptBlocks(plain, value[aes.BlockSize:])
	// The last byte says how many were added (xmlenc-core1 section 5.2.1).
	added := int(plain[len(plain)-1])
	if added == 0 || added > aes.BlockSize {
		return nil
	}
	return plain[:len(plain)-added]
}

// keyTransport reads which RSA-OAEP is meant (xmlenc-core1 section 5.5.2), nil
// for all else. The older name fixes the mask to SHA-1; the hash is SHA-1 unless
// another is named.
func keyTransport(method *etree.Element) *rsa.OAEPOptions {
	parts, ok := sequence(method, nsSignature+"DigestMethod?", nsEncryption11+"MGF?")
	algorithm := attrValue(method, "Algorithm")
	older := algorithm == nsEncryption+"rsa-oaep-mgf1p"
	if !ok || (older && parts[1] != nil) || (!older && algorithm != nsEncryption11+"rsa-oaep") {
		return nil
	}
	o := &rsa.OAEPOptions{Hash: crypto.SHA1, MGFHash: crypto.SHA1}
	if parts[0] != nil {
		o.Hash = hashes[attrValue(parts[0], "Algorithm")]
	}
	if parts[1] != nil {
		o.MGFHash = hashes[attrValue(parts[1], "Algorithm")]
	}
	if o.Hash == 0 || o.MGFHash == 0 {
		return nil
	}
	return o
}

// encrypted is EncryptedData or EncryptedKey.
type encrypted struct {
	method, keyInfo *etree.Element
	value           []byte
}

func refuseEncryption(what string) error {
	return refuse(fault.Invalid, CheckEncryptionShape, "The encrypted assertion has a form that is not allowed: "+what)
}

// encryptedParts reads the one EncryptedData and the one EncryptedKey, which
// stands in its KeyInfo or beside it; then KeyInfo may point at it by ID.
// Nothing outside the element is looked for.
func encryptedParts(sealed *etree.Element) (data, key encrypted, err error) {
	const keyTag, pointerTag = nsEncryption + "EncryptedKey?", nsSignature + "RetrievalMethod?"
	parts, ok := sequence(sealed, nsEncryption+"EncryptedData", keyTag)
	if !ok || !slices.Contains([]string{"", nsEncryption + "Element"}, attrValue(parts[0], "Type")) {
		return data, key, refuseEncryption("want one EncryptedData of an element, and at most one EncryptedKey behind it")
	}
	if data, err = readEncrypted(parts[0]); err != nil {
		return data, key, err
	}
	inside := make([]*etree.Element, 2)
	if data.keyInfo != nil {
		inside, ok = sequence(data.keyInfo, keyTag, pointerTag)
	}
	if !ok || (parts[1] == nil) == (inside[0] == nil) ||
		(inside[1] != nil && (parts[1] == nil || len(inside[1].Child) > 0 || attrValue(inside[1], "URI") != "#"+attrValue(parts[1], "Id"))) {
		return data, key, refuseEncryption("want one EncryptedKey, in KeyInfo or behind the data")
	}
	key, err = readEncrypted(cmp.Or(parts[1], inside[0]), nsEncryption+"ReferenceList?", nsEncryption+"CarriedKeyName?")
	return data, key, err
}

// readEncrypted reads the parts of EncryptedData or EncryptedKey; also are
// those that may stand there and mean nothing here.
func readEncrypted(el *etree.Element, also ...string) (e encrypted, err error) {
	parts, ok := sequence(el, append([]string{nsEncryption + "EncryptionMethod", nsSignature + "KeyInfo?", nsEncryption + "CipherData"}, also...)...)
	if !ok {
		return e, refuseEncryption("want EncryptionMethod, KeyInfo and CipherData")
	}
	inner, ok := sequence(parts[2], nsEncryption+"CipherValue")
	if !ok {
		return e, refuseEncryption("want one CipherValue")
	}
	encoded, ok := text(inner[0])
	if e.value, err = decodeBase64(encoded); err != nil || !ok {
		return e, refuseEncryption("a CipherValue is not base64")
	}
	e.method, e.keyInfo = parts[0], parts[1]
	return e, nil
}
