package issuerapi_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/protocol/oidc"
	"carnet.dev/carnet/internal/service/oauth"
)

// signer is a client's own key pair.
type signer struct {
	oidc.SigningKey
	pem []byte
}

func newSigner(t testing.TB, algorithm string) signer {
	t.Helper()
	var private crypto.Signer
	var err error
	if private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); algorithm == oidc.RS256 {
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	must(t, err)
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	must(t, err)
	id, err := oidc.Thumbprint(private.Public())
	must(t, err)
	return signer{oidc.SigningKey{ID: id, Algorithm: algorithm, Private: private}, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})}
}

// assertion are the claims of an honest one, changed as a test likes; nil takes a
// claim away.
func (w *world) assertion(client string, change map[string]any) map[string]any {
	c := map[string]any{"iss": client, "sub": client, "aud": w.base + "/oidc/v1/token", "jti": string(identity.NewRequestID()) + string(identity.NewRequestID()),
		"iat": w.clock().Unix(), "exp": w.clock().Add(time.Minute).Unix()}
	maps.Copy(c, change)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func (s signer) sign(t testing.TB, claims map[string]any) string {
	t.Helper()
	text, err := s.Sign("JWT", claims)
	must(t, err)
	return text
}

// proveBy asks an endpoint with an assertion. revoke answers anybody who is proven.
func (w *world) proveBy(endpoint, assertion string, more ...string) reply {
	f := url.Values{"token": {"x"}, "client_assertion": {assertion}, "client_assertion_type": {assertionType}}
	set(f, more)
	return w.do("POST", endpoint, f)
}

// TestPrivateKeyJWT: a client and a service principal prove themselves by a key of
// their own, in every form in which it may be registered.
func TestPrivateKeyJWT(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.register("app")
	sp, err := w.dir.NewServicePrincipal(t.Context(), "nightly", "")
	must(t, err)
	for _, id := range []string{c.ID, string(sp.ID)} {
		for _, alg := range []string{oidc.ES256, oidc.RS256} {
			s := newSigner(t, alg)
			set, err := oidc.WriteKeySet([]oidc.PublicKey{s.Public()})
			must(t, err)
			var one struct{ Keys []json.RawMessage }
			must(t, json.Unmarshal(set, &one))
			for form, key := range map[string][]byte{"PEM": s.pem, "JWKS": set, "JWK": one.Keys[0]} {
				k, err := w.AddKey(t.Context(), id, "tests", key, time.Time{})
				must(t, err)
				for _, aud := range []any{w.base + "/oidc/v1/token", w.base + "/oidc", w.base + "/oidc/v1/revoke", []string{w.base + "/oidc"}} {
					if r := w.proveBy("/oidc/v1/revoke", s.sign(t, w.assertion(id, map[string]any{"aud": aud}))); r.status != 200 {
						t.Errorf("%s %s %s for %v: %d %s", id[:3], alg, form, aud, r.status, r.body)
					}
				}
				must(t, w.RemoveCredential(t.Context(), id, k.ID))
				if r := w.proveBy("/oidc/v1/revoke", s.sign(t, w.assertion(id, nil))); r.status != 401 {
					t.Errorf("a key that was removed: %d", r.status)
				}
			}
		}
	}
	// Two keys beside each other, while one replaces the other; the older expires.
	old, next := newSigner(t, oidc.ES256), newSigner(t, oidc.ES256)
	_, err = w.AddKey(t.Context(), c.ID, "tests", old.pem, w.clock().Add(time.Hour))
	must(t, err)
	_, err = w.AddKey(t.Context(), c.ID, "tests", next.pem, time.Time{})
	must(t, err)
	for _, s := range []signer{old, next} {
		if r := w.proveBy("/oidc/v1/revoke", s.sign(t, w.assertion(c.ID, nil)), "client_id", c.ID); r.status != 200 {
			t.Errorf("one of two keys: %d %s", r.status, r.body)
		}
	}
	w.pass(time.Hour)
	for s, want := range map[*signer]int{&old: 401, &next: 200} {
		if r := w.proveBy("/oidc/v1/revoke", s.sign(t, w.assertion(c.ID, nil))); r.status != want {
			t.Errorf("after an hour: %d, want %d", r.status, want)
		}
	}
	if used := w.CredentialsOf(c.ID); len(used) != 3 {
		t.Errorf("credentials %+v", used)
	}
	// A service principal that is switched off proves nothing.
	s := newSigner(t, oidc.ES256)
	_, err = w.AddKey(t.Context(), string(sp.ID), "tests", s.pem, time.Time{})
	must(t, err)
	secret, _, err := w.AddSecret(t.Context(), string(sp.ID), "tests", 0)
	must(t, err)
	if r := w.do("POST", "/oidc/v1/revoke", url.Values{"token": {"x"}, "client_id": {string(sp.ID)}, "client_secret": {secret.Reveal()}}); r.status != 200 {
		t.Errorf("a service principal's secret: %d %s", r.status, r.body)
	}
	sp.Active = false
	must(t, w.dir.ServicePrincipals.PutServicePrincipal(t.Context(), sp))
	for what, r := range map[string]reply{
		"key":    w.proveBy("/oidc/v1/revoke", s.sign(t, w.assertion(string(sp.ID), nil))),
		"secret": w.do("POST", "/oidc/v1/revoke", url.Values{"token": {"x"}, "client_id": {string(sp.ID)}, "client_secret": {secret.Reveal()}}),
	} {
		w.refused("switched off, by "+what, r, 401, "invalid_client")
	}
}

// TestAttackClientAssertion (RFC 7523 section 3, RFC 9700 section 2.5): one
// audience, ours; one use; a short life; about itself; by a key that was
// registered, with its own algorithm.
func TestAttackClientAssertion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, other := w.register("app"), w.register("other")
	s, theirs, unknown := newSigner(t, oidc.RS256), newSigner(t, oidc.ES256), newSigner(t, oidc.ES256)
	_, err := w.AddKey(t.Context(), c.ID, "tests", s.pem, time.Time{})
	must(t, err)
	_, err = w.AddKey(t.Context(), other.ID, "tests", theirs.pem, time.Time{})
	must(t, err)
	at := func(d time.Duration) int64 { return w.clock().Add(d).Unix() }
	endpoint := w.base + "/oidc/v1/token"
	for what, change := range map[string]map[string]any{
		"another server":               {"aud": "https://evil.example/oidc/v1/token"},
		"another server beside us":     {"aud": []string{endpoint, "https://evil.example/token"}},
		"another server, azp ours":     {"aud": "https://evil.example/token", "azp": endpoint},
		"two servers, azp ours":        {"aud": []string{"https://evil.example", endpoint}, "azp": endpoint},
		"the other issuer of ours":     {"aud": w.base + "/oidc/accounts/123456789012/v1/token"},
		"the base address":             {"aud": w.base},
		"our endpoint and more":        {"aud": endpoint + "/x"},
		"our API":                      {"aud": w.issuer.APIAudience()},
		"AWS":                          {"aud": "sts.amazonaws.com"},
		"no audience":                  {"aud": nil},
		"an empty list":                {"aud": []string{}},
		"a number":                     {"aud": 7},
		"another subject":              {"sub": other.ID},
		"another issuer":               {"iss": other.ID},
		"another client altogether":    {"iss": other.ID, "sub": other.ID},
		"a service principal":          {"iss": "spn_x", "sub": "spn_x"},
		"no jti":                       {"jti": nil},
		"an empty jti":                 {"jti": ""},
		"a jti that is none":           {"jti": []string{"a"}},
		"an endless jti":               {"jti": strings.Repeat("j", 300)},
		"no end":                       {"exp": nil},
		"an end of text":               {"exp": "9999999999"},
		"a fraction":                   {"exp": 1.5e9},
		"ended":                        {"exp": at(-time.Minute)},
		"an end more than 5 min ahead": {"exp": at(6 * time.Minute)},
		"an end years ahead":           {"exp": at(10 * 365 * 24 * time.Hour)},
		"made in the future":           {"iat": at(2 * time.Minute)},
		"not good yet":                 {"nbf": at(2 * time.Minute)},
	} {
		w.refused(what, w.proveBy("/oidc/v1/token", s.sign(t, w.assertion(c.ID, change)), "grant_type", "refresh_token", "refresh_token", "x"), 401, "invalid_client")
	}
	honest := s.sign(t, w.assertion(c.ID, nil))
	parts := strings.Split(honest, ".")
	enc := func(v any) string {
		b, err := json.Marshal(v)
		must(t, err)
		return base64.RawURLEncoding.EncodeToString(b)
	}
	hmacOf := func(key []byte) string {
		input := enc(map[string]string{"alg": "HS256"}) + "." + parts[1]
		m := hmac.New(sha256.New, key)
		m.Write([]byte(input))
		return input + "." + base64.RawURLEncoding.EncodeToString(m.Sum(nil))
	}
	jwk, err := json.Marshal(map[string]any{"kty": "EC"})
	must(t, err)
	withKey, err := oidc.WriteKeySet([]oidc.PublicKey{unknown.Public()})
	must(t, err)
	access, err := s.Sign("at+jwt", w.assertion(c.ID, nil))
	must(t, err)
	for what, text := range map[string]string{
		"alg none":                      enc(map[string]string{"alg": "none"}) + "." + parts[1] + ".",
		"alg none with a signature":     enc(map[string]string{"alg": "none"}) + "." + parts[1] + "." + parts[2],
		"HMAC with the public key":      hmacOf(s.pem),
		"HMAC with the secret":          hmacOf([]byte(c.secret.Reveal())),
		"PS256":                         enc(map[string]string{"alg": "PS256"}) + "." + parts[1] + "." + parts[2],
		"no signature":                  parts[0] + "." + parts[1] + ".",
		"another's signature":           parts[0] + "." + parts[1] + "." + strings.Split(theirs.sign(t, w.assertion(c.ID, nil)), ".")[2],
		"another client's key":          theirs.sign(t, w.assertion(c.ID, nil)),
		"a key that nobody registered":  unknown.sign(t, w.assertion(c.ID, nil)),
		"its own key in the header":     enc(map[string]any{"alg": "ES256", "jwk": json.RawMessage(withKey)}) + "." + strings.Join(strings.Split(unknown.sign(t, w.assertion(c.ID, nil)), ".")[1:], "."),
		"an address in the header":      enc(map[string]any{"alg": "RS256", "jku": "https://evil.example/jwks.json"}) + "." + parts[1] + "." + parts[2],
		"an access token":               access,
		"no JWT":                        string(jwk),
		"longer than any":               honest + strings.Repeat("A", 9000),
		"another kid, same length":      enc(map[string]string{"alg": "RS256", "kid": strings.Repeat("0", 64)}) + "." + parts[1] + "." + parts[2],
		"a critical header of its own":  enc(map[string]any{"alg": "RS256", "crit": []string{"x"}, "x": 1}) + "." + parts[1] + "." + parts[2],
		"a payload that was changed":    parts[0] + "." + enc(w.assertion(c.ID, map[string]any{"jti": "other"})) + "." + parts[2],
		"an assertion and no assertion": ".." + "",
	} {
		w.refused(what, w.proveBy("/oidc/v1/token", text, "grant_type", "refresh_token", "refresh_token", "x"), 401, "invalid_client")
	}
	w.refused("another client_id", w.proveBy("/oidc/v1/token", honest, "client_id", other.ID), 401, "invalid_client")
	// None of that used the honest one up; it counts once.
	if r := w.proveBy("/oidc/v1/revoke", honest); r.status != 200 {
		t.Fatalf("honest: %d %s", r.status, r.body)
	}
	w.refused("replayed", w.proveBy("/oidc/v1/revoke", honest), 401, "invalid_client")
	w.refused("replayed at another endpoint", w.proveBy("/oidc/v1/introspect", honest), 401, "invalid_client")
	w.pass(55 * time.Second)
	w.refused("replayed at its end", w.proveBy("/oidc/v1/revoke", honest), 401, "invalid_client")
	// The same jti of another client is another.
	claims := w.assertion(c.ID, nil)
	if r := w.proveBy("/oidc/v1/revoke", s.sign(t, claims)); r.status != 200 {
		t.Error(r.body)
	}
	if r := w.proveBy("/oidc/v1/revoke", theirs.sign(t, w.assertion(other.ID, map[string]any{"jti": claims["jti"]}))); r.status != 200 {
		t.Error(r.body)
	}
	// Of many at once one counts.
	again := s.sign(t, w.assertion(c.ID, nil))
	var all sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for range 8 {
		all.Go(func() {
			if r := w.proveBy("/oidc/v1/revoke", again); r.status == 200 {
				mu.Lock()
				won++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if won != 1 {
		t.Errorf("one assertion counted %d times", won)
	}
}

// TestSecrets: both ways, form encoding, several beside each other, expiry, last
// use, removal.
func TestSecrets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.register("app")
	revoke := func(form url.Values, header ...string) int {
		f := url.Values{"token": {"x"}}
		maps.Copy(f, form)
		return w.do("POST", "/oidc/v1/revoke", f, header...).status
	}
	plain := "Basic " + base64.StdEncoding.EncodeToString([]byte(c.ID+":"+c.secret.Reveal()))
	escaped := "basic " + base64.StdEncoding.EncodeToString([]byte(strings.ReplaceAll(c.ID, "_", "%5F")+":"+strings.ReplaceAll(c.secret.Reveal(), "_", "%5f")))
	if revoke(nil, "Authorization", plain) != 200 || revoke(nil, "Authorization", escaped) != 200 || revoke(url.Values{"client_id": {c.ID}}, "Authorization", plain) != 200 {
		t.Error("Basic, plain or in form encoding, with or without client_id")
	}
	short, k, err := w.AddSecret(t.Context(), c.ID, "tests", time.Hour)
	must(t, err)
	if !strings.HasPrefix(short.Reveal(), oauth.SecretPrefix) || k.Expires.Sub(w.clock()) != time.Hour {
		t.Errorf("%+v", k)
	}
	post := url.Values{"client_id": {c.ID}, "client_secret": {short.Reveal()}}
	if revoke(post) != 200 {
		t.Error("a second secret")
	}
	for range 3 {
		_, _, err = w.AddSecret(t.Context(), c.ID, "tests", 0)
		must(t, err)
	}
	if _, _, err := w.AddSecret(t.Context(), c.ID, "tests", 0); err == nil {
		t.Error("a sixth secret")
	}
	must(t, w.Service.RemoveCredential(t.Context(), c.ID, k.ID))
	if revoke(post) != 401 {
		t.Error("a removed secret counts")
	}
	short, k, err = w.AddSecret(t.Context(), c.ID, "tests", time.Hour)
	must(t, err)
	if k.Expires.IsZero() || !k.LastUsed.IsZero() {
		t.Errorf("%+v", k)
	}
	w.pass(time.Hour - time.Second)
	post.Set("client_secret", short.Reveal())
	if revoke(post) != 200 {
		t.Error("a second before its end")
	}
	w.pass(time.Second)
	if revoke(post) != 401 {
		t.Error("an expired secret counts")
	}
	other, err := oauth.Open(t.Context(), w.config)
	must(t, err)
	for _, got := range other.CredentialsOf(c.ID) {
		if got.ID == k.ID && got.LastUsed.IsZero() {
			t.Errorf("its use was not noted: %+v", got)
		}
	}
	for what, err := range map[string]error{
		"of a public client":      second(w.AddSecret(t.Context(), w.register("public", func(c *oauth.Client) { c.Public = true }).ID, "tests", 0)),
		"of nobody":               second(w.AddSecret(t.Context(), "oac_unknown", "tests", 0)),
		"of no service principal": second(w.AddSecret(t.Context(), "spn_unknown", "tests", 0)),
		"without an owner":        second(w.AddSecret(t.Context(), c.ID, "", 0)),
		"for ever":                second(w.AddSecret(t.Context(), c.ID, "tests", 100*365*24*time.Hour)),
		"for no time":             second(w.AddSecret(t.Context(), c.ID, "tests", -time.Hour)),
		"another's":               w.Service.RemoveCredential(t.Context(), w.register("another").ID, k.ID),
	} {
		if err == nil {
			t.Errorf("a secret %s", what)
		}
	}
}

func second[A, B any](_ A, _ B, err error) error { return err }

// TestKeysThatAreNone: private keys, small ones and other things are refused when
// they are registered.
func TestKeysThatAreNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.register("app")
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	must(t, err)
	smallDER, err := x509.MarshalPKIXPublicKey(small.Public())
	must(t, err)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(t, err)
	p384DER, err := x509.MarshalPKIXPublicKey(p384.Public())
	must(t, err)
	privateDER, err := x509.MarshalPKCS8PrivateKey(p384)
	must(t, err)
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	good := string(newSigner(t, oidc.ES256).pem)
	for what, text := range map[string]string{
		"nothing": "", "text": "hello", "small RSA": block("PUBLIC KEY", smallDER), "P-384": block("PUBLIC KEY", p384DER), "a private key": block("PRIVATE KEY", privateDER),
		"two keys": good + good, "a symmetric key": `{"kty":"oct","k":"AAAA"}`, "an empty set": `{"keys":[]}`, "a private JWK": `{"kty":"EC","crv":"P-256","x":"AA","y":"AA","d":"AA"}`,
		"a point off the curve": `{"kty":"EC","crv":"P-256","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","y":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`,
		"a way out of its list": `{"kty":"oct"}],"x":[{}`, "a list": `[]`,
	} {
		if _, err := w.AddKey(t.Context(), c.ID, "tests", []byte(text), time.Time{}); err == nil {
			t.Errorf("%s was registered", what)
		}
	}
	if _, err := w.AddKey(t.Context(), c.ID, "tests", []byte(good), w.clock().Add(-time.Second)); err == nil {
		t.Error("a key that has expired already was registered")
	}
}
