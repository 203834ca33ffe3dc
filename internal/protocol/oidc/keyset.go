package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
	"strings"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

// Limits of a key set. AWS documents 100 RSA and 100 EC keys ("Create an OpenID
// Connect (OIDC) identity provider in IAM"); with more, none of that type is
// good, as measured at AWS.
const (
	MaxKeySet     = 1 << 20 // bytes
	maxKeys       = 1000
	maxKeysOfType = 100
	maxKeyID      = 1024
	leastModulus  = 2048 // bits (RFC 7518, section 3.3)
	mostModulus   = 8192 // bits: what one verification may cost
)

// KeySet is a provider's set of keys (RFC 7517). Immutable.
type KeySet struct {
	keys  []key
	notes []string
	count map[string]int // by kty, usable or not
}

// key is one entry. public is nil where it can't verify anything here.
type key struct {
	id        string
	algorithm string // alg; empty for any that fits the type
	public    crypto.PublicKey
}

// Len is the number of keys in the set, usable or not.
func (s *KeySet) Len() int { return len(s.keys) }

// Notes says which keys are of no use here, and why.
func (s *KeySet) Notes() []string { return s.notes }

// ParseKeySet reads a JWK set. A key that is of no use here is left out with a
// note, and is no reason to refuse the others.
func ParseKeySet(src []byte) (*KeySet, error) {
	if len(src) > MaxKeySet {
		return nil, refuse(CheckMalformed, "the key set has %d bytes, more than %d", len(src), MaxKeySet)
	}
	document, err := parseObject(src)
	if err != nil {
		return nil, refuse(CheckMalformed, "the key set is not one JSON object: %s", err)
	}
	entries, ok := document["keys"].([]any)
	if !ok {
		return nil, refuse(CheckMalformed, `the key set has no list "keys"`)
	}
	if len(entries) > maxKeys {
		return nil, refuse(CheckMalformed, "the key set has %d keys, more than %d", len(entries), maxKeys)
	}
	s := &KeySet{count: map[string]int{}}
	for i, entry := range entries {
		members, ok := entry.(map[string]any)
		if !ok {
			return nil, refuse(CheckMalformed, "entry %d of the key set is not an object", i)
		}
		k, err := readKey(members)
		if err != nil {
			s.notes = append(s.notes, fmt.Sprintf("key %d (%q): %s", i, clip(k.id), err))
		}
		kty, _ := object(members).text("kty")
		s.count[kty]++
		s.keys = append(s.keys, k)
	}
	for _, kty := range []string{typeRSA, typeEC} {
		if s.count[kty] > maxKeysOfType {
			s.notes = append(s.notes, fmt.Sprintf("%d keys of type %s, more than %d: none of them is used", s.count[kty], kty, maxKeysOfType))
		}
	}
	return s, nil
}

// readKey reads one entry. With an error it gives what is known of it, without
// a public key.
func readKey(m object) (key, error) {
	var k key
	k.id, _ = m.text("kid")
	if _, there := m["key_ops"]; there {
		return k, errors.New("it has key_ops, which AWS does not take")
	}
	if use, there := m["use"]; there && use != "sig" {
		return k, errors.New("it is not for signatures")
	}
	if alg, there := m["alg"]; there {
		name, ok := alg.(string)
		if !ok || name == "" {
			return k, errors.New("its alg is not text")
		}
		k.algorithm = name
	}
	if _, private := m["d"]; private {
		return k, errors.New("it is a private key: whoever reads the set can sign")
	}
	delete(m, "x5c") // a chain proves nothing here, and is costly to read
	raw, err := json.Marshal(m)
	if err != nil {
		return k, err
	}
	var parsed jose.JSONWebKey
	if err := parsed.UnmarshalJSON(raw); err != nil {
		return k, errors.New(strings.TrimPrefix(err.Error(), "go-jose/go-jose: "))
	}
	switch public := parsed.Key.(type) {
	case *rsa.PublicKey:
		if n := public.N.BitLen(); n < leastModulus || n > mostModulus {
			return k, fmt.Errorf("its modulus has %d bits: want %d to %d", n, leastModulus, mostModulus)
		}
		if public.E < 3 || public.E&1 == 0 || public.E > 1<<31-1 {
			return k, errors.New("its exponent is not an odd number from 3 to 2^31")
		}
		if fromROCA(public.N) {
			return k, errors.New("its private half can be computed (CVE-2017-15361, ROCA)")
		}
		k.public = public
	case *ecdsa.PublicKey:
		k.public = public
	default:
		return k, errors.New("its type is not RSA or EC")
	}
	return k, nil
}

// fromROCA reports whether a modulus has the mark of keys made by a faulty
// library, CVE-2017-15361: modulo each small prime it is a power of 65537. A
// sound key has the mark once in 2^27.
func fromROCA(n *big.Int) bool {
	for p := int64(3); p <= 167; p += 2 {
		prime := big.NewInt(p)
		if !prime.ProbablyPrime(0) {
			continue
		}
		rest := new(big.Int).Mod(n, prime).Int64()
		power, found := int64(1), false
		for range p - 1 {
			found = found || power == rest
			power = power * 65537 % p
		}
		if !found {
			return false
		}
	}
	return true
}
