package login_test

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/devidp"
	"carnet.dev/carnet/internal/edge/devidp/forge"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/login"
)

func TestSignIn(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		w := newWorldOn(t, c)
		v := w.begin("/roles?x=1")
		if n := w.count("login_session") + w.count("login_ticket") + w.count("used_once"); n != 0 {
			t.Errorf("%d rows before anybody has proven anything", n)
		}
		response := w.respond(v, roles(analyst+","+idp1, pipeline+","+idp2), func(a *devidp.Answer) {
			a.Attributes = append(a.Attributes, devidp.Attribute{Name: "displayName", Values: []string{"Alice A."}})
		})
		consumed, err := w.consume(v, response)
		must(t, err)
		if consumed.PassThroughError != "" {
			t.Errorf("pass-through error %q", consumed.PassThroughError)
		}
		for _, call := range w.sts.calls {
			if call.Assertion.Reveal() != response {
				t.Error("STS did not get the response as it was posted")
			}
		}
		in, err := w.Complete(t.Context(), consumed.Handle, v.started.PreLogin)
		must(t, err)
		if in.ReturnTo != "/roles?x=1" || in.Session.Administrator || in.Session.IdPName != "Dev" ||
			in.Session.Person.UserName != "alice" || in.Session.Person.DisplayName != "Alice A." || in.Session.Person.ID == "" {
			t.Errorf("signed in as %+v", in)
		}
		if !in.Session.Expires.Equal(w.now.Add(12 * time.Hour)) {
			t.Errorf("ends %s", in.Session.Expires)
		}
		again, err := w.Resume(t.Context(), in.Cookie)
		must(t, err)
		if len(again.Roles) != 2 || again.Roles[0].Role.String() != analyst || again.Roles[1].Role.String() != pipeline {
			t.Fatalf("roles %+v", again.Roles)
		}
		r := again.Roles[1]
		if r.State != login.RoleReady || r.AccountName != "engineering" || r.Account != "444455556666" || r.Deliver != "gateway" ||
			r.SessionName != "alice" || r.AssumedRoleARN != "arn:aws:sts::444455556666:assumed-role/pipeline/alice" ||
			!r.Expiration.Equal(w.now.Add(time.Hour)) || r.Error != nil {
			t.Errorf("role %+v", r)
		}
		keys, err := w.Credentials(t.Context(), again, "pipeline")
		must(t, err)
		if keys.Credentials.SecretAccessKey.Reveal() != "secret key of pipeline" || keys.Credentials.SessionToken.Reveal() != "session token of pipeline" {
			t.Error("the keys are not those that STS gave")
		}
		if acts := w.acts(); !slices.Equal(acts, []string{"sign-in", "exchange", "exchange"}) {
			t.Errorf("recorded %v", acts)
		}
	})
}

func TestSecondSignInIsTheSamePerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.signIn().Session, w.signIn().Session
	if a.Person.ID != b.Person.ID || a.ID == b.ID {
		t.Errorf("persons %s and %s, login sessions %s and %s", a.Person.ID, b.Person.ID, a.ID, b.ID)
	}
}

// TestRefused: everything that must not sign anybody in. Each has its own
// code, and leaves nothing.
func TestRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stranger := forge.New(t, w.now)
	posted := func(change func(v visit, response string) (string, string)) func(visit) (string, string) {
		return func(v visit) (string, string) { return change(v, w.respond(v)) }
	}
	answer := func(change func(*devidp.Answer)) func(visit) (string, string) {
		return func(v visit) (string, string) { return w.respond(v, change), "" }
	}
	for name, tt := range map[string]struct {
		post func(visit) (response, relay string)
		code string
	}{
		"asked by nobody":   {answer(func(a *devidp.Answer) { a.InResponseTo = "" }), "saml.unsolicited"},
		"another's request": {answer(func(a *devidp.Answer) { a.InResponseTo = "_made-up" }), "saml.in-response-to"},
		"changed request":   {answer(func(a *devidp.Answer) { a.InResponseTo = flip(a.InResponseTo) }), "saml.in-response-to"},
		"huge request":      {answer(func(a *devidp.Answer) { a.InResponseTo += strings.Repeat("A", 100) }), "saml.in-response-to"},
		"two requests": {posted(func(v visit, r string) (string, string) {
			other := w.begin("/")
			return forge.Encode(bytes.Replace(decoded(t, r), []byte(v.requestID), []byte(other.requestID), 1)), ""
		}), "saml.in-response-to"},
		"not base64": {posted(func(v visit, _ string) (string, string) { return "<xml>", "" }), "saml.encoding"},
		"not XML":    {posted(func(v visit, _ string) (string, string) { return forge.Encode([]byte("hello")), "" }), "saml.xml"},
		"DTD": {posted(func(v visit, _ string) (string, string) {
			return forge.Encode([]byte(`<!DOCTYPE r [<!ENTITY x "y">]><r>&x;</r>`)), ""
		}), "saml.dtd"},
		"too large":          {posted(func(v visit, _ string) (string, string) { return strings.Repeat("QUFB", 200_000), "" }), "saml.size"},
		"unsigned":           {answer(func(a *devidp.Answer) { a.SignAssertion = false }), "saml.unsigned"},
		"changed":            {posted(func(v visit, r string) (string, string) { return changed(t, r), "" }), "saml.signature"},
		"expired":            {answer(func(a *devidp.Answer) { a.NotOnOrAfter = w.now.Add(-2 * time.Minute) }), ""},
		"other recipient":    {answer(func(a *devidp.Answer) { a.Recipient = "https://other.example.com/acs" }), "saml.recipient"},
		"other audience":     {answer(func(a *devidp.Answer) { a.Audiences = []string{"https://other.example.com"} }), "saml.audience"},
		"other destination":  {answer(func(a *devidp.Answer) { a.Destination = "https://other.example.com/acs" }), "saml.destination"},
		"other issuer":       {answer(func(a *devidp.Answer) { a.Issuer = "https://other.example.com" }), "saml.issuer"},
		"transient NameID":   {answer(func(a *devidp.Answer) { a.NameIDFormat = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient" }), "saml.nameid-transient"},
		"unprintable NameID": {answer(func(a *devidp.Answer) { a.NameID = "ali\u202ece" }), ""},
		"endless NameID":     {answer(func(a *devidp.Answer) { a.NameID = strings.Repeat("a", 257) }), ""},
		"spaced NameID":      {answer(func(a *devidp.Answer) { a.NameID = " alice" }), ""},
		"another key": {func(v visit) (string, string) {
			return forge.Encode(stranger.Respond(t, stranger.Answer(v.requestID, w.now))), ""
		}, "saml.signature"},
	} {
		v := w.begin("/")
		response, relay := tt.post(v)
		_, err := w.Service.Consume(t.Context(), response, relay, w.source())
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		if f := fault.Of(err); tt.code != "" && f.Code != tt.code || f.Kind == fault.Internal || f.Code == "" {
			t.Errorf("%s: %v with code %q, want %q", name, err, f.Code, tt.code)
		}
		if len(response) > 100 && strings.Contains(fmt.Sprintf("%v %+v", err, err), response[:100]) {
			t.Errorf("%s: the response is in the error", name)
		}
	}
	for _, table := range []string{"login_session", "login_ticket", "used_once", "person", "role_session", "audit_record"} {
		if n := w.count(table); n != 0 {
			t.Errorf("refused sign-ins left %d rows in %s", n, table)
		}
	}
	if len(w.sts.calls) != 0 {
		t.Errorf("STS was called %d times", len(w.sts.calls))
	}
}

func TestRequestsAge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.begin("/")
	w.pass(login.PreLoginLifetime + time.Second)
	_, err := w.consume(v, w.respond(v))
	wantCode(t, err, "saml.request-expired")
}

// TestNothingRestsOnTheRelayState: identity providers lose it, cut it at the 80
// bytes of the standard, or send their own.
func TestNothingRestsOnTheRelayState(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, relay := range []string{"", "https://evil.example/", strings.Repeat("A", 80), strings.Repeat("A", 4000)} {
		v := w.begin("/roles")
		c, err := w.Consume(t.Context(), w.respond(v), relay, w.source())
		must(t, err)
		in, err := w.Complete(t.Context(), c.Handle, v.started.PreLogin)
		must(t, err)
		if in.ReturnTo != "/roles" || !c.Arrival.IsZero() {
			t.Errorf("relay state %q leads to %q", relay, in.ReturnTo)
		}
	}
}

func TestReplayed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.begin("/")
	response := w.respond(v)
	if _, err := w.consume(v, response); err != nil {
		t.Fatal(err)
	}
	_, err := w.consume(v, response)
	wantCode(t, err, "saml.replayed")
	if n := w.count("login_session"); n != 1 {
		t.Errorf("%d login sessions", n)
	}
}

// TestOneOfMany: twenty browsers post one response at the same time, at two
// servers: one wins.
func TestOneOfMany(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		w := newWorldOn(t, c)
		second := w.another(c)
		v := w.begin("/")
		response := w.respond(v)
		var won, lost int
		var mu sync.Mutex
		var all sync.WaitGroup
		for i := range 20 {
			at := w.Service
			if i%2 == 0 {
				at = second
			}
			all.Go(func() {
				_, err := at.Consume(t.Context(), response, "", w.source())
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					won++
				case fault.Of(err).Code == "saml.replayed":
					lost++
				default:
					t.Error(err)
				}
			})
		}
		all.Wait()
		if won != 1 || lost != 19 {
			t.Errorf("%d won, %d lost", won, lost)
		}
	})
}

func TestIdPListBoundsTheSignIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	must(t, w.fed.Remove(t.Context(), w.idp.ID))
	bounded := w.idp
	bounded.UserNameDomains, bounded.AllowAutoCreate, bounded.RolePatterns = []string{"example.com"}, false, []string{engineer}
	var err error
	w.idp, err = w.fed.Add(t.Context(), bounded)
	must(t, err)

	v := w.begin("/")
	_, err = w.consume(v, w.respond(v))
	wantCode(t, err, "federation.domain")

	v = w.begin("/")
	_, err = w.consume(v, w.respond(v, func(a *devidp.Answer) { a.NameID = "alice@example.com" }))
	wantCode(t, err, "directory.unknown")
	if n := w.count("used_once") + w.count("person"); n != 0 {
		t.Errorf("%d rows of people who may not come", n)
	}

	v = w.begin("/")
	must(t, w.fed.Remove(t.Context(), w.idp.ID))
	_, err = w.consume(v, w.respond(v))
	wantCode(t, err, "federation.unknown")
}

// TestPassThroughError holds the classic header: the first failed role in the
// order of the assertion decides.
func TestPassThroughError(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sts.refuse["denied"] = fault.Coded(fault.Denied, "AccessDenied", "Not authorized")
	w.sts.refuse["invalid"] = fault.Coded(fault.Invalid, "ValidationError", "Request ARN is invalid")
	w.sts.refuse["identity"] = fault.Coded(fault.Unauthenticated, "InvalidIdentityToken", "Response signature invalid")
	w.sts.refuse["late"] = fault.Coded(fault.Expired, "ExpiredTokenException", "Response has expired")
	w.sts.refuse["throttled"] = fault.Coded(fault.Limited, "Throttling", "Rate exceeded")
	w.sts.refuse["away"] = fault.New(fault.Unavailable, "STS did not answer")
	role := func(name string) string { return "arn:aws:iam::111122223333:role/" + name + "," + idp1 }
	for _, tt := range []struct {
		values []string
		want   string
	}{
		{nil, ""},
		{[]string{role("good")}, ""},
		{[]string{role("denied")}, "AccessDenied"},
		{[]string{role("good"), role("invalid"), role("denied")}, "ValidationError"},
		{[]string{role("denied"), role("invalid")}, "AccessDenied"},
		{[]string{role("identity")}, "InvalidIdentityToken"},
		{[]string{role("late")}, "InvalidIdentityToken"},
		{[]string{"nonsense"}, "Malformed role name attribute"},
		{[]string{role("good"), "nonsense", role("denied")}, "Malformed role name attribute"},
		{[]string{role("denied"), "nonsense"}, "AccessDenied"},
		{[]string{role("throttled")}, ""},
		{[]string{role("away")}, ""},
		{[]string{"arn:aws:iam::999999999999:role/x,arn:aws:iam::999999999999:saml-provider/x"}, ""}, // dropped, not failed
	} {
		v := w.begin("/")
		c, err := w.consume(v, w.respond(v, roles(tt.values...)))
		if err != nil {
			t.Fatal(err)
		}
		if c.PassThroughError != tt.want {
			t.Errorf("%v: %q, want %q", tt.values, c.PassThroughError, tt.want)
		}
		if _, err := w.Complete(t.Context(), c.Handle, v.started.PreLogin); err != nil {
			t.Errorf("%v: the sign-in broke: %v", tt.values, err)
		}
	}
}

func TestFailedRolesKeepTheirCause(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sts.refuse["engineer"] = fault.Coded(fault.Denied, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithSAML")
	in := w.signIn(roles("nonsense", engineer+","+idp1, idp1+" , "+analyst))
	r := in.Session.Roles
	if len(r) != 2 || r[0].State != login.RoleFailed || r[0].Error == nil || r[0].Error.Code != "AccessDenied" || r[0].Error.Mend == "" ||
		r[1].State != login.RoleReady {
		t.Errorf("roles %+v", r)
	}
	if notes := strings.Join(in.Session.Notes, "\n"); !strings.Contains(notes, "nonsense") || !strings.Contains(notes, "spaces") || !strings.Contains(notes, "first") {
		t.Errorf("notes %q", notes)
	}
	_, err := w.Credentials(t.Context(), in.Session, "engineer")
	wantCode(t, err, "AccessDenied")
	if _, err := w.Credentials(t.Context(), in.Session, "analyst"); err != nil {
		t.Error(err)
	}
}

func TestForeignSessionNameTradesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.begin("/")
	c, err := w.consume(v, w.respond(v, func(a *devidp.Answer) { a.Attributes[1].Values = []string{"bob"} }))
	must(t, err)
	if c.PassThroughError != "InvalidIdentityToken" || len(w.sts.calls) != 0 {
		t.Errorf("pass-through error %q, %d calls of STS", c.PassThroughError, len(w.sts.calls))
	}
	in, err := w.Complete(t.Context(), c.Handle, v.started.PreLogin)
	must(t, err)
	if r := in.Session.Roles; len(r) != 1 || r[0].State != login.RoleFailed || !strings.Contains(r[0].Error.Message, "bob") {
		t.Errorf("roles %+v", r)
	}
}

// TestOver100000Characters: what STS can't take is said per role.
func TestOver100000Characters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	in := w.signIn(func(a *devidp.Answer) {
		var values []string
		for i := range 80 {
			values = append(values, fmt.Sprintf("%d %s", i, strings.Repeat("x", 1000)))
		}
		a.Attributes = append(a.Attributes, devidp.Attribute{Name: "padding", Values: values})
	})
	if r := in.Session.Roles; len(r) != 1 || r[0].State != login.RoleFailed || r[0].Error.Code != "ValidationError" || !strings.Contains(r[0].Error.Message, "Member must have length less than or equal to 100000") {
		t.Errorf("roles %+v", r)
	}
	if len(w.sts.calls) != 0 {
		t.Error("STS was called with what it can't take")
	}
}

func TestAdministratorByGroup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	group := func(names ...string) func(*devidp.Answer) {
		return func(a *devidp.Answer) {
			a.Attributes = append(a.Attributes, devidp.Attribute{Name: "groups", Values: names})
		}
	}
	if !w.signIn(group("staff", "admins")).Session.Administrator {
		t.Error("a member of the group is no administrator")
	}
	if w.signIn(group("staff", "Admins")).Session.Administrator || w.signIn().Session.Administrator {
		t.Error("somebody else is an administrator")
	}
}

func TestCompleteNeedsTheSameBrowser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	park := func() (visit, secret.Text) {
		v := w.begin("/")
		c, err := w.consume(v, w.respond(v))
		must(t, err)
		return v, c.Handle
	}
	v, handle := park()
	other := w.begin("/")
	_, err := w.Complete(t.Context(), handle, other.started.PreLogin)
	wantCode(t, err, "login.browser")
	_, err = w.Complete(t.Context(), handle, v.started.PreLogin)
	wantCode(t, err, "login.handle") // used up by the wrong browser
	if n := w.count("login_session") + w.count("role_session"); n != 0 {
		t.Errorf("%d rows of a sign-in that a wrong browser fetched", n)
	}
	refused, err := w.feed.Refused(revoked(t, w))
	if err != nil || !refused {
		t.Errorf("the keys of that sign-in live on: %v, %v", refused, err)
	}

	_, handle = park()
	_, err = w.Complete(t.Context(), handle, secret.Text{})
	wantCode(t, err, "login.browser")

	v, handle = park()
	w.pass(login.HandleLifetime + time.Second)
	_, err = w.Complete(t.Context(), handle, v.started.PreLogin)
	wantCode(t, err, "login.handle")

	v, handle = park()
	if _, err = w.Complete(t.Context(), handle, v.started.PreLogin); err != nil {
		t.Fatal(err)
	}
	_, err = w.Complete(t.Context(), handle, v.started.PreLogin)
	wantCode(t, err, "login.handle")
	_, err = w.Complete(t.Context(), secret.New("made up"), v.started.PreLogin)
	wantCode(t, err, "login.handle")
}

func TestReturnToStaysHere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for to, want := range map[string]string{
		"/roles": "/roles", "/roles?role=a%2Fb": "/roles?role=a%2Fb", "": "/", "roles": "/", "//evil.example": "/", "/\\evil.example": "/",
		"https://evil.example/": "/", "/%2f/evil.example": "/", "/%5cevil.example": "/", "/a\nb": "/", "/a b": "/", "/\u00e4": "/",
		"/" + strings.Repeat("a", login.MaxReturnTo): "/", "/" + strings.Repeat("&", login.MaxReturnTo-1): "/" + strings.Repeat("&", login.MaxReturnTo-1), "/.//evil": "/", "/a/..//evil": "/",
	} {
		v := w.begin(to)
		if v.relay != "" || len(v.requestID) != 127 || len(v.started.PreLogin.Reveal()) > 3000 {
			t.Errorf("%q makes relay state %q, request %q, a cookie of %d bytes", to, v.relay, v.requestID, len(v.started.PreLogin.Reveal()))
		}
		c, err := w.consume(v, w.respond(v))
		must(t, err)
		in, err := w.Complete(t.Context(), c.Handle, v.started.PreLogin)
		must(t, err)
		if in.ReturnTo != want {
			t.Errorf("%q leads to %q, want %q", to, in.ReturnTo, want)
		}
	}
}

func TestLoginSessionsEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	in := w.signIn()
	w.pass(time.Hour)
	s, err := w.Resume(t.Context(), in.Cookie)
	must(t, err)
	if s.Roles[0].State != login.RoleExpired {
		t.Errorf("state %s after the keys' end", s.Roles[0].State)
	}
	_, err = w.Credentials(t.Context(), s, "")
	wantCode(t, err, "role.expired")
	w.pass(11 * time.Hour)
	_, err = w.Resume(t.Context(), in.Cookie)
	wantCode(t, err, "login.required")
	_, err = w.Credentials(t.Context(), s, "")
	wantCode(t, err, "login.required")
	w.pass(time.Second)
	must(t, w.Sweep(t.Context()))
	if n := w.count("login_session"); n != 0 {
		t.Errorf("%d ended login sessions are kept", n)
	}

	in = w.signIn(func(a *devidp.Answer) { a.SessionNotOnOrAfter = w.clock().Add(20 * time.Minute) })
	if got := in.Session.Expires.Sub(w.clock()); got != 20*time.Minute {
		t.Errorf("the identity provider's bound counts for nothing: %s", got)
	}
	for _, wrong := range []secret.Text{{}, secret.New("made up")} {
		_, err = w.Resume(t.Context(), wrong)
		wantCode(t, err, "login.required")
	}
}

// TestSignOutEverywhere: it ends at every server, and the role keys with it.
func TestSignOutEverywhere(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		w := newWorldOn(t, c)
		second := w.another(c)
		in, stays := w.signIn(), w.signIn()
		elsewhere, err := second.Resume(t.Context(), in.Cookie)
		must(t, err)
		if keys, err := second.Credentials(t.Context(), elsewhere, "analyst"); err != nil || keys.Credentials.SecretAccessKey.Reveal() != "secret key of analyst" {
			t.Errorf("at the second server: %v", err)
		}
		must(t, w.SignOut(t.Context(), in.Session.ID))
		_, err = w.Resume(t.Context(), in.Cookie)
		wantCode(t, err, "login.required")
		for until := time.Now().Add(2 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			if _, err = second.Resume(t.Context(), in.Cookie); err != nil || time.Now().After(until) {
				break
			}
		}
		wantCode(t, err, "login.required")
		if _, err := second.Resume(t.Context(), stays.Cookie); err != nil {
			t.Errorf("another login session ended too: %v", err)
		}
		must(t, w.feed.Confirm(t.Context()))
		if refused, err := w.feed.Refused("login-session", string(in.Session.ID), 1); err != nil || !refused {
			t.Errorf("role keys of the ended login session: refused %v, %v", refused, err)
		}
		if n := w.count("role_session"); n != 1 {
			t.Errorf("%d role sessions are kept", n)
		}
		must(t, w.SignOut(t.Context(), in.Session.ID)) // twice does no harm
	})
}

func TestUnconfirmedViewSaysNo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	in := w.signIn()
	w.mu.Lock()
	w.now = w.now.Add(2 * time.Minute) // and no confirmation
	w.mu.Unlock()
	_, err := w.Resume(t.Context(), in.Cookie)
	wantCode(t, err, "revocation.unconfirmed")
	_, err = w.Credentials(t.Context(), in.Session, "")
	wantCode(t, err, "revocation.unconfirmed")
}

// TestRevokedPersonIsOut: what an administrator takes back ends the login
// sessions too, from memory as from the database, and later ones stand.
func TestRevokedPersonIsOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	in := w.signIn()
	if _, err := w.Resume(t.Context(), in.Cookie); err != nil {
		t.Fatal(err)
	}
	must(t, w.feed.RevokePeople(t.Context(), []identity.PersonID{in.Session.Person.ID}))
	must(t, w.feed.Confirm(t.Context()))
	_, err := w.Resume(t.Context(), in.Cookie)
	wantCode(t, err, "login.required")
	_, err = w.Credentials(t.Context(), in.Session, "")
	wantCode(t, err, "login.required")
	restarted, err := login.New(t.Context(), w.config)
	must(t, err)
	_, err = restarted.Resume(t.Context(), in.Cookie)
	wantCode(t, err, "login.required")
	if _, err := w.Resume(t.Context(), w.signIn().Cookie); err != nil {
		t.Errorf("a sign-in after the revocation: %v", err)
	}
}

func TestNoSignInWithoutItsRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.config.Audit = failingAudit{}
	s, err := login.New(t.Context(), w.config)
	must(t, err)
	v := w.begin("/")
	if _, err := s.Consume(t.Context(), w.respond(v), "", w.source()); err == nil {
		t.Error("a sign-in that can't be recorded was accepted")
	}
	if n := w.count("login_session") + w.count("role_session"); n != 0 {
		t.Errorf("it left %d rows", n)
	}
	if _, err := s.NewSetupLink(t.Context()); err == nil || w.count("setup_link") != 0 {
		t.Error("a set-up link that can't be recorded was made")
	}
}

func TestCredentialsChoose(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	twin := "arn:aws:iam::444455556666:role/analyst"
	many := w.signIn(roles(analyst+","+idp1, pipeline+","+idp2, twin+","+idp2)).Session
	one := w.signIn().Session
	none := w.signIn(roles()).Session
	for _, tt := range []struct {
		session login.LoginSession
		ask     string
		want    string // ARN, or the code of the error
	}{
		{one, "", analyst}, {one, "analyst", analyst}, {one, analyst, analyst},
		{many, pipeline, pipeline}, {many, "pipeline", pipeline}, {many, twin, twin},
		{many, "111122223333/analyst", analyst}, {many, "engineering/analyst", twin},
		{many, "", "role.choose"}, {many, "analyst", "role.ambiguous"},
		{many, "admin", "role.unheld"}, {many, "/analyst", "role.unheld"}, {many, engineer, "role.unheld"}, {many, "PIPELINE", "role.unheld"},
		{none, "", "role.none"}, {none, analyst, "role.none"},
		{login.LoginSession{ID: one.ID, Person: one.Person, Expires: one.Expires}, "analyst", "login.required"},
	} {
		keys, err := w.Credentials(t.Context(), tt.session, tt.ask)
		if err != nil {
			if fault.Of(err).Code != tt.want {
				t.Errorf("%q: %v, want %s", tt.ask, err, tt.want)
			}
			said := map[string]string{"role.unheld": pipeline, "role.choose": "you hold several roles: " + analyst, "role.none": "you hold no role"}[tt.want]
			if !strings.Contains(err.Error(), said) {
				t.Errorf("%q: the error doesn't say %q: %v", tt.ask, said, err)
			}
			continue
		}
		if keys.Role.String() != tt.want {
			t.Errorf("%q gave %s, want %s", tt.ask, keys.Role, tt.want)
		}
	}
}

// TestNoSecretRests reads the database file for every secret of a sign-in.
func TestNoSecretRests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.begin("/")
	response := w.respond(v)
	c, err := w.consume(v, response)
	must(t, err)
	in, err := w.Complete(t.Context(), c.Handle, v.started.PreLogin)
	must(t, err)
	verifier, challenge := pkce()
	code, err := w.StartCode(t.Context(), in.Session, challenge, "http://127.0.0.1:9999/done")
	must(t, err)
	token, err := w.RedeemCode(t.Context(), code, verifier)
	must(t, err)
	link, err := w.NewSetupLink(t.Context())
	must(t, err)
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(w.file + suffix)
		must(t, err)
		for name, s := range map[string]string{
			"cookie": in.Cookie.Reveal(), "pre-login cookie": v.started.PreLogin.Reveal(), "handle": c.Handle.Reveal(), "CLI code": code.Reveal(),
			"CLI token": token.Token.Reveal(), "set-up link": link.Reveal(), "response": response[200:260],
			"secret key": "secret key of", "session token": "session token of",
		} {
			if strings.Contains(string(data), s) {
				t.Errorf("the %s is in carnet.db%s", name, suffix)
			}
		}
	}
}
