package servers

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/app/config"
	"carnet.dev/carnet/internal/app/server"
	"carnet.dev/carnet/internal/app/visitor"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/api"
	"carnet.dev/carnet/internal/edge/devidp"
	"carnet.dev/carnet/internal/service/federation"
)

const other = "444455556666"

// TestAnIdPGainsNothingOutsideItsList: an identity provider that may speak for
// one role and one domain asserts more. Every trust policy would let it; its
// list does not, at sign-in, at the API, or at STS with the bare assertion.
func TestAnIdPGainsNothingOutsideItsList(t *testing.T) {
	t.Parallel()
	web, aws := freeAddress(t), freeAddress(t)
	p := newPlace(t, "http://"+web,
		devidp.User{Name: "alice@example.com", Mail: "shared@example.com", Roles: []string{pair(account, "analyst"), pair(account, "engineer"), pair(other, "analyst")}},
		devidp.User{Name: "eve@elsewhere.example", Roles: []string{pair(account, "analyst")}},
		devidp.User{Name: "mallory@example.com", SessionName: "alice@example.com", Roles: []string{pair(account, "analyst")}},
		devidp.User{Name: "rita@example.com", Groups: []string{"carnet-admins"}, Roles: []string{pair(account, "analyst")}},
	)
	p.run(t, web, aws)
	for _, c := range []struct {
		name, user, role string
		signsIn, holds   bool
	}{
		{"what the list covers", "alice@example.com", "arn:aws:iam::" + account + ":role/analyst", true, true},
		{"a role beyond the patterns", "alice@example.com", "arn:aws:iam::" + account + ":role/engineer", true, false},
		{"an account beyond the list", "alice@example.com", "arn:aws:iam::" + other + ":role/analyst", true, false},
		{"a user name of another domain", "eve@elsewhere.example", "arn:aws:iam::" + account + ":role/analyst", false, false},
		{"a session name of somebody else", "mallory@example.com", "arn:aws:iam::" + account + ":role/analyst", true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.pause(t)
			v := visitor.New(nil)
			page, _, err := v.SignIn(t.Context(), p.base+"/sign-in", c.user, secret.New(password))
			if err != nil {
				t.Fatal(err)
			}
			if signedIn := page.Status == http.StatusOK && page.URL.Path == "/"; signedIn != c.signsIn {
				t.Errorf("signed in: %v\n%s", signedIn, page.Body)
			}
			if status := p.fetch(t, v, c.role); (status == http.StatusOK) != c.holds {
				t.Errorf("the API answers %d to a fetch of the keys", status)
			}
			if code := direct(t, aws, p.answerOf(t, c.user), c.role); (code == "") != c.holds || !c.holds && code != "AccessDenied" {
				t.Errorf("STS says %q to the bare assertion", code)
			}
		})
	}
	t.Run("an administrator beyond the list", func(t *testing.T) {
		p.pause(t)
		v := visitor.New(nil)
		if _, _, err := v.SignIn(t.Context(), p.base+"/sign-in", "rita@example.com", secret.New(password)); err != nil {
			t.Fatal(err)
		}
		page, err := v.Open(t.Context(), p.base+"/admin/sso")
		if err != nil || page.Status != http.StatusForbidden {
			t.Errorf("the administrators' page answers %d, %v", page.Status, err)
		}
	})
}

// run serves in this process, with the identity provider held to one role and
// one domain, while the trust policies of two accounts would take all it says.
func (p place) run(t *testing.T, web, aws string) {
	t.Helper()
	folder := t.TempDir()
	text := fmt.Sprintf(`{base_url: "%s", data: data, listen: {web: {address: "%s"}, aws: {address: "%s"}}, same_host: accept,
secrets: {key_encryption_key: kek}, accounts: [{id: "%s", name: analytics, kind: local}, {id: "%s", name: engineering, kind: local}]}`,
		p.base, web, aws, account, other)
	trust := strings.Replace(p.authority("s3:*"), "accounts:\n", "", 1)
	files := map[string]string{"carnet.yaml": text, "idp.xml": string(p.metadata),
		"authority.yaml": "accounts:\n" + trust + strings.ReplaceAll(trust, account, other)}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := config.Load(filepath.Join(folder, "carnet.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	listeners, err := server.Listen(c)
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(t.Context(), server.Options{Config: c, Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.ApplyAuthorityFile(t.Context(), filepath.Join(folder, "authority.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := srv.ReplaceIdP(t.Context(), p.narrow()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ctx, listeners) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
	})
}

// narrow is the identity provider with the list that the test holds it to.
func (p place) narrow() federation.IdP {
	return federation.IdP{Name: "Corp", Metadata: p.metadata, Enabled: true, Accounts: []string{account}, RolePatterns: []string{analyst},
		UserNameDomains: []string{"example.com"}, AllowAutoCreate: true}
}

// fetch asks the API for the keys of a role.
func (p place) fetch(t *testing.T, v *visitor.Visitor, role string) int {
	t.Helper()
	body, err := json.Marshal(api.CredentialsRequest{Role: role})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.base+"/api/v1/roles/credentials", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := v.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// answerOf gives what the identity provider says of a user, unused.
func (p place) answerOf(t *testing.T, user string) string {
	t.Helper()
	p.pause(t)
	v := visitor.New(nil)
	page, err := v.Open(t.Context(), p.base+"/sign-in")
	if err != nil {
		t.Fatal(err)
	}
	form, err := page.FormWith("password")
	if err != nil {
		t.Fatalf("%v\n%s", err, page.Body)
	}
	if page, err = v.Submit(t.Context(), page, form, map[string]string{"user": user, "password": password}); err != nil {
		t.Fatal(err)
	}
	if form, err = page.FormWith("SAMLResponse"); err != nil {
		t.Fatalf("%v\n%s", err, page.Body)
	}
	return form.Fields.Get("SAMLResponse")
}

// direct trades a bare assertion at the AWS port and gives STS's error code.
func direct(t *testing.T, aws, assertion, role string) string {
	t.Helper()
	of := strings.Split(role, ":")[4]
	resp, err := http.PostForm("http://"+aws+"/", url.Values{"Action": {"AssumeRoleWithSAML"}, "Version": {"2011-06-15"}, "RoleArn": {role},
		"PrincipalArn": {"arn:aws:iam::" + of + ":saml-provider/corp"}, "SAMLAssertion": {assertion}})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, refused := strings.Cut(string(body), "<Code>")
	if code, _, _ := strings.Cut(rest, "</Code>"); refused {
		return code
	}
	if !strings.Contains(string(body), "<SessionToken>") {
		t.Errorf("STS answers %d %s", resp.StatusCode, body)
	}
	return ""
}
