// Package issuertest is an OpenID provider on loopback for tests: discovery,
// key set and signed tokens, by the standard library alone, so that it shares
// no code with what it tests. It must never be linked into a program.
package issuertest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha512" // the longer digests
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// Key is one signing key of an issuer.
type Key struct {
	ID        string
	Algorithm string
	Private   crypto.Signer
}

// Issuer signs tokens, and serves what a relying party looks up.
type Issuer struct {
	URL  string // the issuer: http on loopback
	Keys []Key

	mu     sync.Mutex
	answer map[string]http.HandlerFunc // by path
	asked  map[string]int
}

// New starts an issuer with one RSA and one P-256 key, kid "rsa" and "ec".
func New(t testing.TB) *Issuer {
	t.Helper()
	return With(t, NewKey(t, "rsa", "RS256"), NewKey(t, "ec", "ES256"))
}

// With starts an issuer with keys that were made before.
func With(t testing.TB, keys ...Key) *Issuer {
	t.Helper()
	i := &Issuer{answer: map[string]http.HandlerFunc{}, asked: map[string]int{}, Keys: keys}
	server := httptest.NewServer(i)
	t.Cleanup(server.Close)
	i.URL = server.URL
	return i
}

// NewKey makes a key for an algorithm.
func NewKey(t testing.TB, id, algorithm string) Key {
	t.Helper()
	k := Key{ID: id, Algorithm: algorithm}
	var err error
	switch algorithm {
	case "ES256":
		k.Private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		k.Private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		k.Private, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	default:
		k.Private, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Answer replaces the answer to a path; nil gives the genuine one back.
func (i *Issuer) Answer(path string, h http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answer[path] = h
}

// Asked counts the requests for a path.
func (i *Issuer) Asked(path string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked[path]
}

// SetKeys replaces the keys that are published and signed with.
func (i *Issuer) SetKeys(keys ...Key) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.Keys = keys
}

// The paths that are served.
const (
	Discovery = "/.well-known/openid-configuration"
	KeySet    = "/jwks"
)

// ServeHTTP answers discovery and key set.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	i.asked[r.URL.Path]++
	other, keys := i.answer[r.URL.Path], i.Keys
	i.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	var document any
	switch {
	case other != nil:
		other(w, r)
		return
	case r.URL.Path == Discovery:
		document = map[string]any{"issuer": i.URL, "jwks_uri": i.URL + KeySet, "id_token_signing_alg_values_supported": []string{"RS256", "ES256"}}
	case r.URL.Path == KeySet:
		document = Set(keys...)
	default:
		http.NotFound(w, r)
		return
	}
	_ = json.NewEncoder(w).Encode(document)
}

// Set gives the JWK set of keys.
func Set(keys ...Key) map[string]any {
	list := []any{}
	for _, k := range keys {
		list = append(list, k.JWK())
	}
	return map[string]any{"keys": list}
}

// JWK gives the public half.
func (k Key) JWK() map[string]any {
	m := map[string]any{"use": "sig", "alg": k.Algorithm}
	if k.ID != "" {
		m["kid"] = k.ID
	}
	switch public := k.Private.Public().(type) {
	case *rsa.PublicKey:
		e := []byte{byte(public.E >> 16), byte(public.E >> 8), byte(public.E)}
		m["kty"], m["n"], m["e"] = "RSA", Encode(public.N.Bytes()), Encode(e)
	case *ecdsa.PublicKey:
		point, err := public.Bytes() // 4, x, y
		if err != nil {
			panic(err) // the test's own key
		}
		size := (len(point) - 1) / 2
		m["kty"], m["crv"] = "EC", public.Params().Name
		m["x"], m["y"] = Encode(point[1:1+size]), Encode(point[1+size:])
	}
	return m
}

// Encode is base64url without padding.
func Encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// Claims are the claims of a good token for STS, valid around at.
func (i *Issuer) Claims(at time.Time) map[string]any {
	return map[string]any{
		"iss": i.URL, "sub": "job:nightly", "aud": "sts.amazonaws.com", "iat": at.Unix(), "exp": at.Add(10 * time.Minute).Unix(), "jti": "id-1",
	}
}

// Token signs the claims at a time with the first key, after change.
func (i *Issuer) Token(t testing.TB, at time.Time, change map[string]any) string {
	t.Helper()
	claims := i.Claims(at)
	maps.Copy(claims, change)
	for name, v := range claims {
		if v == Absent {
			delete(claims, name)
		}
	}
	i.mu.Lock()
	k := i.Keys[0]
	i.mu.Unlock()
	return k.Sign(t, nil, claims)
}

// Absent removes a claim or a header parameter.
const Absent = "\x00absent"

// Sign makes a compact JWS of claims (or of a []byte as it is), with header
// parameters added to or in place of alg, kid and typ.
func (k Key) Sign(t testing.TB, header map[string]any, claims any) string {
	t.Helper()
	h := map[string]any{"alg": k.Algorithm, "typ": "JWT", "kid": k.ID}
	maps.Copy(h, header)
	for name, v := range h {
		if v == Absent {
			delete(h, name)
		}
	}
	return k.SignRaw(t, asJSON(t, h), asJSON(t, claims))
}

// SignRaw signs a header and a payload as they are, by the key's own algorithm.
func (k Key) SignRaw(t testing.TB, header, payload []byte) string {
	t.Helper()
	input := Encode(header) + "." + Encode(payload)
	hash := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[strings.TrimLeft(k.Algorithm, "RESP")]
	digest := hash.New()
	digest.Write([]byte(input))
	var signature []byte
	var err error
	switch private := k.Private.(type) {
	case *rsa.PrivateKey:
		signature, err = rsa.SignPKCS1v15(rand.Reader, private, hash, digest.Sum(nil))
	case *ecdsa.PrivateKey:
		r, s, bad := ecdsa.Sign(rand.Reader, private, digest.Sum(nil))
		size := (private.Params().BitSize + 7) / 8
		if err = bad; err == nil {
			signature = append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + Encode(signature)
}

func asJSON(t testing.TB, v any) []byte {
	t.Helper()
	if raw, ok := v.([]byte); ok {
		return raw
	}
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
