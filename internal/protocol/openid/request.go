package openid

import (
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
)

// Request asks a provider to sign a person in (OpenID Connect Core 1.0, section
// 3.1.2.1), by the authorization code flow with PKCE.
type Request struct {
	ClientID    string
	RedirectURI string // as it is registered there
	State       string
	Nonce       string
	Verifier    string // of PKCE; its digest travels
	Scopes      []string
	ACRValues   []string
	MaxAge      *int // seconds; nil: any
}

// URL is where a browser takes the request.
func (r Request) URL(p *Provider) (string, error) {
	q := url.Values{
		"response_type": {"code"}, "client_id": {r.ClientID}, "redirect_uri": {r.RedirectURI},
		"scope": {scopes(r.Scopes)}, "state": {r.State}, "nonce": {r.Nonce},
		"code_challenge": {Challenge(r.Verifier)}, "code_challenge_method": {"S256"},
	}
	if len(r.ACRValues) > 0 {
		q.Set("acr_values", strings.Join(r.ACRValues, " "))
	}
	if r.MaxAge != nil {
		q.Set("max_age", strconv.Itoa(*r.MaxAge))
	}
	return with(p.Authorization, q)
}

func scopes(more []string) string {
	return strings.Join(slices.Concat([]string{"openid"}, more), " ")
}

// Challenge is the S256 challenge of a verifier (RFC 7636, section 4.2).
func Challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// with adds parameters to an endpoint, which may have a query of its own
// (RFC 6749, section 3.1).
func with(endpoint string, q url.Values) (string, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return "", err
	}
	own := u.Query()
	for name, values := range q {
		own[name] = values
	}
	u.RawQuery = own.Encode()
	return u.String(), nil
}

// Logout asks a provider to end a sign-in there (RP-Initiated Logout 1.0).
type Logout struct {
	ClientID string
	Hint     secret.Text // the ID token of that sign-in; zero: none
	Return   string      // post_logout_redirect_uri, as it is registered there
	State    string
}

// URL is where a browser takes the request; empty where the provider offers no
// such thing.
func (l Logout) URL(p *Provider) (string, error) {
	if p.EndSession == "" {
		return "", nil
	}
	q := url.Values{"client_id": {l.ClientID}, "post_logout_redirect_uri": {l.Return}, "state": {l.State}}
	if !l.Hint.IsZero() {
		q.Set("id_token_hint", l.Hint.Reveal())
	}
	return with(p.EndSession, q)
}

// Answer is what a provider had a browser bring to our redirect URI.
type Answer struct {
	State string
	Code  secret.Text
	// Issuer is iss (RFC 9207); empty: it was not named.
	Issuer string
	// Error is the provider's error code, with its own words; empty: none.
	Error, Description string
}

// CodeAnswer says that an answer can't be read.
const CodeAnswer = "openid.answer"

// Limits of an answer, in bytes.
const (
	maxAnswer = 16 << 10
	maxState  = 1024
	maxCode   = 8 << 10
)

// ParseAnswer reads the query of the redirect URI. Each parameter counts once
// (RFC 6749, section 3.1); unknown ones are ignored. Faults: Invalid CodeAnswer.
func ParseAnswer(rawQuery string) (Answer, error) {
	bad := func(why string) (Answer, error) {
		return Answer{}, fault.Coded(fault.Invalid, CodeAnswer, "the answer of the identity provider "+why).
			WithMend("begin again at the sign-in page")
	}
	if len(rawQuery) > maxAnswer {
		return bad("is too long")
	}
	q, err := url.ParseQuery(rawQuery)
	if err != nil {
		return bad("is no query")
	}
	var a Answer
	var code string
	for name, to := range map[string]*string{"state": &a.State, "code": &code, "iss": &a.Issuer, "error": &a.Error, "error_description": &a.Description} {
		switch values := q[name]; {
		case len(values) > 1:
			return bad("has the parameter " + name + " more than once")
		case len(values) == 1:
			*to = values[0]
		}
	}
	a.Code = secret.New(code)
	switch {
	case a.State == "" || len(a.State) > maxState:
		return bad("names no sign-in that Carnet began (state)")
	case (code == "") == (a.Error == ""):
		return bad("has to hold one of code and error")
	case len(code) > maxCode:
		return bad("has a code that is too long")
	}
	return a, nil
}
