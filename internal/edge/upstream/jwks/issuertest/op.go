package issuertest

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"
)

// The paths of a whole OpenID provider.
const (
	Authorization = "/authorize"
	TokenPath     = "/token"
	UserInfo      = "/userinfo"
	EndSession    = "/end"
)

// OP is a whole OpenID provider on loopback: an Issuer that signs people in, by
// the authorization code flow with PKCE. It is strict where a relying party could
// be wrong, and its answers can be bent where a test wants an attacker.
type OP struct {
	*Issuer
	t testing.TB
	// ClientID and Secret are the one client; Secret empty: a public one.
	ClientID, Secret string
	Redirect         string
	Now              func() time.Time

	mu sync.Mutex
	// person are the claims of whoever signs in; info those that only the
	// userinfo endpoint gives.
	person, info map[string]any
	document     map[string]any // changes of the discovery document
	bend         func(*Grant)
	codes        map[string]*Grant
	access       map[string]*Grant
}

// Grant is one sign-in on its way from code to ID token.
type Grant struct {
	Asked  url.Values     // the authorization request
	Claims map[string]any // of the ID token
	Header map[string]any // of the ID token, in place of the usual
	Key    Key
	Form   url.Values // of the token request
	// Raw, when set, is the answer of the token endpoint, with Status.
	Raw    []byte
	Status int
	used   bool
	info   map[string]any
}

// NewOP starts an OpenID provider with the client "carnet".
func NewOP(t testing.TB, redirect string, now func() time.Time) *OP {
	t.Helper()
	op := &OP{Issuer: New(t), t: t, ClientID: "carnet", Secret: "s3cret of the client: + /%", Redirect: redirect, Now: now,
		codes: map[string]*Grant{}, access: map[string]*Grant{}, document: map[string]any{},
		person: map[string]any{"sub": "f3b1-alice", "preferred_username": "alice@example.com", "name": "Alice Example", "email": "alice@example.com", "email_verified": true}}
	op.Answer(Discovery, op.discovery)
	op.Answer(Authorization, op.authorize)
	op.Answer(TokenPath, op.token)
	op.Answer(UserInfo, op.userinfo)
	return op
}

// Person sets claims of whoever signs in next; Absent removes one.
func (op *OP) Person(claims map[string]any) {
	op.mu.Lock()
	defer op.mu.Unlock()
	maps.Copy(op.person, claims)
}

// Info sets claims that the userinfo endpoint alone gives.
func (op *OP) Info(claims map[string]any) {
	op.mu.Lock()
	defer op.mu.Unlock()
	op.info = claims
}

// Document changes members of the discovery document; Absent removes one.
func (op *OP) Document(change map[string]any) {
	op.mu.Lock()
	defer op.mu.Unlock()
	maps.Copy(op.document, change)
}

// Bend lets a test change what is answered at the token endpoint; nil: nothing.
func (op *OP) Bend(f func(*Grant)) {
	op.mu.Lock()
	defer op.mu.Unlock()
	op.bend = f
}

func (op *OP) discovery(w http.ResponseWriter, _ *http.Request) {
	op.mu.Lock()
	defer op.mu.Unlock()
	d := map[string]any{"issuer": op.URL, "jwks_uri": op.URL + KeySet, "authorization_endpoint": op.URL + Authorization, "token_endpoint": op.URL + TokenPath,
		"userinfo_endpoint": op.URL + UserInfo, "end_session_endpoint": op.URL + EndSession, "response_types_supported": []string{"code"},
		"code_challenge_methods_supported": []string{"S256"}, "id_token_signing_alg_values_supported": []string{"RS256", "ES256"},
		"authorization_response_iss_parameter_supported": true, "backchannel_logout_supported": true}
	maps.Copy(d, op.document)
	maps.DeleteFunc(d, func(_ string, v any) bool { return v == Absent })
	_ = json.NewEncoder(w).Encode(d)
}

// authorize signs in whoever comes, without asking.
func (op *OP) authorize(w http.ResponseWriter, r *http.Request) {
	to, err := op.admit(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	http.Redirect(w, r, to, http.StatusFound)
}

// SignIn does what a browser would that is sent to requestURL, and gives the
// query that it brings back. A request that is not sound fails the test.
func (op *OP) SignIn(requestURL string) string {
	op.t.Helper()
	u, err := url.Parse(requestURL)
	if err != nil {
		op.t.Fatal(err)
	}
	to, err := op.admit(u.Query())
	if err != nil {
		op.t.Fatal(err)
	}
	back, err := url.Parse(to)
	if err != nil {
		op.t.Fatal(err)
	}
	return back.RawQuery
}

// admit takes an authorization request and gives where the browser goes then.
func (op *OP) admit(q url.Values) (string, error) {
	for name, want := range map[string]string{"response_type": "code", "client_id": op.ClientID, "redirect_uri": op.Redirect, "code_challenge_method": "S256"} {
		if got := q[name]; len(got) != 1 || got[0] != want {
			return "", fmt.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if len(q.Get("state")) < 32 || len(q.Get("nonce")) != 43 || len(q.Get("code_challenge")) != 43 {
		return "", fmt.Errorf("state, nonce or challenge is too short: %v", q)
	}
	op.mu.Lock()
	defer op.mu.Unlock()
	now := op.Now()
	g := &Grant{Asked: q, Key: op.Keys[0], Claims: map[string]any{"iss": op.URL, "aud": op.ClientID, "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
		"nonce": q.Get("nonce"), "sid": "sid-" + rand.Text()}, info: map[string]any{"sub": op.person["sub"]}}
	if q.Has("max_age") {
		g.Claims["auth_time"] = now.Unix()
	}
	if acr := q.Get("acr_values"); acr != "" {
		g.Claims["acr"] = acr
	}
	maps.Copy(g.Claims, op.person)
	maps.Copy(g.info, op.info)
	code := rand.Text()
	op.codes[code] = g
	back := url.Values{"code": {code}, "state": {q.Get("state")}, "iss": {op.URL}}
	return op.Redirect + "?" + back.Encode(), nil
}

func (op *OP) token(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	w.Header().Set("Content-Type", "application/json")
	refuse := func(status int, code, why string) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": code, "error_description": why})
	}
	op.mu.Lock()
	defer op.mu.Unlock()
	if !op.knows(r) {
		refuse(http.StatusUnauthorized, "invalid_client", "client authentication failed")
		return
	}
	g := op.codes[r.PostForm.Get("code")]
	sum := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
	switch {
	case r.PostForm.Get("grant_type") != "authorization_code" || g == nil || g.used:
		refuse(http.StatusBadRequest, "invalid_grant", "no such code")
		return
	case Encode(sum[:]) != g.Asked.Get("code_challenge"):
		refuse(http.StatusBadRequest, "invalid_grant", "PKCE verification failed")
		return
	case r.PostForm.Get("redirect_uri") != g.Asked.Get("redirect_uri"):
		refuse(http.StatusBadRequest, "invalid_grant", "another redirect_uri")
		return
	}
	g.used, g.Form = true, r.PostForm
	access := rand.Text()
	op.access[access] = g
	g.Claims["at_hash"] = AtHash(access)
	if op.bend != nil {
		op.bend(g)
	}
	if g.Raw != nil {
		w.WriteHeader(g.Status)
		_, _ = w.Write(g.Raw)
		return
	}
	maps.DeleteFunc(g.Claims, func(_ string, v any) bool { return v == Absent })
	_ = json.NewEncoder(w).Encode(map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": 300, "id_token": g.Key.Sign(op.t, g.Header, g.Claims)})
}

// knows checks client authentication by header, form, or none.
func (op *OP) knows(r *http.Request) bool {
	id, key, basic := r.BasicAuth()
	if basic {
		a, err := url.QueryUnescape(id)
		b, bad := url.QueryUnescape(key)
		return err == nil && bad == nil && a == op.ClientID && b == op.Secret && !r.PostForm.Has("client_secret")
	}
	return r.PostForm.Get("client_id") == op.ClientID && r.PostForm.Get("client_secret") == op.Secret
}

func (op *OP) userinfo(w http.ResponseWriter, r *http.Request) {
	op.mu.Lock()
	defer op.mu.Unlock()
	g := op.access[r.Header.Get("Authorization")[min(len("Bearer "), len(r.Header.Get("Authorization"))):]]
	if g == nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	_ = json.NewEncoder(w).Encode(g.info)
}

// AtHash is at_hash of an access token, for an algorithm of 256 bits.
func AtHash(access string) string {
	h := crypto.SHA256.New()
	h.Write([]byte(access))
	return Encode(h.Sum(nil)[:16])
}

// LogoutToken signs a logout token for the client, after change.
func (op *OP) LogoutToken(change map[string]any) string {
	op.t.Helper()
	now := op.Now()
	claims := map[string]any{"iss": op.URL, "aud": op.ClientID, "iat": now.Unix(), "exp": now.Add(2 * time.Minute).Unix(),
		"jti": rand.Text(), "events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}}
	maps.Copy(claims, change)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == Absent })
	return op.Keys[0].Sign(op.t, map[string]any{"typ": "logout+jwt"}, claims)
}
