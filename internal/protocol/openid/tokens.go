package openid

import (
	"strings"
	"unicode"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
)

// CodeRequest trades a code for tokens at the token endpoint.
type CodeRequest struct {
	ClientID     string
	ClientSecret secret.Text // zero for a public client
	InBody       bool        // the secret goes into the form, not into a header
	Code         secret.Text
	Verifier     secret.Text
	RedirectURI  string
}

// Tokens are what a code was traded for. No refresh token is kept.
type Tokens struct {
	ID secret.Text
	// Access is good for the userinfo endpoint; zero where none came.
	Access secret.Text
}

// CodeTokens says that the answer of the token endpoint is not what it must be,
// or a refusal.
const CodeTokens = "openid.tokens"

// ParseTokens reads the answer of the token endpoint (OpenID Connect Core 1.0,
// section 3.1.3.3). Faults: Misconfigured CodeTokens.
func ParseTokens(body []byte) (Tokens, error) {
	bad := func(why string) (Tokens, error) {
		return Tokens{}, fault.Coded(fault.Misconfigured, CodeTokens, "the token endpoint of the identity provider answered with "+why).
			WithMend("an administrator has to look at the client that is registered there")
	}
	o, err := parseObject(body)
	if err != nil {
		return bad("what can't be read: " + err.Error())
	}
	c := Claims(o)
	t := Tokens{ID: secret.New(c.Text("id_token")), Access: secret.New(c.Text("access_token"))}
	switch {
	case t.ID.IsZero():
		return bad("no ID token; the client has to be one for OpenID Connect")
	case !t.Access.IsZero() && !strings.EqualFold(c.Text("token_type"), "Bearer"):
		t.Access = secret.Text{} // of a kind that we can't present
	}
	return t, nil
}

// ParseUserInfo reads the answer of the userinfo endpoint, which has to be of
// the subject of the ID token (OpenID Connect Core 1.0, section 5.3.2). Faults:
// Misconfigured CodeUserInfo.
func ParseUserInfo(body []byte, subject string) (Claims, error) {
	bad := func(why string) (Claims, error) {
		return nil, fault.Coded(fault.Misconfigured, CodeUserInfo, "the userinfo endpoint of the identity provider answered with "+why)
	}
	o, err := parseObject(body)
	if err != nil {
		return bad("what can't be read: " + err.Error())
	}
	c := Claims(o)
	if got := c.Text("sub"); got == "" || got != subject {
		return bad("another person (sub)")
	}
	return c, nil
}

// CodeUserInfo says that the answer of the userinfo endpoint does not count.
const CodeUserInfo = "openid.userinfo"

// With gives the claims and those of more that are not among them. What is
// registered for a token is never taken from more.
func (c Claims) With(more Claims) Claims {
	out := make(Claims, len(c)+len(more))
	for name, v := range more {
		switch name {
		case "iss", "aud", "azp", "exp", "iat", "nbf", "jti", "nonce", "acr", "amr", "auth_time", "sid", "at_hash", "c_hash", "events":
		default:
			out[name] = v
		}
	}
	for name, v := range c {
		out[name] = v
	}
	return out
}

// ParseRefusal reads the error answer of an endpoint (RFC 6749, section 5.2);
// empty where it is none. The texts are for people: printable, and short.
func ParseRefusal(body []byte) (code, description string) {
	o, err := parseObject(body)
	if err != nil {
		return "", ""
	}
	return Say(Claims(o).Text("error")), Say(Claims(o).Text("error_description"))
}

// Say makes a text of a stranger fit to be shown: printable, and short.
func Say(text string) string {
	return clip(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, text))
}
