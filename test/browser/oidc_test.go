//go:build interop

package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// host runs a command of the server's host and reads what it prints as JSON.
func (w *world) host(t *testing.T, into any, args ...string) {
	t.Helper()
	cmd := exec.Command(w.binary, append(args, "--output", "json", "--config", filepath.Join(w.Data, "carnet.yaml"))...)
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, into)
	}
	if err != nil {
		t.Fatalf("carnet %v: %v\n%s", args, err, out)
	}
}

// register registers a public client and waits until the server has followed.
func (w *world) register(t *testing.T, name string, flags ...string) (id string) {
	t.Helper()
	var made struct {
		ID string `json:"id"`
	}
	w.host(t, &made, append([]string{"client", "add", name, "--public", "--owner", "tests"}, flags...)...)
	for range 100 {
		answer, err := http.PostForm(w.Web+"/oidc/v1/token", url.Values{"client_id": {made.ID}, "grant_type": {"refresh_token"}, "refresh_token": {"none"}})
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusUnauthorized {
			return made.ID
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("the server doesn't know the client that was registered")
	return ""
}

func (w *world) provider(t *testing.T) *oidc.Provider {
	t.Helper()
	op, err := oidc.NewProvider(t.Context(), w.Web+"/oidc")
	if err != nil {
		t.Fatal(err)
	}
	return op
}

// asks calls our API with an access token and gives the status.
func (w *world) asks(t *testing.T, token string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.Web+"/api/v1/session", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return answer.StatusCode
}

// TestBrowserConnectsADevice: a device that a library of others runs shows a
// code; its person signs in on the way to the page, types the code, sees who
// asks, and says yes. What the device got ends when they sign out.
func TestBrowserConnectsADevice(t *testing.T) {
	w := start(t)
	id := w.register(t, "Notebook", "--grant", "urn:ietf:params:oauth:grant-type:device_code", "--grant", "refresh_token", "--scope", "openid,offline_access,all-apis")
	op := w.provider(t)
	rp := oauth2.Config{ClientID: id, Endpoint: op.Endpoint(), Scopes: []string{"openid", "offline_access", "all-apis"}}
	asked, err := rp.DeviceAuth(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if asked.VerificationURIComplete != "" || asked.VerificationURI != w.Web+"/device" || asked.Interval != 5 {
		t.Errorf("the device got %+v", asked)
	}
	type result struct {
		token *oauth2.Token
		err   error
	}
	got := make(chan result, 1)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	go func() {
		token, err := rp.DeviceAccessToken(ctx, asked)
		got <- result{token, err}
	}()
	b := w.browser(t, false)
	b.open(asked.VerificationURI + "?user_code=" + asked.UserCode)
	b.answer("alice")
	b.await("#user_code")
	if v := ask[string](b, `document.querySelector("#user_code").value`); v != "" {
		t.Errorf("the link filled the code in: %q", v)
	}
	b.look("device")
	b.write("#user_code", "BBBBBBBB\r")
	b.await(`[role="alert"]`)
	b.reads("main", "No device waits under this code")
	b.forgive("status of 404")
	b.write("#user_code", strings.ToLower(asked.UserCode)+"\r")
	b.await(`button[value="approve"]`)
	b.reads("main", "Let this device act as you?", "Notebook", "tests", asked.UserCode, "127.0.0.1", "Go-http-client", "Alice Analyst", strings.TrimPrefix(w.Web, "http://"), "Act as you in Carnet")
	b.look("device-review")
	b.click(`button[value="approve"]`)
	b.await(".door .button")
	b.reads("main", "The device is connected")
	r := <-got
	if r.err != nil {
		t.Fatal(r.err)
	}
	raw, _ := r.token.Extra("id_token").(string)
	claims, err := op.Verifier(&oidc.Config{ClientID: id}).Verify(t.Context(), raw)
	if err != nil || !strings.HasPrefix(claims.Subject, "user:psn_") || r.token.RefreshToken == "" {
		t.Errorf("ID token %+v, %v", claims, err)
	}
	if status := w.asks(t, r.token.AccessToken); status != http.StatusOK {
		t.Errorf("the API answers the device %d", status)
	}
	if _, err := rp.DeviceAccessToken(ctx, asked); err == nil || !strings.Contains(err.Error(), "invalid_grant") {
		t.Errorf("the code counts again: %v", err)
	}
	b.open(w.Web)
	b.signOut()
	if status := w.asks(t, r.token.AccessToken); status != http.StatusUnauthorized {
		t.Errorf("after the sign-out the API answers the device %d", status)
	}
	r.token.Expiry = time.Now().Add(-time.Minute)
	if _, err := rp.TokenSource(t.Context(), r.token).Token(); err == nil {
		t.Error("after the sign-out the device refreshes")
	}
}

// TestBrowserRefusesADevice: a no reaches the device.
func TestBrowserRefusesADevice(t *testing.T) {
	w := start(t)
	id := w.register(t, "Notebook", "--grant", "urn:ietf:params:oauth:grant-type:device_code", "--scope", "openid")
	rp := oauth2.Config{ClientID: id, Endpoint: w.provider(t).Endpoint(), Scopes: []string{"openid"}}
	asked, err := rp.DeviceAuth(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b := w.browser(t, true) // without script
	b.open(asked.VerificationURI)
	b.answer("alice")
	b.click("#deliver button")
	b.await("#user_code")
	b.write("#user_code", asked.UserCode+"\r")
	b.click(`button[value="refuse"]`)
	b.await(".door .button")
	b.reads("main", "The device was refused")
	if _, err := rp.DeviceAccessToken(t.Context(), asked); err == nil || !strings.Contains(err.Error(), "access_denied") {
		t.Errorf("the device hears %v", err)
	}
}

// party is a small relying party on another site: localhost, where Carnet is at
// 127.0.0.1. After its callback it leads on to a site of its own.
type party struct {
	URL string
	rp  oauth2.Config
	op  *oidc.Provider
	t   *testing.T
}

func newParty(t *testing.T, w *world, flags ...string) *party {
	p := &party{t: t, op: w.provider(t)}
	home := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(rw, `<!doctype html><title>Home</title><link rel="icon" href="data:,"><p id="home">%s</p>`, r.URL.Query().Get("say"))
	}))
	t.Cleanup(home.Close)
	srv := httptest.NewServer(nil)
	t.Cleanup(srv.Close)
	p.URL = strings.Replace(srv.URL, "127.0.0.1", "localhost", 1)
	srv.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/":
			http.Redirect(rw, r, p.rp.AuthCodeURL("s&t", oauth2.S256ChallengeOption(verifier), oidc.Nonce("n")), http.StatusFound)
		case "/callback":
			http.Redirect(rw, r, home.URL+"/?"+url.Values{"say": {p.answered(r)}}.Encode(), http.StatusFound)
		}
	})
	p.rp = oauth2.Config{ClientID: w.register(t, "Small party", append(flags, "--redirect-uri", p.URL+"/callback")...), Endpoint: p.op.Endpoint(), RedirectURL: p.URL + "/callback", Scopes: []string{"openid", "profile"}}
	return p
}

const verifier = "a-verifier-of-this-test-that-is-long-enough-1"

// answered is what the party says of what came back.
func (p *party) answered(r *http.Request) string {
	q := r.URL.Query()
	if q.Get("state") != "s&t" {
		return "another state"
	}
	if q.Has("error") {
		return "refused: " + q.Get("error")
	}
	tokens, err := p.rp.Exchange(r.Context(), q.Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		return err.Error()
	}
	raw, _ := tokens.Extra("id_token").(string)
	id, err := p.op.Verifier(&oidc.Config{ClientID: p.rp.ClientID}).Verify(r.Context(), raw)
	if err != nil || id.Nonce != "n" {
		return fmt.Sprint("ID token: ", err)
	}
	var claims struct {
		Name string `json:"preferred_username"`
	}
	if err := id.Claims(&claims); err != nil {
		return err.Error()
	}
	return "welcome " + claims.Name
}

// TestBrowserConsents: from a relying party to Carnet and its identity provider,
// the question, and back; with script and without.
func TestBrowserConsents(t *testing.T) {
	w := start(t)
	p := newParty(t, w)
	for name, plain := range map[string]bool{"with script": false, "without": true} {
		t.Run(name, func(t *testing.T) {
			b := w.browser(t, plain)
			b.open(p.URL)
			b.answer("alice")
			if plain {
				b.click("#deliver button")
			}
			b.await(`button[value="approve"]`)
			b.reads("main", "Let Small party act for you?", "Alice Analyst", "localhost:", "a program on this machine", "Know who you are", "See your name")
			b.look("consent")
			b.click(`button[value="refuse"]`)
			b.await("#home")
			b.reads("#home", "refused: access_denied")
			b.open(p.URL) // signed in still, and asked again
			b.await(`button[value="approve"]`)
			b.click(`button[value="approve"]`)
			b.await("#home")
			b.reads("#home", "welcome alice")
		})
	}
}

// TestBrowserTrustedParty: a client for which nobody is asked. From the identity
// provider's form to the client no page is shown, and no policy of a form's
// page, ours or the identity provider's, stops the browser at another site.
func TestBrowserTrustedParty(t *testing.T) {
	w := start(t)
	p := newParty(t, w, "--trusted")
	for name, plain := range map[string]bool{"with script": false, "without": true} {
		t.Run(name, func(t *testing.T) {
			b := w.browser(t, plain)
			b.open(p.URL)
			b.answer("alice")
			if plain {
				b.click("#deliver button")
			}
			b.await("#home")
			b.reads("#home", "welcome alice")
			b.open(p.URL) // signed in: straight through
			b.await("#home")
			b.reads("#home", "welcome alice")
		})
	}
}

// secretWorks reports whether a secret gets a token for a service principal.
func (w *world) secretWorks(t *testing.T, id, secret string) bool {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.Web+"/oidc/v1/token", strings.NewReader("grant_type=client_credentials&scope=all-apis"))
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(id, secret)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// TestBrowserOIDCFederation: an administrator sees what there is, makes a secret
// that works, ends it, rotates a key, switches a client off; a person lets a job
// work as them, and the administrator takes it back.
func TestBrowserOIDCFederation(t *testing.T) {
	w := start(t)
	var sp struct {
		ID string `json:"id"`
	}
	w.host(t, &sp, "people", "service-principal", "add", "nightly-report")
	client := w.register(t, "Dashboard", "--redirect-uri", "https://dashboard.example.com/callback")

	person := w.browser(t, false)
	person.signIn("alice")
	person.reads(".card", "Served", "You are needed")
	person.look("access-served")
	person.click("#delegations summary")
	person.write("#d-label", "nightly report")
	person.write("#d-sp", "nobody")
	person.click("#delegations form > p button")
	person.await(`#delegations [role="alert"]`)
	person.forgive("status of 404")
	person.look("delegation-refused")
	person.do(chromedp.SetValue(chromedp.CSS("#d-sp"), "nightly-report"))
	person.click("#delegations form > p button")
	person.await("#delegations .note.good")
	person.reads("#delegations", "nightly-report may work as you in analyst", "dlg_")
	person.look("delegation-made")

	b := w.browser(t, false)
	b.signIn("carol")
	b.click(`nav a[href="/admin/oidc"]`)
	b.await("#issuers")
	b.reads("main", w.Web+"/oidc", "Registered at AWS", "Signs", "Dashboard", "nightly-report", "alice", "nightly report")
	b.look("oidc")
	b.click(`button[value="rotate"]`)
	b.await(".note.good")
	b.reads("main", "The next key is made", "Published")

	b.open(w.Web + "/admin/oidc/clients/" + sp.ID)
	b.click("#credentials ~ details > summary")
	b.write("#c-owner", "carol")
	b.click(`button[value="secret"]`)
	b.await("#made")
	b.look("oidc-secret")
	secret := b.text("section.note pre code")
	if !strings.HasPrefix(secret, "carnet_s_") || !w.secretWorks(t, sp.ID, secret) {
		t.Errorf("the secret does not work")
	}
	b.click(`button[value="remove"]`)
	b.await("p.note.good")
	if w.secretWorks(t, sp.ID, secret) {
		t.Error("the removed secret works")
	}
	b.open(w.Web + "/admin/oidc/clients/" + client)
	b.click(`button[value="disable"]`)
	b.await(".note.good")
	b.reads("main", "The client is switched off", "Off")
	b.open(w.Web + "/admin/oidc")
	b.await("#delegations")
	b.click("#delegations ~ ul .danger")
	b.await(".note.good")
	b.reads("main", "The delegation is revoked", "None stands")
	person.open(w.Web)
	person.await("#delegations")
	person.reads("#delegations", "Nobody works as you while you are away")
}
