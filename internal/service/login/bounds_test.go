package login_test

import (
	"slices"
	"testing"
	"time"

	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/login"
)

// TestOldestLoginSessionEnds: one sign-in too many ends the oldest like a
// sign-out, keys and all, and nobody else's.
func TestOldestLoginSessionEnds(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		w := newWorldOn(t, c)
		link, err := w.NewRecoveryLink(t.Context())
		must(t, err)
		foreign, err := w.RedeemSetup(t.Context(), link)
		must(t, err)
		var all []login.SignedIn
		for range login.MostPerPerson + 2 {
			all = append(all, w.signIn())
			w.pass(time.Second)
		}
		for i, in := range append(all, foreign) {
			_, err := w.Resume(t.Context(), in.Cookie)
			refused, ferr := w.feed.Refused("login-session", string(in.Session.ID), 1)
			if over := i < 2; ferr != nil || over != (err != nil) || over != refused {
				t.Errorf("login session %d: %v, revoked %v, %v", i, err, refused, ferr)
			}
		}
		if n := w.count("role_session"); n != login.MostPerPerson {
			t.Errorf("the keys of %d login sessions are kept", n)
		}
		if n := len(slices.DeleteFunc(w.acts(), func(a string) bool { return a != "sign-out" })); n != 2 {
			t.Errorf("%d ends recorded", n)
		}
	})
}

// TestAbandonedSignInIsForgotten: what no browser fetches goes with its keys
// when its ticket ends, not when the login session would have.
func TestAbandonedSignInIsForgotten(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		w := newWorldOn(t, c)
		stays := w.signIn()
		v := w.begin("/")
		_, err := w.consume(v, w.respond(v))
		must(t, err)
		w.pass(login.HandleLifetime - time.Second)
		must(t, w.Sweep(t.Context()))
		if n := w.count("role_session"); n != 2 {
			t.Errorf("%d role sessions while the browser may still come", n)
		}
		w.pass(2 * time.Second)
		must(t, w.Sweep(t.Context()))
		for _, table := range []string{"login_session", "role_session", "login_ticket"} {
			want := 1
			if table == "login_ticket" {
				want = 0
			}
			if n := w.count(table); n != want {
				t.Errorf("%d rows in %s, want %d", n, table, want)
			}
		}
		if _, err := w.Resume(t.Context(), stays.Cookie); err != nil {
			t.Errorf("another login session went too: %v", err)
		}
	})
}
