package server_test

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/protocol/oidc"
)

// ask asks this installation, under whatever host the address names.
func (in *installation) ask(t *testing.T, address string) (int, http.Header, string) {
	t.Helper()
	_, rest, _ := strings.Cut(address, "://")
	host, path, _ := strings.Cut(rest, "/")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, in.base+"/"+path, nil)
	must(t, err)
	r.Host = host
	answer, err := http.DefaultClient.Do(r)
	must(t, err)
	defer answer.Body.Close() //nolint:errcheck // read to its end
	body, err := io.ReadAll(answer.Body)
	must(t, err)
	return answer.StatusCode, answer.Header, string(body)
}

// TestWorkedExample: the host, account id and account host of the documentation
// that people know give exactly its two issuers, each found by discovery under
// its own host, with keys of its own.
func TestWorkedExample(t *testing.T) {
	t.Parallel()
	in := install(t, func(text string) string {
		rest := text[strings.Index(text, "\n"):]
		return "base_url: https://mycompany.cloud.databricks.com\n" +
			"oidc: {account_id: \"123456789012\", account_url: https://accounts.cloud.databricks.com}" + rest
	}, replace("aws: {address", "aws: {url: \"http://127.0.0.1:1\", address"))
	in.serve(t)
	sets := map[string]string{}
	for issuer, first := range map[string]string{
		"https://mycompany.cloud.databricks.com/oidc":                      "https://mycompany.cloud.databricks.com/.well-known/oauth-authorization-server/oidc",
		"https://accounts.cloud.databricks.com/oidc/accounts/123456789012": "https://accounts.cloud.databricks.com/.well-known/oauth-authorization-server/oidc/accounts/123456789012",
	} {
		for _, address := range []string{issuer + "/.well-known/openid-configuration", issuer + "/.well-known/oauth-authorization-server", first} {
			status, _, body := in.ask(t, address)
			var d struct {
				Issuer, Token_endpoint, Jwks_uri string //nolint:revive,staticcheck // as they stand
			}
			if err := json.Unmarshal([]byte(body), &d); status != http.StatusOK || err != nil || d.Issuer != issuer ||
				d.Token_endpoint != issuer+"/v1/token" || d.Jwks_uri != issuer+"/jwks.json" {
				t.Errorf("%s: %d, %v, %+v", address, status, err, d)
			}
		}
		_, _, body := in.ask(t, issuer+"/jwks.json")
		set, err := oidc.ParseKeySet([]byte(body))
		if err != nil || set.Len() != 2 || len(set.Notes()) != 0 {
			t.Errorf("%s: %v, %v", issuer, err, set)
		}
		sets[body] = issuer
	}
	if len(sets) != 2 {
		t.Error("the issuers share their keys")
	}
	// The host of the account level answers for the account level alone.
	for _, path := range []string{"/", "/oidc/jwks.json", "/sign-in"} {
		if status, _, _ := in.ask(t, "https://accounts.cloud.databricks.com"+path); status != http.StatusBadRequest {
			t.Errorf("the account host answers %s with %d", path, status)
		}
	}
}

// TestKeySetIsKept: the same bytes under the same tag until a key changes, for
// every origin.
func TestKeySetIsKept(t *testing.T) {
	t.Parallel()
	in := install(t)
	in.serve(t)
	_, h, body := in.ask(t, in.base+"/oidc/jwks.json")
	if h.Get("Access-Control-Allow-Origin") != "*" || h.Get("Cross-Origin-Resource-Policy") != "cross-origin" ||
		h.Get("Cache-Control") != "public, max-age=3600" || h.Get("Content-Type") != "application/json" {
		t.Errorf("%v", h)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, in.base+"/oidc/jwks.json", nil)
	must(t, err)
	r.Header.Set("If-None-Match", `"other", W/`+h.Get("Etag"))
	answer, err := http.DefaultClient.Do(r)
	must(t, err)
	must(t, answer.Body.Close())
	if answer.StatusCode != http.StatusNotModified {
		t.Errorf("a known tag: %s", answer.Status)
	}
	if _, again, same := in.ask(t, in.base+"/oidc/jwks.json"); same != body || again.Get("Etag") != h.Get("Etag") {
		t.Error("the key set differs from one answer to the next")
	}
	for _, path := range []string{"/oidc", "/oidc/jwks", "/oidc/accounts/1/jwks.json", "/.well-known/openid-configuration"} {
		if status, _, _ := in.ask(t, in.base+path); !slices.Contains([]int{http.StatusNotFound, http.StatusMethodNotAllowed}, status) {
			t.Errorf("%s: %d", path, status)
		}
	}
}
