package broker_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	sqlbroker "carnet.dev/carnet/internal/edge/sql/broker"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/broker"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestStore is the conformance suite of broker.Store.
func TestStore(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		db := sqltest.OpenWith(t, c)
		s := sqlbroker.Store{DB: db}
		at := time.UnixMilli(1_700_000_000_000).UTC()
		rows := []broker.Row{
			{Role: "arn:z", Index: 0, SessionName: "ann", AssumedRoleARN: "arn:s", AccessKeyID: "ASIA", Expiration: at.Add(time.Hour), Sealed: []byte{0, 1, 255}, Warning: broker.Warning{Message: "w", Command: "c"}, Ends: at.Add(2 * time.Hour),
				Served: broker.ServedBridge, Evidence: []byte{9, 0, 254}, Obtained: at.Add(-time.Minute), Renewals: 3,
				Trouble: broker.Trouble{Failure: broker.Failure{Code: "AccessDenied", Message: "no", Mend: "do"}, At: at}},
			{Role: "arn:a", Index: 7, Sealed: []byte{}, Failure: broker.Failure{Code: "AccessDenied", Message: "m", Mend: "n"}, Ends: at.Add(2 * time.Hour), Served: broker.ServedSAML},
		}
		must(t, s.Save(t.Context(), "lgn_a", rows, []broker.Longest{{Role: "arn:z", Duration: time.Hour, Learned: at}}))
		got, err := s.Load(t.Context(), "lgn_a")
		must(t, err)
		if diff := cmp.Diff(rows, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("read back (-want +got):\n%s", diff)
		}
		must(t, s.Save(t.Context(), "lgn_b", nil, []broker.Longest{{Role: "arn:z", Duration: 2 * time.Hour, Learned: at.Add(time.Minute)}}))
		longest, err := s.Longest(t.Context(), []string{"arn:none", "arn:z"})
		must(t, err)
		if diff := cmp.Diff([]broker.Longest{{Role: "arn:z", Duration: 2 * time.Hour, Learned: at.Add(time.Minute)}}, longest); diff != "" {
			t.Errorf("learned (-want +got):\n%s", diff)
		}
		var many []string
		for i := range 900 {
			many = append(many, fmt.Sprintf("arn:%d", i))
		}
		for _, roles := range [][]string{nil, many} {
			if longest, err = s.Longest(t.Context(), roles); err != nil || len(longest) != 0 {
				t.Errorf("%d unknown roles: %v, %v", len(roles), longest, err)
			}
		}

		// A failed transaction around it takes it back.
		wrong := errors.New("wrong")
		if err := db.Atomic(t.Context(), func(ctx context.Context) error {
			if err := s.Save(ctx, "lgn_c", rows, nil); err != nil {
				return err
			}
			return wrong
		}); !errors.Is(err, wrong) {
			t.Fatal(err)
		}
		if got, err = s.Load(t.Context(), "lgn_c"); err != nil || len(got) != 0 {
			t.Errorf("half a sign-in is kept: %v, %v", got, err)
		}

		must(t, s.Save(t.Context(), "lgn_d", rows, nil))
		must(t, s.Forget(t.Context(), "lgn_d"))
		must(t, s.Sweep(t.Context(), at.Add(2*time.Hour)))
		for id, want := range map[identity.LoginSessionID]int{"lgn_a": 2, "lgn_d": 0} {
			if got, err = s.Load(t.Context(), id); err != nil || len(got) != want {
				t.Errorf("%s: %d rows, %v; want %d", id, len(got), err, want)
			}
		}
		must(t, s.Sweep(t.Context(), at.Add(2*time.Hour+time.Millisecond)))
		if got, err = s.Load(t.Context(), "lgn_a"); err != nil || len(got) != 0 {
			t.Errorf("ended rows are kept: %v, %v", got, err)
		}
	})
}

// TestRenewals is the conformance suite of broker.Renewals.
func TestRenewals(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		s := sqlbroker.Store{DB: sqltest.OpenWith(t, c)}
		at := time.UnixMilli(1_700_000_000_000).UTC()
		row := broker.Row{Role: "arn:z", Index: 4, SessionName: "ann", AssumedRoleARN: "arn:s", AccessKeyID: "ASIA1", Expiration: at.Add(time.Hour), Sealed: []byte{1},
			Ends: at.Add(12 * time.Hour), Served: broker.ServedSAML, Evidence: []byte{7}, Warning: broker.Warning{Message: "short"}}
		unused := broker.Row{Role: "arn:y", Failure: broker.Failure{Code: "c", Message: "m", Mend: "n"}, Ends: at.Add(time.Hour), Served: broker.ServedWebIdentity, Evidence: []byte{8}}
		must(t, s.Save(t.Context(), "lgn_a", []broker.Row{row, unused}, nil))
		equal := func(role string, want broker.Row) {
			t.Helper()
			got, err := s.Row(t.Context(), "lgn_a", role)
			must(t, err)
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", role, diff)
			}
		}
		equal("arn:z", row)
		equal("arn:y", unused)
		for _, of := range [][2]string{{"lgn_a", "arn:x"}, {"lgn_b", "arn:z"}} {
			if _, err := s.Row(t.Context(), identity.LoginSessionID(of[0]), of[1]); fault.KindOf(err) != fault.NotFound {
				t.Errorf("a row of %v: %v", of, err)
			}
		}

		trouble := broker.Trouble{Failure: broker.Failure{Code: "AccessDenied", Message: "no", Mend: "do"}, At: at}
		must(t, s.Refuse(t.Context(), "lgn_a", "arn:z", trouble))
		must(t, s.Refuse(t.Context(), "lgn_b", "arn:z", trouble)) // nothing there
		row.Trouble = trouble
		equal("arn:z", row)

		next := row
		next.AccessKeyID, next.Sealed, next.Expiration, next.Obtained, next.Renewals = "ASIA2", []byte{2}, at.Add(2*time.Hour), at.Add(40*time.Minute), 1
		next.Served, next.Trouble, next.Warning = broker.ServedBridge, broker.Trouble{}, broker.Warning{}
		if err := s.Renew(t.Context(), "lgn_a", next, "ASIA0"); fault.KindOf(err) != fault.Conflict {
			t.Errorf("keys that another server replaced: %v", err)
		}
		equal("arn:z", row)
		if err := s.Renew(t.Context(), "lgn_b", next, "ASIA1"); fault.KindOf(err) != fault.NotFound {
			t.Errorf("a login session that ended: %v", err)
		}
		must(t, s.Renew(t.Context(), "lgn_a", next, "ASIA1"))
		equal("arn:z", next)
		first := unused
		first.AccessKeyID, first.Sealed, first.Failure, first.Renewals, first.Expiration = "ASIA3", []byte{3}, broker.Failure{}, 1, at
		must(t, s.Renew(t.Context(), "lgn_a", first, ""))
		equal("arn:y", first)
	})
}

// TestLastWord: the later word counts, in whatever order they come.
func TestLastWord(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		s := sqlbroker.Store{DB: sqltest.OpenWith(t, c)}
		at := time.UnixMilli(1_700_000_000_000).UTC()
		if _, err := s.Word(t.Context(), "psn_a", "idp_a"); fault.KindOf(err) != fault.NotFound {
			t.Errorf("nothing was said: %v", err)
		}
		for _, step := range []struct {
			after time.Duration
			say   byte
			want  byte
		}{{0, 1, 1}, {time.Second, 2, 2}, {time.Millisecond, 3, 2}, {time.Second, 4, 4}} {
			must(t, s.PutWord(t.Context(), broker.Word{Person: "psn_a", IdP: "idp_a", Issued: at.Add(step.after), Sealed: []byte{step.say}}))
			got, err := s.Word(t.Context(), "psn_a", "idp_a")
			must(t, err)
			if got.Sealed[0] != step.want || got.Person != "psn_a" || got.IdP != "idp_a" || got.Issued.Before(at) {
				t.Errorf("after word %d: %+v", step.say, got)
			}
		}
		if _, err := s.Word(t.Context(), "psn_a", "idp_b"); fault.KindOf(err) != fault.NotFound {
			t.Errorf("another identity provider: %v", err)
		}
		must(t, s.Save(t.Context(), "lgn_a", []broker.Row{{Role: "arn:z", Ends: at.Add(time.Hour)}}, nil))
		must(t, s.Restored(t.Context()))
		if _, err := s.Word(t.Context(), "psn_a", "idp_a"); fault.KindOf(err) != fault.NotFound {
			t.Errorf("a restored database speaks: %v", err)
		}
		if rows, err := s.Load(t.Context(), "lgn_a"); err != nil || len(rows) != 0 {
			t.Errorf("a restored database has keys: %v, %v", rows, err)
		}
	})
}
