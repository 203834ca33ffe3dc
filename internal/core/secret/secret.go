// Package secret holds the type of every secret in the house.
//
// A Text masks itself in fmt, slog, JSON and text encodings, cannot be
// compared with ==, compares in constant time, and leaves only through Reveal,
// which the house test can list. It must never grow a second way out.
package secret

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
)

// Mask is what a secret prints as, everywhere.
const Mask = "[secret]"

// Text is a secret string. The zero value is the absent secret.
type Text struct {
	_ [0]func() // makes == a compile error
	s string
}

// New takes a secret in.
func New(s string) Text { return Text{s: s} }

// Random makes a new secret of n random bytes in unpadded base64url.
func Random(n int) Text {
	b := make([]byte, n)
	rand.Read(b) // never fails: crypto/rand crashes the program instead
	return Text{s: base64.RawURLEncoding.EncodeToString(b)}
}

// Reveal is the one way out: to a wire that needs the secret itself, to a
// sealed store, or to a MAC.
func (t Text) Reveal() string { return t.s }

// IsZero reports whether there is no secret.
func (t Text) IsZero() bool { return t.s == "" }

// Equal compares in constant time for secrets of equal length.
func (t Text) Equal(o Text) bool {
	return subtle.ConstantTimeCompare([]byte(t.s), []byte(o.s)) == 1
}

// Digest gives the SHA-256 of the secret: the form in which look-up keys are
// stored. Only for secrets of at least 128 random bits.
func (t Text) Digest() [32]byte { return sha256.Sum256([]byte(t.s)) }

// Format masks every verb, %#v and %x included.
func (t Text) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(Mask)) }

// String masks.
func (t Text) String() string { return Mask }

// GoString masks.
func (t Text) GoString() string { return Mask }

// LogValue masks in slog.
func (t Text) LogValue() slog.Value { return slog.StringValue(Mask) }

// MarshalJSON masks in JSON.
func (t Text) MarshalJSON() ([]byte, error) { return []byte(`"` + Mask + `"`), nil }

// MarshalText masks in every text encoding.
func (t Text) MarshalText() ([]byte, error) { return []byte(Mask), nil }

// errBinary keeps gob and its kin from writing a secret.
var errBinary = errors.New("secret: a secret has no binary form")

// MarshalBinary refuses.
func (t Text) MarshalBinary() ([]byte, error) { return nil, errBinary }
