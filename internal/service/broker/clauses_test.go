package broker_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/protocol/saml"
	"carnet.dev/carnet/internal/service/broker"
	"carnet.dev/carnet/internal/service/issuer"
)

var update = flag.Bool("update", false, "write docs/security/bridge.md")

// clause is one clause of the rules of the bridge, with its test. elsewhere names
// the file and the test of another package that holds it.
type clause struct {
	words, name string
	test        func(t *testing.T, w *bridge)
	elsewhere   string
}

// clauses are all of design 4.5, in its order.
var clauses = []clause{
	{"Off per account until switched on", "off until it is accepted", func(t *testing.T, w *bridge) {
		w.config(ours, func(a *account) { a.Bridge = false })
		o := w.analyst()
		_, err := w.IDToken(t.Context(), "lgn_1", o.Role, identity.OnNode{})
		wantFault(t, err, "bridge.off")
		w.never(o)
	}, ""},
	{"… also after it was on", "switched off later", func(t *testing.T, w *bridge) {
		o := w.analyst()
		w.config(ours, func(a *account) { a.Bridge = false })
		w.never(o)
	}, ""},
	{"… with the risk shown: whoever holds Carnet's issuer key can then act as anyone in roles that trust it", "", nil, "internal/app/server/bridge_test.go TestBridgeRiskIsSaid"},
	{"Renewed is only a role whose SAML exchange succeeded", "the exchange failed", func(t *testing.T, w *bridge) {
		o := w.signIn("lgn_1", w.assertion(pair(ours, "refused")))[0]
		if o.Failure == nil || w.Status("lgn_1", o).Renewable {
			t.Fatalf("outcome %+v", o)
		}
		w.pass(50 * time.Minute)
		if _, err := w.Fresh(t.Context(), "lgn_1", o); err != nil {
			t.Error(err)
		}
		_, err := w.IDToken(t.Context(), "lgn_1", o.Role, identity.OnNode{})
		wantFault(t, err, "bridge.off")
		w.nothing(t)
	}, ""},
	{"… of this person", "another person's word", func(t *testing.T, w *bridge) {
		o := w.analyst()
		w.renews(o)
		if got := w.minted[0].Subject; got != "user:psn_ann" {
			t.Errorf("subject %s", got)
		}
		wantFault(t, w.StillEntitled(t.Context(), "psn_bob", "idp_a", o.Role), "directory.inactive")
	}, ""},
	{"… this role", "a role that was not traded", func(t *testing.T, w *bridge) {
		w.analyst()
		_, err := w.IDToken(t.Context(), "lgn_1", bridged(t, ours, "admin"), identity.OnNode{})
		wantFault(t, err, "login.required")
		w.nothing(t)
	}, ""},
	{"… this identity provider", "another identity provider", func(t *testing.T, w *bridge) {
		o := w.analyst()
		w.idp.ID = "idp_b"
		w.refusesAny(o)
	}, ""},
	{"… and this login session", "another login session", func(t *testing.T, w *bridge) {
		o := w.analyst()
		w.pass(50 * time.Minute)
		if _, err := w.IDToken(t.Context(), "lgn_2", o.Role, identity.OnNode{}); fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("a token for another login session: %v", err)
		}
		rows, err := w.store.Load(t.Context(), "lgn_1")
		if err != nil {
			t.Fatal(err)
		}
		if err := w.store.Save(t.Context(), "lgn_2", rows, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := w.IDToken(t.Context(), "lgn_2", o.Role, identity.OnNode{}); err == nil {
			t.Error("a row that was copied to another login session gives a token")
		}
		w.nothing(t)
	}, ""},
	{"… that has not ended", "signed out", func(t *testing.T, w *bridge) {
		o := w.analyst()
		if err := w.store.Forget(t.Context(), "lgn_1"); err != nil { // by another server
			t.Fatal(err)
		}
		w.refuses(o, "login.required")
	}, ""},
	{"with the same session name", "same session name", func(t *testing.T, w *bridge) {
		w.renews(w.analyst())
		if got := w.calls[0].SessionName; got != "ann" {
			t.Errorf("session name %q", got)
		}
	}, ""},
	{"… tags", "same tags", func(t *testing.T, w *bridge) {
		w.renews(w.analyst(tagged))
		if got := fmt.Sprint(w.minted[0].Tags, w.minted[0].TransitiveTagKeys); got != "[{team blue} {cost 42}] [team]" {
			t.Errorf("tags %s", got)
		}
	}, ""},
	{"… where they can't be repeated, nothing is renewed", "tags are switched off", func(t *testing.T, w *bridge) {
		w.config(ours, func(a *account) { a.Tags = false })
		w.refuses(w.analyst(tagged), "bridge.off")
	}, ""},
	{"… and source identity", "same source identity", func(t *testing.T, w *bridge) {
		w.renews(w.analyst(sourced))
		if got := w.minted[0].SourceIdentity; got != "ann.smith" {
			t.Errorf("source identity %q", got)
		}
	}, ""},
	{"… where the sign-in set none, none is set", "no source identity", func(t *testing.T, w *bridge) {
		w.renews(w.analyst())
		if got := w.minted[0]; got.SourceIdentity != "" || got.Tags != nil {
			t.Errorf("token %+v", got)
		}
	}, ""},
	{"… where it can't be repeated, nothing is renewed", "source identity is switched off", func(t *testing.T, w *bridge) {
		w.config(ours, func(a *account) { a.SourceIdentity = false })
		w.refuses(w.analyst(sourced), "bridge.off")
	}, ""},
	{"… and STS has to have set it", "STS sets another source identity", func(t *testing.T, w *bridge) {
		o := w.analyst(sourced)
		w.wrong = func(a *broker.Assumed) { a.SourceIdentity = "bob" }
		w.pass(50 * time.Minute)
		if got, err := w.Fresh(t.Context(), "lgn_1", o); err != nil || got.Session.Credentials.AccessKeyID != o.Session.Credentials.AccessKeyID {
			t.Errorf("%+v, %v", got, err)
		}
	}, ""},
	{"the same or a narrower session policy: neither exchange has one", "", nil, "internal/edge/upstream/stsclient/web_test.go TestWebIdentityOnTheWire"},
	{"DurationSeconds at most 1 h", "an hour at most", func(t *testing.T, w *bridge) {
		o := w.renews(w.analyst())
		if got := w.calls[0].Duration; got != time.Hour || o.Session.Credentials.Expiration.Sub(w.now) != time.Hour {
			t.Errorf("asked for %s", got)
		}
	}, ""},
	{"… and never past the deadline", "up to the deadline", func(t *testing.T, w *bridge) {
		o := w.analyst(func(a *saml.Assertion) { a.SessionNotOnOrAfter = w.now.Add(80 * time.Minute) })
		o = w.renews(o)
		if got := w.calls[0].Duration; got != 30*time.Minute {
			t.Errorf("asked for %s, with 30 minutes left", got)
		}
		w.ends(o, "bridge.deadline")
	}, ""},
	{"the deadline is min(cap,", "bounded by the cap", func(t *testing.T, w *bridge) {
		w.config(ours, func(a *account) { a.Cap = 90 * time.Minute })
		w.needed(w.analyst(), 90*time.Minute)
	}, ""},
	{"end of the login session,", "bounded by the login session", func(t *testing.T, w *bridge) {
		a := w.assertion(pair(ours, "analyst"))
		o := w.signIn("lgn_1", a, func(r *broker.Request) { r.Ends = w.now.Add(100 * time.Minute) })[0]
		w.needed(o, 100*time.Minute)
	}, ""},
	{"SessionNotOnOrAfter)", "bounded by the identity provider", func(t *testing.T, w *bridge) {
		w.needed(w.analyst(func(a *saml.Assertion) { a.SessionNotOnOrAfter = w.now.Add(110 * time.Minute) }), 110*time.Minute)
	}, ""},
	{"cap 12 h by default,", "twelve hours", func(t *testing.T, w *bridge) {
		w.recalls()
		w.config(ours, func(a *account) { a.Cap = 0 })
		o := w.signIn("lgn_1", w.assertion(pair(ours, "analyst")), func(r *broker.Request) { r.Ends = w.now.Add(24 * time.Hour) })[0]
		w.needed(o, 12*time.Hour)
	}, ""},
	{"4 h for IdPs without SCIM or back-channel logout", "four hours where nobody tells of a logout", func(t *testing.T, w *bridge) {
		w.needed(w.analyst(), 4*time.Hour)
	}, ""},
	{"AuthnContext is kept;", "the authentication context is in the token", func(t *testing.T, w *bridge) {
		o := w.analyst()
		w.renews(o)
		if got := w.minted[0]; got.ACR != o.Basis.Evidence.AuthnContext || !got.AuthTime.Equal(o.Basis.Evidence.AuthnTime) || got.ACR == "" {
			t.Errorf("token %+v", got)
		}
	}, ""},
	{"an account may require one", "the account requires another", func(t *testing.T, w *bridge) {
		w.config(ours, func(a *account) { a.AuthnContexts = []string{"urn:oasis:names:tc:SAML:2.0:ac:classes:TimeSyncToken"} })
		w.refuses(w.analyst(), "bridge.authn-context")
	}, ""},
	{"… and takes it", "the account requires the one it has", func(t *testing.T, w *bridge) {
		o := w.analyst()
		w.config(ours, func(a *account) { a.AuthnContexts = []string{"x", o.Basis.Evidence.AuthnContext} })
		w.renews(o)
	}, ""},
	{"Each token: 5 minutes, one audience, exactly one role in the roles claim", "five minutes, one audience, one role", func(t *testing.T, w *bridge) {
		o := w.signIn("lgn_1", w.assertion(pair(ours, "analyst"), pair(ours, "engineer")))[1]
		w.renews(o)
		got := w.minted[0]
		if got.Lifetime != 5*time.Minute || got.Audience != issuer.AudienceAWS || got.Client || got.Role != o.Role || got.Profile != nil {
			t.Errorf("token %+v", got)
		}
	}, ""},
	{"The generated trust pins audience, subject and sts:RoleAuthorizedByIdp", "", nil, "internal/service/generate/oidc_test.go TestTrustOfOIDC"},
	{"Every renewal re-reads the active flag,", "switched off", func(t *testing.T, w *bridge) {
		o := w.analyst()
		w.inactive = true
		w.refuses(o, "directory.inactive")
	}, ""},
	{"entitlement: the identity provider is switched on,", "the identity provider is switched off", func(t *testing.T, w *bridge) {
		o := w.analyst()
		w.idp.Enabled = false
		w.refuses(o, "federation.disabled")
	}, ""},
	{"… may speak of the role,", "the role is off its list", func(t *testing.T, w *bridge) {
		o := w.analyst()
		w.idp.RolePatterns = []string{"arn:aws:iam::*:role/engineer"}
		w.refuses(o, "entitlement.ended")
	}, ""},
	{"… of the account,", "the account is off its list", func(t *testing.T, w *bridge) {
		o := w.analyst()
		w.idp.Accounts = []string{strict}
		w.refuses(o, "entitlement.ended")
	}, ""},
	{"… and of the person;", "the person's domain is off its list", func(t *testing.T, w *bridge) {
		o := w.analyst()
		w.idp.UserNameDomains = []string{"example.com"}
		w.refuses(o, "entitlement.ended")
	}, ""},
	{"… a template still derives the role from the group,", "the template is gone", func(t *testing.T, w *bridge) {
		derived := func() broker.Outcome {
			a := w.assertion()
			a.Attributes = append(a.Attributes, saml.Attribute{Name: "groups", Values: []string{"aws-derived"}})
			return w.signIn("lgn_1", a)[0]
		}
		o := derived()
		w.idp.RoleTemplates = []federationTemplate{{Group: "aws2-{role}", Account: ours, Role: "{role}", Provider: "corp"}}
		w.refuses(o, "entitlement.ended")
	}, ""},
	{"… the account is configured,", "the account is not configured any more", func(t *testing.T, w *bridge) {
		o := w.analyst()
		delete(w.accounts, ours)
		w.never(o)
	}, ""},
	{"… the session name is the person's own,", "a mapped session name is not allowed any more", func(t *testing.T, w *bridge) {
		w.idp.MapSessionName = true
		o := w.analyst(func(a *saml.Assertion) { a.NameID = "ann" })
		o.Basis.Evidence.SessionName = "other"
		w.idp.MapSessionName = false
		wantFault(t, o.Basis.Evidence.Holds(w.speaker(t), w.accounts), "entitlement.ended")
	}, ""},
	{"… the way to sign in is one that the provider may use now,", "another way to sign in is asked for", func(t *testing.T, w *bridge) {
		o := w.analyst()
		w.idp.AuthnContexts = []string{"urn:oasis:names:tc:SAML:2.0:ac:classes:TimeSyncToken"}
		w.refuses(o, "entitlement.ended")
	}, ""},
	{"… and no later sign-in through it came without the role", "a later sign-in lacks the role", func(t *testing.T, w *bridge) {
		o := w.analyst()
		w.pass(time.Minute)
		w.signIn("lgn_2", w.assertion(pair(ours, "engineer")))
		w.refuses(o, "bridge.word")
	}, ""},
	{"… a later sign-in without any role ends all", "a later sign-in without roles", func(t *testing.T, w *bridge) {
		o := w.analyst()
		w.pass(time.Minute)
		w.signIn("lgn_2", w.assertion())
		w.refuses(o, "bridge.word")
	}, ""},
	{"… an earlier word that comes late ends nothing", "an earlier word comes late", func(t *testing.T, w *bridge) {
		late := w.assertion()
		w.pass(time.Minute)
		o := w.analyst()
		w.signIn("lgn_2", late)
		w.renews(o)
	}, ""},
	{"… a later one with the role ends nothing", "a later sign-in has the role", func(t *testing.T, w *bridge) {
		o := w.analyst()
		w.pass(time.Minute)
		w.signIn("lgn_2", w.assertion(pair(ours, "engineer"), pair(ours, "analyst")))
		w.renews(o)
	}, ""},
	{"and revocation of the login session,", "the login session was revoked", func(t *testing.T, w *bridge) {
		o := w.analyst()
		w.revoked["login-session lgn_1"] = w.epoch
		w.refuses(o, "bridge.revoked")
	}, ""},
	{"… and of the person", "the person was revoked", func(t *testing.T, w *bridge) {
		o := w.analyst()
		w.revoked["person psn_ann"] = w.epoch
		w.refuses(o, "bridge.revoked")
	}, ""},
	{"… and of the role", "the role was revoked", func(t *testing.T, w *bridge) {
		o := w.analyst()
		w.revoked["role "+o.Role.String()] = w.epoch
		w.refuses(o, "bridge.revoked")
	}, ""},
	{"… one from before the sign-in ends nothing", "revoked before the sign-in", func(t *testing.T, w *bridge) {
		w.revoked["person psn_ann"] = w.epoch - 1
		w.renews(w.analyst())
	}, ""},
	{"… while it can't be said, nothing is made", "the identity providers can't be read", func(t *testing.T, w *bridge) {
		o := w.analyst()
		w.idpAway = fault.New(fault.Unavailable, "the database is away")
		w.pass(50 * time.Minute)
		if got, err := w.Fresh(t.Context(), "lgn_1", o); err != nil || got.Session.Credentials.AccessKeyID != o.Session.Credentials.AccessKeyID {
			t.Errorf("%+v, %v", got, err)
		}
		w.nothing(t)
	}, ""},
	{"and is audited with the sign-in that it rests on", "audited with its sign-in", func(t *testing.T, w *bridge) {
		o := w.renews(w.analyst())
		e := w.trail[len(w.trail)-1]
		want := event.Event{Action: "renewal", Outcome: event.Done, Person: "psn_ann", UserName: "ann", IdP: "idp_a", LoginSession: "lgn_1", Account: ours,
			Role: o.Role.String(), AccessKeyID: o.Session.Credentials.AccessKeyID, Target: "_assertion1", Detail: e.Detail}
		if fmt.Sprint(e) != fmt.Sprint(want) || e.Detail["renewal"] != "1" || e.Detail["token"] != "jti-1" || e.Detail["exchange"] != "saml" || e.Detail["deadline"] == "" {
			t.Errorf("recorded %+v", e)
		}
	}, ""},
	{"… before the keys are given", "what can't be recorded is not given", func(t *testing.T, w *bridge) {
		o := w.analyst()
		w.noTrail = errors.New("the trail is full")
		w.pass(50 * time.Minute)
		if got, err := w.Fresh(t.Context(), "lgn_1", o); err != nil || got.Session.Credentials.AccessKeyID != o.Session.Credentials.AccessKeyID {
			t.Errorf("given: %+v, %v", got, err)
		}
		if row, err := w.store.Row(t.Context(), "lgn_1", o.Role.String()); err != nil || row.AccessKeyID != o.Session.Credentials.AccessKeyID || row.Renewals != 0 {
			t.Errorf("stored: %+v, %v", row, err)
		}
	}, ""},
	{"… so are refusals, once for each reason", "refusals are recorded once", func(t *testing.T, w *bridge) {
		o := w.analyst()
		w.inactive = true
		for range 5 {
			w.pass(20 * time.Minute)
			_, _ = w.Fresh(t.Context(), "lgn_1", o)
		}
		if len(w.trail) != 1 || w.trail[0].Outcome != event.Denied || w.trail[0].Code != "directory.inactive" || w.trail[0].Target != "_assertion1" {
			t.Errorf("trail %+v", w.trail)
		}
	}, ""},
	{"Nothing broader, ever (design 4.9)", "a refused renewal is not tried in another way", func(t *testing.T, w *bridge) {
		o := w.analyst(tagged, sourced)
		w.refusal = fault.Coded(fault.Denied, "AccessDenied", "Not authorized to perform sts:TagSession")
		w.pass(50 * time.Minute)
		for range 8 {
			w.pass(20 * time.Minute)
			_, _ = w.Fresh(t.Context(), "lgn_1", o)
		}
		if len(w.calls) < 2 || len(w.granted) != 1 {
			t.Fatalf("%d calls", len(w.calls))
		}
		for i, c := range w.calls {
			m := w.minted[i]
			if c.Role != o.Role || c.SessionName != "ann" || len(m.Tags) != 2 || m.SourceIdentity != "ann.smith" || m.Role != o.Role {
				t.Errorf("call %d: %+v by %+v", i+1, c, m)
			}
		}
	}, ""},
	{"… and the role's own trust policy has the last word", "the trust does not take our issuer", func(t *testing.T, w *bridge) {
		o := w.analyst()
		w.refusal = fault.Coded(fault.Denied, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
		w.pass(50 * time.Minute)
		if got, err := w.Fresh(t.Context(), "lgn_1", o); err != nil || got.Session.Credentials.AccessKeyID != o.Session.Credentials.AccessKeyID {
			t.Errorf("%+v, %v", got, err)
		}
		st := w.Status("lgn_1", o)
		if st.Renewable || !strings.Contains(st.Warning.Message, "Not authorized to perform sts:AssumeRoleWithWebIdentity") ||
			!strings.Contains(st.Warning.Message, "trust policy of") && !strings.Contains(st.Warning.Message, "trust policy allows") ||
			!st.NeededBy.Equal(o.Session.Credentials.Expiration) {
			t.Errorf("status %+v", st)
		}
	}, ""},
	{"… an answer for another role or name is thrown away", "STS answers for another role", func(t *testing.T, w *bridge) {
		o := w.analyst()
		w.wrong = func(a *broker.Assumed) { a.AssumedRoleARN = bridged(t, ours, "admin").AssumedRole("ann") }
		w.pass(70 * time.Minute)
		if got, err := w.Fresh(t.Context(), "lgn_1", o); err == nil || len(w.calls) != 1 {
			t.Errorf("%+v, %v", got, err)
		}
	}, ""},
	{"The assertion is not kept", "the assertion is not kept", func(t *testing.T, w *bridge) {
		o := w.renews(w.analyst())
		rows, err := w.store.Load(t.Context(), "lgn_1")
		if err != nil {
			t.Fatal(err)
		}
		for _, held := range []any{rows, o, *o.Basis, w.trail, w.calls, w.minted} {
			if strings.Contains(fmt.Sprintf("%+v", held), "PHNhbWw+") {
				t.Errorf("%T holds the assertion", held)
			}
		}
		plain, err := w.ring.Open("role-basis", []byte("lgn_1\x00"+o.Role.String()+"\x00"), rows[0].Evidence)
		if err != nil || strings.Contains(string(plain), "PHNhbWw+") || !strings.Contains(string(plain), "_assertion1") {
			t.Errorf("evidence %s, %v", plain, err)
		}
	}, ""},
	{"What somebody writes into the database renews nothing", "forged evidence", func(t *testing.T, w *bridge) {
		w.analyst()
		forged := broker.Row{Role: bridged(t, ours, "admin").String(), Index: 1, Served: broker.ServedSAML, Ends: w.now.Add(time.Hour), AccessKeyID: "ASIAX",
			Expiration: w.now.Add(time.Hour), Sealed: []byte{1}, Evidence: []byte(`{"person":"psn_ann","exchange":"saml"}`)}
		if err := w.store.Save(t.Context(), "lgn_1", []broker.Row{forged}, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := w.IDToken(t.Context(), "lgn_1", bridged(t, ours, "admin"), identity.OnNode{}); err == nil {
			t.Error("a token by forged evidence")
		}
		w.nothing(t)
	}, ""},
}

func TestClauses(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for _, c := range clauses {
		if c.test == nil {
			elsewhere(t, c)
			continue
		}
		if names[c.name] {
			t.Errorf("two clauses are named %q", c.name)
		}
		names[c.name] = true
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t, newBridge(t))
		})
	}
	const page = "../../../docs/security/bridge.md"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	const mark = "<!-- the table is written by go test ./internal/service/broker -run TestClauses -update -->\n"
	before, _, ok := strings.Cut(string(text), mark)
	if !ok {
		t.Fatalf("%s has no place for the table", page)
	}
	want := before + mark + table()
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(text) {
		t.Errorf("%s is not the table of these tests: go test ./internal/service/broker -run TestClauses -update", page)
	}
}

func table() string {
	var b strings.Builder
	b.WriteString("\n| Clause | Test |\n|---|---|\n")
	for _, c := range clauses {
		test := "`internal/service/broker` TestClauses/" + strings.ReplaceAll(c.name, " ", "_")
		if c.test == nil {
			file, name, _ := strings.Cut(c.elsewhere, " ")
			test = "`" + file[:strings.LastIndex(file, "/")] + "` " + name
		}
		fmt.Fprintf(&b, "| %s | %s |\n", c.words, test)
	}
	return b.String()
}

// elsewhere wants the test that a clause names in another package.
func elsewhere(t *testing.T, c clause) {
	t.Helper()
	file, name, _ := strings.Cut(c.elsewhere, " ")
	src, err := os.ReadFile("../../../" + file)
	if err != nil {
		t.Error(err)
	}
	if !regexp.MustCompile(`(?m)^func ` + regexp.QuoteMeta(name) + `\(`).Match(src) {
		t.Errorf("%s has no %s, which holds %q", file, name, c.words)
	}
}

func wantFault(t *testing.T, err error, code string) {
	t.Helper()
	if f := fault.Of(err); f == nil || f.Code != code {
		t.Errorf("error %v, want %s", err, code)
	}
}

func tagged(a *saml.Assertion) {
	a.Attributes = append(a.Attributes, saml.Attribute{Name: saml.AttrPrincipalTagPrefix + "team", Values: []string{"blue"}},
		saml.Attribute{Name: saml.AttrPrincipalTagPrefix + "cost", Values: []string{"42"}}, saml.Attribute{Name: saml.AttrTransitiveTagKeys, Values: []string{"team"}})
}

func sourced(a *saml.Assertion) {
	a.Attributes = append(a.Attributes, saml.Attribute{Name: saml.AttrSourceIdentity, Values: []string{"ann.smith"}})
}
