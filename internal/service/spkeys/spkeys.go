// Package spkeys keeps the keys that Carnet has as a SAML service provider:
// those it signs requests and logout messages with, and those that identity
// providers encrypt assertions for.
//
// Each purpose has one key in use. A change of keys takes two steps, so that
// identity providers can follow: Add publishes the next key, Promote brings it
// into use once they know it. The key before is retired: it is published no
// more, and one for encryption still opens what is encrypted for it until it is
// removed. Private keys rest sealed and leave this package by Export alone,
// which is recorded. It must never use a key that was not published before,
// other than the first.
package spkeys

import (
	"crypto/rsa"
	"crypto/x509"
	"time"
)

// Purpose says what a key is for.
type Purpose string

// The purposes.
const (
	Signing    Purpose = "signing"
	Encryption Purpose = "encryption"
)

// Purposes lists them.
func Purposes() []Purpose { return []Purpose{Signing, Encryption} }

// State says where in its life a key is.
type State string

// The states.
const (
	Next    State = "next"    // published, not used yet; an encryption key opens already
	Current State = "current" // published and used
	Retired State = "retired" // published no more; an encryption key still opens
)

// Key is one of our keys, without its secret.
type Key struct {
	ID          string // spk_…
	Purpose     Purpose
	State       State
	Certificate *x509.Certificate // self-signed; a wrapping for the public key
	Created     time.Time
	Changed     time.Time // when it came into its state
}

// Row is the stored form of a key.
type Row struct {
	ID          string
	Purpose     Purpose
	State       State
	Certificate []byte // DER
	Sealed      []byte // PKCS #8
	Created     time.Time
	Changed     time.Time
}

// loaded is a key with its secret.
type loaded struct {
	Key
	private *rsa.PrivateKey
}
