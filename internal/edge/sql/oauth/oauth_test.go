package oauth_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	sqldirectory "carnet.dev/carnet/internal/edge/sql/directory"
	sqllogin "carnet.dev/carnet/internal/edge/sql/login"
	sqloauth "carnet.dev/carnet/internal/edge/sql/oauth"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/oauth"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantKind(t testing.TB, what string, err error, kind fault.Kind) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind {
		t.Errorf("%s: %v, want %v", what, err, kind)
	}
}

func at(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

func each(t *testing.T, fn func(t *testing.T, s, other sqloauth.Store)) {
	t.Helper()
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		fn(t, sqloauth.Store{DB: sqltest.OpenWith(t, c)}, sqloauth.Store{DB: sqltest.OpenWith(t, c)})
	})
}

func client(name string) oauth.Client {
	return oauth.Client{ID: string(identity.NewClientID()), Name: name, RedirectURIs: []string{"https://a/b"}, Grants: []string{oauth.GrantCode}, Scopes: []string{"openid"},
		Audiences: []string{"x"}, Trusted: true, ResourceServer: true, ServicePrincipal: "spn_x", IDTokenAlg: "ES256", Enabled: true, Created: at(5), Owner: "owner"}
}

// TestClients is the conformance suite of oauth.Clients.
func TestClients(t *testing.T) {
	each(t, func(t *testing.T, s, other sqloauth.Store) {
		changed := make(chan struct{}, 20)
		must(t, other.Watch(t.Context(), func() { changed <- struct{}{} }))
		b, a := client("Beta"), client("alpha")
		must(t, s.PutClient(t.Context(), b))
		must(t, s.PutClient(t.Context(), a))
		select {
		case <-changed:
		case <-time.After(5 * time.Second):
			t.Error("another server was not told")
		}
		wantKind(t, "a name that is taken", s.PutClient(t.Context(), client("ALPHA")), fault.Conflict)
		b.Public, b.Enabled, b.Trusted, b.RedirectURIs = true, false, false, nil
		must(t, s.PutClient(t.Context(), b))
		got, err := s.Client(t.Context(), b.ID)
		must(t, err)
		if d := cmp.Diff(b, got); d != "" {
			t.Error(d)
		}
		all, _, err := s.All(t.Context())
		must(t, err)
		if d := cmp.Diff([]oauth.Client{a, b}, all); d != "" {
			t.Error(d)
		}
		must(t, s.RemoveClient(t.Context(), a.ID))
		wantKind(t, "removed twice", s.RemoveClient(t.Context(), a.ID), fault.NotFound)
		_, err = s.Client(t.Context(), a.ID)
		wantKind(t, "a removed client", err, fault.NotFound)
	})
}

// TestCredentials is the conformance suite of oauth.Credentials.
func TestCredentials(t *testing.T) {
	each(t, func(t *testing.T, s, _ sqloauth.Store) {
		c := client("app")
		must(t, s.PutClient(t.Context(), c))
		secret := oauth.Kept{Credential: oauth.Credential{ID: "crd_a", Client: c.ID, Kind: oauth.SecretCredential, Owner: "me", Created: at(1), Expires: at(9)}, Digest: [32]byte{1}}
		key := oauth.Kept{Credential: oauth.Credential{ID: "crd_b", Client: c.ID, Kind: oauth.KeyCredential, Owner: "me", Created: at(2), JWK: []byte(`{"kty":"EC"}`)}}
		must(t, s.PutCredential(t.Context(), secret, 1))
		must(t, s.PutCredential(t.Context(), key, 1))
		more := secret
		more.ID, more.Digest = "crd_c", [32]byte{2}
		wantKind(t, "one too many", s.PutCredential(t.Context(), more, 1), fault.Conflict)
		must(t, s.Used(t.Context(), "crd_a", at(7)))
		must(t, s.Used(t.Context(), "crd_a", at(6)))
		secret.LastUsed = at(7)
		_, all, err := s.All(t.Context())
		must(t, err)
		if d := cmp.Diff([]oauth.Kept{secret, key}, all); d != "" {
			t.Error(d)
		}
		wantKind(t, "of another client", s.RemoveCredential(t.Context(), "oac_x", "crd_b"), fault.NotFound)
		must(t, s.RemoveCredential(t.Context(), c.ID, "crd_b"))
		wantKind(t, "removed twice", s.RemoveCredential(t.Context(), c.ID, "crd_b"), fault.NotFound)
		// They go with their client, and with their service principal.
		sp, err := sqldirectory.On(s.DB, time.Now).NewServicePrincipal(t.Context(), "nightly", "")
		must(t, err)
		for id, of := range map[identity.CredentialID]string{"crd_d": string(sp.ID), "crd_e": "spn_gone"} {
			k := secret
			k.ID, k.Client, k.Digest = id, of, [32]byte{byte(id[4])}
			must(t, s.PutCredential(t.Context(), k, 1))
		}
		must(t, s.RemoveClient(t.Context(), c.ID))
		must(t, s.Sweep(t.Context(), at(100)))
		_, all, err = s.All(t.Context())
		must(t, err)
		if len(all) != 1 || all[0].ID != "crd_d" {
			t.Errorf("left are %+v", all)
		}
	})
}

// session opens a login session.
func session(t testing.TB, s sqloauth.Store) identity.LoginSessionID {
	t.Helper()
	id := identity.NewLoginSessionID()
	cookie := [32]byte{}
	copy(cookie[:], id[10:])
	must(t, sqllogin.Store{DB: s.DB}.Open(t.Context(), login.Record{ID: id, Started: at(1), Expires: at(1000)}, cookie))
	return id
}

// TestCodes is the conformance suite of oauth.Codes.
func TestCodes(t *testing.T) {
	each(t, func(t *testing.T, s, other sqloauth.Store) {
		c := client("app")
		must(t, s.PutClient(t.Context(), c))
		l := session(t, s)
		code := oauth.Code{Digest: [32]byte{1}, Level: issuer.Account, Client: c.ID, LoginSession: l, RedirectURI: "https://a/b", Challenge: "c", Scope: "openid", Nonce: "n\x01ü", Expires: at(50)}
		must(t, s.PutCode(t.Context(), code))
		got, err := other.Code(t.Context(), code.Digest)
		must(t, err)
		if d := cmp.Diff(code, got); d != "" {
			t.Error(d)
		}
		for i, want := range []bool{true, false} {
			if won, err := other.ClaimCode(t.Context(), code.Digest); err != nil || won != want {
				t.Errorf("use %d: %v, %v", i, won, err)
			}
		}
		_, err = s.Code(t.Context(), code.Digest)
		wantKind(t, "a used code", err, fault.NotFound)
		gone := code
		gone.LoginSession = "lgn_unknown"
		wantKind(t, "of no login session", s.PutCode(t.Context(), gone), fault.NotFound)
		for i, end := range []func(d [32]byte) error{
			func([32]byte) error { return s.EndClient(t.Context(), c.ID) },
			func([32]byte) error { return s.Sweep(t.Context(), at(51)) },
			func([32]byte) error { return sqllogin.Store{DB: s.DB}.End(t.Context(), l) },
		} {
			code.Digest = [32]byte{2, byte(i)}
			must(t, s.PutCode(t.Context(), code))
			must(t, s.Sweep(t.Context(), at(50)))
			if _, err := s.Code(t.Context(), code.Digest); err != nil {
				t.Errorf("end %d: before it %v", i, err)
			}
			must(t, end(code.Digest))
			_, err := s.Code(t.Context(), code.Digest)
			wantKind(t, fmt.Sprint("end ", i), err, fault.NotFound)
		}
	})
}

func given(c oauth.Client, l identity.LoginSessionID, n byte) (oauth.Given, oauth.Issued) {
	g := oauth.Given{ID: fmt.Sprint("grant", n), Handle: [32]byte{n, 1}, Code: [32]byte{n, 2}, Level: issuer.Workspace, Client: c.ID, LoginSession: l, Person: "psn_a", Scope: "openid", Created: at(int64(n)), Ends: at(900)}
	return g, oauth.Issued{AccessID: fmt.Sprint("access", n), Given: g.ID, Refresh: [32]byte{n, 3}, Issued: at(int64(n)), Ends: at(100)}
}

// TestGrants is the conformance suite of oauth.Grants.
func TestGrants(t *testing.T) {
	each(t, func(t *testing.T, s, other sqloauth.Store) {
		c := client("app")
		must(t, s.PutClient(t.Context(), c))
		l := session(t, s)
		g, first := given(c, l, 1)
		must(t, s.PutGrant(t.Context(), g, first, 10))
		find := func(by oauth.By, d [32]byte, want ...oauth.Issued) {
			t.Helper()
			got, tokens, err := other.Grant(t.Context(), by, d)
			must(t, err)
			if d := cmp.Diff(g, got); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(want, tokens); d != "" {
				t.Error(d)
			}
		}
		find(oauth.ByCode, g.Code, first)
		find(oauth.ByHandle, g.Handle, first)
		_, _, err := s.Grant(t.Context(), oauth.ByCode, g.Handle)
		wantKind(t, "a handle as code", err, fault.NotFound)
		_, _, err = s.Grant(t.Context(), oauth.ByCode, [32]byte{})
		wantKind(t, "no code", err, fault.NotFound)
		_, _, err = s.Grant(t.Context(), "id", g.Code)
		wantKind(t, "no way", err, fault.NotFound)

		// Two answers to one token; once one of them is used the other is a copy.
		a, b, next := first, first, first
		a.AccessID, a.Refresh, a.Parent, a.Issued = "a", [32]byte{10}, first.AccessID, at(20)
		b.AccessID, b.Refresh, b.Parent, b.Issued = "b", [32]byte{11}, first.AccessID, at(21)
		next.AccessID, next.Refresh, next.Parent, next.Issued, next.Ends = "next", [32]byte{12}, "a", at(30), at(500)
		must(t, s.Rotate(t.Context(), first.AccessID, at(20), a))
		must(t, s.Rotate(t.Context(), first.AccessID, at(21), b))
		first.Rotated = at(20)
		find(oauth.ByHandle, g.Handle, first, a, b)
		must(t, s.Rotate(t.Context(), "a", at(30), next))
		a.Rotated, b.Refresh = at(30), [32]byte{}
		find(oauth.ByHandle, g.Handle, first, a, b, next)
		must(t, s.Sweep(t.Context(), at(100)))
		find(oauth.ByHandle, g.Handle, first, a, b, next)
		must(t, s.Sweep(t.Context(), at(101)))
		find(oauth.ByHandle, g.Handle, next)
		must(t, s.Sweep(t.Context(), at(600))) // its refresh token counts on
		find(oauth.ByHandle, g.Handle, next)
		must(t, s.RemoveGrant(t.Context(), g.ID))
		_, _, err = s.Grant(t.Context(), oauth.ByHandle, g.Handle)
		wantKind(t, "a removed grant", err, fault.NotFound)

		// What ends grants, and what bounds them.
		for n := byte(2); n < 7; n++ {
			g, first := given(c, l, n)
			first.Refresh = [32]byte{}
			must(t, s.PutGrant(t.Context(), g, first, 3))
		}
		for n := byte(2); n < 7; n++ {
			g, _ := given(c, l, n)
			_, _, err := s.Grant(t.Context(), oauth.ByCode, g.Code)
			if left := n >= 4; left != (err == nil) {
				t.Errorf("grant %d of five, of which three may be: %v", n, err)
			}
		}
		g, first = given(c, "lgn_unknown", 20)
		wantKind(t, "of no login session", s.PutGrant(t.Context(), g, first, 3), fault.NotFound)
		for i, end := range []func() error{
			func() error { return s.EndClient(t.Context(), c.ID) },
			func() error { return s.Sweep(t.Context(), at(901)) },
			func() error { return sqllogin.Store{DB: s.DB}.End(t.Context(), l) },
		} {
			g, first := given(c, l, 30+byte(i))
			must(t, s.PutGrant(t.Context(), g, first, 3))
			must(t, end())
			_, _, err := s.Grant(t.Context(), oauth.ByCode, g.Code)
			wantKind(t, fmt.Sprint("end ", i), err, fault.NotFound)
		}
		must(t, s.DB.Read(t.Context(), func(t *sql.Tx) error {
			var n int
			if err := t.QueryRow(`SELECT COUNT(*) FROM oauth_token`).Scan(&n); err != nil || n != 0 {
				return errors.Join(err, fmt.Errorf("%d tokens are left without a grant", n))
			}
			return nil
		}))
	})
}

// TestAttackGivenWhileSwitchedOff: a server that doesn't know yet that a client was
// switched off, or a request that is under way, stores nothing for it: it would
// count again once the client is switched on.
func TestAttackGivenWhileSwitchedOff(t *testing.T) {
	each(t, func(t *testing.T, s, other sqloauth.Store) {
		c := client("app")
		must(t, s.PutClient(t.Context(), c))
		l := session(t, s)
		c.Enabled = false
		must(t, s.PutClient(t.Context(), c))
		must(t, s.EndClient(t.Context(), c.ID))
		code := oauth.Code{Digest: [32]byte{1}, Level: issuer.Account, Client: c.ID, LoginSession: l, RedirectURI: "https://a/b", Challenge: "c", Scope: "openid", Expires: at(50)}
		wantKind(t, "a code", other.PutCode(t.Context(), code), fault.NotFound)
		g, first := given(c, l, 1)
		wantKind(t, "a grant", other.PutGrant(t.Context(), g, first, 10), fault.NotFound)
		c.Enabled = true
		must(t, s.PutClient(t.Context(), c))
		_, err := s.Code(t.Context(), code.Digest)
		wantKind(t, "the code, later", err, fault.NotFound)
		_, _, err = s.Grant(t.Context(), oauth.ByHandle, g.Handle)
		wantKind(t, "the grant, later", err, fault.NotFound)
		must(t, other.PutCode(t.Context(), code))
		must(t, other.PutGrant(t.Context(), g, first, 10))
	})
}
