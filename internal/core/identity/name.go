package identity

import (
	"crypto/sha256"
	"strings"
)

// The form of a mapped name: what is left of the name, "=", then 26 letters or
// digits of its digest.
const (
	mostSessionName = 64
	nameDigest      = 26
)

// SessionName maps a name to a RoleSessionName or SourceIdentity, injectively: a
// legal one is kept as it is, any other loses its illegal characters, is cut, and
// gets a digest of the whole as its end. A legal name that looks like a mapped
// one is mapped too, so that nobody can choose another's.
func SessionName(name string) string {
	if ValidSessionName(name) && !looksMapped(name) {
		return name
	}
	kept := strings.Map(func(r rune) rune {
		if r < 0x80 && ValidSessionName(string([]rune{r, r})) {
			return r
		}
		return '_'
	}, strings.ToValidUTF8(name, "_"))
	kept = kept[:min(len(kept), mostSessionName-1-nameDigest)]
	sum := sha256.Sum256([]byte(name))
	return kept + "=" + lower.EncodeToString(sum[:])[:nameDigest]
}

func looksMapped(name string) bool {
	i := len(name) - nameDigest - 1
	return i >= 0 && name[i] == '=' && strings.Trim(name[i+1:], "abcdefghijklmnopqrstuvwxyz234567") == ""
}
