package issuerapi_test

import (
	"context"
	"net/netip"
	"net/url"
	"slices"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/oidc"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/oauth"
	"carnet.dev/carnet/internal/service/workload"
)

// noMachines proves nobody.
type noMachines struct{}

func (noMachines) Resolve(context.Context, workload.Foreign) (workload.Proven, error) {
	return workload.Proven{}, fault.Coded(fault.Denied, workload.CodeGrant, "no policy")
}
func (noMachines) Standing(context.Context, workload.Principal) error { return nil }
func (noMachines) Token(_ context.Context, who workload.Principal, a workload.Ask) (issuer.Minted, error) {
	return issuer.Minted{Token: secret.New("ID token of " + who.Subject() + " for " + a.Audience), Issued: time.Unix(0, 0), Expires: time.Unix(300, 0)}, nil
}

// roleTokens answers with what it was asked for.
type roleTokens struct{}

func (roleTokens) IDToken(_ context.Context, id identity.LoginSessionID, r arn.Role, _ identity.OnNode) (issuer.Minted, error) {
	return issuer.Minted{Token: secret.New(string(id) + " " + r.Name), Issued: time.Unix(0, 0), Expires: time.Unix(300, 0)}, nil
}

const (
	typeAccess = oauth.TypeAccessToken
	listed     = "listed.example"
)

// machines is the world's authorization server with the grants of machines.
func (w *world) machines() *oauth.Service {
	w.t.Helper()
	c := w.config
	c.Workloads, c.RoleTokens = noMachines{}, roleTokens{}
	s, err := oauth.Open(w.t.Context(), c)
	must(w.t, err)
	return s
}

func exchange(s *oauth.Service, c oauth.Client, form map[string]string) (oauth.TokenResponse, error) {
	f := oauth.Form{"grant_type": oauth.GrantExchange, "subject_token_type": typeAccess}
	for n, v := range form {
		if f[n] = v; v == "" {
			delete(f, n)
		}
	}
	return s.Token(context.Background(), oauth.TokenRequest{Level: issuer.Workspace, Client: c, Form: f, Source: netip.MustParseAddr("127.0.0.1")})
}

// TestPersonsAccessTokenBuysIDTokens: the client that it was given to, for the
// audiences that the client was given, while the login session lasts.
func TestPersonsAccessTokenBuysIDTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	may := func(audiences ...string) func(*oauth.Client) {
		return func(c *oauth.Client) {
			c.Audiences, c.Grants = audiences, []string{oauth.GrantCode, oauth.GrantRefresh, oauth.GrantExchange}
		}
	}
	app, other, narrow := w.register("app", may(listed, issuer.AudienceAWS)), w.register("other", may(listed)), w.register("narrow", may())
	alice := w.signIn("alice")
	s := w.machines()
	token := w.signedIn(alice, app).access
	out, err := exchange(s, app.Client, map[string]string{"subject_token": token, "audience": listed})
	must(t, err)
	if out.TokenType != oauth.TypeNone || out.IssuedTokenType != oauth.TypeIDToken || out.AccessToken.Reveal() != out.IDToken.Reveal() || !out.RefreshToken.IsZero() {
		t.Errorf("%+v", out)
	}
	parsed, err := oidc.Parse(out.IDToken.Reveal())
	must(t, err)
	keys, _ := w.issuer.KeySet(w.issuer.URL(issuer.Workspace))
	c, err := parsed.Verify(keys, oidc.Expect{Issuer: w.issuer.URL(issuer.Workspace), Audiences: []string{listed}}, w.clock())
	must(t, err)
	if c.Subject != "user:"+string(alice.id) || c.All()["sid"] != string(alice.session) || c.All()["preferred_username"] != "alice" {
		t.Errorf("%v", c.All())
	}
	if _, err := s.Access(out.IDToken); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("an ID token as an access token: %v", err)
	}
	idOnly := w.signedIn(alice, app, "scope", "openid profile").access
	for name, tc := range map[string]struct {
		by   oauth.Client
		form map[string]string
		code string
	}{
		"by another client":          {other.Client, map[string]string{"subject_token": token, "audience": listed}, oauth.InvalidGrant},
		"by nobody":                  {oauth.Client{Name: "a workload", Public: true, Grants: []string{oauth.GrantExchange}}, map[string]string{"subject_token": token, "audience": listed}, oauth.InvalidGrant},
		"by a service principal":     {oauth.Client{ID: "spn_x", ServicePrincipal: "spn_x", Grants: []string{oauth.GrantExchange}}, map[string]string{"subject_token": token, "audience": listed}, oauth.InvalidGrant},
		"an audience not its own":    {narrow.Client, map[string]string{"subject_token": w.signedIn(alice, narrow).access, "audience": listed}, oauth.InvalidTarget},
		"AWS, which it may not":      {other.Client, map[string]string{"subject_token": w.signedIn(alice, other).access, "audience": issuer.AudienceAWS, "role": "analyst"}, oauth.InvalidTarget},
		"our own API":                {app.Client, map[string]string{"subject_token": token, "audience": w.issuer.APIAudience()}, oauth.InvalidTarget},
		"a token without the API":    {app.Client, map[string]string{"subject_token": idOnly, "audience": listed}, oauth.InvalidScope},
		"an access token again":      {app.Client, map[string]string{"subject_token": token}, oauth.InvalidRequest},
		"a role that is not held":    {app.Client, map[string]string{"subject_token": token, "audience": issuer.AudienceAWS, "role": "analyst"}, oauth.InvalidTarget},
		"a role elsewhere":           {app.Client, map[string]string{"subject_token": token, "audience": listed, "role": "analyst"}, oauth.InvalidRequest},
		"a delegation":               {app.Client, map[string]string{"subject_token": token, "audience": listed, "delegation": "dlg_x"}, oauth.InvalidRequest},
		"a resource":                 {app.Client, map[string]string{"subject_token": token, "audience": listed, "resource": "https://x.example"}, oauth.InvalidTarget},
		"an ID token":                {app.Client, map[string]string{"subject_token": out.IDToken.Reveal(), "audience": listed}, oauth.InvalidGrant},
		"another issuer's token":     {app.Client, map[string]string{"subject_token": token, "subject_token_type": oauth.TypeJWT, "audience": listed}, oauth.UnauthorizedClient},
		"a client without the grant": {w.register("plain").Client, map[string]string{"subject_token": token, "audience": listed}, oauth.UnauthorizedClient},
	} {
		got, err := exchange(s, tc.by, tc.form)
		if fault.Of(err) == nil || fault.Of(err).Code != tc.code || !got.AccessToken.IsZero() || !got.IDToken.IsZero() {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, w.login.SignOut(t.Context(), alice.session))
	w.pass(time.Second)
	if _, err := exchange(s, app.Client, map[string]string{"subject_token": token, "audience": listed}); fault.Of(err) == nil || fault.Of(err).Code != oauth.InvalidGrant {
		t.Errorf("after signing out: %v", err)
	}
}

// TestForPerson: in a login session the broker decides about roles, the issuer
// about audiences, and nothing outlives the session.
func TestForPerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.machines()
	analyst := arn.Role{Partition: "aws", Account: "111122223333", Path: "/", Name: "analyst"}
	l := login.LoginSession{ID: "lgn_x", Person: login.Person{ID: "psn_x", IdP: "idp_x", UserName: "x"}, Started: w.clock(), Expires: w.clock().Add(10 * time.Minute),
		Roles: []login.RoleStatus{{Role: analyst, Account: analyst.Account, AccountName: "analytics", State: login.RoleReady}}}
	for _, name := range []string{"analyst", analyst.String(), "analytics/analyst", "111122223333/analyst"} {
		if m, err := s.ForPerson(t.Context(), l, issuer.AudienceAWS, name); err != nil || m.Token.Reveal() != "lgn_x "+analyst.Name {
			t.Errorf("%s: %v", name, err)
		}
	}
	if m, err := s.ForPerson(t.Context(), l, listed, ""); err != nil || m.Expires.After(l.Expires) {
		t.Errorf("ends %s, after the login session: %v", m.Expires, err)
	}
	nobody, over := l, l
	nobody.Person.ID, over.Expires = "", w.clock()
	for name, tc := range map[string]struct {
		l              login.LoginSession
		audience, role string
		code           string
	}{
		"another's role":   {l, issuer.AudienceAWS, "admin", "role.unheld"},
		"no role":          {l, issuer.AudienceAWS, "", "role.choose"},
		"a role elsewhere": {l, listed, "analyst", oauth.InvalidRequest},
		"nobody's list":    {l, "https://evil.example", "", oauth.InvalidTarget},
		"our own API":      {l, w.issuer.APIAudience(), "", oauth.InvalidTarget},
		"a set-up link":    {nobody, listed, "", oauth.AccessDenied},
		"for AWS too":      {nobody, issuer.AudienceAWS, "analyst", oauth.AccessDenied},
		"a session's end":  {over, listed, "", oauth.InvalidGrant},
	} {
		if m, err := s.ForPerson(t.Context(), tc.l, tc.audience, tc.role); fault.Of(err) == nil || fault.Of(err).Code != tc.code || !m.Token.IsZero() {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAttackGrantTypeElsewhere: that a token proves who presents it holds where
// tokens are exchanged. At other endpoints the parameter grant_type proves nobody,
// least of all the service principal that it comes with.
func TestAttackGrantTypeElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sp, err := w.dir.NewServicePrincipal(t.Context(), "nightly", "")
	must(t, err)
	epoch, err := w.feed.Epoch()
	must(t, err)
	m, err := w.issuer.MintAccess(issuer.AccessToken{Subject: "sp:" + string(sp.ID), ClientID: string(sp.ID), Scope: oauth.ScopeAPI, Epoch: epoch})
	must(t, err)
	for _, endpoint := range []string{"revoke", "introspect"} {
		form := url.Values{"token": {m.Token.Reveal()}, "client_id": {string(sp.ID)}, "grant_type": {oauth.GrantExchange}}
		w.refused(endpoint, w.do("POST", "/oidc/v1/"+endpoint, form), 401, "invalid_client")
		form.Del("client_id")
		w.refused(endpoint+", of nobody", w.do("POST", "/oidc/v1/"+endpoint, form), 401, "invalid_client")
	}
	must(t, w.feed.Confirm(t.Context()))
	if _, err := w.Access(m.Token); err != nil || slices.Contains(w.acts(), "token.revoke") {
		t.Errorf("a stranger ended it in its owner's name: %v", err)
	}
}

// TestAttackScopeLeftOut: a client that was not given our API gets no token for it
// by naming no scope at all, and so nothing that could be traded on.
func TestAttackScopeLeftOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sp, err := w.dir.NewServicePrincipal(t.Context(), "nightly", "")
	must(t, err)
	register := func(name string, scopes ...string) oauth.Client {
		return w.register(name, func(c *oauth.Client) {
			c.ServicePrincipal, c.Scopes, c.RedirectURIs = sp.ID, scopes, nil
			c.Grants, c.Audiences = []string{oauth.GrantClient, oauth.GrantExchange}, []string{listed}
		}).Client
	}
	small, too, large := register("small", oauth.ScopeOpenID), register("small too", oauth.ScopeOpenID), register("large", oauth.ScopeOpenID, oauth.ScopeAPI)
	s := w.machines() // opened last, so it knows all three without waiting for a change to arrive
	for _, tt := range []struct {
		client      oauth.Client
		asked, want string
	}{
		{small, "", "openid"}, {too, "all-apis", ""}, {large, "", "all-apis"},
	} {
		form := oauth.Form{"grant_type": oauth.GrantClient}
		if tt.asked != "" {
			form["scope"] = tt.asked
		}
		out, err := s.Token(t.Context(), oauth.TokenRequest{Level: issuer.Workspace, Client: tt.client, Form: form})
		if out.Scope != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s asks for %q and gets %q, %v", tt.client.Name, tt.asked, out.Scope, err)
		}
		if tt.want == "all-apis" || err != nil {
			continue
		}
		if _, err := exchange(s, tt.client, map[string]string{"subject_token": out.AccessToken.Reveal(), "audience": listed}); fault.Of(err) == nil || fault.Of(err).Code != oauth.InvalidScope {
			t.Errorf("%s trades it on: %v", tt.client.Name, err)
		}
	}
}

// TestClientsServicePrincipal: a registered client acts by itself as the service
// principal that an administrator gave it, within its own audiences.
func TestClientsServicePrincipal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sp, err := w.dir.NewServicePrincipal(t.Context(), "nightly", "")
	must(t, err)
	app := w.register("app", func(c *oauth.Client) {
		c.ServicePrincipal, c.Grants, c.Audiences, c.RedirectURIs = sp.ID, []string{oauth.GrantClient}, []string{listed}, nil
	})
	plain := w.register("plain", func(c *oauth.Client) { c.Grants = []string{oauth.GrantCode, oauth.GrantExchange} })
	s := w.machines()
	ask := func(c oauth.Client, form oauth.Form) (oauth.TokenResponse, error) {
		form["grant_type"] = oauth.GrantClient
		return s.Token(t.Context(), oauth.TokenRequest{Level: issuer.Account, Client: c, Form: form})
	}
	out, err := ask(app.Client, oauth.Form{"audience": listed})
	must(t, err)
	if out.IDToken.Reveal() != "ID token of sp:"+string(sp.ID)+" for "+listed {
		t.Errorf("%q", out.IDToken.Reveal())
	}
	got, err := s.Access(out.AccessToken)
	if err != nil || got.Subject != "sp:"+string(sp.ID) || got.ClientID != app.ID || got.Level != issuer.Account || got.LoginSession != "" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := s.ResumeAccess(t.Context(), out.AccessToken); fault.Of(err) == nil || fault.Of(err).Code != oauth.AccessDenied {
		t.Errorf("a login session for a machine: %v", err)
	}
	for name, tc := range map[string]struct {
		by   oauth.Client
		form oauth.Form
		code string
	}{
		"AWS, which it may not":    {app.Client, oauth.Form{"audience": issuer.AudienceAWS, "role": "x"}, oauth.InvalidTarget},
		"a client without one":     {plain.Client, oauth.Form{}, oauth.UnauthorizedClient},
		"a delegation, to nowhere": {app.Client, oauth.Form{"delegation": "dlg_x"}, oauth.InvalidRequest},
	} {
		if got, err := ask(tc.by, tc.form); fault.Of(err) == nil || fault.Of(err).Code != tc.code || !got.AccessToken.IsZero() {
			t.Errorf("%s: %v", name, err)
		}
	}
}
