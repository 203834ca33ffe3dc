package oidc

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Expect is what a relying party asks of a token.
type Expect struct {
	Issuer string // iss, letter for letter
	// Audiences are the names the relying party goes by: the token's azp, or
	// its one aud where azp is absent, must be among them.
	Audiences []string
	// Algorithms narrows the list of those that AWS takes; nil is all of it.
	Algorithms []string
	// Types are the wanted values of typ in lower case, without "application/";
	// nil is jwt alone, which an absent typ stands for too.
	Types []string
	Skew  time.Duration
}

// Claims are the claims of a token that was verified.
type Claims struct {
	Issuer  string
	Subject string
	// Audience is azp where the token has it, and else its one aud.
	Audience  string
	Audiences []string // aud as it stands
	ID        string   // jti; empty where absent
	IssuedAt  time.Time
	Expires   time.Time
	KeyID     string
	Algorithm string

	all object
}

// Value gives any claim: string, json.Number, bool, nil, []any or
// map[string]any.
func (c *Claims) Value(name string) (any, bool) {
	v, ok := c.all[name]
	return v, ok
}

// Names lists the claims, in order.
func (c *Claims) Names() []string {
	names := make([]string, 0, len(c.all))
	for name := range c.all {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Text gives a claim that is a text; empty where it is absent or is none.
func (c *Claims) Text(name string) string {
	s, _ := c.all.text(name)
	return s
}

// Texts gives a claim that is a text or a list of texts; not ok where it holds
// anything else. An absent one is empty.
func (c *Claims) Texts(name string) (values []string, ok bool) {
	v, there := c.all[name]
	if !there {
		return nil, true
	}
	return texts(v)
}

func texts(v any) ([]string, bool) {
	switch v := v.(type) {
	case string:
		return []string{v}, true
	case []any:
		out := make([]string, 0, len(v))
		for _, item := range v {
			s, ok := item.(string)
			if !ok {
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
	c, err := t.read()
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
	if err != nil {
		return err
	}
	if !a.holds(public, j.input, j.signature) {
		return refuse(CheckSignature, "the ID token's signature does not hold")
	}
	return nil
}

// read takes the registered claims. All that AWS asks for must be there.
func (t *Token) read() (*Claims, error) {
	for _, name := range []string{"iss", "sub", "aud", "iat", "exp"} {
		if _, ok := t.claims[name]; !ok {
			return nil, refuse(CheckClaims, "Missing a required claim: %s", name)
		}
	}
	c := &Claims{all: t.claims, KeyID: t.keyID, Algorithm: t.algorithm}
	var ok bool
	if c.Issuer, ok = t.claims.text("iss"); !ok {
		return nil, refuse(CheckClaims, "the claim iss is not a text")
	}
	if c.Subject, ok = t.claims.text("sub"); !ok || len(c.Subject) > maxSubject {
		return nil, refuse(CheckClaims, "the claim sub is not a text of 1 to %d characters", maxSubject)
	}
	if c.Audiences, ok = texts(t.claims["aud"]); !ok || len(c.Audiences) == 0 {
		return nil, refuse(CheckClaims, "the claim aud is not a text or a list of texts")
	}
	if _, there := t.claims["jti"]; there {
		if c.ID, ok = t.claims.text("jti"); !ok {
			return nil, refuse(CheckClaims, "the claim jti is not a text")
		}
	}
	if err := c.readAudience(); err != nil {
		return nil, err
	}
	if err := c.readTimes(); err != nil {
		return nil, err
	}
	return c, nil
}

const maxSubject = 255

func (c *Claims) readAudience() error {
	if _, there := c.all["azp"]; there {
		var ok bool
		if c.Audience, ok = c.all.text("azp"); !ok {
			return refuse(CheckClaims, "the claim azp is not a text")
		}
		return nil
	}
	if len(c.Audiences) != 1 {
		return refuse(CheckAudience, "Token audience contains more than one audience while authorized party is not present")
	}
	c.Audience = c.Audiences[0]
	return nil
}

func (c *Claims) readTimes() error {
	for _, name := range []string{"iat", "exp", "nbf"} {
		v, there := c.all[name]
		if !there {
			continue
		}
		at, ok := seconds(v)
		if !ok {
			return refuse(CheckClaims, "the claim %s is not a whole number of seconds", name)
		}
		switch name {
		case "iat":
			c.IssuedAt = at
		case "exp":
			c.Expires = at
		}
	}
	return nil
}

// seconds reads a time as AWS does: digits alone. A fraction, an exponent, a
// sign or a text is none.
func seconds(v any) (time.Time, bool) {
	number, ok := v.(json.Number)
	if !ok || len(number) > len("253402300799") {
		return time.Time{}, false
	}
	n, err := strconv.ParseUint(string(number), 10, 63)
	return time.Unix(int64(n), 0).UTC(), err == nil
}

func (c *Claims) check(want Expect, now time.Time) error {
	if c.Issuer != want.Issuer {
		return refuse(CheckIssuer, "the ID token is of issuer %q: want %q", clip(c.Issuer), clip(want.Issuer))
	}
	if !slices.Contains(want.Audiences, c.Audience) {
		return refuse(CheckAudience, "the ID token's audience %q is none of this provider's client ids", clip(c.Audience))
	}
	if !now.Before(c.Expires.Add(want.Skew)) {
		return refuse(CheckExpired, "current date/time %d must be before the expiration date/time %d", now.Unix(), c.Expires.Unix())
	}
	if c.IssuedAt.After(now.Add(want.Skew)) {
		return refuse(CheckNotYet, "the ID token was issued in the future, at %s", c.IssuedAt.Format(time.RFC3339))
	}
	if v, there := c.all["nbf"]; there {
		if at, _ := seconds(v); at.After(now.Add(want.Skew)) {
			return refuse(CheckNotYet, "the ID token is not good before %s", at.Format(time.RFC3339))
		}
	}
	return nil
}
