// Package openid holds what a relying party says to an OpenID provider, and
// reads what it hears: discovery, the authorization request and its answer, the
// answer of the token endpoint, claims, and logout tokens (OpenID Connect Core
// 1.0, Discovery 1.0, RP-Initiated Logout 1.0, Back-Channel Logout 1.0).
//
// Signatures are protocol/oidc's business: here a token is held to what this
// one sign-in asked for. Documents are read strictly: letter case of names
// counts and no name may stand twice. It must never take an address from
// anything but the provider's own discovery document, nor let an unproven value
// decide more than where to look.
package openid

import (
	"strings"
	"time"
	"unicode/utf8"

	"carnet.dev/carnet/internal/protocol/oidc"
)

// Claims are the claims that a provider sent about a person, proven: those of an
// ID token, and those of its userinfo endpoint that the ID token has not. They
// must not be changed.
type Claims map[string]any

// Value gives a claim by its exact name. Where there is none, a name with dots
// is a path through objects (realm_access.roles); nil where that leads nowhere.
func (c Claims) Value(name string) any {
	if v, ok := c[name]; ok || name == "" {
		return v
	}
	var at any = map[string]any(c)
	for step := range strings.SplitSeq(name, ".") {
		o, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = o[step]
	}
	return at
}

// Text gives a claim that is one text; empty for any other.
func (c Claims) Text(name string) string {
	s, _ := c.Value(name).(string)
	if strings.ContainsRune(s, utf8.RuneError) { // different texts became one
		return ""
	}
	return s
}

// Time gives a claim that is a whole number of seconds; zero for any other.
func (c Claims) Time(name string) time.Time {
	n, ok := oidc.Whole(c.Value(name))
	if !ok {
		return time.Time{}
	}
	return time.Unix(int64(n), 0).UTC()
}

// Texts gives the texts of a claim that is a text or a list of texts. An empty
// or absent claim is an empty list; not ok for any other.
func (c Claims) Texts(name string) ([]string, bool) {
	v := c.Value(name)
	if v == nil || v == "" {
		return nil, true
	}
	return oidc.Texts(v)
}
