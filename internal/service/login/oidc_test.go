package login_test

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/egress"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/edge/upstream/jwks"
	"carnet.dev/carnet/internal/edge/upstream/jwks/issuertest"
	"carnet.dev/carnet/internal/edge/upstream/openid"
	rp "carnet.dev/carnet/internal/protocol/openid"
	"carnet.dev/carnet/internal/service/federation"
	"carnet.dev/carnet/internal/service/login"
)

const redirectURI = "https://carnet.example/sign-in/oidc/callback"

// openIDWorld is a world with an OpenID provider that people sign in with.
type openIDWorld struct {
	*world
	op   *issuertest.OP
	idp  federation.IdP
	from netip.Addr
}

func newOpenIDWorld(t *testing.T, change ...func(*federation.IdP)) *openIDWorld {
	t.Helper()
	return newOpenIDWorldOn(t, newWorld(t), change...)
}

func newOpenIDWorldOn(t *testing.T, w *world, change ...func(*federation.IdP)) *openIDWorld {
	t.Helper()
	o := &openIDWorld{world: w, op: issuertest.NewOP(t, redirectURI, w.clock), from: netip.MustParseAddr("192.0.2.7")}
	allow, err := egress.ParseAllow([]string{"127.0.0.1"})
	must(t, err)
	client := egress.New(egress.Config{Allow: allow, Timeout: 2 * time.Second})
	w.config.OIDCURL, w.config.SignedOutURL = redirectURI, "https://carnet.example/signed-out"
	w.config.OpenID = openid.New(openid.Config{Client: client, Now: w.clock})
	w.config.KeySets = jwks.New(jwks.Config{Client: client, Loopback: client, Now: w.clock})
	w.Service, err = login.New(t.Context(), w.config)
	must(t, err)
	o.idp = o.enter("Corp OP", o.op, change...)
	return o
}

// enter enters an OpenID provider.
func (o *openIDWorld) enter(name string, op *issuertest.OP, change ...func(*federation.IdP)) federation.IdP {
	o.t.Helper()
	p := federation.IdP{Name: name, Protocol: federation.OIDC, Enabled: true, AllowAutoCreate: true, Accounts: []string{"111122223333"},
		RolePatterns: []string{"*"}, UserNameDomains: []string{"example.com"}, AdministratorGroups: []string{"admins"},
		OIDC: federation.OIDCSettings{Issuer: op.URL, ClientID: op.ClientID, ClientSecret: secret.New(op.Secret), RolesClaim: "roles"}}
	for _, c := range change {
		c(&p)
	}
	p, err := o.fed.Add(o.t.Context(), p)
	must(o.t, err)
	return p
}

// beginOIDC begins at an identity provider.
func (o *openIDWorld) beginOIDC(idp identity.IdPID, options login.Options) login.Started {
	o.t.Helper()
	s, err := o.Begin(o.t.Context(), idp, "/roles?x=1", options)
	must(o.t, err)
	return s
}

// bring gives what a browser brought back to ConsumeCode.
func (o *openIDWorld) bring(query string, preLogin secret.Text) (login.Consumed, error) {
	a, err := rp.ParseAnswer(query)
	if err != nil {
		return login.Consumed{}, err
	}
	return o.ConsumeCode(o.t.Context(), a, preLogin, o.from)
}

// through goes from Begin to what ConsumeCode says.
func (o *openIDWorld) through() (login.Started, login.Consumed, error) {
	o.t.Helper()
	s := o.beginOIDC(o.idp.ID, login.Options{})
	c, err := o.bring(o.op.SignIn(s.RedirectURL), s.PreLogin)
	return s, c, err
}

// signedIn goes all the way.
func (o *openIDWorld) signedIn() login.SignedIn {
	o.t.Helper()
	s, c, err := o.through()
	must(o.t, err)
	in, err := o.Complete(o.t.Context(), c.Handle, s.PreLogin)
	must(o.t, err)
	return in
}

func TestSignInByOpenID(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		o := newOpenIDWorldOn(t, newWorldOn(t, c))
		o.op.Person(map[string]any{"roles": []string{analyst, engineer + "," + idp1, "Reader"}, "groups": []string{"admins"}})
		s := o.beginOIDC(o.idp.ID, login.Options{})
		query := o.op.SignIn(s.RedirectURL)
		if n := o.count("login_session") + o.count("login_ticket") + o.count("used_once"); n != 0 {
			t.Errorf("%d rows before anybody has proven anything", n)
		}
		consumed, err := o.bring(query, s.PreLogin)
		must(t, err)
		in, err := o.Complete(t.Context(), consumed.Handle, s.PreLogin)
		must(t, err)
		p := in.Session.Person
		if in.ReturnTo != "/roles?x=1" || !in.Session.Administrator || in.Session.IdPName != "Corp OP" ||
			p.UserName != "alice@example.com" || p.DisplayName != "Alice Example" || p.ID == "" || p.IdP != o.idp.ID {
			t.Errorf("signed in as %+v", in)
		}
		if !in.Session.Expires.Equal(o.now.Add(12 * time.Hour)) {
			t.Errorf("ends %s", in.Session.Expires)
		}
		again, err := o.Resume(t.Context(), in.Cookie)
		must(t, err)
		// The account takes SAML alone: each role says so.
		if len(again.Roles) != 2 || again.Roles[0].Role.String() != analyst || again.Roles[1].Role.String() != engineer {
			t.Fatalf("roles %+v", again.Roles)
		}
		if r := again.Roles[0]; r.State != login.RoleFailed || !strings.Contains(r.Error.Message, "takes SAML alone") || r.Error.Mend == "" {
			t.Errorf("role %+v", r)
		}
		if !slices.ContainsFunc(again.Notes, func(n string) bool { return strings.Contains(n, `"Reader"`) }) {
			t.Errorf("notes %q", again.Notes)
		}
		if acts := o.acts(); !slices.Equal(acts[len(acts)-3:], []string{"sign-in", "exchange", "exchange"}) {
			t.Errorf("recorded %v", acts)
		}
		if id := o.signedIn().Session.Person.ID; id != p.ID {
			t.Errorf("the same subject is %s and %s", p.ID, id)
		}
		o.op.Person(map[string]any{"sub": "another"})
		_, _, err = o.through()
		if err == nil {
			t.Error("another subject signed in under a name that is taken")
		}
	})
}

// TestRequestToOpenID: what is asked for is what is set.
func TestRequestToOpenID(t *testing.T) {
	t.Parallel()
	age := 600
	o := newOpenIDWorld(t, func(p *federation.IdP) {
		p.OIDC.Scopes, p.OIDC.ACRValues, p.OIDC.MaxAge = []string{"groups"}, []string{"phr", "phrh"}, &age
	})
	asked := func(options login.Options) url.Values {
		t.Helper()
		u, err := url.Parse(o.beginOIDC(o.idp.ID, options).RedirectURL)
		must(t, err)
		return u.Query()
	}
	q := asked(login.Options{})
	for name, want := range map[string]string{"scope": "openid groups", "acr_values": "phr phrh", "max_age": "600", "client_id": "carnet",
		"redirect_uri": redirectURI, "code_challenge_method": "S256", "response_type": "code"} {
		if q.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, q.Get(name), want)
		}
	}
	if got := asked(login.Options{Anew: true}).Get("max_age"); got != "0" {
		t.Errorf("a fresh sign-in asks for max_age %q", got)
	}
	other := asked(login.Options{})
	for _, name := range []string{"state", "nonce", "code_challenge"} {
		if q.Get(name) == other.Get(name) || q.Get(name) == "" {
			t.Errorf("%s is twice %q", name, q.Get(name))
		}
	}
}

// TestClientAuthentication: the secret goes by header, in the form, or there is
// none.
func TestClientAuthentication(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"", federation.ClientAuthPost, federation.ClientAuthNone} {
		o := newOpenIDWorld(t)
		if how == federation.ClientAuthNone {
			o.op.Secret = ""
		}
		p := o.idp
		p.OIDC.ClientAuth, p.OIDC.ClientSecret = how, secret.New(o.op.Secret)
		_, err := o.fed.Update(t.Context(), p)
		must(t, err)
		if _, _, err := o.through(); err != nil {
			t.Errorf("client authentication %q: %v", how, err)
		}
		o.op.Secret = "another"
		_, _, err = o.through()
		wantCode(t, err, "openid.refused")
		if err == nil || !strings.Contains(err.Error(), "invalid_client") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("a wrong secret is told as %v", err)
		}
	}
}

// TestUserInfo is asked for what the ID token lacks, and for nothing else.
func TestUserInfo(t *testing.T) {
	t.Parallel()
	o := newOpenIDWorld(t)
	o.op.Person(map[string]any{"roles": []string{analyst}, "groups": []string{}})
	o.signedIn()
	if n := o.op.Asked(issuertest.UserInfo); n != 0 {
		t.Errorf("userinfo was asked %d times though the ID token has everything", n)
	}
	o.op.Person(map[string]any{"roles": issuertest.Absent, "preferred_username": issuertest.Absent})
	o.op.Info(map[string]any{"preferred_username": "alice@example.com", "roles": engineer, "groups": []string{"admins"}, "acr": "forged", "nonce": "forged"})
	in := o.signedIn()
	if len(in.Session.Roles) != 1 || in.Session.Roles[0].Role.String() != engineer || in.Session.AuthnContext != "" || in.Session.Administrator {
		t.Errorf("signed in as %+v", in.Session)
	}
	o.op.Info(map[string]any{"sub": "another", "preferred_username": "alice@example.com"})
	_, _, err := o.through()
	wantCode(t, err, rp.CodeUserInfo)
}

// TestRolesByTemplate: groups make roles, within the list.
func TestRolesByTemplate(t *testing.T) {
	t.Parallel()
	o := newOpenIDWorld(t, func(p *federation.IdP) {
		p.OIDC.RolesClaim, p.OIDC.GroupsClaim = "", "realm_access.roles"
		p.RoleTemplates = []federation.RoleTemplate{{Group: "aws-{account}-{role}", Account: "{account}", Role: "{role}"}}
		p.RolePatterns = []string{analyst}
	})
	o.op.Person(map[string]any{"realm_access": map[string]any{"roles": []string{"aws-111122223333-analyst", "aws-111122223333-engineer", "aws-444455556666-pipeline"}}, "roles": pipeline})
	in := o.signedIn()
	if len(in.Session.Roles) != 1 || in.Session.Roles[0].Role.String() != analyst || len(in.Session.Notes) != 2 {
		t.Errorf("roles %+v, notes %q", in.Session.Roles, in.Session.Notes)
	}
}

// TestKeysOfAnOpenIDProviderTurn: a new key is looked for, once.
func TestKeysOfAnOpenIDProviderTurn(t *testing.T) {
	t.Parallel()
	o := newOpenIDWorld(t)
	o.signedIn()
	o.pass(11 * time.Second)
	o.op.SetKeys(issuertest.NewKey(t, "next", "ES256"))
	o.signedIn()
	foreign := issuertest.NewKey(t, "foreign", "ES256")
	o.op.Bend(func(g *issuertest.Grant) { g.Key = foreign })
	_, _, err := o.through()
	wantCode(t, err, "oidc.key")
}

// TestOpenIDProviderAway: who can't be asked signs nobody in, and says so.
func TestOpenIDProviderAway(t *testing.T) {
	t.Parallel()
	o := newOpenIDWorld(t)
	o.op.Answer(issuertest.TokenPath, nil)
	_, _, err := o.through()
	wantCode(t, err, "openid.refused")
	o.pass(2 * time.Hour)
	o.op.Document(map[string]any{"token_endpoint": "http://tokens.example/"})
	_, err = o.Begin(t.Context(), o.idp.ID, "/", login.Options{})
	wantCode(t, err, rp.CodeDocument)
}

// TestTestSignInByOpenID shows every check, and opens nothing.
func TestTestSignInByOpenID(t *testing.T) {
	t.Parallel()
	o := newOpenIDWorld(t)
	_, err := o.fed.SetEnabled(t.Context(), o.idp.ID, false)
	must(t, err)
	o.op.Person(map[string]any{"roles": []string{analyst}, "groups": []string{"admins"}, "acr": "phr"})
	report := func(bend func(*issuertest.Grant)) login.Report {
		t.Helper()
		o.op.Bend(bend)
		s := o.beginOIDC(o.idp.ID, login.Options{Test: true})
		c, err := o.bring(o.op.SignIn(s.RedirectURL), s.PreLogin)
		must(t, err)
		if !c.Test {
			t.Fatal("a test sign-in was taken for one")
		}
		r, err := o.Report(t.Context(), c.Handle, s.PreLogin)
		must(t, err)
		return r
	}
	r := report(nil)
	if r.Refusal != nil || r.Protocol != "oidc" || r.Person.UserName != "alice@example.com" || r.NameID != "f3b1-alice" || !r.Administrator ||
		!r.SingleLogout || r.AuthnContext != "phr" || len(r.Roles) != 1 || r.Roles[0].ARN != analyst || r.Roles[0].Problem == "" {
		t.Errorf("report %+v", r)
	}
	var names []string
	for _, c := range r.Checks {
		if names = append(names, c.Code); !c.OK {
			t.Errorf("check %s failed: %s", c.Code, c.Detail)
		}
	}
	want := slices.Concat([]string{login.CheckAnswerIssuer, login.CheckAnswer, login.CheckCode}, rp.Checks(), []string{"login.subject", "login.session-name"})
	if !slices.Equal(names, want) {
		t.Errorf("checks %q\nwant   %q", names, want)
	}
	r = report(func(g *issuertest.Grant) { g.Claims["nonce"] = "another" })
	if last := r.Checks[len(r.Checks)-1]; r.Refusal == nil || r.Refusal.Code != rp.CheckNonce || last.Code != rp.CheckNonce || last.OK || len(r.Attributes) != 0 {
		t.Errorf("report %+v", r)
	}
	if n := o.count("login_session"); n != 0 {
		t.Errorf("%d login sessions of tests", n)
	}
}

// TestAnswersOfRefusal are told in plain words.
func TestAnswersOfRefusal(t *testing.T) {
	t.Parallel()
	o := newOpenIDWorld(t)
	for code, says := range map[string]string{"access_denied": "was cancelled there", "server_error": "can't sign anybody in at this moment",
		"invalid_scope": "does not take our request", "unmet_authentication_requirements": "by the way that is asked for", "whatever": "did not sign you in"} {
		s := o.beginOIDC(o.idp.ID, login.Options{})
		u, err := url.Parse(s.RedirectURL)
		must(t, err)
		q := url.Values{"error": {code}, "error_description": {"because\x00 of <b>it</b>"}, "state": {u.Query().Get("state")}, "iss": {o.op.URL}}
		_, err = o.bring(q.Encode(), s.PreLogin)
		wantCode(t, err, login.CheckAnswer)
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "because of <b>it</b>") {
			t.Errorf("%s: %v", code, err)
		}
	}
}
