package web_test

import (
	"net/url"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/service/login"
)

// callback is where an OpenID provider sends the browser back to.
func callback(w *world, q url.Values) string {
	return w.base + "/sign-in/oidc/callback?" + q.Encode()
}

// TestSignInByOpenID walks a browser through the redirect URI.
func TestSignInByOpenID(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	b := newBrowser(t)
	at, err := url.Parse(b.get(w.base + "/sign-in?return_to=/cli/authorize").to())
	if err != nil {
		t.Fatal(err)
	}
	state := at.Query().Get("RelayState")
	good := url.Values{"state": {state}, "code": {"good"}, "iss": {"https://op.example"}}
	contains(t, newBrowser(t).get(callback(w, good)), "The sign-in was refused", "not begun in this browser")
	contains(t, b.get(callback(w, url.Values{"state": {state}, "error": {"access_denied"}})), "The sign-in was refused", "refused the sign-in: access_denied", "Sign in again")
	contains(t, b.get(w.base+"/sign-in/oidc/callback"), "This address is for identity providers")
	for name, q := range map[string]string{"two states": "state=a&state=b&code=c", "neither code nor error": "state=a", "both": "state=a&code=c&error=d", "no state": "code=c"} {
		if p := b.get(w.base + "/sign-in/oidc/callback?" + q); p.status != 400 {
			t.Errorf("%s: status %d", name, p.status)
		}
	}
	p := b.get(callback(w, good))
	if p.status != 303 || !strings.HasPrefix(p.to(), "/sign-in/complete?handle=") {
		t.Fatalf("status %d to %q", p.status, p.to())
	}
	if p = b.get(w.base + p.to()); p.status != 303 || p.to() != "/cli/authorize" {
		t.Errorf("complete: status %d to %q", p.status, p.to())
	}
	contains(t, b.get(w.base+"/"), "Alice Example")
}

// TestBackChannelLogout: a provider gets what the standard says.
func TestBackChannelLogout(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	b := newBrowser(t)
	to := w.base + "/sign-in/oidc/logout"
	for _, tt := range []struct {
		name   string
		form   url.Values
		header []string
		status int
		says   string
	}{
		{"one that holds", url.Values{"logout_token": {"good"}}, nil, 200, ""},
		{"one that does not", url.Values{"logout_token": {"bad"}}, nil, 400, `"error":"invalid_request"`},
		{"two", url.Values{"logout_token": {"good", "good"}}, nil, 400, "one logout_token"},
		{"none", url.Values{}, nil, 400, "one logout_token"},
		{"no form", url.Values{}, []string{"Content-Type", "application/json"}, 400, "no form"},
		{"a provider that is away", url.Values{"logout_token": {"away"}}, nil, 503, "temporarily_unavailable"},
		{"a page of another site", url.Values{"logout_token": {"good"}}, []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, 400, "Another site"},
		{"one too long", url.Values{"logout_token": {strings.Repeat("a", 50_000)}}, nil, 400, "invalid_request"},
	} {
		p := b.post(to, tt.form, tt.header...)
		if p.status != tt.status || !strings.Contains(p.body, tt.says) || p.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: status %d, %s: %s", tt.name, p.status, p.header.Get("Cache-Control"), p.body)
		}
	}
}

// TestSignedOutThere: the page after a logout at an OpenID provider says what was
// sealed into the state of it, and nothing else.
func TestSignedOutThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	said, err := w.Say(login.SignedOut{IdPName: "Dev IdP", There: login.ThereEnded})
	if err != nil {
		t.Fatal(err)
	}
	contains(t, newBrowser(t).get(w.base+"/signed-out?state="+said), "Dev IdP says that it ended your sign-in there too")
}
