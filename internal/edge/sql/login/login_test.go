package login_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	sqllogin "carnet.dev/carnet/internal/edge/sql/login"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/login"
)

func at() time.Time { return time.UnixMilli(1_700_000_000_000).UTC() }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantNothing(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, fault.New(fault.NotFound, "")) {
		t.Errorf("%s: %v", what, err)
	}
}

func record(ends time.Duration) login.Record {
	return login.Record{ID: identity.NewLoginSessionID(), IdPName: "Dev", Administrator: true, Started: at(), Expires: at().Add(ends),
		Person: login.Person{ID: "psn_a", IdP: "idp_a", UserName: "ann", DisplayName: "Ann"}, Notes: []string{`a "note"`}, Epoch: 7,
		Federated: login.Federated{NameID: "Ann", NameIDFormat: "f", NameQualifier: "q", SPNameQualifier: "sp", SessionIndex: "_1", AuthnContext: "c", AuthnInstant: at().Add(-time.Minute), Ends: at().Add(ends)}}
}

func each(t *testing.T, fn func(t *testing.T, s sqllogin.Store)) {
	t.Helper()
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) { fn(t, sqllogin.Store{DB: sqltest.OpenWith(t, c)}) })
}

// TestSessions is the conformance suite of login.Sessions.
func TestSessions(t *testing.T) {
	each(t, func(t *testing.T, s sqllogin.Store) {
		ended := make(chan struct{}, 10)
		must(t, s.Watch(t.Context(), func() { ended <- struct{}{} }))
		r := record(time.Hour)
		k := login.Ticket{Handle: [32]byte{1}, PreLogin: [32]byte{2, 255}, ReturnTo: "/x", Expires: at().Add(time.Minute), Unsolicited: true}
		must(t, s.Park(t.Context(), r, k))
		_, err := s.Find(t.Context(), login.ByCookie, [32]byte{})
		wantNothing(t, "a parked login session by an empty cookie", err)
		_, _, err = s.Claim(t.Context(), [32]byte{9})
		wantNothing(t, "an unknown handle", err)

		seen, unused, err := s.Look(t.Context(), k.Handle)
		must(t, err)
		if diff := cmp.Diff(r, seen, cmpopts.EquateEmpty()) + cmp.Diff(k, unused); diff != "" {
			t.Errorf("looked at (-want +got):\n%s", diff)
		}
		got, ticket, err := s.Claim(t.Context(), k.Handle)
		must(t, err)
		if diff := cmp.Diff(r, got, cmpopts.EquateEmpty()) + cmp.Diff(k, ticket); diff != "" {
			t.Errorf("claimed (-want +got):\n%s", diff)
		}
		_, _, err = s.Claim(t.Context(), k.Handle)
		wantNothing(t, "a used handle", err)
		_, _, err = s.Look(t.Context(), k.Handle)
		wantNothing(t, "a look at a used handle", err)

		cookie := [32]byte{3}
		must(t, s.Open(t.Context(), got, cookie))
		found, err := s.Find(t.Context(), login.ByCookie, cookie)
		must(t, err)
		if diff := cmp.Diff(r, found); diff != "" {
			t.Errorf("found (-want +got):\n%s", diff)
		}
		if err := s.Open(t.Context(), r, [32]byte{4}); err == nil {
			t.Error("an open login session got a second cookie")
		}
		fresh := record(time.Hour)
		must(t, s.Open(t.Context(), fresh, [32]byte{5}))
		_, err = s.Find(t.Context(), login.ByCLI, cookie)
		wantNothing(t, "a cookie as CLI token", err)
		_, err = s.Find(t.Context(), "else", cookie)
		wantNothing(t, "an unknown kind", err)

		must(t, s.End(t.Context(), r.ID))
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			t.Error("nobody was told of an end")
		}
		_, err = s.Find(t.Context(), login.ByCookie, cookie)
		wantNothing(t, "an ended login session", err)
		must(t, s.End(t.Context(), r.ID))
		if _, err := s.Find(t.Context(), login.ByCookie, [32]byte{5}); err != nil {
			t.Errorf("another login session ended too: %v", err)
		}
	})
}

// TestCLI is the conformance suite of login.CLI.
func TestCLI(t *testing.T) {
	each(t, func(t *testing.T, s sqllogin.Store) {
		r, parked := record(time.Hour), record(time.Hour)
		must(t, s.Open(t.Context(), r, [32]byte{3}))
		must(t, s.Park(t.Context(), parked, login.Ticket{Handle: [32]byte{1}, Expires: at()}))
		c := login.CLICode{Code: [32]byte{7}, LoginSession: r.ID, Challenge: "ch", Expires: at().Add(time.Minute)}
		must(t, s.PutCode(t.Context(), c))
		foreign := c
		foreign.Code, foreign.LoginSession = [32]byte{8}, parked.ID
		wantNothing(t, "a code of a parked login session", s.PutCode(t.Context(), foreign))
		got, err := s.ClaimCode(t.Context(), c.Code)
		must(t, err)
		if diff := cmp.Diff(c, got); diff != "" {
			t.Errorf("claimed (-want +got):\n%s", diff)
		}
		_, err = s.ClaimCode(t.Context(), c.Code)
		wantNothing(t, "a used code", err)

		_, err = s.PutToken(t.Context(), [32]byte{9}, parked.ID)
		wantNothing(t, "a token of a parked login session", err)
		of, err := s.PutToken(t.Context(), [32]byte{9}, r.ID)
		must(t, err)
		found, err := s.Find(t.Context(), login.ByCLI, [32]byte{9})
		must(t, err)
		if diff := cmp.Diff(r, of) + cmp.Diff(r, found); diff != "" {
			t.Errorf("found (-want +got):\n%s", diff)
		}
		must(t, s.DropToken(t.Context(), [32]byte{9}))
		must(t, s.DropToken(t.Context(), [32]byte{9}))
		_, err = s.Find(t.Context(), login.ByCLI, [32]byte{9})
		wantNothing(t, "a dropped token", err)

		if _, err = s.PutToken(t.Context(), [32]byte{10}, r.ID); err != nil {
			t.Fatal(err)
		}
		must(t, s.PutCode(t.Context(), c))
		must(t, s.End(t.Context(), r.ID))
		_, err = s.Find(t.Context(), login.ByCLI, [32]byte{10})
		wantNothing(t, "a token of an ended login session", err)
		_, err = s.ClaimCode(t.Context(), c.Code)
		wantNothing(t, "a code of an ended login session", err)
	})
}

// TestUpkeep is the conformance suite of login.Upkeep.
func TestUpkeep(t *testing.T) {
	each(t, func(t *testing.T, s sqllogin.Store) {
		must(t, s.PutSetup(t.Context(), [32]byte{1}, at()))
		must(t, s.PutSetup(t.Context(), [32]byte{2}, at().Add(time.Hour)))
		_, err := s.ClaimSetup(t.Context(), [32]byte{1})
		wantNothing(t, "a replaced set-up link", err)
		expires, err := s.ClaimSetup(t.Context(), [32]byte{2})
		if err != nil || !expires.Equal(at().Add(time.Hour)) {
			t.Errorf("set-up link: %v, %v", expires, err)
		}
		_, err = s.ClaimSetup(t.Context(), [32]byte{2})
		wantNothing(t, "a used set-up link", err)

		short, long, abandoned, waiting := record(time.Minute), record(time.Hour), record(time.Hour), record(time.Hour)
		must(t, s.Open(t.Context(), short, [32]byte{1}))
		must(t, s.Open(t.Context(), long, [32]byte{2}))
		must(t, s.Park(t.Context(), abandoned, login.Ticket{Handle: [32]byte{3}, Expires: at().Add(time.Minute)}))
		must(t, s.Park(t.Context(), waiting, login.Ticket{Handle: [32]byte{4}, Expires: at().Add(3 * time.Minute)}))
		must(t, s.PutCode(t.Context(), login.CLICode{Code: [32]byte{5}, LoginSession: long.ID, Expires: at().Add(time.Minute)}))
		must(t, s.PutSetup(t.Context(), [32]byte{6}, at().Add(time.Minute)))
		gone, err := s.Sweep(t.Context(), at().Add(2*time.Minute))
		if err != nil || !slices.Equal(gone, []identity.LoginSessionID{abandoned.ID}) {
			t.Errorf("abandoned %v, %v, want %s", gone, err, abandoned.ID)
		}
		_, err = s.Find(t.Context(), login.ByCookie, [32]byte{1})
		wantNothing(t, "a login session past its end", err)
		if _, err = s.Find(t.Context(), login.ByCookie, [32]byte{2}); err != nil {
			t.Errorf("a live login session was swept: %v", err)
		}
		_, _, err = s.Claim(t.Context(), [32]byte{3})
		wantNothing(t, "an abandoned ticket", err)
		if _, _, err = s.Claim(t.Context(), [32]byte{4}); err != nil {
			t.Errorf("a live ticket was swept: %v", err)
		}
		_, err = s.ClaimCode(t.Context(), [32]byte{5})
		wantNothing(t, "an old code", err)
		_, err = s.ClaimSetup(t.Context(), [32]byte{6})
		wantNothing(t, "an old set-up link", err)
	})
}

func TestSurplus(t *testing.T) {
	each(t, func(t *testing.T, s sqllogin.Store) {
		var mine []identity.LoginSessionID
		for i := range 4 {
			r := record(time.Hour)
			r.Started = at().Add(time.Duration(i) * time.Second)
			must(t, s.Open(t.Context(), r, [32]byte{1, byte(i)}))
			mine = append(mine, r.ID)
		}
		other, parked := record(time.Hour), record(time.Hour)
		other.Person.ID = "psn_b"
		must(t, s.Open(t.Context(), other, [32]byte{2}))
		must(t, s.Park(t.Context(), parked, login.Ticket{Handle: [32]byte{3}, Expires: at()}))
		// The new one may have begun before others: it stays all the same.
		got, err := s.Surplus(t.Context(), "psn_a", mine[0], 2)
		if err != nil || !slices.Equal(got, mine[1:2]) {
			t.Errorf("surplus %v, %v, want %v", got, err, mine[1:2])
		}
		if got, err = s.Surplus(t.Context(), "psn_a", mine[0], 3); err != nil || len(got) != 0 {
			t.Errorf("surplus %v, %v within the bound", got, err)
		}
	})
}
