package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
)

// The values of typ that are minted: an ID token (RFC 7519, section 5.1), and an
// access token (RFC 9068, section 2.1). A relying party that wants the one
// refuses the other.
const (
	TypeIDToken     = "JWT"
	TypeAccessToken = "at+jwt"
)

// The algorithms that are minted with.
const (
	RS256 = "RS256"
	ES256 = "ES256"
)

// SigningKey signs tokens. RS256 takes an RSA key of 2048 bits or more, ES256
// one on the curve P-256.
type SigningKey struct {
	ID        string // kid
	Algorithm string // RS256 or ES256
	Private   crypto.Signer
}

// Public gives the half that is published.
func (k SigningKey) Public() PublicKey {
	return PublicKey{ID: k.ID, Algorithm: k.Algorithm, Key: k.Private.Public()}
}

// Check reports whether the key fits its algorithm.
func (k SigningKey) Check() error {
	if k.Private == nil {
		return errors.New("oidc: a signing key without a private half")
	}
	return k.Public().check()
}

// header is the whole JOSE header: no key and no address in it.
type header struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid,omitempty"` // a client may have a single key, without a name
	Type      string `json:"typ"`
}

// Sign makes a token in compact form. Claims are written as encoding/json does,
// names in order. The key has passed Check.
func (k SigningKey) Sign(typ string, claims map[string]any) (string, error) {
	head, err := json.Marshal(header{k.Algorithm, k.ID, typ})
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	enc := base64.RawURLEncoding
	const most = 512 // a signature of 3072 bits, encoded
	token := make([]byte, 0, enc.EncodedLen(len(head))+enc.EncodedLen(len(body))+2+most)
	token = append(enc.AppendEncode(token, head), '.')
	token = enc.AppendEncode(token, body)
	signature, err := k.signature(token)
	if err != nil {
		return "", fmt.Errorf("oidc: signing with key %s: %w", k.ID, err)
	}
	return string(enc.AppendEncode(append(token, '.'), signature)), nil
}

// signature is that of RFC 7518, sections 3.3 and 3.4.
func (k SigningKey) signature(input []byte) ([]byte, error) {
	h := crypto.SHA256.New()
	h.Write(input)
	raw, err := k.Private.Sign(rand.Reader, h.Sum(nil), crypto.SHA256)
	if err != nil || k.Algorithm == RS256 {
		return raw, err
	}
	var pair struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(raw, &pair); err != nil || len(rest) != 0 {
		return nil, errors.New("the signer gave no ECDSA signature")
	}
	out := make([]byte, 64)
	pair.R.FillBytes(out[:32])
	pair.S.FillBytes(out[32:])
	return out, nil
}

// check holds the key to its algorithm.
func (k PublicKey) check() error {
	switch public := k.Key.(type) {
	case *rsa.PublicKey:
		if k.Algorithm == RS256 && public.N.BitLen() >= leastModulus && public.N.BitLen() <= mostModulus {
			return nil
		}
	case *ecdsa.PublicKey:
		if k.Algorithm == ES256 && public.Curve == elliptic.P256() {
			return nil
		}
	}
	return fmt.Errorf("oidc: key %q is not one for %q", k.ID, k.Algorithm)
}
