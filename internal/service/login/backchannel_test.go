package login_test

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/edge/upstream/jwks/issuertest"
	"carnet.dev/carnet/internal/protocol/oidc"
	"carnet.dev/carnet/internal/protocol/openid"
	"carnet.dev/carnet/internal/service/login"
)

// sid gives the provider's own name of the last login session.
func (o *openIDWorld) sids() (all []string) {
	o.t.Helper()
	must(o.t, o.db.Read(o.t.Context(), func(t *sql.Tx) error {
		all = nil
		return t.Each(`SELECT session_index FROM login_session WHERE cookie IS NOT NULL ORDER BY id`, nil, func(scan func(...any) error) error {
			var s string
			err := scan(&s)
			all = append(all, s)
			return err
		})
	}))
	return all
}

// TestBackChannelLogout ends the login sessions that are named, and no others.
func TestBackChannelLogout(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		o := newOpenIDWorldOn(t, newWorldOn(t, c))
		signedIn := func(sub, sid string) login.SignedIn {
			t.Helper()
			o.op.Person(map[string]any{"sub": sub, "sid": sid, "preferred_username": sub + "@example.com"})
			return o.signedIn()
		}
		one, two, three, other := signedIn("alice", "s1"), signedIn("alice", "s2"), signedIn("alice", "s2"), signedIn("bob", "s3")
		bySAML := o.signIn()
		stands := func(in login.SignedIn) bool {
			_, err := o.Resume(t.Context(), in.Cookie)
			return err == nil
		}
		said := func(claims map[string]any) int {
			t.Helper()
			n, err := o.BackChannelLogout(t.Context(), secret.New(o.op.LogoutToken(claims)), o.from)
			must(t, err)
			return n
		}
		if n := said(map[string]any{"sid": "s1", "sub": "bob"}); n != 0 {
			t.Errorf("another's sid ended %d", n)
		}
		if n := said(map[string]any{"sid": "s2"}); n != 2 || stands(two) || stands(three) || !stands(one) || !stands(other) {
			t.Errorf("one sid ended %d: %v %v %v %v", n, stands(one), stands(two), stands(three), stands(other))
		}
		if n := said(map[string]any{"sub": "alice"}); n != 1 || stands(one) || !stands(other) || !stands(bySAML) {
			t.Errorf("one subject ended %d: %v %v %v", n, stands(one), stands(other), stands(bySAML))
		}
		if n := said(map[string]any{"sub": "nobody"}); n != 0 || !stands(other) {
			t.Errorf("nobody's logout ended %d", n)
		}
		if acts := o.acts(); !slices.Equal(acts[len(acts)-3:], []string{"sign-out", "back-channel-logout", "back-channel-logout"}) {
			t.Errorf("recorded %v", acts)
		}
	})
}

// TestAttackLogoutToken: tokens that must end nothing.
func TestAttackLogoutToken(t *testing.T) {
	t.Parallel()
	o := newOpenIDWorld(t)
	o.op.Person(map[string]any{"sid": "s1"})
	in := o.signedIn()
	var idToken string
	o.op.Bend(func(g *issuertest.Grant) { idToken = g.Key.Sign(t, nil, g.Claims) })
	o.signedIn()
	o.op.Bend(nil)
	good := map[string]any{"sub": "f3b1-alice"}
	with := func(change map[string]any) string {
		claims := map[string]any{"sub": "f3b1-alice"}
		for name, v := range change {
			claims[name] = v
		}
		return o.op.LogoutToken(claims)
	}
	foreign := issuertest.NewKey(t, "rsa", "RS256")
	now := o.clock()
	payload, err := json.Marshal(map[string]any{"iss": o.op.URL, "aud": "carnet", "sub": "f3b1-alice", "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(), "jti": "1",
		"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}})
	must(t, err)
	evil := issuertest.NewOP(t, redirectURI, o.clock)
	replayed := o.op.LogoutToken(map[string]any{"sub": "nobody"})
	_, err = o.BackChannelLogout(t.Context(), secret.New(replayed), o.from)
	must(t, err)
	for name, tt := range map[string]struct{ token, code string }{
		"an ID token":                 {idToken, openid.CheckLogout},
		"unsigned":                    {issuertest.Encode([]byte(`{"alg":"none","typ":"logout+jwt"}`)) + "." + issuertest.Encode(payload) + ".", oidc.CheckMalformed},
		"alg none with a signature":   {o.op.Keys[0].SignRaw(t, []byte(`{"alg":"none","typ":"logout+jwt"}`), payload), oidc.CheckAlgorithm},
		"by another key":              {foreign.SignRaw(t, []byte(`{"alg":"RS256","typ":"logout+jwt","kid":"rsa"}`), payload), oidc.CheckSignature},
		"of a stranger":               {evil.LogoutToken(good), oidc.CheckIssuer},
		"a stranger under our issuer": {evil.LogoutToken(map[string]any{"sub": "f3b1-alice", "iss": o.op.URL}), oidc.CheckSignature},
		"for another client":          {with(map[string]any{"aud": "another"}), oidc.CheckAudience},
		"an access token":             {o.op.Keys[0].SignRaw(t, []byte(`{"alg":"RS256","typ":"at+jwt","kid":"rsa"}`), payload), oidc.CheckType},
		"with a nonce":                {with(map[string]any{"nonce": "x"}), openid.CheckLogout},
		"with an empty nonce":         {with(map[string]any{"nonce": nil}), openid.CheckLogout},
		"without events":              {with(map[string]any{"events": issuertest.Absent}), openid.CheckLogout},
		"with another event":          {with(map[string]any{"events": map[string]any{"http://schemas.openid.net/event/x": map[string]any{}}}), openid.CheckLogout},
		"an event that is no object":  {with(map[string]any{"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": true}}), openid.CheckLogout},
		"events as a list":            {with(map[string]any{"events": []string{"http://schemas.openid.net/event/backchannel-logout"}}), openid.CheckLogout},
		"of nobody":                   {o.op.LogoutToken(nil), openid.CheckLogout},
		"with a sid that is a number": {with(map[string]any{"sid": 1}), openid.CheckLogout},
		"with a huge sid":             {with(map[string]any{"sid": strings.Repeat("s", openid.MaxSID+1)}), openid.CheckLogout},
		"without jti":                 {with(map[string]any{"jti": issuertest.Absent}), openid.CheckLogout},
		"past its end":                {with(map[string]any{"exp": now.Add(-2 * time.Minute).Unix()}), oidc.CheckExpired},
		"without an end":              {with(map[string]any{"exp": issuertest.Absent}), oidc.CheckClaims},
		"of long ago":                 {with(map[string]any{"iat": now.Add(-time.Hour).Unix(), "exp": now.Add(time.Hour).Unix()}), openid.CheckLogout},
		"of the future":               {with(map[string]any{"iat": now.Add(time.Hour).Unix()}), oidc.CheckNotYet},
		"a second time":               {replayed, "oidc.replayed"},
		"no token":                    {"x", oidc.CheckMalformed},
	} {
		if _, err := o.BackChannelLogout(t.Context(), secret.New(tt.token), o.from); err == nil {
			t.Errorf("%s: taken", name)
		} else if got := fault.Of(err).Code; got != tt.code {
			t.Errorf("%s: refused by %s (%v), want %s", name, got, err, tt.code)
		}
	}
	if _, err := o.Resume(t.Context(), in.Cookie); err != nil {
		t.Errorf("the login session was ended: %v", err)
	}
	if n := len(o.sids()); n != 2 {
		t.Errorf("%d login sessions are left", n)
	}
}

// TestLeaveOpenID: a sign-out leads to the provider's own, with the ID token as
// hint, and what the page says then travels sealed.
func TestLeaveOpenID(t *testing.T) {
	t.Parallel()
	o := newOpenIDWorld(t)
	in := o.signedIn()
	left, err := o.Leave(t.Context(), in.Session)
	must(t, err)
	u, err := url.Parse(left.Errand.RedirectURL)
	must(t, err)
	q := u.Query()
	said, ok := o.Said(q.Get("state"))
	if !strings.HasPrefix(left.Errand.RedirectURL, o.op.URL+issuertest.EndSession+"?") || q.Get("client_id") != "carnet" ||
		q.Get("post_logout_redirect_uri") != "https://carnet.example/signed-out" || strings.Count(q.Get("id_token_hint"), ".") != 2 ||
		!ok || said.IdPName != "Corp OP" || said.There != login.ThereEnded {
		t.Errorf("leads to %s, and says %+v", left.Errand.RedirectURL, said)
	}
	if _, err := o.Resume(t.Context(), in.Cookie); err == nil {
		t.Error("the login session stands")
	}
	var plain int
	must(t, o.db.Read(t.Context(), func(tx *sql.Tx) error {
		return tx.QueryRow(`SELECT COUNT(*) FROM login_session WHERE id_token LIKE $1`, "eyJ%").Scan(&plain)
	}))
	if plain != 0 {
		t.Error("an ID token is stored unsealed")
	}
	o.op.Document(map[string]any{"end_session_endpoint": issuertest.Absent})
	o.pass(2 * time.Hour)
	in = o.signedIn()
	if left, err = o.Leave(t.Context(), in.Session); err != nil || !left.Errand.IsZero() || left.IdPName != "Corp OP" {
		t.Errorf("without an end_session_endpoint: %+v, %v", left, err)
	}
}
