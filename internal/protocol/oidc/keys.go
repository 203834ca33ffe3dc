package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha256" // the digests of the six algorithms
	_ "crypto/sha512"
	"math/big"
)

// What a JWK names as its type.
const typeRSA, typeEC = "RSA", "EC"

// algorithm is one of those that AWS takes, and the keys that it is bound to.
type algorithm struct {
	name  string
	kty   string
	hash  crypto.Hash
	curve elliptic.Curve // EC only
}

// algorithmNamed knows what AWS takes ("Create an OpenID Connect (OIDC) identity
// provider in IAM"): no EdDSA, no PSS, no HMAC, and never none.
func algorithmNamed(name string) (algorithm, bool) {
	for _, a := range [...]algorithm{
		{"RS256", typeRSA, crypto.SHA256, nil}, {"RS384", typeRSA, crypto.SHA384, nil}, {"RS512", typeRSA, crypto.SHA512, nil},
		{"ES256", typeEC, crypto.SHA256, elliptic.P256()}, {"ES384", typeEC, crypto.SHA384, elliptic.P384()}, {"ES512", typeEC, crypto.SHA512, elliptic.P521()},
	} {
		if a.name == name {
			return a, true
		}
	}
	return algorithm{}, false
}

func (a algorithm) fits(k *key) bool {
	if k.public == nil || k.algorithm != "" && k.algorithm != a.name {
		return false
	}
	switch public := k.public.(type) {
	case *rsa.PublicKey:
		return a.kty == typeRSA
	case *ecdsa.PublicKey:
		return a.kty == typeEC && public.Curve == a.curve
	}
	return false
}

// holds checks a signature (RFC 7518, sections 3.3 and 3.4). The key fits.
func (a algorithm) holds(public crypto.PublicKey, input string, signature []byte) bool {
	h := a.hash.New()
	h.Write([]byte(input))
	digest := h.Sum(nil)
	switch public := public.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(public, a.hash, digest, signature) == nil
	case *ecdsa.PublicKey:
		size := (public.Curve.Params().BitSize + 7) / 8
		if len(signature) != 2*size {
			return false
		}
		r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
		return ecdsa.Verify(public, digest, r, s)
	}
	return false
}

// find gives the one key that a token is to be verified with.
func (s *KeySet) find(j *jws, a algorithm) (crypto.PublicKey, error) {
	if s.count[a.kty] > maxKeysOfType {
		return nil, refuse(CheckKey, "the provider publishes %d keys of type %s, more than %d", s.count[a.kty], a.kty, maxKeysOfType)
	}
	if !j.hasKeyID && len(s.keys) != 1 {
		return nil, refuse(CheckKey, "the ID token names no key, and the provider publishes %d", len(s.keys))
	}
	var found []crypto.PublicKey
	for i := range s.keys {
		if k := &s.keys[i]; (!j.hasKeyID || k.id == j.keyID) && a.fits(k) {
			found = append(found, k.public)
		}
	}
	switch len(found) {
	case 0:
		return nil, refuse(CheckKey, "the provider publishes no key %q for %s", clip(j.keyID), a.name)
	case 1:
		return found[0], nil
	}
	return nil, refuse(CheckKey, "the provider publishes %d keys under the id %q for %s", len(found), clip(j.keyID), a.name)
}
