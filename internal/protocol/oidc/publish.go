package oidc

import (
	"crypto"
	"encoding/hex"
	"encoding/json"
	"errors"

	jose "github.com/go-jose/go-jose/v4"
)

// PublicKey is a key as it is published.
type PublicKey struct {
	ID        string // kid
	Algorithm string // RS256 or ES256
	Key       crypto.PublicKey
}

// WriteKeySet writes a JWK set (RFC 7517, section 5) in the order given. Each
// key has kid, alg and use; none has key_ops, which AWS does not take. The same
// keys give the same bytes.
func WriteKeySet(keys []PublicKey) ([]byte, error) {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	seen := map[string]bool{}
	for _, k := range keys {
		if err := k.check(); err != nil {
			return nil, err
		}
		if k.ID == "" || seen[k.ID] {
			return nil, errors.New("oidc: the key id " + k.ID + " is empty, or stands twice")
		}
		seen[k.ID] = true
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.Key, KeyID: k.ID, Algorithm: k.Algorithm, Use: "sig"})
	}
	return json.MarshalIndent(set, "", "  ")
}

// Thumbprint names a public key by what it is (RFC 7638 with SHA-256), in hex:
// equal for equal keys, and for no others.
func Thumbprint(public crypto.PublicKey) (string, error) {
	sum, err := (&jose.JSONWebKey{Key: public}).Thumbprint(crypto.SHA256)
	return hex.EncodeToString(sum), err
}

// Published is a key of a set that was read.
type Published struct {
	ID         string // kid; empty where the entry has none
	Thumbprint string // empty where the entry can't verify anything here
}

// Published lists the keys of the set, in its order.
func (s *KeySet) Published() []Published {
	out := make([]Published, len(s.keys))
	for i, k := range s.keys {
		out[i].ID = k.id
		if k.public == nil {
			continue
		}
		// A key that was read has a thumbprint.
		out[i].Thumbprint, _ = Thumbprint(k.public)
	}
	return out
}
