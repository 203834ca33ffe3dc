package login_test

import (
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/devidp"
	"carnet.dev/carnet/internal/service/federation"
	"carnet.dev/carnet/internal/service/login"
)

// set changes the settings of the identity provider.
func (w *world) set(change func(*federation.IdP)) {
	w.t.Helper()
	p, err := w.fed.Get(w.t.Context(), w.idp.ID)
	must(w.t, err)
	change(&p)
	_, err = w.fed.Update(w.t.Context(), p)
	must(w.t, err)
}

// unasked posts a response that nobody here asked for.
func (w *world) unasked(relay string, change ...func(*devidp.Answer)) (login.Consumed, error) {
	w.t.Helper()
	return w.Consume(w.t.Context(), w.respond(visit{}, change...), relay, w.source())
}

func allowUnsolicited(p *federation.IdP) { p.AllowUnsolicited = true }

func TestUnsolicited(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.unasked("")
	wantCode(t, err, "saml.unsolicited")
	w.set(allowUnsolicited)

	c, err := w.unasked("/roles?x=1")
	must(t, err)
	if c.Arrival.IsZero() || c.Test {
		t.Fatalf("consumed %+v", c)
	}
	for range 2 { // looking at it opens nothing
		a, err := w.Arrival(t.Context(), c.Handle, c.Arrival)
		must(t, err)
		if a.Person.UserName != "alice" || a.IdPName != "Dev" || a.ReturnTo != "/roles?x=1" {
			t.Errorf("arrived %+v", a)
		}
	}
	in, err := w.Continue(t.Context(), c.Handle, c.Arrival)
	must(t, err)
	if in.ReturnTo != "/roles?x=1" || in.Session.Person.UserName != "alice" || len(in.Session.Roles) != 1 {
		t.Errorf("signed in as %+v", in)
	}
	_, err = w.Continue(t.Context(), c.Handle, c.Arrival)
	wantCode(t, err, "login.handle")

	c, err = w.unasked("https://evil.example/")
	must(t, err)
	in, err = w.Continue(t.Context(), c.Handle, c.Arrival)
	must(t, err)
	if in.ReturnTo != "/" {
		t.Errorf("a relay state leads to %q", in.ReturnTo)
	}
}

// TestUnsolicitedStaysInItsBrowser: neither the handle alone nor the cookie of
// another sign-in opens it, and it can't be completed without a yes.
func TestUnsolicitedStaysInItsBrowser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.set(allowUnsolicited)
	c, err := w.unasked("/")
	must(t, err)
	_, err = w.Arrival(t.Context(), c.Handle, secret.Text{})
	wantCode(t, err, "login.browser")
	other, err := w.unasked("/")
	must(t, err)
	_, err = w.Arrival(t.Context(), c.Handle, other.Arrival)
	wantCode(t, err, "login.browser")
	_, err = w.Complete(t.Context(), c.Handle, c.Arrival)
	wantCode(t, err, "login.handle")

	v := w.begin("/")
	asked, err := w.consume(v, w.respond(v))
	must(t, err)
	_, err = w.Continue(t.Context(), asked.Handle, v.started.PreLogin)
	wantCode(t, err, "login.handle")

	w.pass(login.ArrivalLifetime + time.Second)
	_, err = w.Continue(t.Context(), other.Handle, other.Arrival)
	wantCode(t, err, "login.handle")
}

// TestUnsolicitedKeepsEveryOtherCheck, the one-time use among them. The switch
// is per identity provider, and loosens nothing for answers to our requests.
func TestUnsolicitedKeepsEveryOtherCheck(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.set(allowUnsolicited)
	for code, change := range map[string]func(*devidp.Answer){
		"saml.unsigned":          func(a *devidp.Answer) { a.SignAssertion = false },
		"saml.recipient":         func(a *devidp.Answer) { a.Recipient = "https://other.example.com/acs" },
		"saml.audience":          func(a *devidp.Answer) { a.Audiences = []string{"https://other.example.com"} },
		"saml.destination":       func(a *devidp.Answer) { a.Destination = "https://other.example.com/acs" },
		"saml.issuer":            func(a *devidp.Answer) { a.Issuer = "https://other.example.com" },
		"saml.confirmation-time": func(a *devidp.Answer) { a.NotOnOrAfter = w.now.Add(-2 * time.Minute) },
		"saml.in-response-to":    func(a *devidp.Answer) { a.InResponseTo = "_of_another_service" },
		"saml.unsolicited-old": func(a *devidp.Answer) {
			a.IssueInstant, a.NotOnOrAfter = w.now.Add(-12*time.Minute), w.now.Add(20*time.Hour)
		},
	} {
		_, err := w.unasked("/", change)
		wantCode(t, err, code)
	}
	response := w.respond(visit{}, func(a *devidp.Answer) { a.NotOnOrAfter = w.now.Add(20 * time.Hour) })
	_, err := w.Consume(t.Context(), response, "/", w.source())
	must(t, err)
	for _, later := range []time.Duration{0, 5 * time.Minute, 5 * time.Minute, time.Minute} {
		w.pass(later)
		must(t, w.once.Sweep(t.Context()))
		if _, err := w.Consume(t.Context(), response, "/", w.source()); err == nil {
			t.Errorf("taken again")
		}
	}
	if n := w.count("login_session"); n != 1 {
		t.Errorf("%d login sessions", n)
	}

	w.set(func(p *federation.IdP) { p.AllowUnsolicited, p.Enabled = true, false })
	_, err = w.unasked("/")
	wantCode(t, err, "federation.disabled")
}
