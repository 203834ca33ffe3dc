package server_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
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
	if log := in.serve(t).log.String(); strings.Contains(log, "AWS can't trust") {
		t.Error(log)
	}
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
	if h.Get("Access-Control-Allow-Origin") != "*" || h.Get("Cross-Origin-Resource-Policy") != "" || h.Get("X-Content-Type-Options") != "nosniff" ||
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

// TestIssuerCommands: what an administrator does on the host, in the order of a
// first day: look, publish, check, rotate, and meet a foreign key.
func TestIssuerCommands(t *testing.T) {
	t.Parallel()
	var world *httptest.Server
	in := install(t, func(text string) string {
		return text + "oidc: {publish: {folder: www}}\niam: {loopback_providers: true}\n"
	}, func(text string) string {
		world = httptest.NewUnstartedServer(nil)
		return strings.Replace(text, "oidc: {publish", "oidc: {public_url: \"http://"+world.Listener.Addr().String()+"\", publish", 1)
	})
	world.Config.Handler = http.FileServer(http.Dir(filepath.Join(in.folder, "www")))
	world.Start()
	t.Cleanup(world.Close)
	if out := in.must(t, "issuer", "show"); !strings.Contains(out, world.URL+"/oidc\n") || !strings.Contains(out, in.base+"/oidc/v1/") ||
		!strings.Contains(out, "workspace, to be registered at AWS") || !strings.Contains(out, "AWS can't trust it") {
		t.Error(out)
	}
	if o := in.carnet(t, "issuer", "check"); o.code == 0 || !strings.Contains(o.out, "No RS256 key is in use") || !strings.Contains(o.out, "carnet issuer publish") {
		t.Error(o)
	}
	if out := in.must(t, "issuer", "publish"); !strings.Contains(out, "Wrote oidc/jwks.json") {
		t.Error(out)
	}
	if out := in.must(t, "issuer", "check"); strings.Contains(out, "problem") || strings.Count(out, "The world sees the keys that are signed with") != 2 {
		t.Error(out)
	}
	in.must(t, "issuer", "keys", "rotate", "--level", "workspace", "--algorithm", "RS256")
	if o := in.carnet(t, "issuer", "keys", "rotate", "--level", "workspace", "--algorithm", "RS256", "--now"); o.code == 0 || !strings.Contains(o.err, "does not stand yet") {
		t.Error(o)
	}
	in.must(t, "issuer", "publish")
	in.must(t, "issuer", "keys", "rotate", "--level", "workspace", "--algorithm", "RS256", "--now")
	if out := in.must(t, "issuer", "keys", "list", "--output", "json"); strings.Count(out, `"state":"used"`) != 4 || strings.Count(out, `"state":"retired"`) != 1 {
		t.Error(out)
	}
	// A running server finds a foreign key by itself, and says so loudly.
	in.write(t, "www/oidc/jwks.json", `{"keys":[{"kty":"EC","crv":"P-256","kid":"evil","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`)
	server := in.serve(t)
	soon(t, "a foreign key", func() bool { return strings.Contains(server.log.String(), "CRITICAL") })
	if o := in.carnet(t, "issuer", "publish"); o.code == 0 || !strings.Contains(o.err, "publish --replace") {
		t.Error(o)
	}
	if o := in.carnet(t, "issuer", "check"); o.code == 0 || !strings.Contains(o.out, "Minting stopped") || !strings.Contains(o.out, `"evil" stands there and is not ours`) {
		t.Error(o)
	}
	in.must(t, "issuer", "publish", "--replace")
	if out := in.must(t, "issuer", "check"); strings.Contains(out, "problem") {
		t.Error(out)
	}
	if out := in.must(t, "audit", "verify"); out == "" {
		t.Error("nothing was recorded")
	}
}

// TestSwitchingNamesWhatBreaks: the roles that trust the issuer of before.
func TestSwitchingNamesWhatBreaks(t *testing.T) {
	t.Parallel()
	in := install(t, replace(`name: lake, kind: aws`, `name: lake, kind: aws, exchanges: [saml, web-identity]`), func(text string) string {
		return text + "iam: {loopback_providers: true}\n"
	})
	provider := strings.TrimPrefix(in.base, "http://") + "/oidc"
	in.write(t, "authority.yaml", `accounts:
  "111122223333":
    oidc_providers:
      - {url: `+in.base+`/oidc, client_ids: [sts.amazonaws.com]}
    roles:
      - name: nightly
        trust_policy:
          Version: "2012-10-17"
          Statement:
            - Effect: Allow
              Principal: {Federated: "arn:aws:iam::111122223333:oidc-provider/`+provider+`"}
              Action: sts:AssumeRoleWithWebIdentity
              Condition: {StringEquals: {"`+provider+`:aud": sts.amazonaws.com, "`+provider+`:sub": "sp:spn_1"}}
`)
	in.must(t, "authority", "apply", "authority.yaml")
	out := in.must(t, "sso", "switches", "--unified-login", "off")
	for _, want := range []string{
		"Trusts that name " + in.base + "/oidc take nothing from Carnet any more",
		"Role arn:aws:iam::111122223333:role/nightly",
		"Account 777788889999 (lake) at AWS: roles that trust arn:aws:iam::777788889999:oidc-provider/" + provider,
		"Register " + in.base + "/oidc/accounts/",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	if out := in.must(t, "sso", "switches"); strings.Contains(out, "take nothing") {
		t.Errorf("a look changes nothing: %s", out)
	}
}

// TestIssuerThatAWSCantTrust is said at the start, where an account at AWS is to
// take our tokens.
func TestIssuerThatAWSCantTrust(t *testing.T) {
	t.Parallel()
	in := install(t, replace(`name: lake, kind: aws`, `name: lake, kind: aws, exchanges: [saml, web-identity]`))
	if log := in.serve(t).log.String(); !strings.Contains(log, "AWS can't trust the issuer") || !strings.Contains(log, "777788889999") {
		t.Error(log)
	}
}
