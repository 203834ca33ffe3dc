package issuer_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"carnet.dev/carnet/internal/edge/sql"
	sqlissuer "carnet.dev/carnet/internal/edge/sql/issuer"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/issuer"
)

func at(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

func row(id string, l issuer.Level, algorithm string, serial int) *issuer.Row {
	return &issuer.Row{ID: id, Level: l, Algorithm: algorithm, Serial: serial, Public: []byte("pkix\x00"), Sealed: []byte("sealed\xff"),
		Created: at(1), PublishedFrom: at(2)}
}

// TestStore is the conformance suite of issuer.Store.
func TestStore(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		s, other := sqlissuer.Store{DB: sqltest.OpenWith(t, c)}, sqlissuer.Store{DB: sqltest.OpenWith(t, c)}
		changed := make(chan struct{}, 20)
		if err := other.Watch(t.Context(), func() { changed <- struct{}{} }); err != nil {
			t.Fatal(err)
		}
		change := func(c issuer.Change, want bool) {
			t.Helper()
			if done, err := s.Change(t.Context(), c); err != nil || done != want {
				t.Errorf("Change = %v, %v; want %v", done, err, want)
			}
		}
		first := row("a", issuer.Workspace, "RS256", 1)
		first.UsedFrom = at(2)
		change(issuer.Change{Level: issuer.Workspace, Algorithm: "RS256", Add: first}, true)
		select {
		case <-changed:
		case <-time.After(5 * time.Second):
			t.Error("another server was not told")
		}
		beside := row("b", issuer.Account, "RS256", 1)
		change(issuer.Change{Level: issuer.Account, Algorithm: "RS256", Add: beside}, true)
		// Two servers that both saw nothing: the second changes nothing.
		change(issuer.Change{Level: issuer.Workspace, Algorithm: "RS256", Add: row("c", issuer.Workspace, "RS256", 1),
			Schedules: []issuer.Schedule{{ID: "a", RetiredFrom: at(3)}}}, false)
		next := row("d", issuer.Workspace, "RS256", 2)
		change(issuer.Change{Level: issuer.Workspace, Algorithm: "RS256", Last: 1, Add: next,
			Schedules: []issuer.Schedule{{ID: "a", UsedFrom: at(2), RetiredFrom: at(5), GoneAfter: at(9)}}}, true)
		change(issuer.Change{Level: issuer.Workspace, Algorithm: "RS256", Last: 2,
			Schedules: []issuer.Schedule{{ID: "d", UsedFrom: at(5)}, {ID: "a", UsedFrom: at(2), RetiredFrom: at(5), GoneAfter: at(9), Destroy: true}}}, true)
		first.RetiredFrom, first.GoneAfter, first.Sealed = at(5), at(9), []byte{}
		next.UsedFrom = at(5)
		got, stop, err := other.All(t.Context())
		if err != nil || !stop.At.IsZero() {
			t.Fatalf("All: %+v, %v", stop, err)
		}
		if diff := cmp.Diff([]issuer.Row{*beside, *first, *next}, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// TestStop: minting stops once, for all servers, and goes on once.
func TestStop(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		s := sqlissuer.Store{DB: sqltest.OpenWith(t, c)}
		why := issuer.Stop{At: at(7), Reason: "a foreign key", KeyID: "k"}
		for _, step := range []struct {
			to   issuer.Stop
			want bool
			left issuer.Stop
		}{
			{issuer.Stop{}, false, issuer.Stop{}},
			{why, true, why},
			{issuer.Stop{At: at(8), Reason: "another", KeyID: "l"}, false, why},
			{issuer.Stop{}, true, issuer.Stop{}},
		} {
			if changed, err := s.SetStop(t.Context(), step.to); err != nil || changed != step.want {
				t.Errorf("SetStop(%+v) = %v, %v; want %v", step.to, changed, err, step.want)
			}
			if _, left, err := s.All(t.Context()); err != nil || left != step.left {
				t.Errorf("after %+v: %+v, %v", step.to, left, err)
			}
		}
	})
}
