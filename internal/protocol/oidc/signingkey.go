package oidc

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"

	jose "github.com/go-jose/go-jose/v4"
)

// maxSigningKey bounds the text of a private key, in bytes.
const maxSigningKey = 64 << 10

// ReadSigningKey reads a private key for RS256 or ES256 as programs keep it: PEM
// (PKCS #8, PKCS #1 or SEC 1) or a JWK (RFC 7517). Its id is the JWK's kid, and
// empty for PEM. Errors never repeat any of the text.
func ReadSigningKey(text []byte) (SigningKey, error) {
	if len(text) > maxSigningKey {
		return SigningKey{}, errors.New("oidc: a private key of more than 64 KiB")
	}
	private, id, err := readPrivate(text)
	if err != nil {
		return SigningKey{}, err
	}
	k := SigningKey{ID: id}
	switch private := private.(type) {
	case *rsa.PrivateKey:
		k.Algorithm, k.Private = RS256, private
	case *ecdsa.PrivateKey:
		k.Algorithm, k.Private = ES256, private
	default:
		return SigningKey{}, errors.New("oidc: want a private RSA or P-256 key")
	}
	if k.Check() != nil {
		return SigningKey{}, errors.New("oidc: want an RSA key of 2048 bits or more, or one on P-256")
	}
	return k, nil
}

// readPrivate gives the key and its kid.
func readPrivate(text []byte) (key any, id string, err error) {
	if block, _ := pem.Decode(text); block != nil {
		if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			return key, "", nil
		}
		if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
			return key, "", nil
		}
		if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
			return key, "", nil
		}
		return nil, "", errors.New("oidc: the PEM block holds no private key without a passphrase")
	}
	var k jose.JSONWebKey
	if !bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) || k.UnmarshalJSON(text) != nil || k.IsPublic() {
		return nil, "", errors.New("oidc: neither PEM nor a JWK with a private key")
	}
	if _, ok := k.Key.(crypto.Signer); !ok {
		return nil, "", errors.New("oidc: the JWK holds no private key")
	}
	return k.Key, k.KeyID, nil
}
