package devidp

//lint:file-ignore SA1019 PKCS #1 v1.5 has to be made to see that it is refused

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
)

const (
	nsEncryption   = "http://www.w3.org/2001/04/xmlenc#"
	nsEncryption11 = "http://www.w3.org/2009/xmlenc11#"
)

// The ways to encrypt the content (xmlenc-core1 section 5.2) and to hand over
// its key (5.5). OAEP11 is the newer one, whose digest and mask are SHA-256.
const (
	AES128GCM = nsEncryption11 + "aes128-gcm"
	AES192GCM = nsEncryption11 + "aes192-gcm"
	AES256GCM = nsEncryption11 + "aes256-gcm"
	AES128CBC = nsEncryption + "aes128-cbc"
	AES256CBC = nsEncryption + "aes256-cbc"

	OAEP    = nsEncryption + "rsa-oaep-mgf1p"
	OAEP11  = nsEncryption11 + "rsa-oaep"
	PKCS1v1 = nsEncryption + "rsa-1_5"
)

// Encryption says how assertions are encrypted. Empty fields mean AES256GCM
// and OAEP.
type Encryption struct {
	Content, Key string
	// Beside puts the EncryptedKey beside the EncryptedData, as Shibboleth may,
	// rather than into it.
	Beside bool
}

// Encrypt gives the EncryptedAssertion that holds el for the owner of a key.
// The element has to declare the namespaces that it uses.
func (e Encryption) Encrypt(el *etree.Element, to *rsa.PublicKey) (*etree.Element, error) {
	plain, err := Serialize(el)
	if err != nil {
		return nil, fmt.Errorf("devidp: %w", err)
	}
	return e.Seal(plain, to)
}

// Seal is Encrypt for content as it is, well-formed or not.
func (e Encryption) Seal(plain []byte, to *rsa.PublicKey) (*etree.Element, error) {
	if e.Content == "" {
		e.Content = AES256GCM
	}
	if e.Key == "" {
		e.Key = OAEP
	}
	content, size, err := e.cipher()
	if err != nil {
		return nil, err
	}
	key := make([]byte, size)
	rand.Read(key)
	sealed, err := content(key, plain)
	if err != nil {
		return nil, fmt.Errorf("devidp: encrypt: %w", err)
	}
	wrapped, err := e.wrap(key, to)
	if err != nil {
		return nil, fmt.Errorf("devidp: encrypt the key: %w", err)
	}
	return e.element(sealed, wrapped), nil
}

// cipher gives the way to encrypt the content, and the size of its key.
func (e Encryption) cipher() (seal func(key, plain []byte) ([]byte, error), size int, err error) {
	switch e.Content {
	case AES128GCM:
		return sealGCM, 16, nil
	case AES192GCM:
		return sealGCM, 24, nil
	case AES256GCM:
		return sealGCM, 32, nil
	case AES128CBC:
		return sealCBC, 16, nil
	case AES256CBC:
		return sealCBC, 32, nil
	}
	return nil, 0, fmt.Errorf("devidp: no such way to encrypt: %s", e.Content)
}

func sealGCM(key, plain []byte) ([]byte, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize())
	rand.Read(nonce)
	return aead.Seal(nonce, nonce, plain, nil), nil
}

// sealCBC pads as xmlenc-core1 section 5.2.1 wants: the last octet counts.
func sealCBC(key, plain []byte) ([]byte, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	pad := aes.BlockSize - len(plain)%aes.BlockSize
	padded := append(bytes.Clone(plain), make([]byte, pad)...)
	padded[len(padded)-1] = byte(pad)
	out := make([]byte, aes.BlockSize+len(padded))
	rand.Read(out[:aes.BlockSize])
	cipher.NewCBCEncrypter(block, out[:aes.BlockSize]).CryptBlocks(out[aes.BlockSize:], padded)
	return out, nil
}

func (e Encryption) wrap(key []byte, to *rsa.PublicKey) ([]byte, error) {
	var h hash.Hash
	switch e.Key {
	case OAEP:
		h = sha1.New()
	case OAEP11:
		h = sha256.New()
	case PKCS1v1:
		return rsa.EncryptPKCS1v15(rand.Reader, to, key)
	default:
		return nil, fmt.Errorf("no such way: %s", e.Key)
	}
	return rsa.EncryptOAEP(h, rand.Reader, to, key, nil)
}

func (e Encryption) element(sealed, wrapped []byte) *etree.Element {
	out := etree.NewElement("saml:EncryptedAssertion")
	out.CreateAttr("xmlns:saml", nsAssertion)
	out.CreateAttr("xmlns:xenc", nsEncryption)
	out.CreateAttr("xmlns:ds", dsig.Namespace)
	data := out.CreateElement("xenc:EncryptedData")
	data.CreateAttr("Type", nsEncryption+"Element")
	data.CreateElement("xenc:EncryptionMethod").CreateAttr("Algorithm", e.Content)
	info := data.CreateElement("ds:KeyInfo")
	place := info
	if e.Beside {
		method := info.CreateElement("ds:RetrievalMethod")
		method.CreateAttr("Type", nsEncryption+"EncryptedKey")
		method.CreateAttr("URI", "#_key")
		place = out
	}
	cipherValue(data, sealed)
	key := place.CreateElement("xenc:EncryptedKey")
	if e.Beside {
		key.CreateAttr("Id", "_key")
	}
	method := key.CreateElement("xenc:EncryptionMethod")
	method.CreateAttr("Algorithm", e.Key)
	switch e.Key {
	case OAEP:
		method.CreateElement("ds:DigestMethod").CreateAttr("Algorithm", dsig.Namespace+"sha1")
	case OAEP11:
		method.CreateElement("ds:DigestMethod").CreateAttr("Algorithm", nsEncryption+"sha256")
		mask := method.CreateElement("xenc11:MGF")
		mask.CreateAttr("xmlns:xenc11", nsEncryption11)
		mask.CreateAttr("Algorithm", nsEncryption11+"mgf1sha256")
	}
	cipherValue(key, wrapped)
	return out
}

func cipherValue(el *etree.Element, b []byte) {
	leaf(el.CreateElement("xenc:CipherData"), "xenc:CipherValue", base64.StdEncoding.EncodeToString(b))
}
