package issuerapi_test

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	sqllogin "carnet.dev/carnet/internal/edge/sql/login"
	"carnet.dev/carnet/internal/protocol/oidc"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/oauth"
	"carnet.dev/carnet/internal/service/revocation"
)

// claims verifies an ID token with our own key set, as a relying party would.
func (w *world) claims(token, audience string) *oidc.Claims {
	w.t.Helper()
	parsed, err := oidc.Parse(token)
	must(w.t, err)
	keys, _ := w.issuer.KeySet(w.base + "/oidc")
	c, err := parsed.Verify(keys, oidc.Expect{Issuer: w.base + "/oidc", Audiences: []string{audience}}, w.clock())
	must(w.t, err)
	return c
}

// TestGoOIDC: a relying party that others wrote finds everything by discovery.
func TestGoOIDC(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.signIn("ann")
	for _, alg := range issuer.Algorithms() {
		c := w.register("go-oidc "+alg, func(c *oauth.Client) { c.IDTokenAlg = alg })
		op, err := gooidc.NewProvider(t.Context(), w.base+"/oidc")
		must(t, err)
		rp := oauth2.Config{ClientID: c.ID, ClientSecret: c.secret.Reveal(), Endpoint: op.Endpoint(), RedirectURL: callback, Scopes: []string{"openid", "profile", "email", "offline_access"}}
		to, err := url.Parse(rp.AuthCodeURL("a state", gooidc.Nonce("a nonce"), oauth2.S256ChallengeOption(verifier)))
		must(t, err)
		r := w.do("GET", to.RequestURI(), nil, ann.browser()...)
		got, err := rp.Exchange(t.Context(), r.param("code"), oauth2.VerifierOption(verifier))
		must(t, err)
		raw, _ := got.Extra("id_token").(string)
		id, err := op.Verifier(&gooidc.Config{ClientID: c.ID, SupportedSigningAlgs: []string{alg}, Now: w.clock}).Verify(t.Context(), raw)
		must(t, err)
		if id.Nonce != "a nonce" || id.Subject != "user:"+string(ann.id) || id.VerifyAccessToken(got.AccessToken) != nil {
			t.Errorf("%s: %+v, %v", alg, id, id.VerifyAccessToken(got.AccessToken))
		}
		user, err := op.UserInfo(t.Context(), oauth2.StaticTokenSource(got))
		if err != nil || user.Subject != id.Subject || user.Email != "ann@example.com" {
			t.Errorf("%s: userinfo %+v, %v", alg, user, err)
		}
		got.Expiry = time.Now().Add(-time.Minute)
		again, err := rp.TokenSource(t.Context(), got).Token()
		if err != nil || again.AccessToken == got.AccessToken || again.RefreshToken == got.RefreshToken {
			t.Errorf("%s: refresh %v", alg, err)
		}
	}
}

// TestTokensSayWhoSignedIn: the answer of a code, and what stands in it.
func TestTokensSayWhoSignedIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann, c := w.signIn("ann"), w.register("app")
	r := w.post(c, "token", codeForm(w.code(ann, c)))
	got := w.read(r)
	if r.json("token_type") != "Bearer" || r.json("scope") != "openid profile email offline_access all-apis" || !strings.Contains(r.body, `"expires_in":3600`) ||
		r.header.Get("Cache-Control") != "no-store" || r.header.Get("Pragma") != "no-cache" {
		t.Errorf("%v %s", r.header, r.body)
	}
	id := w.claims(got.id, c.ID).All()
	for name, want := range map[string]string{"sub": "user:" + string(ann.id), "azp": c.ID, "nonce": "a nonce", "name": "ANN", "preferred_username": "ann",
		"email": "ann@example.com", "sid": string(ann.session)} {
		if id[name] != want {
			t.Errorf("ID token: %s is %v, want %s", name, id[name], want)
		}
	}
	if at, ok := id["auth_time"].(interface{ String() string }); !ok || at.String() != strconv.FormatInt(w.clock().Add(-time.Minute).Unix(), 10) {
		t.Errorf("auth_time %v: want what the identity provider said", id["auth_time"])
	}
	narrow := w.signedIn(ann, c, "scope", "openid", "nonce", "")
	some := w.claims(narrow.id, c.ID).All()
	for _, name := range []string{"name", "email", "nonce", "preferred_username"} {
		if _, there := some[name]; there {
			t.Errorf("nobody asked for %s", name)
		}
	}
	if narrow.refresh != "" || w.opens(narrow.access) {
		t.Error("the scope openid alone gave a refresh token, or opens the API")
	}
	if bare := w.signedIn(ann, c, "scope", "all-apis unknown"); bare.id != "" || !w.opens(bare.access) {
		t.Error("without openid there is no ID token; unknown scopes are left out")
	}
	if r := w.do("GET", "/oidc/v1/userinfo", nil, "Authorization", "Bearer "+narrow.access); r.status != 200 || r.body != `{"sub":"user:`+string(ann.id)+`"}` {
		t.Errorf("userinfo of openid alone: %d %s", r.status, r.body)
	}
	if r := w.do("POST", "/oidc/v1/userinfo", url.Values{}, "Authorization", "Bearer "+got.access); r.status != 200 || r.json("email") != "ann@example.com" {
		t.Errorf("userinfo by POST: %d %s", r.status, r.body)
	}
}

// TestBothIssuers: the account level has the same endpoints and other tokens; a
// code or refresh token of one is nothing to the other.
func TestBothIssuers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann, c := w.signIn("ann"), w.register("app")
	const account = "/oidc/accounts/123456789012"
	r := w.do("GET", account+"/v1/authorize?"+ask(c).Encode(), nil, ann.browser()...)
	if r.param("iss") != w.base+account || r.param("state") != "a state" {
		t.Fatalf("%v %s", r.location, r.body)
	}
	got := w.read(w.do("POST", account+"/v1/token", codeForm(r.param("code")), c.basic()...))
	if !w.opens(got.access) {
		t.Error("an access token of the account level does not open the API")
	}
	w.refused("its refresh token at the workspace", w.post(c, "token", refreshForm(got.refresh)), 400, "invalid_grant")
	r = w.do("GET", account+"/v1/authorize?"+ask(c).Encode(), nil, ann.browser()...)
	w.refused("its code at the workspace", w.post(c, "token", codeForm(r.param("code"))), 400, "invalid_grant")
	// Under the account's own host nobody is signed in: the way leads to ours.
	r = w.do("GET", account+"/v1/authorize?"+ask(c).Encode(), nil, "Host", "accounts.example")
	if want := w.base + account + "/v1/authorize?" + ask(c).Encode(); r.status != http.StatusSeeOther || r.location.String() != want {
		t.Errorf("at another host: %d %v", r.status, r.location)
	}
}

// TestSignInFirst: a stranger signs in and comes back to the same request; who
// asks for a fresh sign-in gets one, once.
func TestSignInFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.register("app")
	back := func(what string, r reply, anew bool) url.Values {
		t.Helper()
		if r.status != http.StatusSeeOther || r.location.Path != "/sign-in" || r.location.Query().Has("anew") != anew {
			t.Fatalf("%s: %d %v %s", what, r.status, r.location, r.body)
		}
		to := r.param("return_to")
		if login.LocalPath(to) != to {
			t.Fatalf("%s: no way back: %s", what, to)
		}
		u, err := url.Parse(to)
		must(t, err)
		return u.Query()
	}
	q := back("a stranger", w.authorize(person{}, ask(c)), false)
	ann := w.signIn("ann")
	if r := w.authorize(ann, q); r.param("code") == "" || r.param("state") != "a state" {
		t.Errorf("after the sign-in: %v %s", r.location, r.body)
	}
	for _, fresh := range [][]string{{"prompt", "login"}, {"max_age", "0"}, {"max_age", "30"}, {"prompt", "select_account"}} {
		q := back(fresh[1], w.authorize(ann, ask(c, fresh...)), true)
		back(fresh[1]+" again without a sign-in", w.authorize(ann, q), true)
		w.pass(time.Second)
		again := w.signIn("ann")
		if r := w.authorize(again, q); r.param("code") == "" {
			t.Errorf("%v after a fresh sign-in: %v %s", fresh, r.location, r.body)
		}
		// The proof of a fresh sign-in is of this request, and not for ever.
		other := cloned(q)
		other.Set("state", "another")
		back(fresh[1]+" with the proof of another request", w.authorize(again, other), true)
		w.pass(20 * time.Minute)
		back(fresh[1]+" with an old proof", w.authorize(again, q), true)
		ann = w.signIn("ann")
		w.pass(time.Second)
	}
	if r := w.authorize(ann, ask(c, "max_age", "3600")); r.param("code") == "" {
		t.Errorf("max_age of an hour, a minute after the sign-in: %v", r.location)
	}
	for what, r := range map[string]reply{
		"a stranger":      w.authorize(person{}, ask(c, "prompt", "none")),
		"a sign-in old":   w.authorize(ann, ask(c, "prompt", "none", "max_age", "10")),
		"an unknown user": w.authorize(person{cookie: secret.New("nobody's")}, ask(c, "prompt", "none")),
	} {
		if r.param("error") != "login_required" || r.param("state") != "a state" || r.param("iss") != w.base+"/oidc" {
			t.Errorf("%s with prompt=none: %v %s", what, r.location, r.body)
		}
	}
	// A form brings the same request, without a cookie of ours.
	r := w.do("POST", "/oidc/v1/authorize", ask(c), "Origin", "https://app.example.com", "Sec-Fetch-Site", "cross-site")
	if r.status != http.StatusSeeOther || r.location.String() != "/oidc/v1/authorize?"+ask(c).Encode() {
		t.Errorf("by form: %d %v", r.status, r.location)
	}
}

// TestConsent: a client that nobody trusts for them asks people each time, and
// only who was asked can answer.
func TestConsent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann, bob := w.signIn("ann"), w.signIn("bob")
	c := w.register("app", func(c *oauth.Client) { c.Trusted = false })
	session := func(p person) login.LoginSession {
		s, err := w.login.Resume(t.Context(), p.cookie)
		must(t, err)
		return s
	}
	handleOf := func(change ...string) secret.Text {
		t.Helper()
		r := w.authorize(ann, ask(c, change...))
		if r.location == nil || r.location.Path != "/consent" {
			t.Fatalf("nobody is asked: %v %s", r.location, r.body)
		}
		return secret.New(r.param("request"))
	}
	handle := handleOf()
	p, err := w.Pending(t.Context(), session(ann), handle)
	must(t, err)
	if p.Client.ID != c.ID || p.RedirectURI != callback || p.Scope.String() != "openid profile email offline_access all-apis" {
		t.Errorf("asked is %+v", p)
	}
	for what, try := range map[string]func() (string, error){
		"another person":   func() (string, error) { return w.Approve(t.Context(), session(bob), handle) },
		"a forged handle":  func() (string, error) { return w.Approve(t.Context(), session(ann), secret.New("AAAA")) },
		"a marker":         func() (string, error) { return w.Approve(t.Context(), session(ann), secret.Random(200)) },
		"a stranger's no":  func() (string, error) { return w.Deny(t.Context(), login.LoginSession{}, handle) },
		"a stranger's yes": func() (string, error) { return w.Approve(t.Context(), login.LoginSession{}, handle) },
	} {
		if to, err := try(); err == nil {
			t.Errorf("%s answers, and goes to %s", what, to)
		}
	}
	to, err := w.Deny(t.Context(), session(ann), handle)
	must(t, err)
	if u, _ := url.Parse(to); u.Query().Get("error") != "access_denied" || u.Query().Get("state") != "a state" || u.Query().Get("iss") == "" || u.Query().Has("code") {
		t.Errorf("no leads to %s", to)
	}
	to, err = w.Approve(t.Context(), session(ann), handle)
	must(t, err)
	u, _ := url.Parse(to)
	w.read(w.post(c, "token", codeForm(u.Query().Get("code"))))
	if r := w.authorize(ann, ask(c, "prompt", "none")); r.param("error") != "consent_required" {
		t.Errorf("prompt=none: %v", r.location)
	}
	late := handleOf()
	w.pass(oauth.ApprovalLifetime + time.Second)
	if _, err := w.Approve(t.Context(), session(ann), late); err == nil {
		t.Error("a question of more than ten minutes ago is answered")
	}
	off := handleOf()
	_, err = w.SetEnabled(t.Context(), c.ID, false)
	must(t, err)
	if _, err := w.Approve(t.Context(), session(ann), off); err == nil {
		t.Error("a client that is switched off is approved")
	}
	trusted := w.register("trusted")
	if r := w.authorize(ann, ask(trusted, "prompt", "consent")); r.location == nil || r.location.Path != "/consent" {
		t.Errorf("prompt=consent asks nobody: %v", r.location)
	}
	if acts := w.acts(); !slices.Contains(acts, "client.approve access_denied") || !slices.Contains(acts, "client.approve") {
		t.Errorf("the trail tells of no answer: %v", acts)
	}
}

// TestRefresh: each token gives the next; what it gives never grows, and ends with
// the login session, the person and the client.
func TestRefresh(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann, c := w.signIn("ann"), w.register("app")
	first := w.signedIn(ann, c)
	second := w.read(w.post(c, "token", refreshForm(first.refresh)))
	if second.refresh == first.refresh || second.access == first.access || !w.opens(second.access) {
		t.Error("the refresh gave what was there")
	}
	if id := w.claims(second.id, c.ID).All(); id["nonce"] != nil || id["sub"] != "user:"+string(ann.id) {
		t.Errorf("ID token of a refresh: %v", id)
	}
	w.pass(30 * time.Minute)
	narrow := w.read(w.post(c, "token", refreshForm(second.refresh, "scope", "openid profile")))
	if w.opens(narrow.access) {
		t.Error("a narrower scope was asked for")
	}
	w.refused("a wider scope", w.post(c, "token", refreshForm(w.signedIn(ann, c, "scope", "openid offline_access").refresh, "scope", "openid all-apis")), 400, "invalid_scope")
	whole := w.read(w.post(c, "token", refreshForm(narrow.refresh)))
	if !w.opens(whole.access) {
		t.Error("a narrow answer narrowed the grant")
	}
	_, err := w.Update(t.Context(), c.ID, func(c *oauth.Client) { c.Scopes = []string{"openid", "offline_access"} })
	must(t, err)
	if less := w.read(w.post(c, "token", refreshForm(whole.refresh))); w.opens(less.access) {
		t.Error("a scope that the client may not have any more was given")
	}
	w.pass(11*time.Hour + 25*time.Minute)
	_, err = w.Update(t.Context(), c.ID, func(c *oauth.Client) { c.Scopes = oauth.ScopeNames() })
	must(t, err)
	bob := w.signIn("bob")
	last := w.signedIn(bob, c)
	w.pass(11*time.Hour + 59*time.Minute)
	r := w.post(c, "token", refreshForm(last.refresh))
	if got := w.read(r); !strings.Contains(r.body, `"expires_in":60`) {
		t.Errorf("a minute before the login session ends: %s", r.body)
	} else {
		w.pass(time.Minute)
		w.refused("after the login session", w.post(c, "token", refreshForm(got.refresh)), 400, "invalid_grant")
		if w.opens(got.access) {
			t.Error("an access token outlives its login session")
		}
	}
	must(t, w.Grants.Sweep(t.Context(), w.clock()))
}

// TestWhatEndsTokens: sign-out, revocation of the person, and the end of the
// client take everything back at once.
func TestWhatEndsTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for what, end := range map[string]func(p person, c rp) error{
		"sign-out":        func(p person, _ rp) error { return w.login.SignOut(t.Context(), p.session) },
		"revoked person":  func(p person, _ rp) error { return w.feed.RevokePeople(t.Context(), []identity.PersonID{p.id}) },
		"client disabled": func(_ person, c rp) error { _, err := w.SetEnabled(t.Context(), c.ID, false); return err },
		"client removed":  func(_ person, c rp) error { return w.Remove(t.Context(), c.ID) },
	} {
		p, c := w.signIn(what), w.register(what)
		got, open := w.signedIn(p, c), w.code(p, c)
		if !w.opens(got.access) {
			t.Fatalf("%s: nothing to end", what)
		}
		must(t, end(p, c))
		must(t, w.feed.Confirm(t.Context()))
		if w.opens(got.access) {
			t.Errorf("%s: the access token opens the API", what)
		}
		if r := w.do("GET", "/oidc/v1/userinfo", nil, "Authorization", "Bearer "+got.access); r.status != 401 {
			t.Errorf("%s: userinfo answers %d", what, r.status)
		}
		for name, form := range map[string]url.Values{"code": codeForm(open), "refresh token": refreshForm(got.refresh)} {
			if r := w.post(c, "token", form); r.status == 200 {
				t.Errorf("%s: the %s gives tokens", what, name)
			}
		}
	}
	// Switched on again, nothing of before comes back.
	p, c := w.signIn("again"), w.register("again")
	got := w.signedIn(p, c)
	for _, on := range []bool{false, true} {
		_, err := w.SetEnabled(t.Context(), c.ID, on)
		must(t, err)
	}
	must(t, w.feed.Confirm(t.Context()))
	w.refused("a refresh token of before", w.post(c, "token", refreshForm(got.refresh)), 400, "invalid_grant")
	if w.opens(got.access) || !w.opens(w.signedIn(p, c).access) {
		t.Error("switched off and on again")
	}
}

// TestRevocationEndpoint is RFC 7009.
func TestRevocationEndpoint(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann, c, other := w.signIn("ann"), w.register("app"), w.register("other")
	got := w.signedIn(ann, c)
	for what, form := range map[string]url.Values{
		"access token of another": {"token": {got.access}}, "refresh token of another": {"token": {got.refresh}}, "an ID token": {"token": {got.id}},
		"nothing of ours": {"token": {"x"}, "token_type_hint": {"unknown"}},
	} {
		if r := w.post(other, "revoke", form); r.status != 200 || r.body != "" {
			t.Errorf("%s: %d %s", what, r.status, r.body)
		}
	}
	if !w.opens(got.access) {
		t.Fatal("another client ended it")
	}
	if r := w.post(c, "revoke", url.Values{"token": {got.access}, "token_type_hint": {"refresh_token"}}); r.status != 200 || w.opens(got.access) {
		t.Errorf("access token: %d, opens %v", r.status, w.opens(got.access))
	}
	got = w.read(w.post(c, "token", refreshForm(got.refresh)))
	if r := w.post(c, "revoke", url.Values{"token": {got.refresh}}); r.status != 200 || w.opens(got.access) {
		t.Errorf("refresh token: %d, opens %v", r.status, w.opens(got.access))
	}
	w.refused("a revoked refresh token", w.post(c, "token", refreshForm(got.refresh)), 400, "invalid_grant")
	w.refused("no token", w.post(c, "revoke", url.Values{}), 400, "invalid_request")
	w.refused("no client", w.do("POST", "/oidc/v1/revoke", url.Values{"token": {got.access}}), 401, "invalid_client")
}

// TestIntrospection is RFC 7662: who asks has to prove itself, and is told of its
// own tokens; a resource server is told of access tokens of all.
func TestIntrospection(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann, c, other := w.signIn("ann"), w.register("app"), w.register("other")
	server := w.register("server", func(c *oauth.Client) { c.ResourceServer = true })
	public := w.register("public", func(c *oauth.Client) { c.Public = true })
	got := w.signedIn(ann, c)
	for _, tt := range []struct {
		what, token string
		asks        rp
		active      bool
	}{
		{"its own access token", got.access, c, true}, {"its own refresh token", got.refresh, c, true},
		{"another's access token", got.access, other, false}, {"another's refresh token", got.refresh, other, false},
		{"a resource server, access token", got.access, server, true}, {"a resource server, refresh token", got.refresh, server, false},
		{"an ID token", got.id, c, false}, {"nothing", "x.y.z", c, false}, {"a forged refresh token", got.refresh + "x", c, false},
	} {
		r := w.post(tt.asks, "introspect", url.Values{"token": {tt.token}})
		if active := strings.HasPrefix(r.body, `{"active":true,`); r.status != 200 || active != tt.active || !active && r.body != `{"active":false}` {
			t.Errorf("%s: %d %s", tt.what, r.status, r.body)
		}
	}
	if r := w.post(c, "introspect", url.Values{"token": {got.access}}); r.json("sub") != "user:"+string(ann.id) || r.json("client_id") != c.ID || r.json("aud") != w.issuer.APIAudience() || r.json("iss") != w.base+"/oidc" {
		t.Errorf("told is %s", r.body)
	}
	w.refused("a public client", w.post(public, "introspect", url.Values{"token": {got.access}}), 401, "invalid_client")
	w.refused("nobody", w.do("POST", "/oidc/v1/introspect", url.Values{"token": {got.access}}), 401, "invalid_client")
	must(t, w.login.SignOut(t.Context(), ann.session))
	must(t, w.feed.Confirm(t.Context()))
	for _, token := range []string{got.access, got.refresh} {
		if r := w.post(c, "introspect", url.Values{"token": {token}}); r.body != `{"active":false}` {
			t.Errorf("after the sign-out: %s", r.body)
		}
	}
}

// TestUserInfoRefusals are those of RFC 6750.
func TestUserInfoRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann, c := w.signIn("ann"), w.register("app")
	api := w.signedIn(ann, c, "scope", "all-apis")
	for what, tt := range map[string]struct {
		header    []string
		status    int
		challenge string
	}{
		"no token":          {nil, 401, `Bearer realm="carnet"`},
		"a broken token":    {[]string{"Authorization", "Bearer x"}, 401, `Bearer realm="carnet", error="invalid_token"`},
		"without openid":    {[]string{"Authorization", "Bearer " + api.access}, 403, `Bearer realm="carnet", error="insufficient_scope"`},
		"two tokens":        {[]string{"Authorization", "Bearer x", "Authorization", "Bearer y"}, 400, ""},
		"a cookie":          {ann.browser(), 401, `Bearer realm="carnet"`},
		"Basic":             {c.basic(), 400, ""},
		"a token with dots": {[]string{"Authorization", "Bearer " + strings.Repeat("a.", 5)}, 401, `Bearer realm="carnet", error="invalid_token"`},
	} {
		r := w.do("GET", "/oidc/v1/userinfo", nil, tt.header...)
		if r.status != tt.status || r.header.Get("WWW-Authenticate") != tt.challenge {
			t.Errorf("%s: %d %q %s", what, r.status, r.header.Get("WWW-Authenticate"), r.body)
		}
	}
}

// TestAway: while this server can't say what was revoked nothing is issued and
// nothing opens; codes and refresh tokens are not used up by it.
func TestAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann, c := w.signIn("ann"), w.register("app")
	w.pass(time.Second) // confirmed now, and then no more
	later := func(d time.Duration) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.now = w.now.Add(d)
	}
	later(revocation.DefaultBound / 2)
	got, code := w.signedIn(ann, c), w.code(ann, c)
	later(revocation.DefaultBound/2 + time.Second)
	w.refused("a code", w.post(c, "token", codeForm(code)), 503, "temporarily_unavailable")
	w.refused("a refresh token", w.post(c, "token", refreshForm(got.refresh)), 503, "temporarily_unavailable")
	if r := w.authorize(ann, ask(c)); r.status != 503 {
		t.Errorf("authorize: %d %v", r.status, r.location)
	}
	if r := w.do("GET", "/api/v1/thing", nil, "Authorization", "Bearer "+got.access); r.status != 503 {
		t.Errorf("an access token, while nobody knows what was revoked: %d", r.status)
	}
	must(t, w.feed.Confirm(t.Context()))
	w.read(w.post(c, "token", codeForm(code)))
	w.read(w.post(c, "token", refreshForm(got.refresh)))
}

// TestSetupLinkIsNobody: the login session of a set-up link gives no program
// anything in its name.
func TestSetupLinkIsNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.register("app")
	link := person{session: identity.NewLoginSessionID(), cookie: secret.Random(32)}
	must(t, sqllogin.Store{DB: w.db}.Open(t.Context(), login.Record{ID: link.session, Started: w.clock(), Expires: w.clock().Add(time.Hour), Administrator: true, Epoch: 1,
		Person: login.Person{UserName: "set-up link"}}, link.cookie.Digest()))
	w.told("a set-up link", w.authorize(link, ask(c)), "access_denied")
}

// BenchmarkResumeAccess: an access token at the API, proven and held to what was
// revoked.
func BenchmarkResumeAccess(b *testing.B) {
	w := newWorld(b)
	token := secret.New(w.signedIn(w.signIn("ann"), w.register("app")).access)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.ResumeAccess(b.Context(), token); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRefresh: one refresh with rotation, over loopback, synced to disk.
func BenchmarkRefresh(b *testing.B) {
	w := newWorld(b)
	ann, c := w.signIn("ann"), w.register("app")
	got := w.signedIn(ann, c)
	n := 0
	for b.Loop() {
		if n++; n%100 == 0 { // more in an hour is refused
			b.StopTimer()
			got = w.signedIn(ann, c)
			b.StartTimer()
		}
		got = w.read(w.post(c, "token", refreshForm(got.refresh)))
	}
}
