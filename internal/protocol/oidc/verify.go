package oidc

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4/json"
)

// Expect is what a relying party asks of a token.
type Expect struct {
	Issuer string // iss, letter for letter
	// Audiences are the names the relying party goes by: the token's azp, or
	// its one aud where azp is absent, must be among them.
	Audiences []string
	// AnyAudience takes a token of which any one aud is among them, whoever azp is.
	AnyAudience bool
	// Algorithms narrows the list of those that AWS takes; nil is all of it.
	Algorithms []string
	// Types are the wanted values of typ in lower case, without "application/";
	// nil is jwt alone, which an absent typ stands for too.
	Types []string
	// NoSubject takes a token without sub: that of a logout may name a sid alone.
	NoSubject bool
	Skew      time.Duration
}

// Claims are the claims of a token that was verified.
type Claims struct {
	Issuer  string
	Subject string // empty only where NoSubject was asked for
	// Audience is azp where the token has it, and else its one aud; empty where
	// it has several.
	Audience  string
	Audiences []string // aud as it stands
	ID        string   // jti; empty where absent
	IssuedAt  time.Time
	Expires   time.Time
	NotBefore time.Time // zero where absent
	KeyID     string
	Algorithm string

	all object
}

// All gives every claim: strings, bools, nil, []any and map[string]any; anything
// else is a number. It must not be changed.
func (c *Claims) All() map[string]any { return c.all }

// Texts gives the texts of a claim that is a text or a list of texts; not ok for
// anything else, an absent claim among it.
func Texts(v any) ([]string, bool) {
	switch v := v.(type) {
	case string:
		return []string{v}, !strings.ContainsRune(v, utf8.RuneError)
	case []any:
		out := make([]string, 0, len(v))
		for _, item := range v {
			s, ok := item.(string)
			if !ok || strings.ContainsRune(s, utf8.RuneError) {
				return nil, false
			}
			out = append(out, s)
		}
		return out, true
	}
	return nil, false
}

// Verify proves the token by one key of the set, and holds it to what the
// relying party wants. Errors are faults with one of the codes above.
func (t *Token) Verify(keys *KeySet, want Expect, now time.Time) (*Claims, error) {
	types := want.Types
	if types == nil {
		types = []string{"jwt"}
	}
	if !t.isType(types) {
		return nil, refuse(CheckType, "the token's typ is %q: want %s", clip(t.kind), strings.Join(types, " or "))
	}
	if err := t.prove(keys, want.Algorithms); err != nil {
		return nil, err
	}
	c, err := t.read(want.NoSubject)
	if err != nil {
		return nil, err
	}
	if err := c.check(want, now); err != nil {
		return nil, err
	}
	return c, nil
}

// prove holds the signature to the one key of the set that the header names.
func (j *jws) prove(keys *KeySet, list []string) error {
	a, ok := algorithmNamed(j.algorithm)
	if !ok || list != nil && !slices.Contains(list, j.algorithm) {
		return refuse(CheckAlgorithm, "the ID token's algorithm %q is not taken here", clip(j.algorithm))
	}
	public, err := keys.find(j, a)
	if err == nil && !a.holds(public, j.input, j.signature) {
		err = refuse(CheckSignature, "the ID token's signature does not hold")
	}
	return err
}

const maxSubject = 255

// read takes the registered claims. All that AWS asks for must be there.
func (t *Token) read(noSubject bool) (*Claims, error) {
	for _, name := range []string{"iss", "sub", "aud", "iat", "exp"} {
		if _, ok := t.claims[name]; !ok && (name != "sub" || !noSubject) {
			return nil, refuse(CheckClaims, "Missing a required claim: %s", name)
		}
	}
	c := &Claims{all: t.claims, KeyID: t.keyID, Algorithm: t.algorithm}
	var ok bool
	for name, to := range map[string]*string{"iss": &c.Issuer, "sub": &c.Subject, "jti": &c.ID, "azp": &c.Audience} {
		if *to, ok = t.claims.text(name); !ok && t.claims[name] != nil {
			return nil, refuse(CheckClaims, "the claim %s is not a text", name)
		}
	}
	if c.Issuer == "" || c.Subject == "" && !noSubject || len(c.Subject) > maxSubject {
		return nil, refuse(CheckClaims, "the claims iss and sub must have a value, the latter of at most %d characters", maxSubject)
	}
	for name, to := range map[string]*time.Time{"iat": &c.IssuedAt, "exp": &c.Expires, "nbf": &c.NotBefore} {
		if v, there := t.claims[name]; there {
			if *to, ok = seconds(v); !ok {
				return nil, refuse(CheckClaims, "the claim %s is not a whole number of seconds", name)
			}
		}
	}
	if c.Audiences, ok = Texts(t.claims["aud"]); !ok || len(c.Audiences) == 0 {
		return nil, refuse(CheckClaims, "the claim aud is not a text or a list of texts")
	}
	if c.Audience == "" && len(c.Audiences) == 1 {
		c.Audience = c.Audiences[0]
	}
	return c, nil
}

// seconds reads a time as AWS does.
func seconds(v any) (time.Time, bool) {
	n, ok := Whole(v)
	return time.Unix(int64(n), 0).UTC(), ok
}

// Whole reads a number of at most twelve digits, and digits alone. A fraction, an
// exponent, a sign or a text is none.
func Whole(v any) (uint64, bool) {
	number, ok := v.(json.Number)
	if !ok || len(number) > len("253402300799") {
		return 0, false
	}
	n, err := strconv.ParseUint(string(number), 10, 63)
	return n, err == nil
}

func (c *Claims) check(want Expect, now time.Time) error {
	named := func(audience string) bool { return slices.Contains(want.Audiences, audience) }
	switch {
	case c.Issuer != want.Issuer:
		return refuse(CheckIssuer, "the ID token is of issuer %q: want %q", clip(c.Issuer), clip(want.Issuer))
	case want.AnyAudience && !slices.ContainsFunc(c.Audiences, named):
		return refuse(CheckAudience, "none of the token's audiences is taken here: %q", clip(strings.Join(c.Audiences, " ")))
	case !want.AnyAudience && c.Audience == "":
		return refuse(CheckAudience, "Token audience contains more than one audience while authorized party is not present")
	case !want.AnyAudience && !named(c.Audience):
		return refuse(CheckAudience, "the ID token's audience %q is none of this provider's client ids", clip(c.Audience))
	case !now.Before(c.Expires.Add(want.Skew)):
		return refuse(CheckExpired, "current date/time %d must be before the expiration date/time %d", now.Unix(), c.Expires.Unix())
	case c.IssuedAt.After(now.Add(want.Skew)):
		return refuse(CheckNotYet, "the ID token was issued in the future, at %s", c.IssuedAt.Format(time.RFC3339))
	case c.NotBefore.After(now.Add(want.Skew)):
		return refuse(CheckNotYet, "the ID token is not good before %s", c.NotBefore.Format(time.RFC3339))
	}
	return nil
}
