package login_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/upstream/jwks/issuertest"
	"carnet.dev/carnet/internal/protocol/oidc"
	"carnet.dev/carnet/internal/protocol/openid"
	"carnet.dev/carnet/internal/service/federation"
	"carnet.dev/carnet/internal/service/login"
)

// tokens makes the token endpoint answer with this ID token.
func tokens(g *issuertest.Grant, idToken string) {
	g.Status = http.StatusOK
	g.Raw, _ = json.Marshal(map[string]any{"token_type": "Bearer", "id_token": idToken})
}

// TestAttackLoginCSRF: a stranger has a victim's browser open the answer to his
// own sign-in. It is refused before the code is even looked at.
func TestAttackLoginCSRF(t *testing.T) {
	t.Parallel()
	o := newOpenIDWorld(t)
	strangers := o.beginOIDC(o.idp.ID, login.Options{})
	query := o.op.SignIn(strangers.RedirectURL)
	for name, cookie := range map[string]secret.Text{"no cookie": {}, "a cookie of its own sign-in": o.beginOIDC(o.idp.ID, login.Options{}).PreLogin, "made up": secret.New("x")} {
		if _, err := o.bring(query, cookie); err == nil {
			t.Errorf("%s: signed in", name)
		} else {
			wantCode(t, err, "login.browser")
		}
	}
	if n := o.op.Asked(issuertest.TokenPath); n != 0 {
		t.Errorf("the token endpoint was asked %d times", n)
	}
}

// TestAttackStateSwap: a state that is not that of this sign-in.
func TestAttackStateSwap(t *testing.T) {
	t.Parallel()
	o := newOpenIDWorld(t)
	s := o.beginOIDC(o.idp.ID, login.Options{})
	q, err := url.ParseQuery(o.op.SignIn(s.RedirectURL))
	must(t, err)
	with := func(state string) string {
		out := maps.Clone(q)
		out["state"] = []string{state}
		return out.Encode()
	}
	own := q.Get("state")
	saml := o.begin("/") // the sealed state of the other protocol
	for name, tt := range map[string]struct{ state, code string }{
		"tampered":              {flip(own), "oidc.state"},
		"made up":               {strings.Repeat("A", len(own)), "oidc.state"},
		"cut":                   {own[:len(own)-4], "oidc.state"},
		"with padding":          {own + "=", "oidc.state"},
		"of a SAML request":     {strings.TrimPrefix(saml.requestID, "_"), "oidc.state"},
		"of another OIDC begun": {mustQuery(t, o.beginOIDC(o.idp.ID, login.Options{}).RedirectURL).Get("state"), "login.browser"},
	} {
		if _, err := o.bring(with(tt.state), s.PreLogin); err == nil {
			t.Errorf("%s: signed in", name)
		} else {
			wantCode(t, err, tt.code)
		}
	}
	o.pass(login.PreLoginLifetime + time.Second)
	_, err = o.bring(q.Encode(), s.PreLogin)
	wantCode(t, err, "oidc.request-expired")
}

func mustQuery(t *testing.T, at string) url.Values {
	t.Helper()
	u, err := url.Parse(at)
	must(t, err)
	return u.Query()
}

// TestAttackMixUp (RFC 9700, section 4.4; RFC 9207): a dishonest provider wants
// the code of an honest one.
func TestAttackMixUp(t *testing.T) {
	t.Parallel()
	o := newOpenIDWorld(t)
	evil := issuertest.NewOP(t, redirectURI, o.clock)
	o.enter("Evil OP", evil)
	honest := func() (login.Started, url.Values) {
		s := o.beginOIDC(o.idp.ID, login.Options{})
		q, err := url.ParseQuery(o.op.SignIn(s.RedirectURL))
		must(t, err)
		return s, q
	}
	for name, change := range map[string]func(url.Values){
		"another issuer":                 func(q url.Values) { q.Set("iss", evil.URL) },
		"a trailing slash":               func(q url.Values) { q.Set("iss", o.op.URL+"/") },
		"none, though one is promised":   func(q url.Values) { q.Del("iss") },
		"another, in an answer of error": func(q url.Values) { q.Del("code"); q.Set("error", "access_denied"); q.Set("iss", evil.URL) },
	} {
		s, q := honest()
		change(q)
		if _, err := o.bring(q.Encode(), s.PreLogin); err == nil {
			t.Errorf("%s: signed in", name)
		} else {
			wantCode(t, err, login.CheckAnswerIssuer)
		}
	}
	// A code of the one never goes to the other: the state says who was asked.
	s := o.beginOIDC(o.idp.ID, login.Options{})
	q, err := url.ParseQuery(evil.SignIn(strings.Replace(s.RedirectURL, o.op.URL, evil.URL, 1)))
	must(t, err)
	q.Set("iss", o.op.URL)
	_, err = o.bring(q.Encode(), s.PreLogin)
	wantCode(t, err, "openid.refused")
	if n := evil.Asked(issuertest.TokenPath); n != 0 {
		t.Errorf("the other provider was asked %d times", n)
	}
}

// TestAttackCodeInjection: the code of a victim's sign-in, brought as the answer
// to the attacker's own: PKCE binds it to the browser that began.
func TestAttackCodeInjection(t *testing.T) {
	t.Parallel()
	o := newOpenIDWorld(t)
	victims, err := url.ParseQuery(o.op.SignIn(o.beginOIDC(o.idp.ID, login.Options{}).RedirectURL))
	must(t, err)
	s := o.beginOIDC(o.idp.ID, login.Options{})
	own, err := url.ParseQuery(o.op.SignIn(s.RedirectURL))
	must(t, err)
	own.Set("code", victims.Get("code"))
	_, err = o.bring(own.Encode(), s.PreLogin)
	wantCode(t, err, "openid.refused")
	if err == nil || !strings.Contains(err.Error(), "PKCE") || strings.Contains(err.Error(), victims.Get("code")) {
		t.Errorf("refused with %v", err)
	}
}

// TestAttackReplayedCallback: an answer counts once, also where the provider
// would take its code again.
func TestAttackReplayedCallback(t *testing.T) {
	t.Parallel()
	o := newOpenIDWorld(t)
	o.op.Person(map[string]any{"roles": []string{}, "groups": []string{}})
	s := o.beginOIDC(o.idp.ID, login.Options{})
	query := o.op.SignIn(s.RedirectURL)
	_, err := o.bring(query, s.PreLogin)
	must(t, err)
	_, err = o.bring(query, s.PreLogin)
	wantCode(t, err, "openid.refused")
	var kept []byte // a provider that answers twice
	o.op.Bend(func(g *issuertest.Grant) {
		kept, _ = json.Marshal(map[string]any{"access_token": "a", "token_type": "Bearer", "id_token": g.Key.Sign(t, nil, withoutHash(g.Claims))})
		g.Raw, g.Status = kept, http.StatusOK
	})
	s = o.beginOIDC(o.idp.ID, login.Options{})
	query = o.op.SignIn(s.RedirectURL)
	_, err = o.bring(query, s.PreLogin)
	must(t, err)
	o.op.Answer(issuertest.TokenPath, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(kept) })
	_, err = o.bring(query, s.PreLogin)
	wantCode(t, err, "oidc.replayed")
}

func withoutHash(claims map[string]any) map[string]any {
	out := maps.Clone(claims)
	delete(out, "at_hash")
	return out
}

// TestAttackIDToken: tokens that are not for us, not for this sign-in, or signed
// by nobody.
func TestAttackIDToken(t *testing.T) {
	t.Parallel()
	o := newOpenIDWorld(t, func(p *federation.IdP) {
		age := 300
		p.OIDC.ACRValues, p.OIDC.MaxAge = []string{"phr"}, &age
	})
	o.op.Person(map[string]any{"roles": []string{}, "groups": []string{}})
	foreign := issuertest.NewKey(t, "rsa", "RS256")
	o.signedIn()
	claim := func(name string, v any) func(*issuertest.Grant) {
		return func(g *issuertest.Grant) { g.Claims[name] = v }
	}
	raw := func(header string, change func(payload string) string) func(*issuertest.Grant) {
		return func(g *issuertest.Grant) {
			payload, err := json.Marshal(withoutHash(g.Claims))
			must(t, err)
			tokens(g, g.Key.SignRaw(t, []byte(header), []byte(change(string(payload)))))
		}
	}
	const rs256 = `{"alg":"RS256","typ":"JWT","kid":"rsa"}`
	for name, tt := range map[string]struct {
		bend func(*issuertest.Grant)
		code string
	}{
		"of another client":            {claim("aud", "another"), oidc.CheckAudience},
		"of another client, us as azp": {func(g *issuertest.Grant) { g.Claims["aud"], g.Claims["azp"] = "another", "carnet" }, openid.CheckClient},
		"of us, another as azp":        {claim("azp", "another"), oidc.CheckAudience},
		"of two clients without azp":   {claim("aud", []string{"carnet", "another"}), oidc.CheckAudience},
		"case of the audience":         {claim("aud", "Carnet"), oidc.CheckAudience},
		"of another issuer":            {claim("iss", "https://evil.example"), oidc.CheckIssuer},
		"issuer with a slash":          {claim("iss", o.op.URL+"/"), oidc.CheckIssuer},
		"another nonce":                {claim("nonce", "another"), openid.CheckNonce},
		"no nonce":                     {claim("nonce", issuertest.Absent), openid.CheckNonce},
		"a nonce that is a list":       {func(g *issuertest.Grant) { g.Claims["nonce"] = []any{g.Claims["nonce"]} }, openid.CheckNonce},
		"of another access token":      {claim("at_hash", issuertest.AtHash("another")), openid.CheckHash},
		"an at_hash that is no text":   {claim("at_hash", 7), openid.CheckHash},
		"signed in long ago":           {claim("auth_time", o.clock().Add(-time.Hour).Unix()), openid.CheckAuthTime},
		"no auth_time":                 {claim("auth_time", issuertest.Absent), openid.CheckAuthTime},
		"an auth_time that is text":    {claim("auth_time", "1"), openid.CheckAuthTime},
		"an auth_time to come":         {claim("auth_time", o.clock().Add(time.Hour).Unix()), openid.CheckAuthTime},
		"a weaker way to sign in":      {claim("acr", "pwd"), openid.CheckContext},
		"no way to sign in":            {claim("acr", issuertest.Absent), openid.CheckContext},
		"past its end":                 {claim("exp", o.clock().Add(-2*time.Minute).Unix()), oidc.CheckExpired},
		"of the future":                {claim("iat", o.clock().Add(2*time.Minute).Unix()), oidc.CheckNotYet},
		"an end that is text":          {claim("exp", "9999999999"), oidc.CheckClaims},
		"no subject":                   {claim("sub", issuertest.Absent), oidc.CheckClaims},
		"an empty subject":             {claim("sub", ""), oidc.CheckClaims},
		"a subject with a line end":    {claim("sub", "a\nb"), login.CheckSubject},
		"another key of the same name": {func(g *issuertest.Grant) { g.Key = foreign }, oidc.CheckSignature},
		"a key in the header": {func(g *issuertest.Grant) {
			g.Key, g.Header = foreign, map[string]any{"jwk": foreign.JWK(), "kid": "evil"}
		}, oidc.CheckKey},
		"a key by address": {func(g *issuertest.Grant) {
			g.Key, g.Header = foreign, map[string]any{"jku": "https://evil.example/jwks", "kid": "evil"}
		}, oidc.CheckKey},
		"a critical extension":      {func(g *issuertest.Grant) { g.Header = map[string]any{"crit": []string{"exp"}} }, oidc.CheckMalformed},
		"alg none":                  {func(g *issuertest.Grant) { tokens(g, unsigned(t, g.Claims)) }, oidc.CheckMalformed},
		"alg none with a signature": {raw(`{"alg":"none","typ":"JWT"}`, func(p string) string { return p }), oidc.CheckAlgorithm},
		"HMAC with the public key":  {func(g *issuertest.Grant) { tokens(g, hmacSigned(t, g)) }, oidc.CheckAlgorithm},
		"a logout token": {func(g *issuertest.Grant) {
			tokens(g, o.op.LogoutToken(map[string]any{"sub": "f3b1-alice", "nonce": g.Claims["nonce"]}))
		}, oidc.CheckType},
		"an access token":                     {func(g *issuertest.Grant) { g.Header = map[string]any{"typ": "at+jwt"} }, oidc.CheckType},
		"a subject twice":                     {raw(rs256, func(p string) string { return `{"sub":"root",` + p[1:] }), oidc.CheckMalformed},
		"a name twice by an escape":           {raw(rs256, func(p string) string { return `{"s\u0075b":"root",` + p[1:] }), oidc.CheckMalformed},
		"an end in another letter case":       {raw(rs256, func(p string) string { return strings.Replace(p, `"exp"`, `"EXP"`, 1) }), oidc.CheckClaims},
		"a user name in another letter case":  {raw(rs256, func(p string) string { return strings.Replace(p, `"preferred_username"`, `"Preferred_Username"`, 1) }), "oidc.user-name"},
		"an encrypted one":                    {func(g *issuertest.Grant) { tokens(g, "a.b.c.d.e") }, oidc.CheckMalformed},
		"a huge one":                          {claim("padding", strings.Repeat("a", oidc.MaxCharacters)), oidc.CheckMalformed},
		"none":                                {func(g *issuertest.Grant) { tokens(g, "") }, openid.CodeTokens},
		"an answer with two ID tokens":        {func(g *issuertest.Grant) { g.Raw, g.Status = []byte(`{"id_token":"a","id_token":"b"}`), 200 }, openid.CodeTokens},
		"an answer of an unverified address":  {func(g *issuertest.Grant) { g.Claims["preferred_username"] = "alice@evil.example" }, "federation.domain"},
		"an answer that leads somewhere else": {func(g *issuertest.Grant) { g.Raw, g.Status = []byte(`{}`), http.StatusTemporaryRedirect }, "openid.refused"},
	} {
		o.op.Bend(tt.bend)
		if _, _, err := o.through(); err == nil {
			t.Errorf("%s: signed in", name)
		} else {
			if got := fault.Of(err).Code; got != tt.code {
				t.Errorf("%s: refused by %s (%v), want %s", name, got, err, tt.code)
			}
		}
	}
	o.op.Bend(nil)
	o.signedIn() // the honest way still works
}

func unsigned(t *testing.T, claims map[string]any) string {
	t.Helper()
	payload, err := json.Marshal(withoutHash(claims))
	must(t, err)
	return issuertest.Encode([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + issuertest.Encode(payload) + "."
}

// hmacSigned is signed by HMAC, the provider's public key as the secret.
func hmacSigned(t *testing.T, g *issuertest.Grant) string {
	t.Helper()
	public, err := x509.MarshalPKIXPublicKey(g.Key.Private.Public())
	must(t, err)
	payload, err := json.Marshal(withoutHash(g.Claims))
	must(t, err)
	input := issuertest.Encode([]byte(`{"alg":"HS256","typ":"JWT","kid":"rsa"}`)) + "." + issuertest.Encode(payload)
	mac := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
	mac.Write([]byte(input))
	return input + "." + issuertest.Encode(mac.Sum(nil))
}

// TestAttackSubjectOfAnotherProvider: one sub at two providers is two people, and
// no mail address makes them one.
func TestAttackSubjectOfAnotherProvider(t *testing.T) {
	t.Parallel()
	o := newOpenIDWorld(t)
	alice := o.signedIn().Session.Person
	evil := issuertest.NewOP(t, redirectURI, o.clock)
	evil.Person(map[string]any{"preferred_username": "mallory@example.com"})
	second := o.enter("Second OP", evil)
	s := o.beginOIDC(second.ID, login.Options{})
	c, err := o.bring(evil.SignIn(s.RedirectURL), s.PreLogin)
	must(t, err)
	in, err := o.Complete(t.Context(), c.Handle, s.PreLogin)
	must(t, err)
	if in.Session.Person.ID == alice.ID || in.Session.Person.IdP == alice.IdP {
		t.Errorf("%+v is %+v", in.Session.Person, alice)
	}
}

// TestAttackUnverifiedMail: a mail address is a user name only where it was
// verified: else people choose another's.
func TestAttackUnverifiedMail(t *testing.T) {
	t.Parallel()
	o := newOpenIDWorld(t, func(p *federation.IdP) { p.OIDC.UserNameClaim = "email" })
	for _, verified := range []any{false, "false", issuertest.Absent, 1} {
		o.op.Person(map[string]any{"email_verified": verified})
		_, _, err := o.through()
		wantCode(t, err, "oidc.user-name")
	}
	o.op.Person(map[string]any{"email_verified": true})
	o.signedIn()
}

// TestAttackOpenRedirect: nothing that a stranger writes into an address leads a
// browser elsewhere, on the way in or out.
func TestAttackOpenRedirect(t *testing.T) {
	t.Parallel()
	o := newOpenIDWorld(t)
	for _, to := range []string{"https://evil.example/", "//evil.example", "/\\evil.example"} {
		s, err := o.Begin(t.Context(), o.idp.ID, to, login.Options{})
		must(t, err)
		if u := mustQuery(t, s.RedirectURL); u.Get("redirect_uri") != redirectURI {
			t.Errorf("the answer goes to %s", u.Get("redirect_uri"))
		}
		c, err := o.bring(o.op.SignIn(s.RedirectURL), s.PreLogin)
		must(t, err)
		in, err := o.Complete(t.Context(), c.Handle, s.PreLogin)
		must(t, err)
		if in.ReturnTo != "/" {
			t.Errorf("%s leads to %s", to, in.ReturnTo)
		}
	}
}

// TestAttackSettingsOfTheRequest: max_age and acr_values stripped from the request
// on its way help nobody.
func TestAttackSettingsOfTheRequest(t *testing.T) {
	t.Parallel()
	age := 0
	o := newOpenIDWorld(t, func(p *federation.IdP) { p.OIDC.MaxAge = &age })
	s := o.beginOIDC(o.idp.ID, login.Options{})
	u, err := url.Parse(s.RedirectURL)
	must(t, err)
	q := u.Query()
	q.Del("max_age")
	u.RawQuery = q.Encode()
	_, err = o.bring(o.op.SignIn(u.String()), s.PreLogin)
	wantCode(t, err, openid.CheckAuthTime)
	o.op.Bend(func(g *issuertest.Grant) { g.Claims["auth_time"] = o.clock().Add(-10 * time.Minute).Unix() })
	s = o.beginOIDC(o.idp.ID, login.Options{Anew: true})
	_, err = o.bring(o.op.SignIn(s.RedirectURL), s.PreLogin)
	wantCode(t, err, openid.CheckAuthTime)
}

// TestAttackByAnotherProtocol: an answer to a sign-in of the other protocol, and
// the issuer of an OpenID provider as that of a SAML response.
func TestAttackByAnotherProtocol(t *testing.T) {
	t.Parallel()
	o := newOpenIDWorld(t)
	if _, known, err := o.fed.ByEntityID(o.op.URL); err != nil || known {
		t.Errorf("an OpenID provider speaks SAML: %v, %v", known, err)
	}
	if all, err := o.fed.ByIssuer(o.world.idp.EntityID); err != nil || len(all) != 0 {
		t.Errorf("a SAML identity provider speaks OpenID Connect: %v", all)
	}
	s := o.beginOIDC(o.idp.ID, login.Options{})
	state := mustQuery(t, s.RedirectURL).Get("state")
	_, err := o.consume(visit{}, o.respond(visit{requestID: "_" + state}))
	if err == nil {
		t.Error("a SAML response answers an OpenID request")
	}
}

// TestAttackUntoldProof: a provider that doesn't say when the person proved
// themselves may have asked nobody. The sign-in is not told on as a fresh proof.
func TestAttackUntoldProof(t *testing.T) {
	t.Parallel()
	o := newOpenIDWorld(t)
	o.op.Bend(func(g *issuertest.Grant) { delete(g.Claims, "auth_time") })
	if in := o.signedIn(); !in.Session.AuthTime.IsZero() {
		t.Errorf("proven at %v, by whose word?", in.Session.AuthTime)
	}
	o.op.Bend(func(g *issuertest.Grant) { g.Claims["auth_time"] = o.clock().Add(-time.Hour).Unix() })
	if in := o.signedIn(); in.Session.Started.Sub(in.Session.AuthTime) < time.Hour {
		t.Errorf("proven at %v", in.Session.AuthTime)
	}
}

// TestAttackStateInAnotherForm: base64 takes line breaks, so one state has many
// texts. It is good for one answer all the same.
func TestAttackStateInAnotherForm(t *testing.T) {
	t.Parallel()
	o := newOpenIDWorld(t)
	s := o.beginOIDC(o.idp.ID, login.Options{})
	answers := [2]string{o.op.SignIn(s.RedirectURL), o.op.SignIn(s.RedirectURL)} // two codes
	_, err := o.bring(answers[0], s.PreLogin)
	must(t, err)
	q, err := url.ParseQuery(answers[1])
	must(t, err)
	q.Set("state", q.Get("state")+"\n")
	_, err = o.bring(q.Encode(), s.PreLogin)
	wantCode(t, err, "oidc.replayed")
}
