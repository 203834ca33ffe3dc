package oidc_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"carnet.dev/carnet/internal/protocol/oidc"
)

// mints makes a signing key.
func mints(t testing.TB, algorithm, id string) oidc.SigningKey {
	t.Helper()
	k := oidc.SigningKey{ID: id, Algorithm: algorithm}
	var err error
	if algorithm == oidc.RS256 {
		k.Private, err = rsa.GenerateKey(rand.Reader, 2048)
	} else {
		k.Private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Check(); err != nil {
		t.Fatal(err)
	}
	return k
}

func published(t testing.TB, keys ...oidc.SigningKey) *oidc.KeySet {
	t.Helper()
	var all []oidc.PublicKey
	for _, k := range keys {
		all = append(all, k.Public())
	}
	raw, err := oidc.WriteKeySet(all)
	if err != nil {
		t.Fatal(err)
	}
	set, err := oidc.ParseKeySet(raw)
	if err != nil || set.Len() != len(keys) || len(set.Notes()) != 0 {
		t.Fatalf("%v, %v\n%s", err, set, raw)
	}
	return set
}

// TestMint: what is minted, our strict verifier accepts, by the key set as it is
// published, and so does a JOSE library.
func TestMint(t *testing.T) {
	t.Parallel()
	keys := []oidc.SigningKey{mints(t, oidc.RS256, "r"), mints(t, oidc.ES256, "e")}
	set := published(t, keys...)
	for _, k := range keys {
		token, err := k.Sign(oidc.TypeIDToken, claims(map[string]any{"n": uint64(1) << 60, "amr": []string{"mfa"}, "name": "Zoë <&> \"Ω\""}))
		if err != nil {
			t.Fatal(err)
		}
		c, err := verify(token, set)
		if err != nil {
			t.Errorf("%s: %v", k.Algorithm, err)
			continue
		}
		if c.KeyID != k.ID || c.Algorithm != k.Algorithm || c.Subject != "job:nightly" || c.All()["name"] != "Zoë <&> \"Ω\"" {
			t.Errorf("%s: %+v", k.Algorithm, c)
		}
		head, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[0])
		if want := `{"alg":"` + k.Algorithm + `","kid":"` + k.ID + `","typ":"JWT"}`; err != nil || string(head) != want {
			t.Errorf("the header is %s, want %s", head, want)
		}
		parsed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(k.Algorithm)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parsed.Verify(k.Private.Public()); err != nil {
			t.Errorf("%s: another library refuses it: %v", k.Algorithm, err)
		}
	}
}

// TestAttackAccessTokenAsIDToken: typ keeps the two kinds apart, both ways.
func TestAttackAccessTokenAsIDToken(t *testing.T) {
	t.Parallel()
	k := mints(t, oidc.ES256, "e")
	set := published(t, k)
	for typ, wanted := range map[string][]string{oidc.TypeAccessToken: nil, oidc.TypeIDToken: {oidc.TypeAccessToken}} {
		token, err := k.Sign(typ, claims(nil))
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := oidc.Parse(token)
		if err != nil {
			t.Fatal(err)
		}
		expect := want()
		expect.Types = wanted
		if _, err := parsed.Verify(set, expect, now); err == nil {
			t.Errorf("a %s passed where %v is wanted", typ, wanted)
		}
		expect.Types = []string{strings.ToLower(typ)}
		if _, err := parsed.Verify(set, expect, now); err != nil {
			t.Errorf("%s: %v", typ, err)
		}
	}
}

// TestKeysThatDoNotSign: a key is bound to its algorithm, and strong enough.
func TestKeysThatDoNotSign(t *testing.T) {
	t.Parallel()
	r, e := mints(t, oidc.RS256, "r"), mints(t, oidc.ES256, "e")
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	wide, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, k := range map[string]oidc.SigningKey{
		"none": {ID: "k", Algorithm: oidc.RS256}, "crossed": {ID: "k", Algorithm: oidc.ES256, Private: r.Private},
		"crossed too": {ID: "k", Algorithm: oidc.RS256, Private: e.Private}, "short": {ID: "k", Algorithm: oidc.RS256, Private: short},
		"another curve": {ID: "k", Algorithm: oidc.ES256, Private: wide}, "another algorithm": {ID: "k", Algorithm: "RS512", Private: r.Private},
		"no signature": {ID: "k", Algorithm: "none", Private: r.Private},
	} {
		if k.Check() == nil {
			t.Errorf("%s: a key that may sign", name)
		}
		if k.Private != nil {
			if _, err := oidc.WriteKeySet([]oidc.PublicKey{k.Public()}); err == nil {
				t.Errorf("%s: a key that is published", name)
			}
		}
	}
	if _, err := oidc.WriteKeySet([]oidc.PublicKey{r.Public(), {ID: "r", Algorithm: oidc.ES256, Key: e.Private.Public()}}); err == nil {
		t.Error("two keys under one id")
	}
}

// TestWriteKeySet: what AWS takes and nothing else, the same bytes each time.
func TestWriteKeySet(t *testing.T) {
	t.Parallel()
	r, e := mints(t, oidc.RS256, "r"), mints(t, oidc.ES256, "e")
	a, err := oidc.WriteKeySet([]oidc.PublicKey{r.Public(), e.Public()})
	b, again := oidc.WriteKeySet([]oidc.PublicKey{r.Public(), e.Public()})
	if err != nil || again != nil || string(a) != string(b) {
		t.Fatal(err, again)
	}
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal(a, &set); err != nil || len(set.Keys) != 2 {
		t.Fatal(err, set)
	}
	for i, members := range []string{"alg e kid kty n use", "alg crv kid kty use x y"} {
		for name := range set.Keys[i] {
			if !strings.Contains(" "+members+" ", " "+name+" ") {
				t.Errorf("key %d has the member %s", i, name)
			}
		}
		if len(set.Keys[i]) != len(strings.Fields(members)) || set.Keys[i]["use"] != "sig" {
			t.Errorf("key %d: %v", i, set.Keys[i])
		}
	}
	if empty, err := oidc.WriteKeySet(nil); err != nil || !json.Valid(empty) || !strings.Contains(string(empty), `"keys": []`) {
		t.Errorf("%s, %v", empty, err)
	}
	read := published(t, r, e).Published()
	for i, k := range []oidc.SigningKey{r, e} {
		if id, err := oidc.Thumbprint(k.Private.Public()); err != nil || read[i].Thumbprint != id || len(id) != 64 || read[i].ID != k.ID {
			t.Errorf("%v, %s, %v", read[i], id, err)
		}
	}
}

// FuzzMint: whatever text stands in claims, the token verifies and says the same.
func FuzzMint(f *testing.F) {
	for _, s := range []string{"alice@example.com", "", "Zoë", "a\x00b", "<script>&\u2028", `"\`, "\xff\xfe", "\ufffd", strings.Repeat("x", 300)} {
		f.Add(s, "name")
	}
	f.Add("value", "https://aws.amazon.com/tags")
	k := mints(f, oidc.ES256, "e")
	set := published(f, k)
	f.Fuzz(func(t *testing.T, value, name string) {
		given := claims(nil)
		if _, ours := given[name]; ours || name == "nbf" || name == "azp" || name == "jti" || len(value)+len(name) > 4000 {
			return
		}
		given[name] = value
		token, err := k.Sign(oidc.TypeIDToken, given)
		if err != nil {
			t.Fatal(err)
		}
		c, err := verify(token, set)
		if err != nil {
			t.Fatalf("%q: %v", value, err)
		}
		if got := c.All()[strings.ToValidUTF8(name, "\ufffd")]; strings.ToValidUTF8(value, "") == value && strings.ToValidUTF8(name, "") == name && got != value {
			t.Errorf("%q became %q", value, got)
		}
	})
}

// BenchmarkMint compares tokens with the bare signature of the same key.
func BenchmarkMint(b *testing.B) {
	c := map[string]any{
		"iss": issuer, "sub": "user:psn_abcdefghijklmnopqrstuvwxyz", "aud": "sts.amazonaws.com", "jti": "0123456789abcdef0123456789abcdef",
		"iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(), "sid": "lgn_abcdefghijklmnopqrstuvwxyz", "carnet_epoch": uint64(17),
		"https://aws.amazon.com/roles":           "arn:aws:iam::111122223333:role/analyst",
		"https://aws.amazon.com/source_identity": "alice@example.com",
		"https://aws.amazon.com/tags":            map[string]any{"principal_tags": map[string][]string{"team": {"risk"}}, "transitive_tag_keys": []string{"team"}},
	}
	for _, algorithm := range []string{oidc.RS256, oidc.ES256} {
		k := mints(b, algorithm, strings.Repeat("0", 64))
		b.Run(algorithm+"/raw", func(b *testing.B) {
			digest := make([]byte, 32)
			for b.Loop() {
				if _, err := k.Private.Sign(rand.Reader, digest, crypto.SHA256); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(algorithm+"/token", func(b *testing.B) {
			for b.Loop() {
				if _, err := k.Sign(oidc.TypeIDToken, c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
