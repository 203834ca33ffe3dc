package openid_test

import (
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/upstream/jwks/issuertest"
	"carnet.dev/carnet/internal/protocol/oidc"
	"carnet.dev/carnet/internal/protocol/openid"
)

func claims(t testing.TB, text string) openid.Claims {
	t.Helper()
	var c openid.Claims
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestClaims(t *testing.T) {
	t.Parallel()
	c := claims(t, `{"name":"Ann","realm_access":{"roles":["a","b"],"n":1},"a.b":"literal","a":{"b":"path"},"one":"x","mixed":["a",1],"empty":"","none":null,"bad":"\ufffd"}`)
	for name, want := range map[string]string{"name": "Ann", "Name": "", "a.b": "literal", "realm_access.n": "", "realm_access": "", "": "", "x.y.z": "", "name.x": "", "bad": ""} {
		if got := c.Text(name); got != want {
			t.Errorf("Text(%q) = %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string][]string{"realm_access.roles": {"a", "b"}, "one": {"x"}, "empty": nil, "none": nil, "gone": nil} {
		if got, ok := c.Texts(name); !ok || !slices.Equal(got, want) {
			t.Errorf("Texts(%q) = %q, %v", name, got, ok)
		}
	}
	for _, name := range []string{"mixed", "realm_access", "realm_access.n"} {
		if got, ok := c.Texts(name); ok {
			t.Errorf("Texts(%q) = %q", name, got)
		}
	}
	more := openid.Claims{"name": "Mallory", "groups": "g", "acr": "high", "auth_time": 1, "sid": "s", "aud": "x"}
	if got := c.With(more); got.Text("name") != "Ann" || got.Text("groups") != "g" || got["acr"] != nil || got["auth_time"] != nil || got["sid"] != nil || got["aud"] != nil || c["groups"] != nil {
		t.Errorf("with more: %v", got)
	}
}

// document is a good discovery document, changed.
func document(t testing.TB, change map[string]any) []byte {
	t.Helper()
	d := map[string]any{"issuer": "https://op.example", "authorization_endpoint": "https://op.example/auth?tenant=1", "token_endpoint": "https://login.op.example/token",
		"jwks_uri": "https://op.example/jwks", "userinfo_endpoint": "https://op.example/me", "end_session_endpoint": "https://op.example/end",
		"response_types_supported": []string{"code", "id_token"}, "code_challenge_methods_supported": []string{"plain", "S256"},
		"id_token_signing_alg_values_supported": []string{"RS256"}, "authorization_response_iss_parameter_supported": true, "unknown": map[string]any{"x": 1}}
	maps.Copy(d, change)
	maps.DeleteFunc(d, func(_ string, v any) bool { return v == issuertest.Absent })
	raw, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestParseProvider(t *testing.T) {
	t.Parallel()
	p, err := openid.ParseProvider(document(t, nil), "https://op.example")
	if err != nil {
		t.Fatal(err)
	}
	if p.Authorization != "https://op.example/auth?tenant=1" || p.Token != "https://login.op.example/token" || p.UserInfo == "" || p.EndSession == "" || !p.IssInAnswer {
		t.Errorf("read %+v", p)
	}
	least := map[string]any{"userinfo_endpoint": issuertest.Absent, "end_session_endpoint": issuertest.Absent, "response_types_supported": issuertest.Absent,
		"code_challenge_methods_supported": issuertest.Absent, "authorization_response_iss_parameter_supported": issuertest.Absent}
	if p, err = openid.ParseProvider(document(t, least), "https://op.example"); err != nil || p.IssInAnswer || p.UserInfo != "" {
		t.Errorf("the least: %+v, %v", p, err)
	}
	loopback := map[string]any{"issuer": "http://127.0.0.1:9", "authorization_endpoint": "http://127.0.0.1:9/a", "token_endpoint": "http://localhost:9/t"}
	if _, err = openid.ParseProvider(document(t, loopback), "http://127.0.0.1:9"); err != nil {
		t.Errorf("on loopback: %v", err)
	}
	for name, raw := range map[string][]byte{
		"another issuer": document(t, map[string]any{"issuer": "https://evil.example"}), "a slash": document(t, map[string]any{"issuer": "https://op.example/"}),
		"no issuer": document(t, map[string]any{"issuer": issuertest.Absent}), "an issuer that is a list": document(t, map[string]any{"issuer": []string{"https://op.example"}}),
		"no token endpoint": document(t, map[string]any{"token_endpoint": issuertest.Absent}), "plain http": document(t, map[string]any{"token_endpoint": "http://op.example/token"}),
		"http on loopback of a public issuer": document(t, map[string]any{"token_endpoint": "http://127.0.0.1/token"}),
		"a script":                            document(t, map[string]any{"authorization_endpoint": "javascript:alert(1)"}), "a user in it": document(t, map[string]any{"end_session_endpoint": "https://a:b@op.example/"}),
		"a fragment": document(t, map[string]any{"authorization_endpoint": "https://op.example/#x"}), "relative": document(t, map[string]any{"authorization_endpoint": "/auth"}),
		"no code flow": document(t, map[string]any{"response_types_supported": []string{"id_token"}}), "no S256": document(t, map[string]any{"code_challenge_methods_supported": []string{"plain"}}),
		"not JSON": []byte("<html>"), "a list": []byte("[]"), "two documents": append(document(t, nil), "{}"...), "nothing": nil, "null": []byte("null"),
		"a name twice": []byte(`{"issuer":"https://op.example","issuer":"https://evil.example"}`),
	} {
		if p, err := openid.ParseProvider(raw, "https://op.example"); err == nil || fault.Of(err).Code != openid.CodeDocument {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	for issuer, want := range map[string]string{"https://a": "https://a/.well-known/openid-configuration", "https://a/": "https://a/.well-known/openid-configuration", "https://a/b": "https://a/b/.well-known/openid-configuration"} {
		if got := openid.DiscoveryURL(issuer); got != want {
			t.Errorf("discovery of %s at %s", issuer, got)
		}
	}
}

func TestRequests(t *testing.T) {
	t.Parallel()
	p, err := openid.ParseProvider(document(t, nil), "https://op.example")
	if err != nil {
		t.Fatal(err)
	}
	age := 0
	at, err := openid.Request{ClientID: "c", RedirectURI: "https://us/cb", State: "s", Nonce: "n", Verifier: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
		Scopes: []string{"profile"}, ACRValues: []string{"a", "b"}, MaxAge: &age}.URL(p)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	// The verifier and its challenge are those of RFC 7636, appendix B.
	if q.Get("tenant") != "1" || q.Get("code_challenge") != "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" || q.Get("scope") != "openid profile" ||
		q.Get("acr_values") != "a b" || q.Get("max_age") != "0" || q.Has("code_verifier") {
		t.Errorf("asks %s", at)
	}
	// A provider can't put parameters of its own in the place of ours.
	bent := *p
	bent.Authorization = "https://op.example/auth?redirect_uri=https://evil&state=x&response_type=token"
	at, err = openid.Request{ClientID: "c", RedirectURI: "https://us/cb", State: "s", Nonce: "n", Verifier: "v"}.URL(&bent)
	if err != nil || strings.Contains(at, "evil") || strings.Contains(at, "state=x") || strings.Contains(at, "token") {
		t.Errorf("asks %s, %v", at, err)
	}
	at, err = openid.Logout{ClientID: "c", Return: "https://us/out", State: "s", Hint: secret.New("h")}.URL(p)
	if err != nil || !strings.HasPrefix(at, "https://op.example/end?") || !strings.Contains(at, "id_token_hint=h") {
		t.Errorf("leaves by %s, %v", at, err)
	}
	if at, err = (openid.Logout{}).URL(&openid.Provider{}); at != "" || err != nil {
		t.Errorf("leaves by %s, %v", at, err)
	}
}

func TestParseAnswer(t *testing.T) {
	t.Parallel()
	a, err := openid.ParseAnswer("code=c%2B1&state=s&iss=https%3A%2F%2Fop&session_state=x&session_state=y")
	if err != nil || a.Code.Reveal() != "c+1" || a.State != "s" || a.Issuer != "https://op" || a.Error != "" {
		t.Errorf("read %+v, %v", a, err)
	}
	if a, err = openid.ParseAnswer("error=access_denied&error_description=no&state=s"); err != nil || a.Error != "access_denied" || a.Description != "no" || !a.Code.IsZero() {
		t.Errorf("read %+v, %v", a, err)
	}
	for name, q := range map[string]string{
		"nothing": "", "no state": "code=c", "no code": "state=s", "both": "state=s&code=c&error=e", "two codes": "state=s&code=c&code=d", "two issuers": "state=s&code=c&iss=a&iss=b",
		"a long state": "code=c&state=" + strings.Repeat("s", 2000), "a long code": "state=s&code=" + strings.Repeat("c", 9000), "all too long": "state=s&code=c&x=" + strings.Repeat("x", 20_000),
		"bad escape": "state=%zz&code=c", "semicolons": "state=s;code=c",
	} {
		if a, err := openid.ParseAnswer(q); err == nil || fault.Of(err).Code != openid.CodeAnswer {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
}

func TestParseTokens(t *testing.T) {
	t.Parallel()
	got, err := openid.ParseTokens([]byte(`{"id_token":"i","access_token":"a","token_type":"bearer","refresh_token":"r"}`))
	if err != nil || got.ID.Reveal() != "i" || got.Access.Reveal() != "a" {
		t.Errorf("read %+v, %v", got, err)
	}
	if got, err = openid.ParseTokens([]byte(`{"id_token":"i","access_token":"a","token_type":"DPoP"}`)); err != nil || !got.Access.IsZero() {
		t.Errorf("another type of token is used: %v", err)
	}
	for name, body := range map[string]string{"nothing": "", "no ID token": `{"access_token":"a","token_type":"Bearer"}`, "a list": `[]`, "an ID token that is a list": `{"id_token":["i"]}`,
		"another letter case": `{"ID_Token":"i"}`, "twice": `{"id_token":"i","id_token":"j"}`, "HTML": "<html>"} {
		if _, err := openid.ParseTokens([]byte(body)); err == nil || fault.Of(err).Code != openid.CodeTokens {
			t.Errorf("%s: %v", name, err)
		}
	}
	if code, why := openid.ParseRefusal([]byte(`{"error":"invalid_client","error_description":"bad\u0000\n` + strings.Repeat("x", 500) + `"}`)); code != "invalid_client" || len(why) > 200 || strings.ContainsAny(why, "\x00\n") {
		t.Errorf("refused by %q, %q", code, why)
	}
	if code, _ := openid.ParseRefusal([]byte("<html>")); code != "" {
		t.Errorf("refused by %q", code)
	}
	if c, err := openid.ParseUserInfo([]byte(`{"sub":"s","groups":["g"]}`), "s"); err != nil || c["groups"] == nil {
		t.Errorf("userinfo: %v, %v", c, err)
	}
	for _, body := range []string{`{"sub":"S"}`, `{}`, `{"sub":["s"]}`, `eyJ.a.b`, `{"sub":"s","sub":"t"}`} {
		if _, err := openid.ParseUserInfo([]byte(body), "s"); err == nil || fault.Of(err).Code != openid.CodeUserInfo {
			t.Errorf("userinfo %s: %v", body, err)
		}
	}
}

// TestChecksAreInOrder: a failed check is the last, and those before it were made.
func TestChecksAreInOrder(t *testing.T) {
	t.Parallel()
	now := time.Now()
	op := issuertest.New(t)
	raw, err := json.Marshal(issuertest.Set(op.Keys...))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := oidc.ParseKeySet(raw)
	if err != nil {
		t.Fatal(err)
	}
	want := openid.Expect{Issuer: op.URL, ClientID: "carnet", Nonce: "n"}
	for code, change := range map[string]map[string]any{
		"": {}, oidc.CheckIssuer: {"iss": "https://evil"}, oidc.CheckAudience: {"aud": "x"}, oidc.CheckExpired: {"exp": now.Add(-time.Hour).Unix()}, openid.CheckNonce: {"nonce": "m"},
	} {
		c := map[string]any{"aud": "carnet", "nonce": "n"}
		maps.Copy(c, change)
		got, checks, err := openid.VerifyID(secret.New(op.Token(t, now, c)), keys, want, now)
		if (err == nil) != (code == "") || (got == nil) != (code != "") {
			t.Errorf("%s: %v", code, err)
		}
		for i, check := range checks {
			if last := i == len(checks)-1; check.OK == (last && code != "") || last && code != "" && check.Code != code || check.Code != openid.Checks()[i] {
				t.Errorf("%s: check %d is %+v", code, i, check)
			}
		}
		if code == "" && len(checks) != len(openid.Checks()) {
			t.Errorf("only %d checks were made", len(checks))
		}
	}
}

func FuzzParseProvider(f *testing.F) {
	f.Add(document(f, nil), "https://op.example")
	f.Add(document(f, map[string]any{"issuer": "http://127.0.0.1:9", "authorization_endpoint": "http://127.0.0.1:9/a"}), "http://127.0.0.1:9")
	f.Add([]byte(`{"issuer":"https://a","issuer":"https://b"}`), "https://a")
	f.Fuzz(func(t *testing.T, raw []byte, issuer string) {
		p, err := openid.ParseProvider(raw, issuer)
		if err != nil {
			return
		}
		for _, at := range []string{p.Authorization, p.Token, p.UserInfo, p.EndSession} {
			if at == "" {
				continue
			}
			if u, err := url.Parse(at); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil {
				t.Errorf("endpoint %q", at)
			}
		}
		if p.Issuer != issuer || p.Authorization == "" || p.Token == "" {
			t.Errorf("read %+v", p)
		}
	})
}

func FuzzParseAnswer(f *testing.F) {
	f.Add("code=c%2B1&state=s&iss=https%3A%2F%2Fop&session_state=x")
	f.Add("error=access_denied&error_description=no&state=s")
	f.Add("state=s&code=c&code=d")
	f.Fuzz(func(t *testing.T, q string) {
		a, err := openid.ParseAnswer(q)
		if err == nil && (a.State == "" || a.Code.IsZero() == (a.Error == "")) {
			t.Errorf("%q is read as %+v", q, a)
		}
	})
}

func FuzzParseTokens(f *testing.F) {
	f.Add([]byte(`{"id_token":"i","access_token":"a","token_type":"bearer"}`))
	f.Add([]byte(`{"error":"invalid_grant","error_description":"x"}`))
	f.Add([]byte(`{"sub":"s","groups":["g"]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if got, err := openid.ParseTokens(body); err == nil && got.ID.IsZero() {
			t.Error("no ID token")
		}
		if c, err := openid.ParseUserInfo(body, "s"); err == nil && c.Text("sub") != "s" {
			t.Error("another person")
		}
		if code, why := openid.ParseRefusal(body); len(code) > 200 || len(why) > 200 {
			t.Error("too long")
		}
	})
}

func FuzzLogoutToken(f *testing.F) {
	op := issuertest.New(f)
	raw, err := json.Marshal(issuertest.Set(op.Keys...))
	if err != nil {
		f.Fatal(err)
	}
	keys, err := oidc.ParseKeySet(raw)
	if err != nil {
		f.Fatal(err)
	}
	now := time.Unix(1_800_000_000, 0)
	f.Add(`{"iss":"i","aud":"c","sub":"s","iat":1800000000,"exp":1800000060,"jti":"j","events":{"http://schemas.openid.net/event/backchannel-logout":{}}}`)
	f.Add(`{"iss":"i","aud":["c","d"],"sid":"s","iat":1800000000,"exp":1800000060,"jti":"j","events":{"http://schemas.openid.net/event/backchannel-logout":{}}}`)
	f.Add(`{"iss":"i","aud":"c","sub":"s","iat":1800000000,"exp":1800000060,"jti":"j","nonce":"n"}`)
	f.Fuzz(func(t *testing.T, payload string) {
		token, err := oidc.Parse(op.Keys[1].SignRaw(t, []byte(`{"alg":"ES256","typ":"logout+jwt","kid":"ec"}`), []byte(payload)))
		if err != nil {
			return
		}
		c, err := token.Verify(keys, oidc.Expect{Issuer: "i", Audiences: []string{"c"}, AnyAudience: true, Types: openid.LogoutTypes(), NoSubject: true}, now)
		if err != nil {
			return
		}
		out, err := openid.ReadLogout(c, now)
		if err == nil && (out.ID == "" || out.Subject == "" && out.SID == "" || out.Until.After(now.Add(time.Hour)) || len(out.SID) > openid.MaxSID || strings.Contains(payload, `"nonce"`) && c.All()["nonce"] != nil) {
			t.Errorf("%s is read as %+v", payload, out)
		}
	})
}
