package openid

import (
	"crypto"
	_ "crypto/sha256" // the digests of at_hash
	_ "crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/oidc"
)

// What a refusal of a proven ID token names, beside those of protocol/oidc.
const (
	CheckClient   = "openid.client"    // we are among its audiences, and its authorized party
	CheckNonce    = "openid.nonce"     // it was made for this sign-in
	CheckHash     = "openid.at-hash"   // it belongs to the access token beside it
	CheckAuthTime = "openid.auth-time" // the person signed in there recently enough
	CheckContext  = "openid.acr"       // the person signed in by a way that was asked for
)

// Skew is how far the clock of a provider may be off.
const Skew = time.Minute

// Expect is what one sign-in asks of its ID token.
type Expect struct {
	Issuer   string
	ClientID string
	Nonce    string
	// Access is the access token that came beside it; zero: none did.
	Access secret.Text
	// Since is the earliest time at which the person may have signed in there;
	// zero: any.
	Since time.Time
	// ACRValues: acr has to be one of them; empty: any.
	ACRValues []string
}

// Check is one check of an ID token.
type Check struct {
	Code   string
	OK     bool
	Detail string
}

// inOrder are the checks of protocol/oidc in the order in which it makes them.
var inOrder = []string{oidc.CheckMalformed, oidc.CheckType, oidc.CheckAlgorithm, oidc.CheckKey, oidc.CheckSignature,
	oidc.CheckClaims, oidc.CheckIssuer, oidc.CheckAudience, oidc.CheckExpired, oidc.CheckNotYet}

// VerifyID proves an ID token and holds it to what one sign-in asked for (OpenID
// Connect Core 1.0, section 3.1.3.7). The checks are those that were made, in
// their order, the failed one last. Faults name the check that failed;
// oidc.CheckKey is worth another look at the provider's keys.
func VerifyID(compact secret.Text, keys *oidc.KeySet, want Expect, now time.Time) (*oidc.Claims, []Check, error) {
	c, err := prove(compact, keys, want, now)
	var checks []Check
	for _, code := range inOrder {
		if err != nil && fault.Of(err).Code == code {
			return nil, append(checks, Check{code, false, fault.Of(err).Public}), err
		}
		checks = append(checks, Check{Code: code, OK: true})
	}
	if err != nil {
		return nil, nil, err
	}
	checks[1].Detail, checks[2].Detail, checks[3].Detail = "JWT", c.Algorithm, clip(c.KeyID)
	checks[6].Detail, checks[8].Detail = clip(c.Issuer), "until "+c.Expires.Format(time.RFC3339)
	for _, check := range []struct {
		code string
		hold func(*oidc.Claims, time.Time) (string, error)
	}{
		{CheckClient, want.client}, {CheckNonce, want.nonce}, {CheckHash, want.hash}, {CheckAuthTime, want.authTime}, {CheckContext, want.context},
	} {
		detail, err := check.hold(c, now)
		if err != nil {
			return nil, append(checks, Check{check.code, false, err.Error()}), fault.Coded(fault.Unauthenticated, check.code, err.Error())
		}
		checks = append(checks, Check{check.code, true, detail})
	}
	return c, checks, nil
}

func prove(compact secret.Text, keys *oidc.KeySet, want Expect, now time.Time) (*oidc.Claims, error) {
	token, err := oidc.Parse(compact.Reveal())
	if err != nil {
		return nil, err
	}
	return token.Verify(keys, oidc.Expect{Issuer: want.Issuer, Audiences: []string{want.ClientID}, Skew: Skew}, now)
}

// client: aud has to name us, and not azp alone, which protocol/oidc goes by.
func (want Expect) client(c *oidc.Claims, _ time.Time) (string, error) {
	if !slices.Contains(c.Audiences, want.ClientID) {
		return "", fmt.Errorf("the ID token is for another client (aud)")
	}
	return clip(want.ClientID), nil
}

func (want Expect) nonce(c *oidc.Claims, _ time.Time) (string, error) {
	got, _ := c.All()["nonce"].(string)
	if want.Nonce == "" || subtle.ConstantTimeCompare([]byte(got), []byte(want.Nonce)) != 1 {
		return "", fmt.Errorf("the ID token was not made for this sign-in (nonce)")
	}
	return "", nil
}

// hash holds at_hash, where it stands, to the access token (OpenID Connect Core
// 1.0, section 3.1.3.6).
func (want Expect) hash(c *oidc.Claims, _ time.Time) (string, error) {
	claim, there := c.All()["at_hash"]
	if !there || want.Access.IsZero() {
		return "none is stated", nil
	}
	h := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[c.Algorithm[len(c.Algorithm)-3:]].New()
	h.Write([]byte(want.Access.Reveal()))
	sum := h.Sum(nil)
	got, _ := claim.(string)
	if subtle.ConstantTimeCompare([]byte(got), []byte(base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2]))) != 1 {
		return "", fmt.Errorf("the ID token belongs to another access token than the one beside it (at_hash)")
	}
	return "", nil
}

// authTime holds auth_time to what was asked for by max_age; then it has to be there
// (OpenID Connect Core 1.0, section 3.1.2.1).
func (want Expect) authTime(c *oidc.Claims, now time.Time) (string, error) {
	seconds, ok := oidc.Whole(c.All()["auth_time"])
	at := time.Unix(int64(seconds), 0).UTC()
	switch {
	case want.Since.IsZero() && !ok:
		return "none is stated", nil
	case want.Since.IsZero():
	case !ok:
		return "", fmt.Errorf("the ID token does not say when the person signed in (auth_time), which was asked for by max_age")
	case at.Before(want.Since.Add(-Skew)) || at.After(now.Add(Skew)):
		return "", fmt.Errorf("the person signed in at %s: want %s or later (max_age)", at.Format(time.RFC3339), want.Since.Format(time.RFC3339))
	}
	return at.Format(time.RFC3339), nil
}

func (want Expect) context(c *oidc.Claims, _ time.Time) (string, error) {
	acr := Claims(c.All()).Text("acr")
	switch {
	case len(want.ACRValues) == 0 && acr == "":
		return "none is stated", nil
	case len(want.ACRValues) > 0 && !slices.Contains(want.ACRValues, acr):
		return "", fmt.Errorf("the person signed in by %q, which is not among %s (acr)", clip(acr), strings.Join(want.ACRValues, ", "))
	}
	return clip(acr), nil
}

// Checks lists the codes of every check of an ID token.
func Checks() []string {
	return append(slices.Clone(inOrder), CheckClient, CheckNonce, CheckHash, CheckAuthTime, CheckContext)
}
