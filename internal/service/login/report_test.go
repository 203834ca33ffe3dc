package login_test

import (
	"strings"
	"testing"

	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/devidp"
	"carnet.dev/carnet/internal/service/federation"
	"carnet.dev/carnet/internal/service/login"
)

// test begins a test sign-in.
func (w *world) test() visit {
	w.t.Helper()
	return w.beginWith("/", login.Options{Test: true})
}

// TestTestSignIn says what a sign-in would do, and does none of it.
func TestTestSignIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.set(func(p *federation.IdP) { p.Enabled = false }) // tried before it is switched on
	v := w.test()
	response := w.respond(v, roles(analyst+","+idp1, "arn:aws:iam::999999999999:role/x,arn:aws:iam::999999999999:saml-provider/y"), func(a *devidp.Answer) {
		a.Attributes = append(a.Attributes, devidp.Attribute{Name: "groups", Values: []string{"admins", strings.Repeat("g", 3000)}})
	})
	c, err := w.consume(v, response)
	must(t, err)
	if !c.Test || !c.Arrival.IsZero() {
		t.Fatalf("consumed %+v", c)
	}
	for range 2 {
		r, err := w.Report(t.Context(), c.Handle, v.started.PreLogin)
		must(t, err)
		if r.Refusal != nil || r.Person.UserName != "alice" || r.Person.ID != "" || !r.Administrator || r.IdPName != "Dev" ||
			len(r.Roles) != 1 || r.Roles[0].ARN != analyst || r.Roles[0].Problem != "" || r.Certificate.SHA256 == "" || len(r.Notes) != 1 {
			t.Errorf("report %+v", r)
		}
		if len(r.Checks) < 8 {
			t.Errorf("only %d checks: %+v", len(r.Checks), r.Checks)
		}
		for _, check := range r.Checks {
			if !check.OK {
				t.Errorf("check %+v", check)
			}
		}
		if last := r.Attributes[len(r.Attributes)-1]; last.Name != "groups" || len(last.Values[1]) > 300 {
			t.Errorf("attributes %+v", r.Attributes)
		}
	}
	for _, table := range []string{"login_session", "login_ticket", "person", "role_session"} {
		if n := w.count(table); n != 0 {
			t.Errorf("a test left %d rows in %s", n, table)
		}
	}
	if len(w.sts.calls) != 0 {
		t.Error("a test traded its assertion")
	}
	if acts := w.acts(); len(acts) != 1 || acts[0] != "test-sign-in" {
		t.Errorf("recorded %v", acts)
	}
}

// TestTestSignInCantBeAbused: its report stays in the browser that began it,
// its response signs nobody in, and no other response is taken by it.
func TestTestSignInCantBeAbused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.test()
	response := w.respond(v)
	c, err := w.consume(v, response)
	must(t, err)
	_, err = w.Report(t.Context(), c.Handle, w.test().started.PreLogin)
	wantCode(t, err, "login.browser")
	_, err = w.Report(t.Context(), c.Handle, secret.Text{})
	wantCode(t, err, "login.browser")
	_, err = w.Report(t.Context(), secret.New("made up"), v.started.PreLogin)
	wantCode(t, err, "login.handle")
	_, err = w.Complete(t.Context(), c.Handle, v.started.PreLogin)
	wantCode(t, err, "login.handle")
	_, err = w.consume(v, response)
	wantCode(t, err, "saml.replayed")

	// A response to somebody's own sign-in is never a test's: it stays theirs.
	mine := w.begin("/")
	theirs := w.respond(mine)
	if c, err := w.consume(v, theirs); err != nil || c.Test {
		t.Errorf("consumed %+v, %v", c, err)
	}
	w.pass(login.ReportLifetime + 1)
	_, err = w.Report(t.Context(), c.Handle, v.started.PreLogin)
	wantCode(t, err, "login.handle")
}

// TestTestSignInThatFails is what a test is for: the checks that held, the one
// that did not, and nothing of an assertion that was not verified.
func TestTestSignInThatFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for code, change := range map[string]func(*devidp.Answer){
		"saml.audience":  func(a *devidp.Answer) { a.Audiences = []string{"https://other.example.com"} },
		"saml.unsigned":  func(a *devidp.Answer) { a.SignAssertion = false },
		"saml.status":    func(a *devidp.Answer) { a.Status, a.SubStatus = devidp.StatusResponder, devidp.StatusNoAuthnContext },
		"saml.issuer":    func(a *devidp.Answer) { a.Issuer = "https://other.example.com" },
		"saml.recipient": func(a *devidp.Answer) { a.Recipient = "https://other.example.com/acs" },
	} {
		v := w.test()
		c, err := w.consume(v, w.respond(v, change))
		if err != nil {
			t.Errorf("%s: %v", code, err)
			continue
		}
		r, err := w.Report(t.Context(), c.Handle, v.started.PreLogin)
		must(t, err)
		if r.Refusal == nil || r.Refusal.Code != code || len(r.Checks) == 0 || r.Checks[len(r.Checks)-1].OK || r.Checks[len(r.Checks)-1].Code != code {
			t.Errorf("%s: report %+v", code, r)
		}
		if len(r.Attributes) != 0 || r.NameID != "" || len(r.Roles) != 0 {
			t.Errorf("%s: facts of an assertion that failed: %+v", code, r)
		}
	}
	for name, change := range map[string]func(*devidp.Answer){
		"saml.nameid-transient": func(a *devidp.Answer) { a.NameIDFormat = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient" },
		"federation.domain":     func(a *devidp.Answer) { a.NameID = "eve@evil.example" },
	} {
		w.set(func(p *federation.IdP) { p.UserNameDomains = []string{"example.com"} })
		v := w.test()
		c, err := w.consume(v, w.respond(v, change))
		must(t, err)
		r, err := w.Report(t.Context(), c.Handle, v.started.PreLogin)
		must(t, err)
		if r.Refusal == nil || r.Refusal.Code != name || len(r.Attributes) == 0 {
			t.Errorf("%s: report %+v", name, r)
		}
	}
	if n := w.count("used_once"); n != 2 {
		t.Errorf("%d responses were used up", n)
	}
}

// encrypted makes the answer one for our own key.
func encrypted(a *devidp.Answer) { a.EncryptTo = &ownKey().PublicKey }

// TestEncrypted: sign-in works; keys come only where the account's SAML
// provider can read the assertion, and STS is asked for no other.
func TestEncrypted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.begin("/")
	_, err := w.consume(v, w.respond(v, encrypted))
	wantCode(t, err, "saml.encrypted")

	w.set(func(p *federation.IdP) { p.Encryption = federation.EncryptionRequired })
	v = w.begin("/")
	_, err = w.consume(v, w.respond(v))
	wantCode(t, err, "saml.encrypted")

	in := w.signIn(encrypted, roles(pipeline+","+idp2, analyst+","+idp1))
	if r := in.Session.Roles; len(r) != 2 || r[0].State != login.RoleFailed || r[0].Error.Code != "InvalidIdentityToken" ||
		r[0].Error.Mend == "" || r[1].State != login.RoleReady || r[1].Role.String() != analyst {
		t.Errorf("roles %+v", r)
	}
	if len(w.sts.calls) != 1 || w.sts.calls[0].Role.String() != analyst {
		t.Errorf("STS was asked for %+v", w.sts.calls)
	}
}
