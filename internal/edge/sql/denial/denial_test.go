package denial_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	sqldenial "carnet.dev/carnet/internal/edge/sql/denial"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/denial"
)

func row(id string, s int64) denial.Row {
	return denial.Row{Request: identity.RequestID(id), At: time.Unix(s, 5e6).UTC(), Body: `{"reason":"ü \"` + id + `\""}`}
}

// TestStore is the conformance suite of denial.Store.
func TestStore(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		s, other := sqldenial.Store{DB: sqltest.OpenWith(t, c)}, sqldenial.Store{DB: sqltest.OpenWith(t, c)}
		ctx := t.Context()
		put := func(rows ...denial.Row) {
			t.Helper()
			if err := s.Put(ctx, rows); err != nil {
				t.Error(err)
			}
		}
		holds := func(r denial.Row, want bool) {
			t.Helper()
			got, ok, err := other.Find(ctx, r.Request)
			if err != nil || ok != want {
				t.Errorf("Find(%s) = %v, %v; want %v", r.Request, ok, err, want)
			}
			if ok && !cmp.Equal(got, r) {
				t.Error(cmp.Diff(r, got))
			}
		}
		sweep := func(before int64, most int) {
			t.Helper()
			if err := s.Sweep(ctx, time.Unix(before, 0), most); err != nil {
				t.Error(err)
			}
		}
		a, b, d, e := row("A", 100), row("B", 200), row("C", 300), row("D", 400)
		put(a, b)
		put()
		put(d, e, denial.Row{Request: "A", At: time.Unix(999, 0), Body: "another"})
		for _, r := range []denial.Row{a, b, d, e} {
			holds(r, true)
		}
		holds(row("Z", 0), false)
		if got, err := other.Recent(ctx, 2); err != nil || !cmp.Equal(got, []denial.Row{e, d}) {
			t.Errorf("Recent: %v, %v", got, err)
		}
		sweep(150, 10)
		holds(a, false)
		holds(b, true)
		sweep(0, 2)
		holds(b, false)
		holds(d, true)
		holds(e, true)
		sweep(0, 2)
		holds(d, true)
		sweep(1000, 2)
		holds(e, false)
	})
}
