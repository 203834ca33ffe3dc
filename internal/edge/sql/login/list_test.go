package login_test

import (
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/identity"
	sqllogin "carnet.dev/carnet/internal/edge/sql/login"
	"carnet.dev/carnet/internal/service/login"
)

func TestOfPersonAndForget(t *testing.T) {
	each(t, func(t *testing.T, s sqllogin.Store) {
		early, late, other, parked := record(time.Hour), record(time.Hour), record(time.Hour), record(time.Hour)
		late.Started = at().Add(time.Minute)
		other.Person.ID = "psn_b"
		must(t, s.Open(t.Context(), early, [32]byte{1}))
		must(t, s.Open(t.Context(), late, [32]byte{2}))
		must(t, s.Open(t.Context(), other, [32]byte{3}))
		must(t, s.Park(t.Context(), parked, login.Ticket{Handle: [32]byte{4}, Expires: at().Add(time.Minute)}))
		must(t, s.PutSetup(t.Context(), [32]byte{5}, at().Add(time.Hour)))
		ids := func(after time.Time) (all []identity.LoginSessionID) {
			t.Helper()
			records, err := s.OfPerson(t.Context(), "psn_a", after)
			must(t, err)
			for _, r := range records {
				all = append(all, r.ID)
			}
			return all
		}
		if got := ids(at()); len(got) != 2 || got[0] != late.ID || got[1] != early.ID {
			t.Errorf("open login sessions: %v, want %v and %v", got, late.ID, early.ID)
		}
		if got := ids(at().Add(time.Hour)); len(got) != 0 {
			t.Errorf("ended ones are listed: %v", got)
		}
		must(t, s.Forget(t.Context()))
		if got := ids(at()); len(got) != 0 {
			t.Errorf("left after all were forgotten: %v", got)
		}
		_, _, err := s.Claim(t.Context(), [32]byte{4})
		wantNothing(t, "a parked sign-in", err)
		_, err = s.ClaimSetup(t.Context(), [32]byte{5})
		wantNothing(t, "a set-up link", err)
	})
}

// TestNamed is the conformance suite of login.Named: NameIDs are compared to
// the letter, within their identity provider.
func TestNamed(t *testing.T) {
	each(t, func(t *testing.T, s sqllogin.Store) {
		open, parked, other, elsewhere, nameless := record(time.Hour), record(time.Hour), record(time.Hour), record(time.Hour), record(time.Hour)
		parked.Started = at().Add(time.Minute)
		other.Federated.NameID = "ann"
		elsewhere.Person.IdP = "idp_b"
		nameless.Federated = login.Federated{}
		for i, r := range []login.Record{open, other, elsewhere, nameless} {
			must(t, s.Open(t.Context(), r, [32]byte{byte(i)}))
		}
		parked.Hint = []byte("sealed\x00")
		must(t, s.Park(t.Context(), parked, login.Ticket{Handle: [32]byte{9}, Expires: at().Add(time.Minute)}))
		for id, want := range map[identity.LoginSessionID]string{parked.ID: "sealed\x00", open.ID: "", "lgn_unknown": ""} {
			if got, err := s.Hint(t.Context(), id); err != nil || string(got) != want {
				t.Errorf("hint of %s: %q, %v", id, got, err)
			}
		}
		got, err := s.OfSubject(t.Context(), "idp_a", "Ann")
		must(t, err)
		if len(got) != 2 || got[0].ID != parked.ID || got[1].ID != open.ID || got[1].Federated.SessionIndex != "_1" {
			t.Errorf("found %+v", got)
		}
		if got, err := s.OfSession(t.Context(), "idp_a", "_1"); err != nil || len(got) != 3 || got[0].ID != parked.ID {
			t.Errorf("of one login session there: %+v, %v", got, err)
		}
		for _, index := range []string{"_2", "", "_1 "} {
			if got, err := s.OfSession(t.Context(), "idp_a", index); err != nil || len(got) != 0 {
				t.Errorf("%q finds %+v, %v", index, got, err)
			}
		}
		if got, err := s.ByID(t.Context(), other.ID); err != nil || got.ID != other.ID {
			t.Errorf("by id: %+v, %v", got, err)
		}
		for _, id := range []identity.LoginSessionID{parked.ID, "lgn_unknown", ""} {
			_, err := s.ByID(t.Context(), id)
			wantNothing(t, "a login session that is not open", err)
		}
		if got, err := s.OfSubject(t.Context(), "idp_a", ""); err != nil || len(got) != 0 {
			t.Errorf("no NameID finds %+v, %v", got, err)
		}
	})
}

// TestReports is the conformance suite of login.Parked's reports.
func TestReports(t *testing.T) {
	each(t, func(t *testing.T, s sqllogin.Store) {
		k := login.TestTicket{Handle: [32]byte{1}, PreLogin: [32]byte{2}, Sealed: []byte("sealed"), Expires: at().Add(time.Minute)}
		must(t, s.PutTest(t.Context(), k))
		for range 2 { // a page may be loaded again
			got, err := s.Test(t.Context(), k.Handle)
			must(t, err)
			if string(got.Sealed) != "sealed" || got.PreLogin != k.PreLogin || got.Handle != k.Handle || !got.Expires.Equal(k.Expires) {
				t.Errorf("got %+v", got)
			}
		}
		_, err := s.Sweep(t.Context(), at().Add(2*time.Minute))
		must(t, err)
		_, err = s.Test(t.Context(), k.Handle)
		wantNothing(t, "a swept report", err)
		must(t, s.PutTest(t.Context(), k))
		must(t, s.Forget(t.Context()))
		_, err = s.Test(t.Context(), k.Handle)
		wantNothing(t, "a forgotten report", err)
	})
}
