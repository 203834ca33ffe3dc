package oidc_test

import (
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"github.com/go-jose/go-jose/v4/json"
	"maps"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/upstream/jwks/issuertest"
	"carnet.dev/carnet/internal/protocol/oidc"
)

var now = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

const issuer = "https://id.example/oidc"

func claims(change map[string]any) map[string]any {
	c := map[string]any{"iss": issuer, "sub": "job:nightly", "aud": "sts.amazonaws.com", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	maps.Copy(c, change)
	for name, v := range c {
		if v == issuertest.Absent {
			delete(c, name)
		}
	}
	return c
}

func keySet(t testing.TB, document any) *oidc.KeySet {
	t.Helper()
	raw, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	s, err := oidc.ParseKeySet(raw)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func want() oidc.Expect {
	return oidc.Expect{Issuer: issuer, Audiences: []string{"other", "sts.amazonaws.com"}, Skew: 5 * time.Minute}
}

func verify(token string, keys *oidc.KeySet) (*oidc.Claims, error) {
	t, err := oidc.Parse(token)
	if err != nil {
		return nil, err
	}
	return t.Verify(keys, want(), now)
}

// holds reports how a token fared: empty for a good one, else the code.
func holds(t *testing.T, token string, keys *oidc.KeySet) string {
	t.Helper()
	c, err := verify(token, keys)
	if err == nil {
		return ""
	}
	if c != nil {
		t.Error("claims came with an error")
	}
	return fault.Of(err).Code
}

func TestVerify(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{"RS256", "RS384", "RS512", "ES256", "ES384", "ES512"} {
		k := issuertest.NewKey(t, "k1", algorithm)
		c, err := verify(k.Sign(t, nil, claims(map[string]any{"amr": []string{"mfa"}, "jti": "1", "n": 5})), keySet(t, issuertest.Set(k)))
		if err != nil {
			t.Errorf("%s: %v", algorithm, err)
			continue
		}
		amr, ok := oidc.Texts(c.All()["amr"])
		n := c.All()["n"]
		if c.Issuer != issuer || c.Subject != "job:nightly" || c.Audience != "sts.amazonaws.com" || !c.IssuedAt.Equal(now) ||
			!c.Expires.Equal(now.Add(time.Hour)) || c.ID != "1" || c.KeyID != "k1" || c.Algorithm != algorithm || !ok || amr[0] != "mfa" || n != json.Number("5") {
			t.Errorf("%s: %+v", algorithm, c)
		}
	}
}

func TestClaimsAreHeld(t *testing.T) {
	t.Parallel()
	k := issuertest.NewKey(t, "k1", "ES256")
	keys := keySet(t, issuertest.Set(k))
	at := func(d time.Duration) any { return now.Add(d).Unix() }
	for name, tc := range map[string]struct {
		change map[string]any
		code   string
	}{
		"no issuer":                    {map[string]any{"iss": issuertest.Absent}, oidc.CheckClaims},
		"no subject":                   {map[string]any{"sub": issuertest.Absent}, oidc.CheckClaims},
		"no audience":                  {map[string]any{"aud": issuertest.Absent}, oidc.CheckClaims},
		"no iat":                       {map[string]any{"iat": issuertest.Absent}, oidc.CheckClaims},
		"no exp":                       {map[string]any{"exp": issuertest.Absent}, oidc.CheckClaims},
		"issuer with a slash":          {map[string]any{"iss": issuer + "/"}, oidc.CheckIssuer},
		"issuer in capitals":           {map[string]any{"iss": strings.ToUpper(issuer)}, oidc.CheckIssuer},
		"issuer as prefix":             {map[string]any{"iss": issuer + ".evil.example"}, oidc.CheckIssuer},
		"issuer without scheme":        {map[string]any{"iss": "id.example/oidc"}, oidc.CheckIssuer},
		"issuer as list":               {map[string]any{"iss": []string{issuer}}, oidc.CheckClaims},
		"empty subject":                {map[string]any{"sub": ""}, oidc.CheckClaims},
		"subject as number":            {map[string]any{"sub": 5}, oidc.CheckClaims},
		"subject too long":             {map[string]any{"sub": strings.Repeat("a", 256)}, oidc.CheckClaims},
		"another audience":             {map[string]any{"aud": "sts"}, oidc.CheckAudience},
		"audience in capitals":         {map[string]any{"aud": "STS.amazonaws.com"}, oidc.CheckAudience},
		"audience as list":             {map[string]any{"aud": []string{"sts.amazonaws.com"}}, ""},
		"audience as object":           {map[string]any{"aud": map[string]any{}}, oidc.CheckClaims},
		"no audiences":                 {map[string]any{"aud": []string{}}, oidc.CheckClaims},
		"two audiences without azp":    {map[string]any{"aud": []string{"sts.amazonaws.com", "other"}}, oidc.CheckAudience},
		"two audiences with azp":       {map[string]any{"aud": []string{"x", "y"}, "azp": "other"}, ""},
		"azp is the audience":          {map[string]any{"azp": "stranger"}, oidc.CheckAudience},
		"azp as number":                {map[string]any{"azp": 1}, oidc.CheckClaims},
		"over":                         {map[string]any{"exp": at(-5 * time.Minute)}, oidc.CheckExpired},
		"over within the tolerance":    {map[string]any{"exp": at(-5*time.Minute + time.Second)}, ""},
		"issued in the future":         {map[string]any{"iat": at(5*time.Minute + time.Second)}, oidc.CheckNotYet},
		"issued within the tolerance":  {map[string]any{"iat": at(5 * time.Minute)}, ""},
		"not yet":                      {map[string]any{"nbf": at(5*time.Minute + time.Second)}, oidc.CheckNotYet},
		"not yet within the tolerance": {map[string]any{"nbf": at(5 * time.Minute)}, ""},
		"fractional exp":               {map[string]any{"exp": float64(now.Unix()) + 100.5}, oidc.CheckClaims},
		"fractional nbf":               {map[string]any{"nbf": json.Number("1.5")}, oidc.CheckClaims},
		"exp as text":                  {map[string]any{"exp": fmt.Sprint(now.Unix() + 60)}, oidc.CheckClaims},
		"exp with an exponent":         {map[string]any{"exp": json.Number("2e12")}, oidc.CheckClaims},
		"exp without end":              {map[string]any{"exp": json.Number("99999999999999999999")}, oidc.CheckClaims},
		"exp below nought":             {map[string]any{"exp": -1}, oidc.CheckClaims},
		"exp null":                     {map[string]any{"exp": nil}, oidc.CheckClaims},
		"claim in other letters":       {map[string]any{"exp": issuertest.Absent, "Exp": at(time.Hour)}, oidc.CheckClaims},
		"claim twice but for letters":  {map[string]any{"exp": at(-time.Hour), "EXP": at(time.Hour)}, oidc.CheckExpired},
		"jti as number":                {map[string]any{"jti": 1}, oidc.CheckClaims},
	} {
		if got := holds(t, k.Sign(t, nil, claims(tc.change)), keys); got != tc.code {
			t.Errorf("%s: got %q, want %q", name, got, tc.code)
		}
	}
}

func TestShape(t *testing.T) {
	t.Parallel()
	k := issuertest.NewKey(t, "k1", "ES256")
	keys := keySet(t, issuertest.Set(k))
	good := k.Sign(t, nil, claims(nil))
	parts := strings.Split(good, ".")
	header := []byte(`{"alg":"ES256","kid":"k1"}`)
	payload, err := json.Marshal(claims(nil))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ token, code string }{
		"empty":                     {"", oidc.CheckMalformed},
		"not a token":               {"not-a-token", oidc.CheckMalformed},
		"unsigned":                  {parts[0] + "." + parts[1] + ".", oidc.CheckMalformed},
		"two parts":                 {parts[0] + "." + parts[1], oidc.CheckMalformed},
		"five parts, as a JWE":      {strings.Repeat(parts[0]+".", 4) + parts[0], oidc.CheckMalformed},
		"padding":                   {good + "=", oidc.CheckMalformed},
		"line break":                {good + "\n", oidc.CheckMalformed},
		"space before":              {" " + good, oidc.CheckMalformed},
		"too long":                  {k.SignRaw(t, header, append(payload[:len(payload)-1], []byte(`,"x":"`+strings.Repeat("a", 20000)+`"}`)...)), oidc.CheckMalformed},
		"name twice":                {k.SignRaw(t, header, append([]byte(`{"sub":"admin",`), payload[1:]...)), oidc.CheckMalformed},
		"name twice, one escaped":   {k.SignRaw(t, header, append([]byte(`{"s\u0075b":"admin",`), payload[1:]...)), oidc.CheckMalformed},
		"name twice inside":         {k.SignRaw(t, header, append([]byte(`{"x":{"a":1,"a":2},`), payload[1:]...)), oidc.CheckMalformed},
		"header name twice":         {k.SignRaw(t, []byte(`{"alg":"none","alg":"ES256","kid":"k1"}`), payload), oidc.CheckMalformed},
		"payload is a list":         {k.SignRaw(t, header, []byte(`[]`)), oidc.CheckMalformed},
		"something follows":         {k.SignRaw(t, header, append(payload, '{', '}')), oidc.CheckMalformed},
		"not UTF-8":                 {k.SignRaw(t, header, append([]byte("{\"x\":\"\xff\","), payload[1:]...)), oidc.CheckMalformed},
		"half a surrogate pair":     {k.SignRaw(t, header, []byte(strings.Replace(string(payload), "job:nightly", `\ud800`, 1))), oidc.CheckClaims},
		"no alg":                    {k.SignRaw(t, []byte(`{"kid":"k1"}`), payload), oidc.CheckAlgorithm},
		"alg in other letters":      {k.SignRaw(t, []byte(`{"ALG":"ES256","kid":"k1"}`), payload), oidc.CheckAlgorithm},
		"crit":                      {k.Sign(t, map[string]any{"crit": []string{"exp"}, "exp": 1}, claims(nil)), oidc.CheckMalformed},
		"b64":                       {k.Sign(t, map[string]any{"b64": false}, claims(nil)), oidc.CheckMalformed},
		"zip":                       {k.Sign(t, map[string]any{"zip": "DEF"}, claims(nil)), oidc.CheckMalformed},
		"access token":              {k.Sign(t, map[string]any{"typ": "at+jwt"}, claims(nil)), oidc.CheckType},
		"logout token":              {k.Sign(t, map[string]any{"typ": "application/logout+jwt"}, claims(nil)), oidc.CheckType},
		"no typ":                    {k.Sign(t, map[string]any{"typ": issuertest.Absent}, claims(nil)), ""},
		"typ in full":               {k.Sign(t, map[string]any{"typ": "application/JWT"}, claims(nil)), ""},
		"typ as number":             {k.Sign(t, map[string]any{"typ": 1}, claims(nil)), oidc.CheckMalformed},
		"kid as number":             {k.Sign(t, map[string]any{"kid": 1}, claims(nil)), oidc.CheckMalformed},
		"kid without end":           {k.Sign(t, map[string]any{"kid": strings.Repeat("a", 2000)}, claims(nil)), oidc.CheckMalformed},
		"payload of another":        {parts[0] + "." + issuertest.Encode([]byte(`{}`)) + "." + parts[2], oidc.CheckSignature},
		"signature of another":      {parts[0] + "." + parts[1] + "." + strings.Split(k.Sign(t, nil, claims(map[string]any{"sub": "x"})), ".")[2], oidc.CheckSignature},
		"signature with stray bits": {good[:len(good)-1] + string(next(good[len(good)-1])), oidc.CheckMalformed},
	} {
		if got := holds(t, tc.token, keys); got != tc.code {
			t.Errorf("%s: got %q, want %q", name, got, tc.code)
		}
	}
}

// next gives the character that differs in the lowest bit: one that carries no
// data at the end of a signature of 64 bytes.
func next(c byte) byte {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return alphabet[strings.IndexByte(alphabet, c)^1]
}

// TestCVE_2024_48916 (Ceph RGW): a token with algorithm none, or one that is
// not supported, was accepted by AssumeRoleWithWebIdentity.
func TestCVE_2024_48916(t *testing.T) {
	t.Parallel()
	k := issuertest.NewKey(t, "k1", "RS256")
	keys := keySet(t, issuertest.Set(k))
	payload, err := json.Marshal(claims(nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, alg := range []string{"none", "None", "NONE", "nOnE", "", "HS256", "PS256", "EdDSA", "ES256K", "RS1", "RSA-OAEP", "dir", "rs256", "RS256 ", "RS256\u0000"} {
		header, err := json.Marshal(map[string]any{"alg": alg, "kid": "k1"})
		if err != nil {
			t.Fatal(err)
		}
		for _, signature := range []string{"", issuertest.Encode([]byte("x")), strings.Split(k.SignRaw(t, header, payload), ".")[2]} {
			token := issuertest.Encode(header) + "." + issuertest.Encode(payload) + "." + signature
			if c, err := verify(token, keys); err == nil || c != nil {
				t.Errorf("%q with signature %q is accepted", alg, signature)
			}
		}
	}
}

// TestCVE_2026_33322 (MinIO): algorithm confusion. The public key, in every
// form that it travels in, must not serve as the secret of an HMAC.
func TestCVE_2026_33322(t *testing.T) {
	t.Parallel()
	k := issuertest.NewKey(t, "k1", "RS256")
	public := k.Private.Public().(*rsa.PublicKey)
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := x509.MarshalPKCS1PublicKey(public)
	jwk, err := json.Marshal(k.JWK())
	if err != nil {
		t.Fatal(err)
	}
	secret := issuertest.Encode([]byte("client-secret"))
	oct := map[string]any{"kty": "oct", "kid": "k1", "k": secret, "alg": "HS256"}
	sets := []*oidc.KeySet{
		keySet(t, issuertest.Set(k)),
		keySet(t, map[string]any{"keys": []any{oct}}),
		keySet(t, map[string]any{"keys": []any{k.JWK(), oct}}),
	}
	for name, key := range map[string][]byte{
		"PEM SPKI":   pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki}),
		"PEM PKCS1":  pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: pkcs1}),
		"DER SPKI":   spki,
		"DER PKCS1":  pkcs1,
		"modulus":    public.N.Bytes(),
		"JWK":        jwk,
		"empty":      {},
		"the secret": []byte("client-secret"),
	} {
		header := issuertest.Encode([]byte(`{"alg":"HS256","kid":"k1"}`))
		raw, err := json.Marshal(claims(nil))
		if err != nil {
			t.Fatal(err)
		}
		input := header + "." + issuertest.Encode(raw)
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(input))
		token := input + "." + issuertest.Encode(mac.Sum(nil))
		for i, keys := range sets {
			if code := holds(t, token, keys); code != oidc.CheckAlgorithm {
				t.Errorf("%s with set %d: %q", name, i, code)
			}
		}
	}
}

// TestKeysInTheTokenAreNotUsed: jwk, x5c, jku and x5u name keys of the sender.
func TestKeysInTheTokenAreNotUsed(t *testing.T) {
	t.Parallel()
	genuine, own := issuertest.NewKey(t, "k1", "ES256"), issuertest.NewKey(t, "k1", "ES256")
	keys := keySet(t, issuertest.Set(genuine))
	for name, value := range map[string]any{
		"jwk": own.JWK(), "jku": "https://evil.example/jwks", "x5u": "https://evil.example/cert", "x5c": []string{"AAAA"}, "x5t": "AAAA",
	} {
		if code := holds(t, own.Sign(t, map[string]any{name: value}, claims(nil)), keys); code == "" {
			t.Errorf("%s: the sender's own key is taken", name)
		}
	}
	if code := holds(t, genuine.Sign(t, map[string]any{"x5t": "AAAA"}, claims(nil)), keys); code != "" {
		t.Errorf("a thumbprint in a genuine token: %s", code)
	}
}

// TestCVE_2022_21449: the zero signature verified under any key in Java 15 to
// 18 (CVE-2022-21449).
func TestCVE_2022_21449(t *testing.T) {
	t.Parallel()
	k := issuertest.NewKey(t, "k1", "ES256")
	keys := keySet(t, issuertest.Set(k))
	input := strings.Join(strings.Split(k.Sign(t, nil, claims(nil)), ".")[:2], ".")
	for _, signature := range [][]byte{make([]byte, 64), make([]byte, 32), make([]byte, 65), {0x30, 6, 2, 1, 0, 2, 1, 0}} {
		if code := holds(t, input+"."+issuertest.Encode(signature), keys); code != oidc.CheckSignature {
			t.Errorf("%d bytes: %q", len(signature), code)
		}
	}
}

func TestAudienceAndAlgorithmListsNarrow(t *testing.T) {
	t.Parallel()
	k := issuertest.NewKey(t, "k1", "RS512")
	token, err := oidc.Parse(k.Sign(t, nil, claims(nil)))
	if err != nil {
		t.Fatal(err)
	}
	expect := want()
	expect.Algorithms = []string{"RS256"}
	if _, err := token.Verify(keySet(t, issuertest.Set(k)), expect, now); fault.Of(err).Code != oidc.CheckAlgorithm {
		t.Errorf("got %v", err)
	}
	expect = want()
	expect.Audiences = nil
	if _, err := token.Verify(keySet(t, issuertest.Set(k)), expect, now); fault.Of(err).Code != oidc.CheckAudience {
		t.Errorf("nobody's audience: %v", err)
	}
}
