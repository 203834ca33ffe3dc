package issuerapi_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/edge/issuerapi"
	sqlissuer "carnet.dev/carnet/internal/edge/sql/issuer"
	sqlkeyring "carnet.dev/carnet/internal/edge/sql/keyring"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/keyring"
)

// unrecorded takes records and keeps none.
type unrecorded struct{}

func (unrecorded) Record(context.Context, event.Event) error { return nil }

// newIssuer is the real service on a database of its own.
func newIssuer(t testing.TB, change ...func(*issuer.Config)) *issuer.Service {
	t.Helper()
	keks, err := keyring.ParseKEKs(keyring.NewKEKFile())
	if err != nil {
		t.Fatal(err)
	}
	db := sqltest.Open(t)
	ring, err := keyring.Open(t.Context(), keyring.Config{Store: sqlkeyring.Store{DB: db}, KEKs: keks, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	c := issuer.Config{Store: sqlissuer.Store{DB: db}, Sealer: ring, State: db, Trail: unrecorded{}, Now: time.Now,
		BaseURL: "https://carnet.example.com", AccountID: "acc"}
	for _, f := range change {
		f(&c)
	}
	s, err := issuer.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func route(t *testing.T, rows []httpd.Route, pattern string) httpd.Route {
	t.Helper()
	i := slices.IndexFunc(rows, func(r httpd.Route) bool { return r.Pattern == pattern })
	if i < 0 {
		t.Fatalf("there is no %s", pattern)
	}
	return rows[i]
}

// TestDocuments: what each place serves, to whom, and for how long it may be
// kept: never longer than half the time in which a new key is not used yet.
func TestDocuments(t *testing.T) {
	t.Parallel()
	s := newIssuer(t, func(c *issuer.Config) { c.PublicURL, c.Prepublish = "https://keys.example.com", 20*time.Minute })
	rows := issuerapi.Routes(issuerapi.Config{Documents: s, AccountHost: "accounts.example.com"})
	for pattern, issuerURL := range map[string]string{
		"/oidc/.well-known/openid-configuration":                    "https://keys.example.com/oidc",
		"/oidc/.well-known/oauth-authorization-server":              "https://keys.example.com/oidc",
		"/.well-known/oauth-authorization-server/oidc":              "https://keys.example.com/oidc",
		"/oidc/accounts/acc/.well-known/openid-configuration":       "https://keys.example.com/oidc/accounts/acc",
		"/oidc/accounts/acc/.well-known/oauth-authorization-server": "https://keys.example.com/oidc/accounts/acc",
		"/.well-known/oauth-authorization-server/oidc/accounts/acc": "https://keys.example.com/oidc/accounts/acc",
	} {
		r := route(t, rows, pattern)
		w := httptest.NewRecorder()
		if err := r.Handler(w, httptest.NewRequest(http.MethodGet, pattern, nil)); err != nil {
			t.Fatal(err)
		}
		var d map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil {
			t.Fatal(err)
		}
		at := strings.Replace(issuerURL, "keys.", "carnet.", 1)
		if d["issuer"] != issuerURL || d["jwks_uri"] != issuerURL+"/jwks.json" || d["token_endpoint"] != at+"/v1/token" ||
			d["authorization_endpoint"] != at+"/v1/authorize" || d["device_authorization_endpoint"] != at+"/v1/device_authorization" {
			t.Errorf("%s: %v", pattern, d)
		}
		if h := w.Header(); h.Get("Cache-Control") != "public, max-age=600" || h.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: %v", pattern, h)
		}
		if account := strings.Contains(pattern, "accounts"); r.Access != httpd.Open || slices.Equal(r.Hosts, []string{"accounts.example.com"}) != account {
			t.Errorf("%s: %+v", pattern, r)
		}
	}
}

// TestKnownTags is If-None-Match (RFC 9110, section 13.1.2).
func TestKnownTags(t *testing.T) {
	t.Parallel()
	s := newIssuer(t)
	r := route(t, issuerapi.Routes(issuerapi.Config{Documents: s}), "/oidc/jwks.json")
	tag := s.JWKS(issuer.Workspace).ETag
	for header, want := range map[string]int{
		"": 200, tag: 304, "W/" + tag: 304, `"a", ` + tag: 304, "*": 304, `"a"`: 200, strings.Trim(tag, `"`): 200, tag + "x": 200,
	} {
		w, q := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, r.Pattern, nil)
		q.Header.Set("If-None-Match", header)
		if err := r.Handler(w, q); err != nil || w.Code != want || (w.Body.Len() == 0) != (want == 304) || w.Header().Get("ETag") != tag {
			t.Errorf("%s: %d, %d bytes, %v", header, w.Code, w.Body.Len(), err)
		}
	}
}

// TestWithoutDevices: what is switched off is not offered.
func TestWithoutDevices(t *testing.T) {
	t.Parallel()
	s := newIssuer(t, func(c *issuer.Config) { c.NoDevice = true })
	for _, l := range issuer.Levels() {
		if strings.Contains(string(s.Discovery(l).Body), "device") {
			t.Errorf("%s", s.Discovery(l).Body)
		}
	}
}

// TestErrors: every kind of fault has an error code of OAuth, in characters that
// the standard admits, and nothing of it may be kept.
func TestErrors(t *testing.T) {
	t.Parallel()
	for _, k := range fault.Kinds() {
		f := fault.New(k, "it said \"no\"\\\n\u00e9").WithMend("try again")
		code, status := issuerapi.ErrorOf(f)
		if (code == "server_error") != (k == fault.Internal) || status < 400 {
			t.Errorf("%s: %s, %d", k, code, status)
		}
		w := httptest.NewRecorder()
		issuerapi.WriteError(w, httptest.NewRequest(http.MethodPost, "/", nil), f)
		var d issuerapi.ErrorDocument
		if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil || d.Error != code || w.Code != status || w.Header().Get("Cache-Control") != "no-store" ||
			w.Header().Get("Content-Type") != "application/json" || (w.Header().Get("WWW-Authenticate") != "") != (status == http.StatusUnauthorized) {
			t.Errorf("%s: %v, %d, %v", k, d, w.Code, w.Header())
		}
		if strings.ContainsAny(d.Description, "\"\\\n\u00e9") || !strings.HasSuffix(d.Description, "try again") {
			t.Errorf("%s: %q", k, d.Description)
		}
	}
	for code, status := range map[string]int{"invalid_client": 401, "invalid_grant": 400, "slow_down": 400, "invalid_token": 401, "insufficient_scope": 403} {
		if got, at := issuerapi.ErrorOf(fault.Coded(fault.Invalid, code, "x")); got != code || at != status {
			t.Errorf("%s: %s, %d", code, got, at)
		}
	}
}
