package oauth

import (
	"net/url"
	"strings"
	"testing"
	"time"
)

// TestRedirectURIsThatMayBeRegistered: whole addresses that lead to one place.
func TestRedirectURIsThatMayBeRegistered(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"https://app.example.com/callback", "https://app.example.com:8443/", "https://app.example.com/cb?tenant=a%20b", "http://127.0.0.1/cb", "http://[::1]/cb",
		"http://localhost:8020/", "http://127.0.0.1:65535/cb?x=y", "com.example.app:/cb", "com.example.app:/cb?x=y"} {
		if err := checkRedirectURI(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "/callback", "//evil.example/cb", "app.example.com/callback", "https://", "https:///cb", "https://app.example.com", "https:app.example.com/cb", "HTTPS://app.example.com/cb",
		"https://app.example.com/cb#x", "https://app.example.com/cb#", "https://user@app.example.com/cb", "https://user:pw@app.example.com/cb", "https://*.example.com/cb", "https://app.example.com/*",
		"https://app.example.com/../cb", "https://app.example.com/a/..", `https://app.example.com\cb`, "https://app.example.com/c b", "https://app.example.com/cb\n", "https://app.example.com/\x00", "https://ä.example/cb",
		"http://app.example.com/cb", "http://127.0.0.1", "http://127.0.0.1.evil.example/cb", "http://127.0.0.2/cb", "http://localhost.evil.example/cb", "http://[::2]/cb", "http://127.0.0.1:0/cb", "http://127.0.0.1:99999/cb",
		"http://127.0.0.1:/cb", "http://127.0.0.1@evil.example/cb", "http://0.0.0.0/cb", "javascript:alert(1)", "data:text/html,x", "vbscript:x", "file:///etc/passwd", "blob:x", "app:/cb", "urn:ietf:wg:oauth:2.0:oob",
		"com.example.app://evil.example/cb", "https://app.example.com/" + strings.Repeat("x", 600)} {
		if err := checkRedirectURI(bad); err == nil {
			t.Errorf("%q may be registered", bad)
		}
	}
}

// FuzzRedirectURI: what is admitted is registered letter for letter, but for the
// port of a loopback address; and it leads a browser to the host that stands there.
func FuzzRedirectURI(f *testing.F) {
	c := Client{RedirectURIs: []string{"https://app.example.com/cb", "http://127.0.0.1/cb", "http://[::1]:7000/cb?x=y", "com.example.app:/cb"}}
	for _, seed := range []string{"https://app.example.com/cb", "http://127.0.0.1:8080/cb", "http://127.0.0.1:8080@evil.example/cb", "http://[::1]:1/cb?x=y", "http://[::1]%25:1/cb?x=y", "com.example.app:/cb",
		"http://127.0.0.1:80\\@evil.example/cb", "http://127.0.0.1:080/cb", "http://127.0.0.1:80/cb#"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if err := checkRedirectURI(text); err == nil {
			u, err := url.Parse(text)
			if err != nil || u.Fragment != "" || u.User != nil || u.Scheme == "http" && u.Hostname() != "127.0.0.1" && u.Hostname() != "::1" && u.Hostname() != "localhost" {
				t.Errorf("%q may be registered: %v %v", text, u, err)
			}
		}
		if !c.admits(text) {
			return
		}
		u, err := url.Parse(text)
		if err != nil {
			t.Fatalf("%q is admitted, and no address: %v", text, err)
		}
		switch {
		case text == "https://app.example.com/cb" || text == "com.example.app:/cb":
		case u.Scheme == "http" && u.Hostname() == "127.0.0.1" && u.RequestURI() == "/cb" && u.User == nil && u.Fragment == "":
		case u.Scheme == "http" && u.Hostname() == "::1" && u.RequestURI() == "/cb?x=y" && u.User == nil && u.Fragment == "":
		default:
			t.Errorf("%q is admitted: %+v", text, u)
		}
	})
}

// FuzzForm: a request is the same however its parameters stand, and its marker is
// no part of it.
func FuzzForm(f *testing.F) {
	f.Add("client_id", "oac_x", "state", "a&b=c")
	f.Add(MarkerName, "x", "a", "\x00é")
	f.Fuzz(func(t *testing.T, a, b, c, d string) {
		form := Form{a: b, c: d}
		values, err := url.ParseQuery(form.canonical())
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range form {
			if got := values.Get(name); name != MarkerName && got != value || name == MarkerName && values.Has(name) {
				t.Errorf("%q is %q, was %q", name, got, value)
			}
		}
	})
}

// FuzzReadKey: whatever is registered as a key verifies, and holds no secret.
func FuzzReadKey(f *testing.F) {
	for _, seed := range []string{
		"-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEYh1/MzLDtgq8uxbMdZaZyBsYUQhz\n-----END PUBLIC KEY-----\n",
		`{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`,
		`{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","kid":"a"}]}`,
		`{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}`,
		`{"kty":"oct","k":"AAAA"}`, `{"KEYS":[{}],"keys":[]}`, `null`, `[]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		jwk, err := readKey(text)
		if err != nil {
			return
		}
		set, err := keySet(jwk)
		if err != nil || set.Len() != 1 || len(set.Notes()) != 0 {
			t.Errorf("%s: %v", jwk, err)
		}
	})
}

// TestJudge walks what may become of refresh tokens: at most one line goes on.
func TestJudge(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	row := func(id, parent string, rotated time.Duration, refresh byte) Issued {
		i := Issued{AccessID: id, Parent: parent, Refresh: [32]byte{refresh}}
		if rotated >= 0 {
			i.Rotated = now.Add(-rotated)
		}
		return i
	}
	const unused = -1
	for what, tt := range map[string]struct {
		tokens []Issued
		token  byte
		want   verdict
	}{
		"unused":                         {[]Issued{row("a", "", unused, 1)}, 1, fresh},
		"unknown":                        {[]Issued{row("a", "", unused, 1)}, 2, reused},
		"none at all":                    {nil, 1, reused},
		"no refresh token":               {[]Issued{row("a", "", unused, 0)}, 0, reused},
		"just used":                      {[]Issued{row("a", "", ReuseGrace, 1), row("b", "a", unused, 2)}, 1, fresh},
		"used a while ago":               {[]Issued{row("a", "", ReuseGrace+1, 1), row("b", "a", unused, 2)}, 1, reused},
		"what it gave was used":          {[]Issued{row("a", "", 5, 1), row("b", "a", 1, 2), row("c", "b", unused, 3)}, 1, reused},
		"one of two that it gave was":    {[]Issued{row("a", "", 5, 1), row("b", "a", unused, 2), row("c", "a", 1, 3)}, 1, reused},
		"the newest":                     {[]Issued{row("a", "", 5, 1), row("b", "a", 1, 2), row("c", "b", unused, 3)}, 3, fresh},
		"a copy whose twin was used":     {[]Issued{row("a", "", 5, 1), row("b", "a", 1, 2), row("c", "a", unused, 0)}, 4, reused},
		"a twin while neither was used":  {[]Issued{row("a", "", 5, 1), row("b", "a", unused, 2), row("c", "a", unused, 3)}, 2, fresh},
		"first of a line that went on":   {[]Issued{row("a", "", time.Hour, 1), row("b", "a", 5, 2), row("c", "b", unused, 3)}, 1, reused},
		"middle of a line, a moment ago": {[]Issued{row("a", "", time.Hour, 1), row("b", "a", 5, 2), row("c", "b", unused, 3)}, 2, fresh},
	} {
		if _, got := judge(tt.tokens, [32]byte{tt.token}, now); got != tt.want {
			t.Errorf("%s: %v, want %v", what, got, tt.want)
		}
	}
}

// TestScopes: nobody gets more than the client may have.
func TestScopes(t *testing.T) {
	t.Parallel()
	all := Client{Name: "x", Grants: []string{GrantCode, GrantRefresh}, Scopes: ScopeNames()}
	small := Client{Name: "x", Grants: []string{GrantCode}, Scopes: []string{ScopeOpenID, ScopeOffline}}
	for _, tt := range []struct {
		c         Client
		ask, want string
	}{
		{all, "all-apis openid", "openid all-apis"}, {all, "openid openid", "openid"}, {all, "openid sql OPENID", "openid"}, {all, "sql", ""}, {all, "", ""}, {all, "\topenid\n", "openid"},
		{all, "openid offline_access", "openid offline_access"}, {small, "openid offline_access", "openid"}, {small, "openid profile", ""}, {small, "offline_access", ""},
	} {
		got, err := tt.c.within(tt.ask)
		if got.String() != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%q: %q, %v; want %q", tt.ask, got, err, tt.want)
		}
	}
}
