package login_test

import (
	"bytes"
	"encoding/base64"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/edge/devidp"
	"carnet.dev/carnet/internal/edge/devidp/forge"
	"carnet.dev/carnet/internal/protocol/saml"
	"carnet.dev/carnet/internal/service/federation"
	"carnet.dev/carnet/internal/service/login"
)

const sloURL = "http://localhost:8482/slo"

// withLogout gives the identity provider a place for single logout.
func withLogout(w *world) func(*federation.IdP) {
	return func(p *federation.IdP) {
		p.Metadata = devidp.DescribeWithLogout(forge.EntityID, forge.SSOURL, sloURL, w.signer.Certificate)
	}
}

// signedInAs opens a login session with a SessionIndex.
func (w *world) signedInAs(name, index string) login.SignedIn {
	w.t.Helper()
	return w.signIn(func(a *devidp.Answer) {
		a.NameID, a.SessionIndex = name, index
		a.Attributes[1].Values = []string{name}
	})
}

func (w *world) live(in login.SignedIn) bool {
	_, err := w.Resume(w.t.Context(), in.Cookie)
	return err == nil
}

// request is an honest LogoutRequest for alice, changed as a test likes.
func (w *world) logoutRequest(change ...func(*devidp.Logout)) devidp.Logout {
	l := devidp.Logout{ID: devidp.NewID(), Issuer: forge.EntityID, Destination: forge.ACS, IssueInstant: w.clock(),
		NotOnOrAfter: w.clock().Add(time.Minute), NameID: "alice"}
	for _, f := range change {
		f(&l)
	}
	return l
}

func (w *world) byPost(l devidp.Logout) (login.LoggedOut, error) {
	w.t.Helper()
	raw, err := w.signer.Post(l)
	must(w.t, err)
	return w.ConsumeLogout(w.t.Context(), saml.LogoutInput{Binding: saml.BindingPOST, XML: raw}, "relay", w.source())
}

func (w *world) byRedirect(l devidp.Logout, relay string) (login.LoggedOut, error) {
	w.t.Helper()
	raw, err := devidp.Serialize(l.Document())
	must(w.t, err)
	query, err := w.signer.RedirectQuery(l.Field(), raw, relay)
	must(w.t, err)
	return w.ConsumeLogout(w.t.Context(), saml.LogoutInput{Binding: saml.BindingRedirect, RawQuery: query}, relay, w.source())
}

// TestLogoutByTheIdentityProvider ends the login sessions that it names, with
// their command lines and keys, and no others.
func TestLogoutByTheIdentityProvider(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.set(withLogout(w))
	one, two, bob := w.signedInAs("alice", "_1"), w.signedInAs("alice", "_2"), w.signedInAs("bob", "_1")
	parkedVisit := w.begin("/")
	parked, err := w.consume(parkedVisit, w.respond(parkedVisit, func(a *devidp.Answer) { a.SessionIndex = "_3" }))
	must(t, err)

	out, err := w.byPost(w.logoutRequest(func(l *devidp.Logout) { l.SessionIndexes = []string{"_1", "_9"} }))
	must(t, err)
	if !out.Asked || out.Ended != 1 || out.IdPName != "Dev" {
		t.Errorf("%+v", out)
	}
	if w.live(one) || !w.live(two) || !w.live(bob) {
		t.Errorf("live: %v %v %v", w.live(one), w.live(two), w.live(bob))
	}
	u, err := url.Parse(out.Answer.RedirectURL)
	must(t, err)
	if !strings.HasPrefix(out.Answer.RedirectURL, sloURL+"?SAMLResponse=") || u.Query().Get("RelayState") != "relay" || u.Query().Get("Signature") == "" {
		t.Errorf("the answer goes to %s", out.Answer.RedirectURL)
	}

	out, err = w.byRedirect(w.logoutRequest(), "")
	must(t, err)
	if out.Ended != 2 || w.live(two) || !w.live(bob) { // the parked one too
		t.Errorf("%+v", out)
	}
	_, err = w.Complete(t.Context(), parked.Handle, parkedVisit.started.PreLogin)
	wantCode(t, err, "login.handle")
	if acts := w.acts(); !slices.Contains(acts, "single-logout") || !slices.Contains(acts, "sign-out") {
		t.Errorf("recorded %v", acts)
	}
	out, err = w.byRedirect(w.logoutRequest(), "")
	if err != nil || out.Ended != 0 || out.Answer.IsZero() {
		t.Errorf("nobody to sign out: %+v, %v", out, err)
	}
}

// TestLogoutRequestsThatEndNothing: unsigned, of another, replayed, old, made
// for another place, or of an identity provider that is switched off.
func TestLogoutRequestsThatEndNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.set(withLogout(w))
	in := w.signedInAs("alice", "_1")
	stranger := forge.New(t, w.now)
	post := func(raw []byte) error {
		_, err := w.ConsumeLogout(t.Context(), saml.LogoutInput{Binding: saml.BindingPOST, XML: raw}, "", w.source())
		return err
	}
	unsigned, err := devidp.Serialize(w.logoutRequest().Document())
	must(t, err)
	wantCode(t, post(unsigned), "saml.unsigned")
	foreign, err := stranger.Post(w.logoutRequest())
	must(t, err)
	wantCode(t, post(foreign), "saml.signature")
	own, err := w.signer.Post(w.logoutRequest(func(l *devidp.Logout) { l.NameID = "carol" }))
	must(t, err)
	wantCode(t, post(bytes.Replace(own, []byte(">carol<"), []byte(">alice<"), 1)), "saml.signature")
	for code, change := range map[string]func(*devidp.Logout){
		"saml.issuer":        func(l *devidp.Logout) { l.Issuer = "https://evil.example" },
		"saml.destination":   func(l *devidp.Logout) { l.Destination = "https://other.example/saml/consume" },
		"saml.expired":       func(l *devidp.Logout) { l.NotOnOrAfter = w.clock().Add(-time.Hour) },
		"saml.issue-instant": func(l *devidp.Logout) { l.IssueInstant = w.clock().Add(time.Hour) },
	} {
		_, err := w.byPost(w.logoutRequest(change))
		wantCode(t, err, code)
	}
	_, err = w.byPost(w.logoutRequest(func(l *devidp.Logout) { l.IssueInstant, l.NotOnOrAfter = w.clock().Add(-time.Hour), time.Time{} }))
	wantCode(t, err, "saml.expired")
	raw, err := w.signer.Post(w.logoutRequest(func(l *devidp.Logout) { l.NameID = "carol" }))
	must(t, err)
	must(t, post(raw))
	wantCode(t, post(raw), "saml.replayed")
	for _, change := range []func(*devidp.Logout){
		func(l *devidp.Logout) { l.NameID = "ALICE" },
		func(l *devidp.Logout) { l.SessionIndexes = []string{"_2"} },
		func(l *devidp.Logout) {
			l.NameIDFormat = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
			l.NameID = "alicf"
		},
	} {
		if out, err := w.byPost(w.logoutRequest(change)); err != nil || out.Ended != 0 {
			t.Errorf("ended %d, %v", out.Ended, err)
		}
	}
	if !w.live(in) {
		t.Error("alice is out")
	}
	w.set(func(p *federation.IdP) { p.Enabled = false })
	_, err = w.byPost(w.logoutRequest())
	wantCode(t, err, "federation.disabled")
}

// TestLogoutOfAnotherIdentityProvider: two identity providers may name people
// alike; neither ends what rests on the other.
func TestLogoutOfAnotherIdentityProvider(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	in := w.signedInAs("alice", "_1")
	second := forge.New(t, w.now)
	second.EntityID = "https://second.example/metadata"
	_, err := w.fed.Add(t.Context(), federation.IdP{Name: "Second", Metadata: second.Metadata(), Enabled: true,
		Accounts: []string{"111122223333"}, RolePatterns: []string{"*"}, UserNameDomains: []string{"*"}})
	must(t, err)
	raw, err := second.Post(w.logoutRequest(func(l *devidp.Logout) { l.Issuer = second.EntityID }))
	must(t, err)
	out, err := w.ConsumeLogout(t.Context(), saml.LogoutInput{Binding: saml.BindingPOST, XML: raw}, "", w.source())
	if err != nil || out.Ended != 0 || !out.Answer.IsZero() || !w.live(in) {
		t.Errorf("%+v, %v, alice live: %v", out, err, w.live(in))
	}
}

// TestLeave ends the login session first, then tells the identity provider;
// whatever that answers, nothing lives on.
func TestLeave(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	in := w.signedInAs("alice", "_1")
	left, err := w.Leave(t.Context(), in.Session)
	must(t, err)
	if !left.Errand.IsZero() || left.IdPName != "Dev" || left.KeysUntil.IsZero() || w.live(in) {
		t.Errorf("without single logout: %+v", left)
	}

	w.set(withLogout(w))
	leave := func() (login.SignedIn, login.Leaving, string) {
		t.Helper()
		in := w.signedInAs("alice", "_2")
		left, err := w.Leave(t.Context(), in.Session)
		must(t, err)
		u, err := url.Parse(left.Errand.RedirectURL)
		must(t, err)
		raw, err := saml.LogoutInput{Binding: saml.BindingRedirect, RawQuery: u.RawQuery}.Document()
		must(t, err)
		for _, want := range []string{">alice</", ">_2</", forge.ACS, sloURL} {
			if !strings.Contains(string(raw), want) {
				t.Errorf("the request lacks %s: %s", want, raw)
			}
		}
		if u.Query().Get("Signature") == "" || w.live(in) {
			t.Errorf("signed: %q, live: %v", u.Query().Get("Signature"), w.live(in))
		}
		return in, left, string(regexp.MustCompile(` ID="([^"]+)"`).FindSubmatch(raw)[1])
	}
	_, left, id := leave()
	answer := func(change ...func(*devidp.Logout)) devidp.Logout {
		l := w.logoutRequest(func(l *devidp.Logout) { l.InResponseTo, l.NameID, l.NotOnOrAfter = id, "", time.Time{} })
		for _, f := range change {
			f(&l)
		}
		return l
	}
	for name, send := range map[string]func(devidp.Logout) (login.LoggedOut, error){
		"post": w.byPost, "redirect": func(l devidp.Logout) (login.LoggedOut, error) { return w.byRedirect(l, "") },
	} {
		out, err := send(answer())
		if err != nil || !out.Complete || out.Asked || out.IdPName != "Dev" || !out.KeysUntil.Equal(left.KeysUntil) {
			t.Errorf("%s: %+v, %v", name, out, err)
		}
	}
	out, err := w.byPost(answer(func(l *devidp.Logout) { l.Status = saml.StatusResponder }))
	if err != nil || out.Complete {
		t.Errorf("a failure there: %+v, %v", out, err)
	}
	_, err = w.byPost(answer(func(l *devidp.Logout) { l.InResponseTo = "_made-up" }))
	wantCode(t, err, "saml.in-response-to")
	_, err = w.byPost(answer(func(l *devidp.Logout) { l.InResponseTo = w.begin("/").requestID }))
	wantCode(t, err, "saml.in-response-to")
	_, _, id = leave()
	w.pass(login.PreLoginLifetime + time.Minute)
	_, err = w.byPost(answer())
	wantCode(t, err, "saml.request-expired")
}

// TestLogoutAnswersAreNoSignIn: the ID of a LogoutRequest, which the identity
// provider sees, can't be answered by a response, nor the other way round.
func TestLogoutAnswersAreNoSignIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.set(withLogout(w))
	left, err := w.Leave(t.Context(), w.signedInAs("alice", "_1").Session)
	must(t, err)
	u, err := url.Parse(left.Errand.RedirectURL)
	must(t, err)
	raw, err := saml.LogoutInput{Binding: saml.BindingRedirect, RawQuery: u.RawQuery}.Document()
	must(t, err)
	id := string(regexp.MustCompile(` ID="([^"]+)"`).FindSubmatch(raw)[1])
	_, err = w.Consume(t.Context(), w.respond(visit{requestID: id}), "", w.source())
	wantCode(t, err, "saml.in-response-to")
	response := w.respond(w.begin("/"))
	xml, err := base64.StdEncoding.DecodeString(response)
	must(t, err)
	_, err = w.ConsumeLogout(t.Context(), saml.LogoutInput{Binding: saml.BindingPOST, XML: xml}, "", w.source())
	wantCode(t, err, "saml.shape")
}

// TestSaid: what the page says after a sign-out is our own word.
func TestSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	text, err := w.Say(login.SignedOut{IdPName: "Dev", There: login.ThereEnded})
	must(t, err)
	if said, ok := w.Said(text); !ok || said.IdPName != "Dev" || said.There != login.ThereEnded {
		t.Errorf("said %+v, %v", said, ok)
	}
	for _, made := range []string{"", "x", flip(text), text + "A", base64.RawURLEncoding.EncodeToString([]byte(`{"i":"Evil"}`))} {
		if said, ok := w.Said(made); ok {
			t.Errorf("%q is taken as %+v", made, said)
		}
	}
	w.pass(time.Hour)
	if _, ok := w.Said(text); ok {
		t.Error("an old word is taken")
	}
}
