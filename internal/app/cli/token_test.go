package cli_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/protocol/oidc"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/login"
)

// idTokens stands for the issuer: real tokens, by a key that nobody knows.
type idTokens struct {
	w    *world
	base string
}

func (i idTokens) mint(subject, audience, role string) (secret.Text, time.Time) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	i.w.minted++
	now := time.Now()
	claims := map[string]any{
		"iss": i.base + "/oidc", "sub": subject, "aud": audience, "jti": fmt.Sprint("token-", i.w.minted), "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
	}
	if role != "" {
		claims["https://aws.amazon.com/roles"] = []string{role}
	}
	text, err := oidc.SigningKey{ID: "one", Algorithm: oidc.ES256, Private: private}.Sign(oidc.TypeIDToken, claims)
	if err != nil {
		panic(err)
	}
	return secret.New(text), now.Add(5 * time.Minute)
}

func (i idTokens) ForPerson(_ context.Context, s login.LoginSession, audience, wanted string) (issuer.Minted, error) {
	i.w.mu.Lock()
	defer i.w.mu.Unlock()
	if audience != issuer.AudienceAWS && audience != "https://lake.example.com" {
		return issuer.Minted{}, fault.Coded(fault.Denied, issuer.CodeAudience, "no token is given for "+audience).WithMend("an administrator lists audiences in oidc.audiences")
	}
	for _, r := range s.Roles {
		if wanted == r.Role.String() || wanted == r.Role.Name {
			text, end := i.mint("user:"+string(s.Person.ID), audience, r.Role.String())
			return issuer.Minted{Token: text, Issuer: i.base + "/oidc", Expires: end}, nil
		}
	}
	if wanted != "" {
		return issuer.Minted{}, fault.Coded(fault.NotFound, "role.unheld", "you don't hold role \""+wanted+"\"")
	}
	text, end := i.mint("user:"+string(s.Person.ID), audience, "")
	return issuer.Minted{Token: text, Issuer: i.base + "/oidc", Expires: end}, nil
}

// tokenRoutes are discovery and token endpoint for one workload, spn_a.
func (w *world) tokenRoutes(base string) []httpd.Route {
	return []httpd.Route{
		{
			Method: http.MethodGet, Pattern: "/oidc/.well-known/openid-configuration", Access: httpd.Open, Rate: httpd.RateAPI, Errors: httpd.Problem,
			Handler: func(rw http.ResponseWriter, _ *http.Request) error {
				return json.NewEncoder(rw).Encode(map[string]string{"issuer": base + "/oidc", "token_endpoint": base + "/oidc/v1/token"})
			},
		},
		{
			Method: http.MethodPost, Pattern: "/oidc/v1/token", Access: httpd.Open, Rate: httpd.RateAPI, MaxBody: 64 << 10, Errors: httpd.Problem,
			Handler: func(rw http.ResponseWriter, r *http.Request) error {
				if err := r.ParseForm(); err != nil {
					return err
				}
				w.mu.Lock()
				defer w.mu.Unlock()
				refuse := func(status int, code, text string) error {
					rw.WriteHeader(status)
					return json.NewEncoder(rw).Encode(map[string]string{"error": code, "error_description": text})
				}
				subject := w.proven(r, base)
				switch {
				case subject == "":
					return refuse(http.StatusUnauthorized, "invalid_client", "The client did not prove itself")
				case w.disabled:
					return refuse(http.StatusBadRequest, "invalid_grant", "The service principal is switched off")
				case r.PostForm.Get("delegation") != "":
					subject = "job:" + r.PostForm.Get("delegation")
				}
				text, _ := idTokens{w, base}.mint(subject, r.PostForm.Get("audience"), r.PostForm.Get("role"))
				return json.NewEncoder(rw).Encode(map[string]any{
					"access_token": text.Reveal(), "issued_token_type": "urn:ietf:params:oauth:token-type:id_token", "token_type": "N_A", "expires_in": 300,
				})
			},
		},
	}
}

func (w *world) proven(r *http.Request, base string) string {
	if id, password, ok := r.BasicAuth(); ok && id == "spn_a" && password == "carnet_s_secret" {
		return "sp:spn_a"
	}
	if r.PostForm.Get("subject_token") == "token of the cluster" {
		return "sp:spn_b"
	}
	set, err := oidc.WriteKeySet([]oidc.PublicKey{{ID: "one", Algorithm: oidc.ES256, Key: w.key}})
	if err != nil {
		panic(err)
	}
	keys, err := oidc.ParseKeySet(set)
	if err != nil {
		panic(err)
	}
	token, err := oidc.Parse(r.PostForm.Get("client_assertion"))
	if err != nil {
		return ""
	}
	if _, err := token.Verify(keys, oidc.Expect{Issuer: "spn_a", Audiences: []string{base + "/oidc/v1/token"}}, time.Now()); err != nil {
		return ""
	}
	return "sp:spn_a"
}

// writeClientKey makes the workload's key.
func writeClientKey(path string, w *world) error {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	w.key = private.Public()
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

// waitFor waits until a file holds a text.
func waitFor(ts *testscript.TestScript, file, text string) {
	for range 500 {
		if b, err := os.ReadFile(ts.MkAbs(file)); err == nil && strings.Contains(string(b), text) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	ts.Fatalf("%s does not hold %s", file, text)
}
