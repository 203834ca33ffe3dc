//go:build interop

// Package rp has relying parties that nobody here wrote sign people in at
// Carnet: coreos/go-oidc, openid-client on Node.js and Nimbus' SDK on Java.
// Each gets the issuer, a client id and a secret, and finds the rest by
// discovery. It is started by make interop-rp; what is missing fails.
package rp

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"carnet.dev/carnet/test/running"
)

// client is one registered at Carnet.
type client struct {
	ID       string
	Secret   string
	Redirect string // on loopback
}

// register registers a confidential client, as an administrator does.
func register(t *testing.T, w *running.World, name string) client {
	t.Helper()
	c := client{Redirect: "http://127.0.0.1:" + freePort(t) + "/callback"}
	var made struct {
		ID string `json:"id"`
	}
	w.HostJSON(t, &made, "client", "add", name, "--redirect-uri", c.Redirect)
	var secret struct {
		Secret string `json:"secret"`
	}
	w.HostJSON(t, &secret, "client", "secret", "add", made.ID)
	c.ID, c.Secret = made.ID, secret.Secret
	c.known(t, w)
	return c
}

// known waits until the server has followed: within a second.
func (c client) known(t *testing.T, w *running.World) {
	t.Helper()
	for range 100 {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.Web+"/oidc/v1/introspect", strings.NewReader("token=none"))
		if err != nil {
			t.Fatal(err)
		}
		request.SetBasicAuth(c.ID, c.Secret)
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode == http.StatusOK {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("the server doesn't know the client that was registered")
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// approve opens the address of a relying party as alice, signs in and agrees.
func approve(t *testing.T, w *running.World, address string) {
	t.Helper()
	v, page := w.SignIn(t, address, "alice")
	form, err := page.FormWith("decision")
	if err != nil {
		t.Fatalf("no page that asks for consent: %v\n%s", err, page.Body)
	}
	if _, err := v.Submit(t.Context(), page, form, map[string]string{"decision": "approve"}); err != nil {
		t.Fatal(err)
	}
}

func TestGoOIDC(t *testing.T) {
	w := running.Dev(t)
	c := register(t, w, "go-oidc")
	op, err := oidc.NewProvider(t.Context(), w.Web+"/oidc")
	if err != nil {
		t.Fatal(err)
	}
	rp := oauth2.Config{ClientID: c.ID, ClientSecret: c.Secret, Endpoint: op.Endpoint(), RedirectURL: c.Redirect,
		Scopes: []string{oidc.ScopeOpenID, oidc.ScopeOfflineAccess, "profile", "email"}}
	verifier := oauth2.GenerateVerifier()
	answers := listen(t, c.Redirect)
	approve(t, w, rp.AuthCodeURL("state-1", oidc.Nonce("nonce-1"), oauth2.S256ChallengeOption(verifier)))
	answer := <-answers
	if answer.Get("state") != "state-1" || answer.Get("iss") != w.Web+"/oidc" {
		t.Fatalf("answer %v", answer)
	}
	tokens, err := rp.Exchange(t.Context(), answer.Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := tokens.Extra("id_token").(string)
	id, err := op.Verifier(&oidc.Config{ClientID: c.ID}).Verify(t.Context(), raw)
	if err != nil || id.Nonce != "nonce-1" || !strings.HasPrefix(id.Subject, "user:psn_") {
		t.Fatalf("%v %+v", err, id)
	}
	if err := id.VerifyAccessToken(tokens.AccessToken); err != nil {
		t.Error(err)
	}
	user, err := op.UserInfo(t.Context(), oauth2.StaticTokenSource(tokens))
	if err != nil || user.Subject != id.Subject {
		t.Errorf("userinfo: %v %+v", err, user)
	}
	tokens.Expiry = time.Now().Add(-time.Minute)
	again, err := rp.TokenSource(t.Context(), tokens).Token()
	if err != nil || again.AccessToken == tokens.AccessToken {
		t.Errorf("refresh: %v", err)
	}
}

// listen answers at a redirect address once.
func listen(t *testing.T, redirect string) <-chan url.Values {
	t.Helper()
	answers := make(chan url.Values, 1)
	address := strings.TrimSuffix(strings.TrimPrefix(redirect, "http://"), "/callback")
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		answers <- r.URL.Query()
	})}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	return answers
}

// foreign runs a relying party of another language: it prints the address to
// open, then what it learned.
func foreign(t *testing.T, w *running.World, into any, dir, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var errors strings.Builder
	cmd.Stderr = &errors
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var first struct{ Open string }
	if !lines.Scan() || json.Unmarshal(lines.Bytes(), &first) != nil || first.Open == "" {
		t.Fatalf("it printed %q\n%s", lines.Text(), &errors)
	}
	approve(t, w, first.Open)
	if !lines.Scan() {
		t.Fatalf("it printed nothing more\n%s", &errors)
	}
	if err := json.Unmarshal(lines.Bytes(), into); err != nil {
		t.Fatalf("%v: %s", err, lines.Text())
	}
	t.Log(lines.Text())
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, &errors)
	}
}

// learned is what both foreign relying parties print.
type learned struct {
	Error     string
	Cause     string
	Claims    map[string]any
	User      map[string]any
	Refreshed bool
	Refused   bool
	Active    bool
}

func (l learned) check(t *testing.T, w *running.World, c client) {
	t.Helper()
	subject, _ := l.Claims["sub"].(string)
	if l.Error != "" || l.Claims["iss"] != w.Web+"/oidc" || !strings.HasPrefix(subject, "user:psn_") || l.User["sub"] != subject || l.User["preferred_username"] != "alice" {
		t.Errorf("it learned %+v", l)
	}
	if aud := l.Claims["aud"]; aud != c.ID {
		if list, ok := aud.([]any); !ok || len(list) != 1 || list[0] != c.ID {
			t.Errorf("audience %v", aud)
		}
	}
}

func TestNodeOpenIDClient(t *testing.T) {
	w := running.Dev(t)
	c := register(t, w, "openid-client")
	var got learned
	foreign(t, w, &got, running.Need(t, "CARNET_RP_NODE"), "node", "rp.mjs", w.Web+"/oidc", c.ID, c.Secret, c.Redirect)
	got.check(t, w, c)
	if !got.Refreshed || !got.Refused {
		t.Errorf("refresh %v, refused once revoked %v", got.Refreshed, got.Refused)
	}
}

func TestJavaNimbus(t *testing.T) {
	w := running.Dev(t)
	c := register(t, w, "nimbus")
	dir := running.Need(t, "CARNET_RP_JAVA")
	var got learned
	foreign(t, w, &got, dir, "java", "-cp", filepath.Join(dir, "jars", "*")+":"+filepath.Join(dir, "classes"), "RP", w.Web+"/oidc", c.ID, c.Secret, c.Redirect)
	got.check(t, w, c)
	if !got.Active {
		t.Error("introspection says that a live access token is not active")
	}
}
