package spkeys_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"carnet.dev/carnet/internal/edge/sql"
	sqlspkeys "carnet.dev/carnet/internal/edge/sql/spkeys"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/spkeys"
)

func row(id string, p spkeys.Purpose, st spkeys.State, ms int64) spkeys.Row {
	at := time.UnixMilli(ms).UTC()
	return spkeys.Row{ID: id, Purpose: p, State: st, Certificate: []byte("der\x00"), Sealed: []byte("sealed\xff"), Created: at, Changed: at}
}

// TestStore is the conformance suite of spkeys.Store.
func TestStore(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		s, other := sqlspkeys.Store{DB: sqltest.OpenWith(t, c)}, sqlspkeys.Store{DB: sqltest.OpenWith(t, c)}
		changed := make(chan struct{}, 20)
		if err := other.Watch(t.Context(), func() { changed <- struct{}{} }); err != nil {
			t.Fatal(err)
		}
		add := func(r spkeys.Row, want bool) {
			t.Helper()
			if stored, err := s.Add(t.Context(), r); err != nil || stored != want {
				t.Errorf("Add(%s) = %v, %v; want %v", r.ID, stored, err, want)
			}
		}
		promote := func(want bool) {
			t.Helper()
			if done, err := s.Promote(t.Context(), spkeys.Signing, time.UnixMilli(9).UTC()); err != nil || done != want {
				t.Errorf("Promote = %v, %v; want %v", done, err, want)
			}
		}
		remove := func(id string, want bool) {
			t.Helper()
			if gone, err := s.Remove(t.Context(), id); err != nil || gone != want {
				t.Errorf("Remove(%s) = %v, %v; want %v", id, gone, err, want)
			}
		}
		first, beside := row("a", spkeys.Signing, spkeys.Current, 1), row("b", spkeys.Encryption, spkeys.Current, 2)
		add(first, true)
		select {
		case <-changed:
		case <-time.After(5 * time.Second):
			t.Error("another server was not told")
		}
		add(beside, true)
		add(row("c", spkeys.Signing, spkeys.Current, 3), false)
		promote(false)
		next := row("d", spkeys.Signing, spkeys.Next, 4)
		add(next, true)
		add(row("e", spkeys.Signing, spkeys.Next, 5), false)
		remove("a", false) // it is current
		promote(true)
		promote(false)
		first.State, next.State = spkeys.Retired, spkeys.Current
		first.Changed, next.Changed = time.UnixMilli(9).UTC(), time.UnixMilli(9).UTC()
		got, err := other.All(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]spkeys.Row{first, beside, next}, got); diff != "" {
			t.Errorf("after the change of keys (-want +got):\n%s", diff)
		}
		remove("a", true)
		remove("a", false)
		remove("d", false)
	})
}
