package login_test

import (
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/devidp"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/protocol/saml"
	"carnet.dev/carnet/internal/service/federation"
	"carnet.dev/carnet/internal/service/login"
)

// TestRequirementsStrippedFromTheRequest: whoever holds a browser can take
// RequestedAuthnContext and ForceAuthn out of a request. What is set here counts
// when the response comes, however it was asked for.
func TestRequirementsStrippedFromTheRequest(t *testing.T) {
	t.Parallel()
	const password, stronger = "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport", "urn:oasis:names:tc:SAML:2.0:ac:classes:TimeSyncToken"
	before := func(a *devidp.Answer) { a.IssueInstant = a.IssueInstant.Add(-2 * time.Minute) } // and so is its AuthnInstant
	unasked := func(a *devidp.Answer) { a.InResponseTo = "" }
	longAgo := func(a *devidp.Answer) { a.IssueInstant = a.IssueInstant.Add(-11*time.Minute - 30*time.Second) }
	for name, tt := range map[string]struct {
		set    federation.Settings
		change []func(*devidp.Answer)
		code   string
	}{
		"by the way that is required":    {federation.Settings{AuthnContexts: []string{stronger, password}}, nil, ""},
		"by a weaker way":                {federation.Settings{AuthnContexts: []string{stronger}}, nil, saml.CheckAuthnContext},
		"by a weaker way, unsolicited":   {federation.Settings{AuthnContexts: []string{stronger}, AllowUnsolicited: true}, []func(*devidp.Answer){unasked}, saml.CheckAuthnContext},
		"anew":                           {federation.Settings{ForceAuthn: true}, nil, ""},
		"before the request":             {federation.Settings{ForceAuthn: true}, []func(*devidp.Answer){before}, saml.CheckAuthnInstant},
		"before the request, not forced": {federation.Settings{}, []func(*devidp.Answer){before}, ""},
		"of late, unsolicited":           {federation.Settings{ForceAuthn: true, AllowUnsolicited: true}, []func(*devidp.Answer){unasked, before}, ""},
		"some time ago, unsolicited":     {federation.Settings{ForceAuthn: true, AllowUnsolicited: true}, []func(*devidp.Answer){unasked, longAgo}, saml.CheckAuthnInstant},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			p := w.idp
			p.Settings = tt.set
			var err error
			w.idp, err = w.fed.Update(t.Context(), p)
			must(t, err)
			v := w.begin("/")
			_, err = w.consume(v, w.respond(v, tt.change...))
			if tt.code == "" {
				must(t, err)
			} else {
				wantCode(t, err, tt.code)
			}
		})
	}
}

// TestSignInAnew: who asks for a fresh sign-in gets one, or none, whatever is set
// for the identity provider.
func TestSignInAnew(t *testing.T) {
	t.Parallel()
	before := func(a *devidp.Answer) { a.IssueInstant = a.IssueInstant.Add(-2 * time.Minute) }
	w := newWorld(t)
	v := w.beginWith("/", login.Options{Anew: true})
	if !v.forced {
		t.Error("the identity provider is not told to ask the person again")
	}
	_, err := w.consume(v, w.respond(v, before))
	wantCode(t, err, saml.CheckAuthnInstant)
	v = w.beginWith("/", login.Options{Anew: true})
	c, err := w.consume(v, w.respond(v))
	must(t, err)
	in, err := w.Complete(t.Context(), c.Handle, v.started.PreLogin)
	must(t, err)
	if in.Session.AuthTime.After(in.Session.Started) || in.Session.AuthTime.Before(w.clock().Add(-time.Minute)) {
		t.Errorf("the person proved themselves at %v, the login session is of %v", in.Session.AuthTime, in.Session.Started)
	}
	old := w.signIn(before)
	if got := old.Session.Started.Sub(old.Session.AuthTime); got != 2*time.Minute {
		t.Errorf("a remembered sign-in is told as one of %v before the login session", got)
	}
}

// TestResumeByID: what rests on a login session finds it while it stands.
func TestResumeByID(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	in := w.signIn()
	for range 2 { // from the store, then from memory
		s, err := w.ResumeID(t.Context(), in.Session.ID)
		must(t, err)
		if s.ID != in.Session.ID || s.Person != in.Session.Person || len(s.Roles) != len(in.Session.Roles) {
			t.Errorf("resumed %+v", s)
		}
	}
	must(t, w.SignOut(t.Context(), in.Session.ID))
	_, err := w.ResumeID(t.Context(), in.Session.ID)
	wantCode(t, err, "login.required")
	v := w.begin("/")
	_, err = w.consume(v, w.respond(v))
	must(t, err)
	var parked string
	must(t, w.db.Read(t.Context(), func(t *sql.Tx) error { return t.QueryRow(`SELECT id FROM login_session`).Scan(&parked) }))
	_, err = w.ResumeID(t.Context(), identity.LoginSessionID(parked))
	wantCode(t, err, "login.required")
}
