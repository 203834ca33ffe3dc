//go:build interop

package idp

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
	"time"

	"carnet.dev/carnet/internal/edge/devidp"
)

func escape(s string) string { return url.QueryEscape(s) }

// keycloak is Keycloak with its database in memory. What differs from row to
// row is changed through its administrators' API.
type keycloak struct {
	base, password, version string
	sign                    devidp.Signer
	program                 *program
	token                   string
	client                  map[string]any // as the API gives it
}

func (k *keycloak) name() string          { return "Keycloak" }
func (k *keycloak) release() string       { return k.version }
func (k *keycloak) signer() devidp.Signer { return k.sign }
func (k *keycloak) secret() string        { return k.password }
func (k *keycloak) log() string           { return k.program.log.String() }
func (k *keycloak) start(*carnet) string {
	return k.base + "/realms/carnet/protocol/saml/clients/carnet"
}
func (k *keycloak) leave(*carnet) string {
	return k.base + "/realms/carnet/protocol/openid-connect/logout"
}
func (k *keycloak) metadata(tb testing.TB) []byte {
	return k.program.await(tb, k.base+"/realms/carnet/protocol/saml/descriptor", 10*time.Second)
}

// startKeycloak runs the distribution that make has unpacked and built.
func startKeycloak(tb testing.TB, c *carnet) realIdP {
	tb.Helper()
	found, err := filepath.Glob(filepath.Join(need(tb, "CARNET_IDPS"), "keycloak-*/bin/kc.sh"))
	if err != nil || len(found) != 1 {
		tb.Fatalf("want one Keycloak in CARNET_IDPS: %v %v", found, err)
	}
	home := filepath.Dir(filepath.Dir(found[0]))
	k := &keycloak{
		base: fmt.Sprintf("http://localhost:%d", freePort(tb)), password: "correct horse battery", sign: signer(tb),
		version: strings.TrimPrefix(filepath.Base(home), "keycloak-"),
	}
	java, err := os.ReadFile(filepath.Join(need(tb, "CARNET_IDPS"), "java-home"))
	must(tb, err)
	env := append(os.Environ(), "JAVA_HOME="+strings.TrimSpace(string(java)), "KC_BOOTSTRAP_ADMIN_USERNAME=admin", "KC_BOOTSTRAP_ADMIN_PASSWORD="+k.password,
		"JAVA_OPTS_APPEND=-Xmx512m -XX:TieredStopAtLevel=1")
	k.program = run(tb, tb.TempDir(), env, found[0], "start", "--optimized", "--http-enabled=true", "--http-host=127.0.0.1",
		"--http-port="+k.base[strings.LastIndexByte(k.base, ':')+1:], "--hostname-strict=false", "--cache=local", "--log-level=warn")
	k.program.await(tb, k.base+"/realms/master", 4*time.Minute)
	k.signOn(tb)
	k.call(tb, http.MethodPost, "/admin/realms", k.realm(tb, c), nil)
	var clients []map[string]any
	k.call(tb, http.MethodGet, "/admin/realms/carnet/clients?clientId="+escape(c.url), nil, &clients)
	if len(clients) != 1 {
		tb.Fatalf("%d clients", len(clients))
	}
	k.client = clients[0]
	return k
}

func (k *keycloak) realm(tb testing.TB, c *carnet) []byte {
	tb.Helper()
	t, err := template.ParseFS(files, "keycloak/realm.json")
	must(tb, err)
	key, err := x509.MarshalPKCS8PrivateKey(k.sign.Key.(*rsa.PrivateKey))
	must(tb, err)
	var out bytes.Buffer
	must(tb, t.Execute(&out, map[string]any{
		"PrivateKey": bare(key), "Certificate": bare(k.sign.Certificate.Raw), "URL": c.url, "User": user, "Password": k.password,
		"Base": c.base, "Secret": k.password, "OpenIDRoles": []string{analyst, engineer},
		"Roles": []string{analyst + "," + provider, engineer + "," + provider},
	}))
	return out.Bytes()
}

// signOn gets the administrator's token, which lives for a minute.
func (k *keycloak) signOn(tb testing.TB) {
	tb.Helper()
	resp, err := http.PostForm(k.base+"/realms/master/protocol/openid-connect/token", url.Values{
		"grant_type": {"password"}, "client_id": {"admin-cli"}, "username": {"admin"}, "password": {k.password},
	})
	must(tb, err)
	defer resp.Body.Close()
	var got struct {
		Token string `json:"access_token"`
	}
	must(tb, json.NewDecoder(resp.Body).Decode(&got))
	if got.Token == "" {
		tb.Fatalf("no token: %s", resp.Status)
	}
	k.token = got.Token
}

func (k *keycloak) call(tb testing.TB, method, path string, body []byte, into any) {
	tb.Helper()
	req, err := http.NewRequest(method, k.base+path, bytes.NewReader(body))
	must(tb, err)
	req.Header.Set("Authorization", "Bearer "+k.token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	must(tb, err)
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	must(tb, err)
	if resp.StatusCode >= 300 {
		tb.Fatalf("%s %s: %s\n%s", method, path, resp.Status, said)
	}
	if into != nil {
		must(tb, json.Unmarshal(said, into))
	}
}

func (k *keycloak) set(tb testing.TB, c *carnet, m mode) {
	tb.Helper()
	attributes := k.client["attributes"].(map[string]any)
	set := func(name string, on bool) { attributes[name] = fmt.Sprint(on) }
	set("saml.assertion.signature", m.signed != "response")
	set("saml.server.signature", m.signed != "assertion")
	set("saml.client.signature", m.request == "signed")
	set("saml.encrypt", m.cipher != "")
	attributes["saml.assertion.lifespan"] = "300"
	if c.server != nil {
		_, known := c.provider(tb)
		if len(known.Signing) > 0 {
			attributes["saml.signing.certificate"] = bare(known.Signing[0].Raw)
		}
		if known.Encrypt != nil {
			attributes["saml.encryption.certificate"] = bare(known.EncryptCertificate.Raw)
		}
		attributes["saml.encryption.algorithm"] = ciphers[m.cipher]
	}
	text, err := json.Marshal(k.client)
	must(tb, err)
	k.signOn(tb)
	k.call(tb, http.MethodPut, "/admin/realms/carnet/clients/"+k.client["id"].(string), text, nil)
}
