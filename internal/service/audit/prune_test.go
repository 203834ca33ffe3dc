package audit_test

import (
	"context"
	"encoding/hex"
	"strconv"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/edge/sql"
	sqlaudit "carnet.dev/carnet/internal/edge/sql/audit"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/audit"
)

// TestPrune: what is old goes, up to a signed checkpoint; what stays is proven, also
// against checkpoints kept elsewhere; and a cut that nobody recorded is found.
func TestPrune(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		db := sqltest.OpenWith(t, c)
		store, r, kept := sqlaudit.Store{DB: db}, ring(t, db), &outside{}
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		writer := func() *audit.Writer {
			w, err := audit.Open(t.Context(), audit.Config{Store: store, Sealer: r, Outside: kept, Now: func() time.Time { return now }})
			if err != nil {
				t.Fatal(err)
			}
			return w
		}
		write := func(w *audit.Writer, n int) {
			for range n {
				record(t, w, "sign-in")
				checkpoint(t, w)
				now = now.Add(24 * time.Hour)
			}
		}
		verify := func(want ...string) audit.Report {
			t.Helper()
			report, err := audit.Verify(t.Context(), store, audit.Expect{Outside: kept.kept})
			if err != nil {
				t.Fatal(err)
			}
			if len(report.Problems) != len(want) {
				t.Fatalf("problems %q, want %q", report.Problems, want)
			}
			for i, w := range want {
				if !strings.Contains(report.Problems[i], w) {
					t.Errorf("problem %q, want %q", report.Problems[i], w)
				}
			}
			return report
		}
		gone, long := writer(), writer()
		write(gone, 3)
		write(long, 10)
		record(t, long, "unsigned")
		verify()

		cut, err := long.Prune(t.Context(), store, audit.Retention{Before: time.Date(2026, 1, 8, 12, 0, 0, 0, time.UTC)})
		if err != nil {
			t.Fatal(err)
		}
		if cut.Records != 3+5 || cut.Chains != 2 || cut.Whole != 1 {
			t.Errorf("%+v went", cut)
		}
		checkpoint(t, long)
		if report := verify(); report.Cut != 1 || report.Writers != 1 || report.Records != 5+1+3 {
			t.Errorf("%+v is left", report)
		}
		found, err := audit.Search(t.Context(), store, audit.Query{Event: audit.ActionPrune})
		if err != nil || len(found.Documents) != 3 {
			t.Errorf("the cuts are recorded as %+v, %v", found, err)
		}

		// Again, a day later: the cut moves, and nothing else is lost.
		now = now.Add(24 * time.Hour)
		if cut, err = long.Prune(t.Context(), store, audit.Retention{Before: time.Date(2026, 1, 10, 12, 0, 0, 0, time.UTC)}); err != nil || cut.Records != 2 {
			t.Errorf("%+v went, %v", cut, err)
		}
		checkpoint(t, long)
		verify()

		// Everything in sight is old: this writer's own chain stays, up to its end.
		now = now.Add(400 * 24 * time.Hour)
		if _, err := long.Prune(t.Context(), store, audit.Retention{Before: now.Add(-24 * time.Hour)}); err != nil {
			t.Fatal(err)
		}
		if err := long.Record(t.Context(), event.Event{Action: "sign-in"}); err != nil {
			t.Fatal(err)
		}
		checkpoint(t, long)
		verify()

		// Somebody cuts a day more, at a signed place, and tells nobody.
		write(long, 3)
		if err := db.Write(t.Context(), func(tx *sql.Tx) error {
			var seq int64
			if err := tx.QueryRow(`SELECT MIN(seq) FROM audit_record WHERE action = 'sign-in'`).Scan(&seq); err != nil {
				return err
			}
			_, err := tx.Exec(`DELETE FROM audit_record WHERE seq <= $1`, seq)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		report, err := audit.Verify(t.Context(), store, audit.Expect{Outside: kept.kept})
		if err != nil || len(report.Problems) == 0 || !strings.Contains(strings.Join(report.Problems, "\n"), "nothing says that it was cut there") {
			t.Errorf("a cut that nobody recorded: %q, %v", report.Problems, err)
		}
	})
}

// TestAttackForgedCut: whoever can write to the database deletes the beginning of a
// chain at a signed place, and adds the record of a cut, which the running server
// signs with all others. It has no key, so the cut is found.
func TestAttackForgedCut(t *testing.T) {
	t.Parallel()
	for name, whole := range map[string]bool{"beginning": false, "whole chain": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := sqltest.Open(t)
			r, kept := ring(t, db), &outside{}
			victim, live := open(t, db, r, kept), open(t, db, r, kept)
			for range 4 {
				record(t, victim, "sign-in")
				checkpoint(t, victim)
			}
			at := kept.kept[1] // over record 2
			if whole {
				at = kept.kept[3]
			}
			if err := db.Write(t.Context(), func(tx *sql.Tx) error {
				queries := []string{`DELETE FROM audit_record WHERE writer = $1 AND seq <= $2`, `DELETE FROM audit_checkpoint WHERE writer = $1 AND seq < $2`}
				if whole {
					queries = append(queries, `DELETE FROM audit_chain WHERE writer = $1 AND seq = $2`)
				}
				for _, q := range queries {
					if _, err := tx.Exec(q, victim.Chain(), at.Seq); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			forged := event.Event{Action: audit.ActionPrune, Target: victim.Chain(), Detail: map[string]string{"seq": strconv.FormatInt(at.Seq, 10),
				"hash": hex.EncodeToString(at.Hash[:]), "before": time.Now().Add(time.Hour).UTC().Format(time.RFC3339Nano), "records": "2", "whole": strconv.FormatBool(whole), "signer": live.Signer(), "signature": hex.EncodeToString(make([]byte, 64))}}
			if err := live.Record(t.Context(), forged); err != nil {
				t.Fatal(err)
			}
			checkpoint(t, live)
			if rep := verify(t, db, audit.Expect{Signers: []string{live.Signer()}, Outside: kept.kept}); len(rep.Problems) == 0 {
				t.Error("a cut that the server did not make was taken for one")
			}
		})
	}
}

// TestPruneWaitsForTargets: what a target has not taken stays, up to a bound; then it
// goes, the trail says how much, and the target goes on behind it.
func TestPruneWaitsForTargets(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		db := sqltest.OpenWith(t, c)
		store, r := sqlaudit.Store{DB: db}, ring(t, db)
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		writer := func() *audit.Writer {
			w, err := audit.Open(t.Context(), audit.Config{Store: store, Sealer: r, Now: func() time.Time { return now }})
			if err != nil {
				t.Fatal(err)
			}
			return w
		}
		old, w := writer(), writer()
		for range 10 {
			record(t, old, "sign-in")
			checkpoint(t, old)
			record(t, w, "sign-in")
			checkpoint(t, w)
			now = now.Add(24 * time.Hour)
		}
		good, slow := newPlace("good"), newPlace("slow")
		for shipper(db, good, "srv", time.Now).Round(t.Context()) == 0 {
		}
		feeder := shipper(db, slow, "srv", time.Now, func(c *audit.ShipperConfig) { c.Most = 3 })
		feeder.Round(t.Context()) // three of each chain

		rule := audit.Retention{Before: now.Add(-2*24*time.Hour - time.Hour), Bound: now.Add(-30 * 24 * time.Hour), Taken: by(store, "good", "slow")}
		whole := func(want audit.Cutting) {
			t.Helper()
			cut, err := w.Prune(t.Context(), store, rule)
			if err != nil {
				t.Fatal(err)
			}
			cut.Before = time.Time{}
			if cut != want {
				t.Errorf("%+v, want %+v", cut, want)
			}
			checkpoint(t, w)
			if report := verify(t, db, audit.Expect{}); len(report.Problems) > 0 {
				t.Errorf("%q", report.Problems)
			}
		}
		whole(audit.Cutting{Records: 6, Chains: 2, Held: 10})
		whole(audit.Cutting{Chains: 2, Held: 10})
		rule.Bound = now.Add(-5*24*time.Hour - time.Hour) // five days are too long to wait
		whole(audit.Cutting{Records: 4, Chains: 2, Untaken: 4, Held: 6})
		rule.Taken = by(store, "good") // the slow one was taken out of the configuration
		now = now.Add(30 * 24 * time.Hour)
		rule.Before = now.Add(-3 * 24 * time.Hour)
		for shipper(db, good, "srv", time.Now).Round(t.Context()) == 0 {
		}
		cut, err := w.Prune(t.Context(), store, rule)
		if err != nil || cut.Whole != 1 || cut.Untaken != 0 || cut.Held != 0 {
			t.Errorf("%+v, %v", cut, err)
		}
		checkpoint(t, w)

		// The target that missed some goes on with what is there.
		for feeder.Round(t.Context()) == 0 {
		}
		if got := slow.taken[old.Chain()]; len(got) != 3 {
			t.Errorf("of the chain that went %v came", got)
		}
		got := slow.taken[w.Chain()]
		heads, err := store.Heads(t.Context())
		if err != nil || len(heads) != 1 || got[len(got)-1] != heads[0].Seq {
			t.Errorf("%v came, the chain ends at %+v, %v", got, heads, err)
		}
		if report := verify(t, db, audit.Expect{}); len(report.Problems) > 0 {
			t.Errorf("%q", report.Problems)
		}
	})
}

// by gives what targets have.
func by(store sqlaudit.Store, targets ...string) func(context.Context, string) (int64, error) {
	return func(ctx context.Context, writer string) (int64, error) { return store.Taken(ctx, writer, targets) }
}
