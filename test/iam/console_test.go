//go:build interop

package iam

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// files are what the console's forms are filled with.
func (w *world) files() map[string]string {
	trust := func(audience string) string {
		return `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Federated": "arn:aws:iam::` + account +
			`:saml-provider/dev-idp"}, "Action": "sts:AssumeRoleWithSAML", "Condition": {"StringEquals": {"SAML:aud": "` + audience + `"}}}]}`
	}
	return map[string]string{
		"trust-console.json": trust("https://signin.aws.amazon.com/saml"),
		"trust-carnet.json":  trust(w.Web + "/saml/consume"),
		"s3.json": `{"Version": "2012-10-17", "Statement": [
  {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": "arn:aws:s3:::sales"},
  {"Effect": "Allow", "Action": ["s3:PutObject", "s3:GetObject", "s3:DeleteObject", "s3:PutObjectAcl"], "Resource": "arn:aws:s3:::sales/*"}]}`,
	}
}

// TestConsoleSteps does by command what the set-up of the system we succeed asks
// for in the console: SAML provider, role, trust relationship, inline policy;
// then it uses the role, and takes it away.
func TestConsoleSteps(t *testing.T) {
	w := start(t)
	dir := folder(t, w.files())
	w.metadata(dir)
	w.write(dir, "assertion.txt", w.assertion("alice"))
	w.transcript("saml", dir, w.administrator())
}

// TestSetupAsPrinted runs what carnet setup aws prints, as printed.
func TestSetupAsPrinted(t *testing.T) {
	w := start(t)
	dir := folder(t, nil)
	w.metadata(dir)
	w.write(dir, "assertion.txt", w.assertion("alice"))
	w.transcript("setup", dir, w.administrator())
}

// TestSetupOfOIDCAsPrinted runs what carnet setup aws --oidc prints, as printed,
// and has a workload read S3 by its token.
func TestSetupOfOIDCAsPrinted(t *testing.T) {
	w := start(t)
	dir := folder(t, nil)
	w.metadata(dir)
	w.write(dir, "assertion.txt", w.assertion("alice"))
	env := w.administrator()
	env["CONFIG"], env["WEB"] = filepath.Join(w.Data, "carnet.yaml"), w.Web
	w.transcript("setup-oidc", dir, env)
}

// TestUsersAndPolicies walks users, groups, managed policies, tags, boundaries
// and the simulator.
func TestUsersAndPolicies(t *testing.T) {
	w := start(t)
	w.transcript("users", folder(t, w.files()), w.administrator())
}

// TestWebIdentity has an OpenID Connect provider and its trust policy.
func TestWebIdentity(t *testing.T) {
	w := start(t)
	issuer := newIssuer(t)
	dir := folder(t, map[string]string{
		"trust.json": strings.ReplaceAll(`{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Federated": "arn:aws:iam::`+account+
			`:oidc-provider/HOST"}, "Action": "sts:AssumeRoleWithWebIdentity", "Condition": {"StringEquals": {"HOST:aud": "sts.amazonaws.com", "HOST:sub": "user:alice"}}}]}`, "HOST", issuer.host()),
		"s3.json":       w.files()["s3.json"],
		"alice.jwt":     issuer.token("user:alice", "sts.amazonaws.com"),
		"bob.jwt":       issuer.token("user:bob", "sts.amazonaws.com"),
		"elsewhere.jwt": issuer.token("user:alice", "another-audience"),
		"old.jwt":       issuer.expired("user:alice", "sts.amazonaws.com"),
	})
	env := w.administrator()
	env["ISSUER"] = issuer.url
	w.transcript("oidc", dir, env, issuer.url, "http://ISSUER", issuer.host(), "ISSUER")
}

// TestRoleChain assumes roles from roles: external id, session tags, source
// identity, session policies, limits.
func TestRoleChain(t *testing.T) {
	w := start(t)
	w.transcript("chain", folder(t, w.files()), w.administrator())
}

func (w *world) write(dir, name, text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}
