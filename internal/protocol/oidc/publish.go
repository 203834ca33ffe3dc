package oidc

import (
	"crypto"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"

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

// ReadMetadata reads what decides about trust of a discovery document: its
// issuer, and where that says its keys are. It is as strict as ParseKeySet.
func ReadMetadata(src []byte) (issuer, keys string, err error) {
	if len(src) > MaxKeySet {
		return "", "", refuse(CheckMalformed, "the discovery document has %d bytes, more than %d", len(src), MaxKeySet)
	}
	document, err := parseObject(src)
	if err != nil {
		return "", "", refuse(CheckMalformed, "the discovery document is not one JSON object: %s", err)
	}
	issuer, ok := document.text("issuer")
	keys, too := document.text("jwks_uri")
	if !ok || !too {
		return "", "", refuse(CheckMalformed, "the discovery document lacks issuer or jwks_uri")
	}
	return issuer, keys, nil
}

// WellKnown lists what clients append to an issuer to find its discovery
// document (OpenID Connect Discovery 1.0, section 4; RFC 8414, section 3).
func WellKnown() []string {
	return []string{"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"}
}

// IssuerOf gives the issuer whose discovery document is at an address; false
// where the address is not one of a discovery document.
func IssuerOf(address string) (string, bool) {
	address = strings.TrimSuffix(address, "/")
	for _, path := range WellKnown() {
		if issuer, ok := strings.CutSuffix(address, path); ok {
			return issuer, true
		}
		if before, after, ok := strings.Cut(address, path+"/"); ok { // RFC 8414 puts it before the issuer's path
			return before + "/" + after, true
		}
	}
	return "", false
}
