package oauthclient_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/oauthclient"
	"carnet.dev/carnet/internal/protocol/oidc"
)

// issuer is a token endpoint over the real wire that answers as it is told and
// keeps what it was asked.
type issuer struct {
	*httptest.Server
	document func(base string) map[string]any
	status   int
	answer   string
	form     url.Values
	user     string
	password string
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{status: 200, answer: `{"access_token":"the-token","issued_token_type":"urn:ietf:params:oauth:token-type:id_token","token_type":"N_A","expires_in":300}`}
	i.document = func(base string) map[string]any {
		return map[string]any{"issuer": base + "/oidc", "token_endpoint": base + "/oidc/v1/token"}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /oidc/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(i.document(i.URL))
	})
	mux.HandleFunc("POST /oidc/v1/token", func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		i.form = r.PostForm
		i.user, i.password, _ = r.BasicAuth()
		if i.status == http.StatusFound {
			http.Redirect(w, r, "/elsewhere", i.status)
			return
		}
		w.WriteHeader(i.status)
		fmt.Fprint(w, i.answer)
	})
	mux.HandleFunc("/elsewhere", func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") })
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) endpoint(t *testing.T) *oauthclient.Endpoint {
	t.Helper()
	e, err := oauthclient.Discover(t.Context(), i.URL+"/oidc", nil)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

var ask = oauthclient.Ask{Audience: "sts.amazonaws.com", Role: "arn:aws:iam::111122223333:role/nightly", Delegation: "dlg_a"}

func TestProofs(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signing := &oidc.SigningKey{ID: "one", Algorithm: oidc.ES256, Private: key}
	now := time.Unix(1800000000, 0)
	for name, tt := range map[string]struct {
		proof oauthclient.Proof
		want  url.Values
		user  string
	}{
		"secret": {
			oauthclient.Proof{ClientID: "spn_a", Secret: secret.New("carnet_s_+/")},
			url.Values{"grant_type": {"client_credentials"}}, "spn_a:carnet_s_%2B%2F",
		},
		"key": {
			oauthclient.Proof{ClientID: "spn_a", Key: signing, Now: now},
			url.Values{"grant_type": {"client_credentials"}, "client_id": {"spn_a"}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}}, ":",
		},
		"foreign token": {
			oauthclient.Proof{ClientID: "spn_a", Foreign: secret.New("theirs")},
			url.Values{
				"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "client_id": {"spn_a"},
				"subject_token": {"theirs"}, "subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"},
			}, ":",
		},
		"foreign token alone": {
			oauthclient.Proof{Foreign: secret.New("theirs")},
			url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {"theirs"}, "subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"}}, ":",
		},
	} {
		i := newIssuer(t)
		got, err := i.endpoint(t).IDToken(t.Context(), tt.proof, ask)
		if err != nil || got.Reveal() != "the-token" {
			t.Errorf("%s: %v", name, err)
		}
		if assertion := i.form.Get("client_assertion"); assertion != "" {
			i.form.Del("client_assertion")
			keys, err := oidc.WriteKeySet([]oidc.PublicKey{signing.Public()})
			if err != nil {
				t.Fatal(err)
			}
			set, err := oidc.ParseKeySet(keys)
			if err != nil {
				t.Fatal(err)
			}
			token, err := oidc.Parse(assertion)
			if err != nil {
				t.Fatal(err)
			}
			claims, err := token.Verify(set, oidc.Expect{Issuer: "spn_a", Audiences: []string{i.URL + "/oidc/v1/token"}}, now)
			if err != nil || claims.Subject != "spn_a" {
				t.Errorf("assertion %+v, %v", claims, err)
			}
		} else if tt.proof.Key != nil {
			t.Errorf("%s: no assertion", name)
		}
		for k, v := range map[string]string{"audience": ask.Audience, "role": ask.Role, "delegation": ask.Delegation, "requested_token_type": "urn:ietf:params:oauth:token-type:id_token"} {
			tt.want.Set(k, v)
		}
		if i.form.Encode() != tt.want.Encode() || i.user+":"+i.password != tt.user {
			t.Errorf("%s: %v by %s:%s", name, i.form, i.user, i.password)
		}
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		status int
		answer string
		kind   fault.Kind
		code   string
	}{
		"id_token":             {200, `{"id_token":"the-token","token_type":"N_A"}`, 0, ""},
		"an access token":      {200, `{"access_token":"for the API","token_type":"Bearer"}`, fault.Unavailable, "issuer.answer"},
		"not JSON":             {200, `<html>`, fault.Unavailable, "issuer.answer"},
		"wrong proof":          {401, `{"error":"invalid_client","error_description":"Say who you are"}`, fault.Unauthenticated, "invalid_client"},
		"role not held":        {400, `{"error":"invalid_target"}`, fault.Denied, "invalid_target"},
		"unknown code":         {400, `{"error":"teapot"}`, fault.Invalid, "teapot"},
		"too often":            {429, `{"error":"teapot"}`, fault.Limited, "teapot"},
		"away":                 {503, `{"error":"temporarily_unavailable"}`, fault.Unavailable, "temporarily_unavailable"},
		"a proxy":              {502, `bad gateway`, fault.Unavailable, "issuer.answer"},
		"a redirect":           {302, ``, fault.Unavailable, "issuer.answer"},
		"more than it may say": {200, `{"id_token":"` + strings.Repeat("x", 2<<20) + `"}`, fault.Unavailable, "server.unreachable"},
	} {
		i := newIssuer(t)
		i.status, i.answer = tt.status, tt.answer
		_, err := i.endpoint(t).IDToken(t.Context(), oauthclient.Proof{ClientID: "spn_a", Secret: secret.New("carnet_s_x")}, ask)
		f := fault.Of(err)
		if tt.code == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if f == nil || f.Kind != tt.kind || f.Code != tt.code || strings.Contains(err.Error(), "carnet_s_x") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAttackIssuerMixUp: a document that names another issuer, or an endpoint
// where a proof must not go, is not used.
func TestAttackIssuerMixUp(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		document map[string]any
		code     string
	}{
		"another issuer":        {map[string]any{"issuer": "https://other.example.com", "token_endpoint": "BASE/oidc/v1/token"}, "issuer.other"},
		"in the open":           {map[string]any{"issuer": "BASE/oidc", "token_endpoint": "http://other.example.com/token"}, "issuer.discovery"},
		"no endpoint":           {map[string]any{"issuer": "BASE/oidc"}, "issuer.discovery"},
		"endpoint with a query": {map[string]any{"issuer": "BASE/oidc", "token_endpoint": "BASE/oidc/v1/token?x=1"}, "issuer.discovery"},
		"no issuer":             {map[string]any{"token_endpoint": "BASE/oidc/v1/token"}, "issuer.discovery"},
	} {
		i := newIssuer(t)
		i.document = func(base string) map[string]any {
			out := map[string]any{}
			for k, v := range tt.document {
				out[k] = strings.Replace(v.(string), "BASE", base, 1)
			}
			return out
		}
		if _, err := oauthclient.Discover(t.Context(), i.URL+"/oidc", nil); fault.Of(err) == nil || fault.Of(err).Code != tt.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	i := newIssuer(t)
	i.document = func(base string) map[string]any {
		return map[string]any{"issuer": "https://public.example.com/oidc", "token_endpoint": base + "/oidc/v1/token"}
	}
	if e, err := oauthclient.DiscoverAt(t.Context(), i.URL, nil); err != nil || e.Issuer != "https://public.example.com/oidc" || e.Base() != i.URL {
		t.Errorf("an issuer with another public name: %v", err)
	}
	i.document = func(string) map[string]any {
		return map[string]any{"issuer": "https://other.example.com/oidc", "token_endpoint": "https://other.example.com/oidc/v1/token"}
	}
	if _, err := oauthclient.DiscoverAt(t.Context(), i.URL, nil); fault.Of(err) == nil || fault.Of(err).Code != "issuer.other" {
		t.Errorf("an endpoint elsewhere: %v", err)
	}
	for _, bad := range []string{"http://carnet.example.com/oidc", "carnet.example.com", "https://u:p@carnet.example.com", "https://carnet.example.com/oidc/", ""} {
		if _, err := oauthclient.Discover(t.Context(), bad, nil); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
