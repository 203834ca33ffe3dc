package broker_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

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
			{Role: "arn:z", Index: 0, SessionName: "ann", AssumedRoleARN: "arn:s", AccessKeyID: "ASIA", Expiration: at.Add(time.Hour), Sealed: []byte{0, 1, 255}, Warning: broker.Warning{Message: "w", Command: "c"}, Ends: at.Add(2 * time.Hour)},
			{Role: "arn:a", Index: 7, Sealed: []byte{}, Failure: broker.Failure{Code: "AccessDenied", Message: "m", Mend: "n"}, Ends: at.Add(2 * time.Hour)},
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
