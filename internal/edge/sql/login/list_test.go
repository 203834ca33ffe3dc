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
