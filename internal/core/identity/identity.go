// Package identity holds the words for who acts: persons, identity providers,
// login sessions, principals.
//
// Ids are 128 random bits under a typed prefix and are never reused, so a
// deleted and re-made name inherits nothing. A person is (IdP, NameID) with
// such an id; a mail address never links two identities (design 4.1).
package identity

import (
	"crypto/rand"
	"encoding/base32"
	"strings"
)

// The id types. Each has its own prefix, so one can't pass for another.
type (
	PersonID       string // psn_…
	IdPID          string // idp_…
	LoginSessionID string // lgn_…
	RoleID         string // AROA…, shaped as on AWS
	UserID         string // AIDA…, shaped as on AWS
	RequestID      string // 16 upper-case letters and digits, shaped as on AWS
)

var lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
var upper = base32.StdEncoding.WithPadding(base32.NoPadding)

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// NewPersonID makes an id that was never used.
func NewPersonID() PersonID { return PersonID("psn_" + lower.EncodeToString(random(16))) }

// NewIdPID makes an id that was never used.
func NewIdPID() IdPID { return IdPID("idp_" + lower.EncodeToString(random(16))) }

// Bits gives the 128 bits of an id; false for a text that is none.
func (id IdPID) Bits() (bits [16]byte, ok bool) {
	text, ok := strings.CutPrefix(string(id), "idp_")
	if !ok {
		return bits, false
	}
	b, err := lower.DecodeString(text)
	if err != nil || len(b) != len(bits) {
		return bits, false
	}
	return [16]byte(b), true
}

// IdPIDOf gives the id that Bits was asked of.
func IdPIDOf(bits [16]byte) IdPID { return IdPID("idp_" + lower.EncodeToString(bits[:])) }

// NewLoginSessionID makes an id that was never used.
func NewLoginSessionID() LoginSessionID {
	return LoginSessionID("lgn_" + lower.EncodeToString(random(16)))
}

// NewRoleID makes a role id shaped as AWS's: AROA and 17 letters or digits.
func NewRoleID() RoleID { return RoleID("AROA" + upper.EncodeToString(random(16))[:17]) }

// NewUserID makes a user id shaped as AWS's: AIDA and 17 letters or digits.
func NewUserID() UserID { return UserID("AIDA" + upper.EncodeToString(random(16))[:17]) }

// NewAccessKeyID makes the id of temporary keys, shaped as AWS's: ASIA and 16
// letters or digits.
func NewAccessKeyID() string { return "ASIA" + upper.EncodeToString(random(10)) }

// NewRequestID makes the id of one request, as it stands in header, body and log.
func NewRequestID() RequestID { return RequestID(upper.EncodeToString(random(10))) }

// ValidSessionName holds STS's rule for RoleSessionName.
func ValidSessionName(s string) bool {
	if len(s) < 2 || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case strings.IndexByte("_+=,.@-", c) >= 0:
		default:
			return false
		}
	}
	return true
}
