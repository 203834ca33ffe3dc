package sessiontoken

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
)

const (
	version     = 1
	nonceLength = 12
	tagLength   = 16
	maxKeyID    = 32
)

// ErrInvalid is what Open says of every token that isn't ours, was changed, or
// belongs to another access key. One answer for all: the causes tell a forger
// something and an honest client nothing.
var ErrInvalid = fault.Coded(fault.Unauthenticated, "InvalidToken",
	"The provided token is malformed or otherwise invalid.").
	WithMend("send the session token that came with this access key id")

// ErrExpired is what Open says of a genuine token after its end.
var ErrExpired = fault.Coded(fault.Expired, "ExpiredToken", "The provided token has expired.").
	WithMend("fetch new credentials")

var encoding = base64.RawURLEncoding.Strict()

// Seal makes the session token of accessKeyID. It fails with the code
// PackedPolicyTooLarge where the claims don't fit in MaxLength characters.
func Seal(keys Keys, accessKeyID string, c Claims) (secret.Text, error) {
	id, key := keys.Current()
	if id == "" || len(id) > maxKeyID {
		return secret.Text{}, errors.New("sessiontoken: key id must have 1 to 32 characters")
	}
	if accessKeyID == "" || c.SecretKey.IsZero() || c.Expires.IsZero() {
		return secret.Text{}, errors.New("sessiontoken: claims need an access key id, a secret key and an end")
	}
	gcm, err := aead(key)
	if err != nil {
		return secret.Text{}, err
	}
	plain := encode(&c)
	raw := make([]byte, 0, 2+len(id)+nonceLength+len(plain)+tagLength)
	raw = append(raw, version, byte(len(id)))
	raw = append(raw, id...)
	head := len(raw)
	raw = raw[:head+nonceLength]
	rand.Read(raw[head:])
	// Version, key id and access key id are bound. The head has its own length
	// inside, so the two parts can't run into each other.
	raw = gcm.Seal(raw, raw[head:], plain, slices.Concat(raw[:head], []byte(accessKeyID)))
	if encoding.EncodedLen(len(raw)) > MaxLength {
		return secret.Text{}, fault.Coded(fault.TooLarge, "PackedPolicyTooLarge",
			fmt.Sprintf("Packed size of session tags and policies consumes %d%% of allotted space.", PackedSize(c)))
	}
	return secret.New(encoding.EncodeToString(raw)), nil
}

// Open gives the claims of a session token that this ring sealed for
// accessKeyID and that has not ended at now. Errors: ErrInvalid, ErrExpired.
func Open(keys Keys, accessKeyID string, token secret.Text, now time.Time) (Claims, error) {
	text := token.Reveal()
	// The decoder skips line breaks; a token has exactly one spelling.
	if len(text) > MaxLength || strings.ContainsAny(text, "\r\n") {
		return Claims{}, ErrInvalid
	}
	raw, err := encoding.DecodeString(text)
	if err != nil || len(raw) < 3 || raw[0] != version {
		return Claims{}, ErrInvalid
	}
	head := 2 + int(raw[1])
	if raw[1] == 0 || raw[1] > maxKeyID || len(raw) < head+nonceLength+tagLength {
		return Claims{}, ErrInvalid
	}
	key, ok := keys.ByID(string(raw[2:head]))
	if !ok {
		return Claims{}, ErrInvalid
	}
	gcm, err := aead(key)
	if err != nil {
		return Claims{}, ErrInvalid
	}
	sealed := raw[head+nonceLength:]
	plain, err := gcm.Open(sealed[:0], raw[head:head+nonceLength], sealed, slices.Concat(raw[:head], []byte(accessKeyID)))
	if err != nil {
		return Claims{}, ErrInvalid
	}
	c, err := decode(plain)
	if err != nil {
		return Claims{}, ErrInvalid.WithCause(err)
	}
	if !now.Before(c.Expires) {
		return Claims{}, ErrExpired
	}
	return c, nil
}

// PackedSize is STS's PackedPolicySize: the percentage of the room in a
// session token that session policies and tags take.
func PackedSize(c Claims) int {
	if c.SessionPolicy == "" && len(c.SessionPolicyARNs)+len(c.Tags)+len(c.TransitiveTagKeys) == 0 {
		return 0
	}
	full := len(encode(&c))
	c.SessionPolicy, c.SessionPolicyARNs, c.Tags, c.TransitiveTagKeys = "", nil, nil, nil
	base := len(encode(&c))
	room := encoding.DecodedLen(MaxLength) - 2 - maxKeyID - nonceLength - tagLength - base
	if room <= 0 {
		return 100 + full
	}
	return (100*(full-base) + room - 1) / room
}

func aead(key [32]byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
