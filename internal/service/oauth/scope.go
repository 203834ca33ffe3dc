package oauth

import (
	"slices"
	"strings"
)

// The scopes.
const (
	ScopeOpenID  = "openid"
	ScopeProfile = "profile"        // name, preferred_username
	ScopeEmail   = "email"          // email
	ScopeOffline = "offline_access" // a refresh token
	ScopeAPI     = "all-apis"       // Carnet's own API, as the person
)

// ScopeNames lists the scopes, in the order of the discovery document.
func ScopeNames() []string {
	return []string{ScopeOpenID, ScopeProfile, ScopeEmail, ScopeOffline, ScopeAPI}
}

// Scopes is a set of scopes, in the order of ScopeNames.
type Scopes []string

// Has reports whether a scope is among them.
func (s Scopes) Has(name string) bool { return slices.Contains(s, name) }

// String is the form on the wire.
func (s Scopes) String() string { return strings.Join(s, " ") }

// scopesOf reads the form on the wire and leaves out what is not known here
// (OpenID Connect Core section 3.1.2.1).
func scopesOf(text string) Scopes {
	given := strings.Fields(text)
	out := Scopes{}
	for _, name := range ScopeNames() {
		if slices.Contains(given, name) {
			out = append(out, name)
		}
	}
	return out
}

// within gives the scopes that a request asks for, where the client may have
// every one of them. A refresh token is for those alone who may refresh.
func (c Client) within(text string) (Scopes, error) {
	asked := scopesOf(text)
	for _, name := range asked {
		if !slices.Contains(c.Scopes, name) && name != ScopeOffline {
			return nil, refuse(InvalidScope, "the client "+c.Name+" may not ask for the scope "+name).
				WithMend("ask for fewer, or have an administrator allow it: carnet client set --scope")
		}
	}
	if !c.May(GrantRefresh) || !slices.Contains(c.Scopes, ScopeOffline) {
		asked = slices.DeleteFunc(asked, func(name string) bool { return name == ScopeOffline })
	}
	if len(asked) == 0 {
		return nil, refuse(InvalidScope, "the request asks for no scope that is known here").
			WithMend("ask for some of: " + strings.Join(ScopeNames(), " "))
	}
	return asked, nil
}
