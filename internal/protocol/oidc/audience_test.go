package oidc_test

import (
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/upstream/jwks/issuertest"
	"carnet.dev/carnet/internal/protocol/oidc"
)

// TestAnyAudience: a policy that takes any of a token's audiences asks no azp;
// a relying party of one name does (OpenID Connect Core, section 3.1.3.7).
func TestAnyAudience(t *testing.T) {
	t.Parallel()
	k := issuertest.NewKey(t, "k1", "ES256")
	keys := keySet(t, issuertest.Set(k))
	list := func(of ...string) any { return of }
	for name, c := range map[string]struct {
		aud, azp  any
		any, each string // the refusal with and without AnyAudience
	}{
		"the one":                  {"us", nil, "", ""},
		"a list of the one":        {list("us"), nil, "", ""},
		"among several":            {list("them", "us"), nil, "", oidc.CheckAudience},
		"among several, azp us":    {list("them", "us"), "us", "", ""},
		"among several, azp them":  {list("them", "us"), "them", "", oidc.CheckAudience},
		"azp us, aud them":         {"them", "us", oidc.CheckAudience, ""},
		"another":                  {"them", nil, oidc.CheckAudience, oidc.CheckAudience},
		"several others":           {list("them", "these"), nil, oidc.CheckAudience, oidc.CheckAudience},
		"part of a name":           {list("us.example", "u"), nil, oidc.CheckAudience, oidc.CheckAudience},
		"both in one text":         {"them us", nil, oidc.CheckAudience, oidc.CheckAudience},
		"letter case":              {"US", nil, oidc.CheckAudience, oidc.CheckAudience},
		"an empty list":            {list(), nil, oidc.CheckClaims, oidc.CheckClaims},
		"an empty text":            {"", nil, oidc.CheckAudience, oidc.CheckAudience},
		"a list with a number":     {[]any{"us", 1}, nil, oidc.CheckClaims, oidc.CheckClaims},
		"azp of another type":      {"us", 1, oidc.CheckClaims, oidc.CheckClaims},
		"a list inside of a list":  {[]any{list("us")}, nil, oidc.CheckClaims, oidc.CheckClaims},
		"an object for the claims": {map[string]any{"us": true}, nil, oidc.CheckClaims, oidc.CheckClaims},
	} {
		claims := map[string]any{"iss": "https://i.example", "sub": "x", "aud": c.aud, "iat": 1000, "exp": 2000}
		if c.azp != nil {
			claims["azp"] = c.azp
		}
		token, err := oidc.Parse(k.Sign(t, nil, claims))
		if err != nil {
			t.Fatal(err)
		}
		for _, anyOf := range []bool{true, false} {
			want := map[bool]string{true: c.any, false: c.each}[anyOf]
			_, err := token.Verify(keys, oidc.Expect{Issuer: "https://i.example", Audiences: []string{"us"}, AnyAudience: anyOf}, time.Unix(1500, 0))
			got := ""
			if err != nil {
				got = fault.Of(err).Code
			}
			if got != want {
				t.Errorf("%s, any %v: %q, want %q (%v)", name, anyOf, got, want, err)
			}
			if _, err := token.Verify(keys, oidc.Expect{Issuer: "https://i.example", AnyAudience: anyOf}, time.Unix(1500, 0)); err == nil {
				t.Errorf("%s, any %v: taken where no audience is", name, anyOf)
			}
		}
	}
}
