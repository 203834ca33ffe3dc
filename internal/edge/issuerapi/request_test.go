package issuerapi

import (
	"encoding/base64"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/service/oauth"
)

// FuzzPresented: whatever a request brings, there is one proof or an error, and
// the client that is named is the one that proves itself.
func FuzzPresented(f *testing.F) {
	basic := func(text string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(text)) }
	for _, seed := range [][2]string{
		{basic("oac_x:secret"), "grant_type=refresh_token"}, {basic("oac%5Fx:a%3Ab"), "client_id=oac_x"}, {basic("oac_x"), ""}, {basic(":x"), ""}, {"Bearer x", "client_id=a"}, {"", "client_id=a&client_id=b"},
		{"", "client_id=a&client_secret=b"}, {basic("a:b"), "client_secret=b"}, {"", "client_assertion=a.b.c&client_assertion_type=" + url.QueryEscape(assertionType)}, {"Basic ???", "%zz"}, {"", "a=1;b=2"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, header, body string) {
		form, err := parseForm(body)
		if err != nil {
			if fault.Of(err).Code != oauth.InvalidRequest {
				t.Errorf("%q: %v", body, err)
			}
			return
		}
		for name, value := range form {
			if value == "" {
				t.Errorf("%q: %q is empty", body, name)
			}
		}
		r := httptest.NewRequest("POST", "/oidc/v1/token", nil)
		if header != "" {
			r.Header.Set("Authorization", header)
		}
		p, err := presented(r, form)
		if err != nil {
			if code := fault.Of(err).Code; code != oauth.InvalidRequest && code != oauth.InvalidClient {
				t.Errorf("%q %q: %v", header, body, err)
			}
			return
		}
		switch p.Method {
		case oauth.MethodNone:
			if header != "" || !p.Secret.IsZero() || p.Assertion != "" {
				t.Errorf("%q %q: a proof was overlooked", header, body)
			}
		case oauth.MethodBasic, oauth.MethodPost:
			if p.Secret.IsZero() || p.Assertion != "" {
				t.Errorf("%q %q: %+v", header, body, p)
			}
		case oauth.MethodPrivateKey:
			if !p.Secret.IsZero() {
				t.Errorf("%q %q: two proofs", header, body)
			}
		}
		if id := form["client_id"]; id != "" && id != p.ID {
			t.Errorf("%q %q: client %q or %q", header, body, id, p.ID)
		}
	})
}

// TestErrorsHaveTheirForm: each kind of fault, and each code of OAuth.
func TestErrorsHaveTheirForm(t *testing.T) {
	t.Parallel()
	for _, k := range fault.Kinds() {
		w := httptest.NewRecorder()
		WriteError(w, httptest.NewRequest("POST", "/", nil), fault.Coded(k, "some.code", "what \"failed\"\n\u00e4").WithMend(`do \this`))
		if w.Code < 400 || w.Header().Get("Content-Type") != "application/json" || strings.ContainsAny(w.Body.String(), "\n") || !strings.Contains(w.Body.String(), `"error":"`) {
			t.Errorf("%v: %d %v %s", k, w.Code, w.Header(), w.Body)
		}
		if (w.Code == 401) != (w.Header().Get("WWW-Authenticate") != "") {
			t.Errorf("%v: %d with challenge %q", k, w.Code, w.Header().Get("WWW-Authenticate"))
		}
	}
	for code, status := range statuses {
		if got, at := ErrorOf(fault.Coded(fault.Invalid, code, "x")); got != code || at != status {
			t.Errorf("%s: %s %d", code, got, at)
		}
	}
}
