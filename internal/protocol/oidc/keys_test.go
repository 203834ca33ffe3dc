package oidc_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/edge/upstream/jwks/issuertest"
	"carnet.dev/carnet/internal/protocol/oidc"
)

func with(k issuertest.Key, change map[string]any) map[string]any {
	m := k.JWK()
	for name, v := range change {
		if v == issuertest.Absent {
			delete(m, name)
		} else {
			m[name] = v
		}
	}
	return m
}

func set(keys ...any) map[string]any { return map[string]any{"keys": append([]any{}, keys...)} }

// TestKeysOfASet holds what was measured at AWS: how a token finds its key.
func TestKeysOfASet(t *testing.T) {
	t.Parallel()
	k, other, ec := issuertest.NewKey(t, "k1", "RS256"), issuertest.NewKey(t, "k2", "RS256"), issuertest.NewKey(t, "k1", "ES256")
	nameless := issuertest.Key{Algorithm: "RS256", Private: k.Private}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	weak := issuertest.Key{ID: "k1", Algorithm: "RS256", Private: small}
	token := k.Sign(t, nil, claims(nil))
	anonymous := k.Sign(t, map[string]any{"kid": issuertest.Absent}, claims(nil))
	unknown := []any{
		map[string]any{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "k9"},
		map[string]any{"kty": "AKP", "kid": "k8", "pub": "AAAA"}, map[string]any{"kty": "RSA"}, map[string]any{}, map[string]any{"kty": 5},
	}
	for name, tc := range map[string]struct {
		token string
		set   map[string]any
		code  string
	}{
		"its key":                       {token, set(k.JWK()), ""},
		"among others":                  {token, set(other.JWK(), k.JWK()), ""},
		"the same id for another type":  {token, set(ec.JWK(), k.JWK()), ""},
		"the same id twice":             {token, set(k.JWK(), with(other, map[string]any{"kid": "k1"})), oidc.CheckKey},
		"no key":                        {token, set(), oidc.CheckKey},
		"another id":                    {token, set(with(k, map[string]any{"kid": "K1"})), oidc.CheckKey},
		"key without id":                {token, set(with(k, map[string]any{"kid": issuertest.Absent})), oidc.CheckKey},
		"neither has an id":             {anonymous, set(nameless.JWK()), ""},
		"token without id, one key":     {anonymous, set(k.JWK()), ""},
		"token without id, two keys":    {anonymous, set(k.JWK(), other.JWK()), oidc.CheckKey},
		"token without id, one of use":  {anonymous, set(k.JWK(), unknown[0]), oidc.CheckKey},
		"unknown and broken keys":       {token, set(append(unknown, k.JWK())...), ""},
		"for encryption":                {token, set(with(k, map[string]any{"use": "enc"})), oidc.CheckKey},
		"no use":                        {token, set(with(k, map[string]any{"use": issuertest.Absent})), ""},
		"key_ops":                       {token, set(with(k, map[string]any{"key_ops": []string{"verify"}})), oidc.CheckKey},
		"no alg":                        {token, set(with(k, map[string]any{"alg": issuertest.Absent})), ""},
		"alg of another":                {token, set(with(k, map[string]any{"alg": "RS512"})), oidc.CheckKey},
		"alg PS256":                     {token, set(with(k, map[string]any{"alg": "PS256"})), oidc.CheckKey},
		"a private key":                 {token, set(with(k, map[string]any{"d": "AQAB"})), oidc.CheckKey},
		"1024 bits":                     {weak.Sign(t, nil, claims(nil)), set(weak.JWK()), oidc.CheckKey},
		"exponent 1":                    {token, set(with(k, map[string]any{"e": "AQ"})), oidc.CheckKey},
		"even exponent":                 {token, set(with(k, map[string]any{"e": "AQAA"})), oidc.CheckKey},
		"a modulus of 10,000 bits":      {token, set(with(k, map[string]any{"n": issuertest.Encode(make1s(1250))})), oidc.CheckKey},
		"EC key for an RSA token":       {token, set(ec.JWK()), oidc.CheckKey},
		"P-256 key under ES384":         {ec.Sign(t, map[string]any{"alg": "ES384"}, claims(nil)), set(with(ec, map[string]any{"alg": issuertest.Absent})), oidc.CheckKey},
		"point off the curve":           {ec.Sign(t, nil, claims(nil)), set(with(ec, map[string]any{"x": ec.JWK()["y"]})), oidc.CheckKey},
		"another key of the same issue": {other.Sign(t, map[string]any{"kid": "k1"}, claims(nil)), set(k.JWK()), oidc.CheckSignature},
		"a chain that can't be read":    {token, set(with(k, map[string]any{"x5c": []string{"!"}})), ""},
	} {
		if got := holds(t, tc.token, keySet(t, tc.set)); got != tc.code {
			t.Errorf("%s: got %q, want %q", name, got, tc.code)
		}
	}
}

func make1s(n int) []byte { return []byte(strings.Repeat("\xff", n)) }

// TestTooManyKeysOfOneType: over 100 RSA keys end RSA alone, as at AWS.
func TestTooManyKeysOfOneType(t *testing.T) {
	t.Parallel()
	k, ec := issuertest.NewKey(t, "k1", "RS256"), issuertest.NewKey(t, "e1", "ES256")
	keys := []any{k.JWK(), ec.JWK()}
	for i := range 99 {
		keys = append(keys, with(k, map[string]any{"kid": fmt.Sprint("copy", i)}))
	}
	at := keySet(t, set(keys...))
	if got := holds(t, k.Sign(t, nil, claims(nil)), at); got != "" || len(at.Notes()) != 0 {
		t.Errorf("100 RSA keys: %q %v", got, at.Notes())
	}
	over := keySet(t, set(append(keys, with(k, map[string]any{"kid": "one more"}))...))
	if got := holds(t, k.Sign(t, nil, claims(nil)), over); got != oidc.CheckKey || len(over.Notes()) != 1 {
		t.Errorf("101 RSA keys: %q %v", got, over.Notes())
	}
	if got := holds(t, ec.Sign(t, nil, claims(nil)), over); got != "" {
		t.Errorf("EC beside 101 RSA keys: %q", got)
	}
}

func TestKeySetsThatAreNone(t *testing.T) {
	t.Parallel()
	bomb := `{"keys":[` + strings.Repeat(`{},`, 1000) + `{}]}`
	for name, text := range map[string]string{
		"empty": "", "not JSON": "<html>", "a list": "[]", "no keys": "{}", "keys as object": `{"keys":{}}`, "Keys": `{"Keys":[]}`,
		"a key as text": `{"keys":["a"]}`, "keys twice": `{"keys":[],"keys":[]}`, "1,001 keys": bomb, "over 1 MiB": `{"keys":[],"x":"` + strings.Repeat("a", 1<<20) + `"}`,
		"something follows": `{"keys":[]} {}`, "a name twice in a key": `{"keys":[{"kid":"a","kid":"b"}]}`,
	} {
		if s, err := oidc.ParseKeySet([]byte(text)); err == nil {
			t.Errorf("%s: %d keys", name, s.Len())
		}
	}
	if s, err := oidc.ParseKeySet([]byte(`{"keys":[],"more":1}`)); err != nil || s.Len() != 0 {
		t.Errorf("unknown members: %v", err)
	}
}

func FuzzParseKeySet(f *testing.F) {
	k, ec := issuertest.NewKey(f, "k1", "RS256"), issuertest.NewKey(f, "k2", "ES384")
	raw, err := json.Marshal(issuertest.Set(k, ec))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","use":"enc"},{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMko"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},{"kty":"RSA","n":"AQ","e":"AQAB","key_ops":["verify"]}]}`))
	token := k.Sign(f, nil, claims(map[string]any{"sub": "never signed by the set"}))
	f.Fuzz(func(t *testing.T, src []byte) {
		s, err := oidc.ParseKeySet(src)
		if err != nil {
			return
		}
		if s.Len() > 1000 {
			t.Fatalf("%d keys", s.Len())
		}
		if c, err := verify(token, s); err == nil && c.Subject != "never signed by the set" {
			t.Fatal("other claims than were signed")
		}
	})
}

func FuzzParse(f *testing.F) {
	k, ec := issuertest.NewKey(f, "k1", "RS256"), issuertest.NewKey(f, "k2", "ES256")
	keys := keySet(f, issuertest.Set(k, ec))
	genuine := map[string]bool{}
	for _, token := range []string{
		k.Sign(f, nil, claims(nil)), ec.Sign(f, map[string]any{"x5t": "a"}, claims(map[string]any{"azp": "other", "aud": []string{"a", "b"}})),
		k.Sign(f, nil, claims(map[string]any{"https://aws.amazon.com/tags": map[string]any{"principal_tags": map[string]any{"team": []string{"blue"}}}})),
	} {
		genuine[token] = true
		f.Add(token)
	}
	f.Add("eyJhbGciOiJub25lIn0.eyJpc3MiOiJqb2UifQ.")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := oidc.Parse(text)
		if err != nil {
			return
		}
		if c, err := token.Verify(keys, want(), now); err == nil && !genuine[text] {
			t.Fatalf("a token that was not signed verifies: %+v", c)
		}
	})
}

// BenchmarkVerify compares a whole verification with the bare signature check
// of the same key, in the same run.
func BenchmarkVerify(b *testing.B) {
	for _, algorithm := range []string{"RS256", "ES256"} {
		b.Run(algorithm, func(b *testing.B) {
			k := issuertest.NewKey(b, "k1", algorithm)
			keys := keySet(b, issuertest.Set(k))
			text := k.Sign(b, nil, claims(map[string]any{"https://aws.amazon.com/tags": map[string]any{"principal_tags": map[string]any{"team": []string{"blue"}}}}))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := verify(text, keys); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
