package withdrawal_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	sqlwithdrawal "carnet.dev/carnet/internal/edge/sql/withdrawal"
	"carnet.dev/carnet/internal/service/withdrawal"
)

func at(s int64) time.Time { return time.Unix(s, 0).UTC() }

func role(name string) arn.Role {
	return arn.Role{Partition: "aws", Account: "777788889999", Path: "/team/", Name: name}
}

func noted(id, person string, r arn.Role, until, reach int64) withdrawal.Noted {
	return withdrawal.Noted{ID: id, Reach: at(reach), Key: withdrawal.Key{Account: r.Account, Role: r, Person: "psn_x", LoginSession: "lgn_x",
		Delegation: "dlg_x", ServicePrincipal: "spn_x", SessionName: person, Issuer: "https://carnet.example.com/oidc", Subject: "user:psn_x", AccessKeyID: id,
		Issued: at(50), Until: at(until)}}
}

// TestLedger is the conformance suite of withdrawal.Ledger.
func TestLedger(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		s, other := sqlwithdrawal.Store{DB: sqltest.OpenWith(t, c)}, sqlwithdrawal.Store{DB: sqltest.OpenWith(t, c)}
		ctx := t.Context()
		first, second := noted("ASIA1", "ann", role("analyst"), 200, 300), noted("ASIA2", "bob", role("other"), 100, 100)
		second.Person, second.LoginSession, second.Delegation, second.ServicePrincipal = "psn_y", "lgn_y", "dlg_y", "spn_y"
		for _, n := range []withdrawal.Noted{first, second, first} {
			if err := s.Note(ctx, n); err != nil {
				t.Fatal(err)
			}
		}
		for _, x := range []struct {
			of   withdrawal.Of
			now  int64
			want []withdrawal.Noted
		}{
			{withdrawal.Of{}, 99, []withdrawal.Noted{second, first}},
			{withdrawal.Of{}, 100, []withdrawal.Noted{first}},
			{withdrawal.Of{}, 300, nil},
			{withdrawal.Of{Person: "psn_x"}, 1, []withdrawal.Noted{first}},
			{withdrawal.Of{LoginSession: "lgn_y"}, 1, []withdrawal.Noted{second}},
			{withdrawal.Of{Delegation: "dlg_y"}, 1, []withdrawal.Noted{second}},
			{withdrawal.Of{ServicePrincipal: "spn_x"}, 1, []withdrawal.Noted{first}},
			{withdrawal.Of{AccessKeyID: "ASIA2"}, 1, []withdrawal.Noted{second}},
			{withdrawal.Of{Role: role("analyst")}, 1, []withdrawal.Noted{first}},
			{withdrawal.Of{Role: role("analyst"), Person: "psn_y"}, 1, nil},
		} {
			got, err := other.Noted(ctx, x.of, at(x.now))
			if diff := cmp.Diff(x.want, got); err != nil || diff != "" {
				t.Errorf("%+v at %d: %v (-want +got):\n%s", x.of, x.now, err, diff)
			}
		}
		if err := s.Sweep(ctx, at(100)); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Noted(ctx, withdrawal.Of{}, at(0)); err != nil || len(got) != 1 {
			t.Errorf("after a sweep: %v, %v", got, err)
		}
	})
}

// TestDenies is the conformance suite of withdrawal.Denies.
func TestDenies(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		s, other := sqlwithdrawal.Store{DB: sqltest.OpenWith(t, c)}, sqlwithdrawal.Store{DB: sqltest.OpenWith(t, c)}
		ctx := t.Context()
		ann := withdrawal.Deny{Form: withdrawal.ByName, Value: "ann", Cut: at(100), Ends: at(200)}
		bob := withdrawal.Deny{Form: withdrawal.BySubject, Value: "h/oidc user:psn_b", Cut: at(110), Ends: at(210)}
		queue := func(r arn.Role, now int64, denies ...withdrawal.Deny) {
			t.Helper()
			if err := s.Queue(ctx, r, denies, at(now)); err != nil {
				t.Fatal(err)
			}
		}
		take := func(s sqlwithdrawal.Store, holder string, now int64) (withdrawal.Work, bool) {
			t.Helper()
			w, ok, err := s.Take(ctx, holder, at(now), at(now+60))
			if err != nil {
				t.Fatal(err)
			}
			return w, ok
		}
		settle := func(holder string, w withdrawal.Work, o withdrawal.Outcome, now int64) {
			t.Helper()
			if err := s.Settle(ctx, holder, w, o, at(now)); err != nil {
				t.Fatal(err)
			}
		}
		states := func(want ...withdrawal.Standing) {
			t.Helper()
			got, err := other.Denies(ctx, role("analyst"))
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("states: %v (-want +got):\n%s", err, diff)
			}
		}
		if _, ok := take(s, "a", 1000); ok {
			t.Error("work where nothing was queued")
		}
		queue(role("analyst"), 100, ann)
		states(withdrawal.Standing{Deny: ann, State: withdrawal.DenyQueued})
		if _, ok := take(s, "a", 99); ok {
			t.Error("work before it is due")
		}
		w, ok := take(s, "a", 100)
		if diff := cmp.Diff(withdrawal.Work{Role: role("analyst"), Seq: 1, Denies: []withdrawal.Deny{ann}}, w); !ok || diff != "" {
			t.Errorf("work: %v (-want +got):\n%s", ok, diff)
		}
		if _, ok := take(other, "b", 159); ok {
			t.Error("two servers have the same work")
		}
		// What is queued while it is written is not written yet.
		queue(role("analyst"), 101, bob)
		settle("a", w, withdrawal.Outcome{Due: at(200)}, 102)
		states(withdrawal.Standing{Deny: ann, State: withdrawal.DenyWritten}, withdrawal.Standing{Deny: bob, State: withdrawal.DenyQueued})
		w, _ = take(other, "b", 102)
		settle("b", w, withdrawal.Outcome{Trouble: "no", Due: at(105)}, 103)
		states(withdrawal.Standing{Deny: ann, State: withdrawal.DenyWritten}, withdrawal.Standing{Deny: bob, State: withdrawal.DenyFailed, Trouble: "no"})
		if _, ok := take(s, "a", 104); ok {
			t.Error("a try before its pause is over")
		}
		// A server that died with work: another takes it when the lease has ended, and
		// what the first says later counts no more.
		lost, _ := take(s, "a", 105)
		if lost.Tries != 1 || lost.Trouble != "no" {
			t.Errorf("tries %d, trouble %q", lost.Tries, lost.Trouble)
		}
		w, ok = take(other, "b", 165)
		settle("a", lost, withdrawal.Outcome{Due: at(999)}, 166)
		if _, taken := take(s, "a", 166); !ok || taken {
			t.Error("the lease does not hold")
		}
		settle("b", w, withdrawal.Outcome{Due: at(200)}, 167)
		// A later revocation of the same person moves cut and end on, never back.
		again := ann
		again.Cut, again.Ends = at(150), at(190)
		queue(role("analyst"), 170, again)
		again.Ends = at(200)
		states(withdrawal.Standing{Deny: again, State: withdrawal.DenyQueued}, withdrawal.Standing{Deny: bob, State: withdrawal.DenyWritten})
		w, _ = take(s, "a", 170)
		settle("a", w, withdrawal.Outcome{Due: at(200)}, 171)
		w, _ = take(s, "a", 200)
		settle("a", w, withdrawal.Outcome{Due: at(210)}, 200)
		states(withdrawal.Standing{Deny: bob, State: withdrawal.DenyWritten})
		w, _ = take(s, "a", 210)
		settle("a", w, withdrawal.Outcome{Due: at(999)}, 210)
		states()
		if _, ok := take(s, "a", 5000); ok {
			t.Error("work where all has ended")
		}
	})
}

// TestDeniesAreTakenOnce: servers at the same time get each role once.
func TestDeniesAreTakenOnce(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		servers := []sqlwithdrawal.Store{{DB: sqltest.OpenWith(t, c)}, {DB: sqltest.OpenWith(t, c)}}
		const roles = 12
		for i := range roles {
			if err := servers[0].Queue(t.Context(), role(fmt.Sprint("r", i)), []withdrawal.Deny{{Form: withdrawal.All, Cut: at(1), Ends: at(2)}}, at(1)); err != nil {
				t.Fatal(err)
			}
		}
		var mu sync.Mutex
		seen := map[string]int{}
		var all sync.WaitGroup
		for i, s := range servers {
			all.Go(func() {
				for {
					w, ok, err := s.Take(t.Context(), fmt.Sprint("srv", i), at(10), at(70))
					if err != nil {
						t.Error(err)
					}
					if !ok || err != nil {
						return
					}
					mu.Lock()
					seen[w.Role.Name]++
					mu.Unlock()
				}
			})
		}
		all.Wait()
		if len(seen) != roles {
			t.Errorf("%d roles were taken, want %d", len(seen), roles)
		}
		for name, n := range seen {
			if n != 1 {
				t.Errorf("role %s was taken %d times", name, n)
			}
		}
	})
}
