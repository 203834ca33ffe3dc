// Package oidc verifies the ID tokens of OpenID providers, and reads the key
// sets that they publish. Apart from that it mints tokens and writes the key set
// of our own issuers.
//
// A token is a JWS in compact form over a JSON object (RFC 7515, RFC 7519,
// RFC 8725). Parse reads it strictly and proves nothing; Verify proves it by a
// key of the provider's set and gives the claims. The algorithm comes from a
// list, never from the token alone, and the type of the key is bound to it; keys
// come from the set, never from the token. No name may stand twice, letter case
// of names counts, times are whole seconds. It must never give claims of a
// token whose signature did not hold, nor follow an address that one names.
package oidc

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4/json"

	"carnet.dev/carnet/internal/core/fault"
)

// MaxCharacters is the longest token that STS takes (STS API Reference,
// AssumeRoleWithWebIdentity).
const MaxCharacters = 20000

// What a refusal names. CheckKey is worth another look at the provider's keys.
const (
	CheckMalformed = "oidc.malformed"
	CheckType      = "oidc.type"
	CheckAlgorithm = "oidc.algorithm"
	CheckKey       = "oidc.key"
	CheckSignature = "oidc.signature"
	CheckClaims    = "oidc.claims"
	CheckIssuer    = "oidc.issuer"
	CheckAudience  = "oidc.audience"
	CheckExpired   = "oidc.expired"
	CheckNotYet    = "oidc.not-yet"
)

func refuse(code, format string, args ...any) error {
	kind := fault.Unauthenticated
	if code == CheckExpired {
		kind = fault.Expired
	}
	return fault.Coded(kind, code, fmt.Sprintf(format, args...))
}

// Token is a token that was read. Nothing of it is proven.
type Token struct {
	jws
	claims object
}

// jws is a signed message in compact form, apart.
type jws struct {
	input     string // what is signed
	signature []byte
	algorithm string
	kind      string // typ
	keyID     string
	hasKeyID  bool
}

// Parse reads a token of at most MaxCharacters characters.
func Parse(compact string) (*Token, error) {
	if len(compact) > MaxCharacters {
		return nil, refuse(CheckMalformed, "the ID token has %d characters, more than %d", len(compact), MaxCharacters)
	}
	j, payload, err := parseJWS(compact)
	if err != nil {
		return nil, err
	}
	claims, err := segment("payload", payload)
	if err != nil {
		return nil, err
	}
	return &Token{jws: j, claims: claims}, nil
}

func parseJWS(compact string) (j jws, payload string, err error) {
	parts := strings.Split(compact, ".")
	if len(parts) != 3 {
		return jws{}, "", refuse(CheckMalformed, "the ID token has %d parts: a signed JWT has three", len(parts))
	}
	header, err := segment("header", parts[0])
	if err != nil {
		return jws{}, "", err
	}
	j.input = compact[:len(parts[0])+1+len(parts[1])]
	if j.signature, err = base64url(parts[2]); err != nil || len(j.signature) == 0 {
		return jws{}, "", refuse(CheckMalformed, "the ID token's signature is not base64url")
	}
	return j, parts[1], j.readHeader(header)
}

// base64url is strict: no padding, no stray bits, no line breaks.
func base64url(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, fmt.Errorf("line break")
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}

func segment(name, text string) (object, error) {
	raw, err := base64url(text)
	if err != nil {
		return nil, refuse(CheckMalformed, "the ID token's %s is not base64url", name)
	}
	o, err := parseObject(raw)
	if err != nil {
		return nil, refuse(CheckMalformed, "the ID token's %s is not one JSON object: %s", name, err)
	}
	return o, nil
}

// readHeader takes what matters of the JOSE header. Keys and addresses in it
// (jwk, jku, x5c, x5u) are not even looked at; what changes the meaning of the
// signature is refused.
func (j *jws) readHeader(header object) error {
	var ok bool
	if j.algorithm, ok = header.text("alg"); !ok {
		return refuse(CheckAlgorithm, "the ID token names no algorithm")
	}
	for _, name := range []string{"crit", "b64", "enc", "zip"} {
		if _, there := header[name]; there {
			return refuse(CheckMalformed, "the ID token's header has the parameter %q, which is not taken here", name)
		}
	}
	_, typed := header["typ"]
	if j.kind, ok = header.text("typ"); typed && !ok {
		return refuse(CheckMalformed, "the ID token's typ is not text")
	}
	_, j.hasKeyID = header["kid"]
	if j.keyID, ok = header.text("kid"); j.hasKeyID && !ok || len(j.keyID) > maxKeyID {
		return refuse(CheckMalformed, "the ID token's kid is not a text of at most %d bytes", maxKeyID)
	}
	return nil
}

// ClaimedIssuer is the iss that the token claims, unproven: good for finding
// whose keys to ask, and for nothing else. Empty where there is none.
func (t *Token) ClaimedIssuer() string {
	issuer, _ := t.claims.text("iss")
	return issuer
}

// isType reports whether typ is one of the wanted media types; an absent one is
// JWT, and "application/" may be left out (RFC 7515, section 4.1.9).
func (j *jws) isType(want []string) bool {
	kind := strings.TrimPrefix(strings.ToLower(j.kind), "application/")
	if kind == "" {
		kind = "jwt"
	}
	return slices.Contains(want, kind)
}

// object is one JSON object: its names as they were written. Values are
// string, json.Number, bool, nil, []any or map[string]any.
type object map[string]any

// text gives a value that is a text; not ok for an empty one, and for one in
// which half a surrogate pair was replaced, so that different texts became one.
func (o object) text(name string) (string, bool) {
	s, ok := o[name].(string)
	return s, ok && s != "" && !strings.ContainsRune(s, utf8.RuneError)
}

// parseObject reads one object and nothing after it. This decoder heeds the
// letter case of names and refuses a name that stands twice, at any depth.
func parseObject(src []byte) (object, error) {
	if o, ok := (&plain{string(src)}).object(); ok {
		return o, nil
	}
	return decodeObject(src)
}

func decodeObject(src []byte) (object, error) {
	if !utf8.Valid(src) {
		return nil, errors.New("it is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(src))
	d.SetNumberType(json.UnmarshalJSONNumber)
	var o object
	if err := d.Decode(&o); err != nil {
		return nil, errors.New(clip(err.Error()))
	}
	if _, err := d.Token(); o == nil || err != io.EOF {
		return nil, errors.New("it is something else, or something follows it")
	}
	return o, nil
}

// clip bounds what an error repeats of outside input.
func clip(s string) string { return fault.Clip(s) }
