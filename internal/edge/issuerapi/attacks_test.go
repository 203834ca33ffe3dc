package issuerapi_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/protocol/oidc"
	"carnet.dev/carnet/internal/service/oauth"
)

// stays holds an answer to a page: nothing of it leads anywhere.
func (w *world) stays(what string, r reply) {
	w.t.Helper()
	if r.status != http.StatusBadRequest || r.location != nil || r.header.Get("Refresh") != "" || !strings.HasPrefix(r.body, "page: ") {
		w.t.Errorf("%s: %d, leads to %v: %s", what, r.status, r.location, r.body)
	}
}

// told holds an answer to an error at the client's own address.
func (w *world) told(what string, r reply, code string) {
	w.t.Helper()
	if r.status != http.StatusSeeOther || r.location == nil || !strings.HasPrefix(r.location.String(), callback+"?") || r.param("error") != code ||
		r.param("code") != "" || r.param("iss") != w.base+"/oidc" {
		w.t.Errorf("%s: %d %v %s, want %s", what, r.status, r.location, r.body, code)
	}
}

// TestAttackCodeInjection (RFC 9700 section 4.5): a code that was stolen on its
// way is of no use in another's flow, and is used up by the attempt.
func TestAttackCodeInjection(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann, c := w.signIn("ann"), w.register("app")
	stolen := w.code(ann, c)
	other := strings.Repeat("z", 64) // of the flow that the attacker began
	w.refused("with the verifier of another flow", w.post(c, "token", codeForm(stolen, "code_verifier", other)), 400, "invalid_grant")
	w.refused("with its own, after that", w.post(c, "token", codeForm(stolen)), 400, "invalid_grant")
	late := w.code(ann, c)
	w.pass(oauth.CodeLifetime)
	w.refused("a minute later", w.post(c, "token", codeForm(late)), 400, "invalid_grant")
}

// TestAttackPKCEDowngrade (RFC 9700 section 4.8).
func TestAttackPKCEDowngrade(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann, c := w.signIn("ann"), w.register("app")
	public := w.register("public", func(c *oauth.Client) { c.Public = true })
	challenge := challengeOf(verifier)
	for what, change := range map[string][]string{
		"no challenge":                 {"code_challenge", "", "code_challenge_method", ""},
		"no challenge, S256":           {"code_challenge", ""},
		"plain":                        {"code_challenge", verifier, "code_challenge_method", "plain"},
		"no method, which means plain": {"code_challenge_method", ""},
		"S256 in small letters":        {"code_challenge_method", "s256"},
		"unknown method":               {"code_challenge_method", "S512"},
		"short challenge":              {"code_challenge", challenge[:42]},
		"long challenge":               {"code_challenge", challenge + "A"},
		"padded challenge":             {"code_challenge", challenge + "="},
		"challenge with stray bits":    {"code_challenge", strings.Repeat("_", 43)},
		"challenge of other letters":   {"code_challenge", strings.Repeat("+", 43)},
	} {
		for _, who := range []rp{c, public} {
			w.told(what, w.authorize(ann, ask(who, change...)), "invalid_request")
		}
	}
	for what, v := range map[string]string{"the challenge itself": challenge, "a shorter one": verifier[:42], "a longer one": verifier + "x", "a long one": strings.Repeat("x", 200)} {
		w.refused("verifier: "+what, w.post(c, "token", codeForm(w.code(ann, c), "code_verifier", v)), 400, "invalid_grant")
	}
	w.refused("no verifier", w.post(c, "token", codeForm(w.code(ann, c), "code_verifier", "")), 400, "invalid_request")
	w.refused("no verifier, public", w.post(public, "token", codeForm(w.code(ann, public), "code_verifier", "")), 400, "invalid_request")
}

// TestAttackRedirectTricks (RFC 9700 section 4.1): whatever is not the registered
// address, letter for letter, stays on a page of ours.
func TestAttackRedirectTricks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.signIn("ann")
	c := w.register("app", func(c *oauth.Client) {
		c.RedirectURIs = []string{callback, "https://app.example.com/with?a=b", "http://127.0.0.1/cb", "http://[::1]:7000/cb", "http://localhost/cb", "com.example.app:/cb"}
	})
	for _, bad := range []string{
		"", "/callback", "//evil.example/callback", "https://evil.example/callback", callback + "/", callback + "/../../evil", callback + "?x=y", callback + "#", callback + "#x",
		callback + "%2f..", "https://app.example.com/CALLBACK", "HTTPS://app.example.com/callback", "https://APP.example.com/callback", "https://app.example.com:443/callback",
		"https://app.example.com./callback", "https://app.example.com@evil.example/callback", "https://user@app.example.com/callback", "https://app.example.com.evil.example/callback",
		"https://app.example.com%2f@evil.example/callback", `https://app.example.com\@evil.example/callback`, "https://app.example.com/%63allback", " " + callback, callback + "\t",
		callback + "\r\nLocation: https://evil.example", "http://app.example.com/callback", "https://app.example.com/with?a=b&c=d", "https://app.example.com/with",
		"http://127.0.0.1:70000/cb", "http://127.0.0.1:0/cb", "http://127.0.0.1:/cb", "http://127.0.0.1:80:90/cb", "http://127.0.0.1:8o/cb", "http://127.0.0.1:-1/cb", "http://127.0.0.1:+80/cb",
		"http://127.0.0.1:8080@evil.example/cb", "http://127.0.0.1.evil.example/cb", "http://127.0.0.1@evil.example/cb", "http://127.0.0.2/cb", "http://127.1/cb", "http://2130706433/cb",
		"http://0x7f.0.0.1/cb", "https://127.0.0.1/cb", "http://127.0.0.1:8080/other", "http://127.0.0.1:8080/cb?x=y", "http://127.0.0.1:8080//evil.example/cb", "http://[::1]/other",
		"http://[::ffff:127.0.0.1]/cb", "http://localhost.evil.example/cb", "http://LOCALHOST/cb", "http://localhost:8080", "com.example.app:/cb2", "com.example.app://evil.example/cb",
		"com.example.app:cb", "javascript:alert(1)", "data:text/html,x", "https://app.example.com/callback https://evil.example", callback + "\x00", callback + ",https://evil.example",
		"https://*.example.com/callback", "urn:ietf:wg:oauth:2.0:oob",
	} {
		w.stays(bad, w.authorize(ann, ask(c, "redirect_uri", bad)))
		// Not by an error either.
		w.stays(bad+" with an error", w.authorize(ann, ask(c, "redirect_uri", bad, "response_type", "token", "scope", "nonsense")))
		w.stays(bad+" of a stranger", w.authorize(person{}, ask(c, "redirect_uri", bad, "prompt", "none")))
	}
	for _, good := range []string{callback, "https://app.example.com/with?a=b", "http://127.0.0.1:65535/cb", "http://127.0.0.1/cb", "http://[::1]:1/cb", "http://localhost:8020/cb", "com.example.app:/cb"} {
		r := w.authorize(ann, ask(c, "redirect_uri", good))
		if r.param("code") == "" || !strings.HasPrefix(r.location.String(), good) || strings.Count(r.location.String(), "?") != 1 {
			t.Errorf("%s: %d %v %s", good, r.status, r.location, r.body)
			continue
		}
		// The token endpoint wants the very address of the request.
		w.refused("another address of the client", w.post(c, "token", codeForm(r.param("code"), "redirect_uri", good+"x")), 400, "invalid_grant")
	}
	w.refused("no address", w.post(c, "token", codeForm(w.code(ann, c), "redirect_uri", "")), 400, "invalid_request")
	w.stays("an unknown client", w.authorize(ann, ask(rp{Client: oauth.Client{ID: "oac_unknown"}})))
	w.stays("a service principal", w.authorize(ann, ask(rp{Client: oauth.Client{ID: "spn_unknown"}})))
	_, err := w.SetEnabled(t.Context(), c.ID, false)
	must(t, err)
	w.stays("a client that is switched off", w.authorize(ann, ask(c)))
}

// TestAttackRequestObjects: nothing that an address or a token names is fetched or
// read instead of the request (RFC 9101, the request_uri of SSRF).
func TestAttackRequestObjects(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann, c := w.signIn("ann"), w.register("app")
	for name, code := range map[string]string{"request": "request_not_supported", "request_uri": "request_uri_not_supported", "registration": "registration_not_supported"} {
		w.told(name, w.authorize(ann, ask(c, name, "http://169.254.169.254/latest")), code)
	}
	w.told("resource", w.authorize(ann, ask(c, "resource", "https://evil.example")), "invalid_target")
	for what, tt := range map[string]struct {
		change []string
		code   string
	}{
		"implicit":                     {[]string{"response_type", "token"}, "unsupported_response_type"},
		"implicit ID token":            {[]string{"response_type", "id_token"}, "unsupported_response_type"},
		"hybrid":                       {[]string{"response_type", "code id_token"}, "unsupported_response_type"},
		"none":                         {[]string{"response_type", ""}, "invalid_request"},
		"fragment":                     {[]string{"response_mode", "fragment"}, "invalid_request"},
		"form_post":                    {[]string{"response_mode", "form_post"}, "invalid_request"},
		"no scope":                     {[]string{"scope", ""}, "invalid_scope"},
		"unknown scope":                {[]string{"scope", "sql"}, "invalid_scope"},
		"unknown prompt":               {[]string{"prompt", "create"}, "invalid_request"},
		"none and more":                {[]string{"prompt", "none login"}, "invalid_request"},
		"negative age":                 {[]string{"max_age", "-1"}, "invalid_request"},
		"age of words":                 {[]string{"max_age", "1h"}, "invalid_request"},
		"long nonce":                   {[]string{"nonce", strings.Repeat("n", 513)}, "invalid_request"},
		"scope that it may not have":   {[]string{"client_id", w.register("small", func(c *oauth.Client) { c.Scopes = []string{"openid"} }).ID}, "invalid_scope"},
		"grant that it may not use":    {[]string{"client_id", w.register("machine", func(c *oauth.Client) { c.Grants = []string{oauth.GrantExchange} }).ID}, "unauthorized_client"},
		"scope of quotes and newlines": {[]string{"scope", "a\"b\\c\r\nSet-Cookie: x=y"}, "invalid_scope"},
	} {
		w.told(what, w.authorize(ann, ask(c, tt.change...)), tt.code)
	}
}

// TestAttackReplayedCode (RFC 6749 section 4.1.2): the second use of a code ends
// all that the first gave.
func TestAttackReplayedCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann, c := w.signIn("ann"), w.register("app")
	code := w.code(ann, c)
	got := w.read(w.post(c, "token", codeForm(code)))
	later := w.read(w.post(c, "token", refreshForm(got.refresh)))
	beside := w.signedIn(ann, c)
	w.pass(10 * time.Minute) // long past its minute
	w.refused("the second use", w.post(c, "token", codeForm(code)), 400, "invalid_grant")
	for what, token := range map[string]string{"its access token": got.access, "that of its refresh": later.access} {
		if w.opens(token) {
			t.Errorf("%s still opens the API", what)
		}
	}
	w.refused("its refresh token", w.post(c, "token", refreshForm(later.refresh)), 400, "invalid_grant")
	if !w.opens(beside.access) {
		t.Error("another sign-in ended too")
	}
	if !slices.Contains(w.acts(), "token.revoke code.replayed") {
		t.Errorf("the trail does not tell: %v", w.acts())
	}
}

// TestAttackReplayedCodeAtOnce: of many uses at once at most one gives tokens, and
// those don't last.
func TestAttackReplayedCodeAtOnce(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) { attackReplayedCodeAtOnce(t, newWorldOn(t, c)) })
}

func attackReplayedCodeAtOnce(t *testing.T, w *world) {
	ann, c := w.signIn("ann"), w.register("app")
	code := w.code(ann, c)
	var all sync.WaitGroup
	answers := make([]reply, 8)
	for i := range answers {
		all.Go(func() { answers[i] = w.post(c, "token", codeForm(code)) })
	}
	all.Wait()
	won := 0
	for _, r := range answers {
		if r.status != 200 {
			continue
		}
		won++
		if w.opens(r.json("access_token")) {
			t.Error("what a replayed code gave opens the API")
		}
	}
	if won > 1 {
		t.Errorf("%d uses of one code gave tokens", won)
	}
}

// TestAttackRefreshReuse (RFC 9700 section 4.14): a refresh token that is used
// twice ends its family, but for an answer that was lost a moment ago.
func TestAttackRefreshReuse(t *testing.T) {
	t.Parallel()
	for what, tt := range map[string]struct {
		after  time.Duration
		used   bool // what the first use gave was used too
		counts bool
	}{
		"at once, the answer was lost":            {0, false, true},
		"ten seconds later":                       {oauth.ReuseGrace, false, true},
		"later":                                   {oauth.ReuseGrace + time.Second, false, false},
		"at once, and the answer was not lost":    {0, true, false},
		"much later, and the answer was not lost": {2 * time.Hour, true, false},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			ann, c := w.signIn("ann"), w.register("app")
			first := w.signedIn(ann, c)
			second := w.read(w.post(c, "token", refreshForm(first.refresh)))
			newest := second
			if tt.used {
				newest = w.read(w.post(c, "token", refreshForm(second.refresh)))
			}
			w.pass(tt.after)
			must(t, w.Grants.Sweep(t.Context(), w.clock()))
			r := w.post(c, "token", refreshForm(first.refresh))
			if !tt.counts {
				w.refused("reuse", r, 400, "invalid_grant")
				w.refused("the newest of the family", w.post(c, "token", refreshForm(newest.refresh)), 400, "invalid_grant")
				for _, token := range []string{first.access, second.access, newest.access} {
					if w.opens(token) {
						t.Error("an access token of the family opens the API")
					}
				}
				if !slices.Contains(w.acts(), "token.revoke refresh-token.reused") {
					t.Errorf("the trail does not tell: %v", w.acts())
				}
				return
			}
			// One of the two answers goes on; the other is a copy then.
			again := w.read(r)
			w.read(w.post(c, "token", refreshForm(again.refresh)))
			w.refused("the answer that was lost", w.post(c, "token", refreshForm(second.refresh)), 400, "invalid_grant")
			if w.opens(again.access) {
				t.Error("the family goes on after that")
			}
		})
	}
}

// TestAttackRefreshReuseAtOnce: a stolen token that thief and owner use at the
// same time does not give two lines that live on.
func TestAttackRefreshReuseAtOnce(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) { attackRefreshReuseAtOnce(t, newWorldOn(t, c)) })
}

func attackRefreshReuseAtOnce(t *testing.T, w *world) {
	ann, c := w.signIn("ann"), w.register("app")
	first := w.signedIn(ann, c)
	var all sync.WaitGroup
	answers := make([]reply, 6)
	for i := range answers {
		all.Go(func() { answers[i] = w.post(c, "token", refreshForm(first.refresh)) })
	}
	all.Wait()
	lines := 0
	for _, r := range answers {
		if r.status == 200 {
			if next := w.post(c, "token", refreshForm(r.json("refresh_token"))); next.status == 200 {
				lines++
			}
		}
	}
	if lines != 1 {
		t.Errorf("%d lines went on, want one, and that until the second was tried", lines)
	}
}

// TestAttackRefreshGuess: a handle that is known gives nobody tokens.
func TestAttackRefreshGuess(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann, c := w.signIn("ann"), w.register("app")
	for what, token := range map[string]string{"nothing": "carnet_r_", "no handle": "carnet_r_.x", "no dot": "carnet_r_abc", "a code": w.code(ann, c), "an access token": w.signedIn(ann, c).access,
		"long": "carnet_r_a." + strings.Repeat("x", 5000), "a secret": c.secret.Reveal()} {
		w.refused(what, w.post(c, "token", refreshForm(token)), 400, "invalid_grant")
	}
}

// TestAttackClientConfusion: what one client was given is nothing to another.
func TestAttackClientConfusion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann, c, other := w.signIn("ann"), w.register("app"), w.register("other")
	public := w.register("public", func(c *oauth.Client) { c.Public = true })
	for _, thief := range []rp{other, public} {
		stolen := w.code(ann, c)
		w.refused("a code", w.post(thief, "token", codeForm(stolen)), 400, "invalid_grant")
		w.refused("that code, by its own client", w.post(c, "token", codeForm(stolen)), 400, "invalid_grant")
		got := w.signedIn(ann, c)
		w.refused("a refresh token", w.post(thief, "token", refreshForm(got.refresh)), 400, "invalid_grant")
		w.read(w.post(c, "token", refreshForm(got.refresh)))
	}
	if claims := w.claims(w.signedIn(ann, c).id, c.ID); !slices.Equal(claims.Audiences, []string{c.ID}) {
		t.Errorf("the ID token is for %v", claims.Audiences)
	}
	// The client of a request is proven, and named once.
	code := w.code(ann, c)
	for what, r := range map[string]reply{
		"a confidential client without proof":     w.do("POST", "/oidc/v1/token", codeForm(code, "client_id", c.ID)),
		"a public client with a secret":           w.do("POST", "/oidc/v1/token", codeForm(code, "client_id", public.ID, "client_secret", c.secret.Reveal())),
		"a secret of another":                     w.do("POST", "/oidc/v1/token", codeForm(code, "client_id", c.ID, "client_secret", other.secret.Reveal())),
		"no secret in Basic":                      w.do("POST", "/oidc/v1/token", codeForm(code), rp{Client: c.Client, secret: secret.New("x")}.basic()...),
		"an unknown client":                       w.do("POST", "/oidc/v1/token", codeForm(code, "client_id", "oac_unknown")),
		"no client at all":                        w.do("POST", "/oidc/v1/token", codeForm(code)),
		"a service principal that proves nothing": w.do("POST", "/oidc/v1/token", codeForm(code, "client_id", "spn_unknown")),
		"Bearer":             w.do("POST", "/oidc/v1/token", codeForm(code), "Authorization", "Bearer "+c.secret.Reveal()),
		"Basic that is none": w.do("POST", "/oidc/v1/token", codeForm(code), "Authorization", "Basic ???"),
	} {
		w.refused(what, r, 401, "invalid_client")
		if !strings.HasPrefix(r.header.Get("WWW-Authenticate"), "B") {
			t.Errorf("%s: no challenge: %v", what, r.header)
		}
	}
	for what, r := range map[string]reply{
		"Basic and a secret in the body":  w.do("POST", "/oidc/v1/token", codeForm(code, "client_secret", c.secret.Reveal()), c.basic()...),
		"Basic and an assertion":          w.do("POST", "/oidc/v1/token", codeForm(code, "client_assertion", "x", "client_assertion_type", assertionType), c.basic()...),
		"a secret and an assertion":       w.do("POST", "/oidc/v1/token", codeForm(code, "client_id", c.ID, "client_secret", "x", "client_assertion", "x", "client_assertion_type", assertionType)),
		"Basic and another client_id":     w.do("POST", "/oidc/v1/token", codeForm(code, "client_id", other.ID), c.basic()...),
		"two headers":                     w.do("POST", "/oidc/v1/token", codeForm(code), append(c.basic(), other.basic()...)...),
		"an assertion of an unknown type": w.do("POST", "/oidc/v1/token", codeForm(code, "client_assertion", "x", "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer")),
	} {
		w.refused(what, r, 400, "invalid_request")
	}
	// None of these used the code up: it was never looked at.
	w.read(w.do("POST", "/oidc/v1/token", codeForm(code, "client_id", c.ID, "client_secret", c.secret.Reveal())))
}

// TestAttackMixUp (RFC 9207): every answer names its issuer, errors too; the
// answer of one issuer is nothing to the other (TestBothIssuers).
func TestAttackMixUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann, c := w.signIn("ann"), w.register("app")
	const account = "/oidc/accounts/123456789012"
	for path, issuer := range map[string]string{"/oidc": w.base + "/oidc", account: w.base + account} {
		for _, change := range [][]string{nil, {"response_type", "token"}, {"scope", "nonsense"}} {
			r := w.do("GET", path+"/v1/authorize?"+ask(c, change...).Encode(), nil, ann.browser()...)
			if got := r.location.Query()["iss"]; len(got) != 1 || got[0] != issuer {
				t.Errorf("%s %v: iss %v", path, change, got)
			}
		}
		// A client can't have another issuer named by its own parameter.
		r := w.do("GET", path+"/v1/authorize?"+ask(c, "iss", "https://evil.example").Encode(), nil, ann.browser()...)
		if got := r.location.Query()["iss"]; len(got) != 1 || got[0] != issuer {
			t.Errorf("%s with iss of its own: %v", path, got)
		}
		metadata := w.do("GET", path+"/.well-known/openid-configuration", nil)
		if !strings.Contains(metadata.body, `"authorization_response_iss_parameter_supported": true`) {
			t.Error("discovery does not say so")
		}
	}
}

// TestAttackDuplicateParameters (RFC 6749 section 3.1).
func TestAttackDuplicateParameters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann, c := w.signIn("ann"), w.register("app")
	for name := range ask(c) {
		q := ask(c)
		q.Add(name, q.Get(name))
		w.stays("twice "+name, w.authorize(ann, q))
		q = ask(c)
		q.Add(name, "https://evil.example")
		w.stays("another "+name, w.authorize(ann, q))
	}
	code := w.code(ann, c)
	for name := range codeForm(code) {
		f := codeForm(code)
		f.Add(name, f.Get(name))
		w.refused("twice "+name, w.post(c, "token", f), 400, "invalid_request")
	}
	for _, where := range []string{"token", "revoke", "introspect"} {
		w.refused("a query at "+where, w.do("POST", "/oidc/v1/"+where+"?client_id="+c.ID, codeForm(code), c.basic()...), 400, "invalid_request")
		w.refused("two tokens at "+where, w.post(c, where, url.Values{"token": {"a", "b"}}), 400, "invalid_request")
	}
	w.read(w.post(c, "token", codeForm(code)))
}

// TestAttackOpenRedirect: neither errors nor the way through the sign-in lead to
// an address that nobody registered, and what is carried stays in its place.
func TestAttackOpenRedirect(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.register("app")
	ann := w.signIn("ann")
	for _, state := range []string{"x\r\nLocation: https://evil.example", "&code=stolen&iss=https://evil.example", "#fragment", "a b+c%20d", "ü\x00", `"><script>`} {
		r := w.authorize(ann, ask(c, "state", state))
		if r.param("state") != state || len(r.location.Query()["code"]) != 1 || len(r.location.Query()["iss"]) != 1 || r.location.Fragment != "" || r.location.Host != "app.example.com" {
			t.Errorf("state %q: %v %s", state, r.location, r.body)
		}
		for _, q := range []url.Values{ask(c, "state", state), ask(c, "return_to", "https://evil.example"), ask(c, oauth.MarkerName, state)} {
			s := w.authorize(person{}, q)
			if s.location == nil || s.location.IsAbs() || s.location.Path != "/sign-in" || !strings.HasPrefix(s.param("return_to"), "/oidc/v1/authorize?") || len(s.location.Query()["return_to"]) != 1 {
				t.Errorf("sign-in with %v: %v", q, s.location)
			}
		}
	}
	w.stays("a request that no sign-in could carry", w.authorize(ann, ask(c, "state", strings.Repeat("s", 1000), "nonce", strings.Repeat("n", 500), "ui_locales", strings.Repeat("u", 500))))
	w.stays("an endless one", w.authorize(ann, ask(c, "ui_locales", strings.Repeat("u", 9000))))
	if r := w.do("POST", "/oidc/v1/authorize", ask(c, "ui_locales", strings.Repeat("u", 9000)), "Sec-Fetch-Site", "cross-site"); r.location != nil || r.status != 413 {
		t.Errorf("an endless form: %d %v", r.status, r.location)
	}
}

// TestAttackClickjacking (RFC 9700 section 4.16): nothing of ours is shown in a
// frame, told as a referrer or kept.
func TestAttackClickjacking(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.signIn("ann")
	c := w.register("app", func(c *oauth.Client) { c.Trusted = false })
	for what, r := range map[string]reply{"page": w.authorize(ann, url.Values{}), "answer": w.authorize(ann, ask(c)), "sign-in": w.authorize(person{}, ask(c))} {
		for name, want := range map[string]string{"X-Frame-Options": "DENY", "Cache-Control": "no-store", "Referrer-Policy": "same-origin", "X-Content-Type-Options": "nosniff"} {
			if got := r.header.Get(name); got != want {
				t.Errorf("%s: %s is %q", what, name, got)
			}
		}
		if csp := r.header.Get("Content-Security-Policy"); !strings.Contains(csp, "frame-ancestors 'none'") {
			t.Errorf("%s: %s", what, csp)
		}
	}
}

// TestAttackLoginCSRF (RFC 9700 section 4.7): a question that an attacker was
// asked can't be answered in the victim's browser; no other site's page reaches
// the endpoints in a person's name.
func TestAttackLoginCSRF(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	victim, attacker := w.signIn("victim"), w.signIn("attacker")
	c := w.register("app", func(c *oauth.Client) { c.Trusted = false })
	theirs := w.authorize(attacker, ask(c)).param("request")
	s, err := w.login.Resume(t.Context(), victim.cookie)
	must(t, err)
	if _, err := w.Pending(t.Context(), s, secret.New(theirs)); err == nil {
		t.Error("the victim is asked the attacker's question")
	}
	for _, endpoint := range []string{"token", "revoke", "introspect", "userinfo"} {
		r := w.do("POST", "/oidc/v1/"+endpoint, url.Values{"token": {"x"}}, append(victim.browser(), "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site")...)
		if r.status != http.StatusForbidden {
			t.Errorf("%s from another site: %d %s", endpoint, r.status, r.body)
		}
	}
	// A post at the authorization endpoint does nothing by itself.
	r := w.do("POST", "/oidc/v1/authorize", ask(c), append(victim.browser(), "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site")...)
	if r.param("code") != "" || r.location.Path != "/oidc/v1/authorize" {
		t.Errorf("by form: %v", r.location)
	}
}

// TestAttackTokenConfusion: an access token is no ID token to anybody, and an ID
// token opens nothing of ours.
func TestAttackTokenConfusion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann, c := w.signIn("ann"), w.register("app", func(c *oauth.Client) { c.ResourceServer = true })
	got := w.signedIn(ann, c)
	parsed, err := oidc.Parse(got.access)
	must(t, err)
	keys, _ := w.issuer.KeySet(w.base + "/oidc")
	for _, audience := range []string{w.issuer.APIAudience(), c.ID, "sts.amazonaws.com"} {
		if _, err := parsed.Verify(keys, oidc.Expect{Issuer: w.base + "/oidc", Audiences: []string{audience}}, w.clock()); err == nil {
			t.Errorf("the access token passes for an ID token for %s", audience)
		}
	}
	minted, err := w.ForPerson(t.Context(), w.resume(ann), "listed.example", "")
	must(t, err)
	for what, token := range map[string]string{"an ID token": got.id, "an ID token for another": minted.Token.Reveal(), "a refresh token": got.refresh, "a code": w.code(ann, c), "a secret": c.secret.Reveal()} {
		if w.opens(token) {
			t.Errorf("%s opens the API", what)
		}
		if r := w.do("GET", "/oidc/v1/userinfo", nil, "Authorization", "Bearer "+token); r.status != 401 {
			t.Errorf("userinfo takes %s: %d", what, r.status)
		}
		if what == "a refresh token" {
			continue
		}
		if r := w.post(c, "introspect", url.Values{"token": {token}}); r.body != `{"active":false}` {
			t.Errorf("introspection of %s: %s", what, r.body)
		}
	}
	// Nothing of another server's, nor of nobody's.
	stranger := newWorld(t)
	if foreign := stranger.signedIn(stranger.signIn("ann"), stranger.register("app")); w.opens(foreign.access) {
		t.Error("another installation's access token opens the API")
	}
	header, rest, _ := strings.Cut(got.access, ".")
	payload, _, _ := strings.Cut(rest, ".")
	for what, token := range map[string]string{"without signature": header + "." + payload + ".", "alg none": "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0." + payload + ".AA",
		"the header of an ID token": strings.Split(got.id, ".")[0] + "." + payload + "." + strings.Split(got.access, ".")[2]} {
		if w.opens(token) {
			t.Errorf("%s opens the API", what)
		}
	}
}

// TestSecretsAreNotLogged: of all that went by, the log holds no secret.
func TestSecretsAreNotLogged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann, c := w.signIn("ann"), w.register("app")
	code := w.code(ann, c)
	got := w.read(w.post(c, "token", codeForm(code)))
	w.do("GET", "/oidc/v1/userinfo", nil, "Authorization", "Bearer "+got.access)
	w.do("POST", "/oidc/v1/token", codeForm(code, "client_id", c.ID, "client_secret", c.secret.Reveal()))
	w.post(c, "token", refreshForm(got.refresh))
	w.post(c, "introspect", url.Values{"token": {got.access}})
	text := w.log.String()
	for what, s := range map[string]string{"code": code, "access token": got.access, "ID token": got.id, "refresh token": got.refresh, "secret": c.secret.Reveal(), "verifier": verifier,
		"cookie": ann.cookie.Reveal(), "state": "a state"} {
		if strings.Contains(text, s) {
			t.Errorf("the log holds the %s", what)
		}
	}
	if !strings.Contains(text, "/oidc/v1/token") {
		t.Error("the log tells nothing at all")
	}
}

// TestBoundsOfRequests: what is too large, of another kind or too often is refused
// before anything is read.
func TestBoundsOfRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.register("app")
	w.refused("a long body", w.post(c, "token", url.Values{"grant_type": {strings.Repeat("x", 70<<10)}}), 413, "invalid_request")
	w.refused("JSON", w.do("POST", "/oidc/v1/token", nil, "Content-Type", "application/json"), 400, "invalid_request")
	w.refused("no grant type", w.post(c, "token", url.Values{}), 400, "invalid_request")
	for _, grant := range []string{"password", "implicit", "urn:openid:params:grant-type:ciba", strings.Repeat("x", 1000)} {
		w.refused(grant, w.post(c, "token", url.Values{"grant_type": {grant}}), 400, "unsupported_grant_type")
	}
	w.refused("a grant that it may not use", w.post(w.register("code alone", func(c *oauth.Client) { c.Grants = []string{oauth.GrantCode} }), "token", refreshForm("x")), 400, "unauthorized_client")
	limited := false
	w.hasty = true
	for range 700 {
		if r := w.do("POST", "/oidc/v1/revoke", url.Values{}); r.status == http.StatusTooManyRequests {
			limited = r.json("error") == "temporarily_unavailable" && r.header.Get("Retry-After") != ""
			break
		}
	}
	if !limited {
		t.Error("nobody is ever told to wait")
	}
}
