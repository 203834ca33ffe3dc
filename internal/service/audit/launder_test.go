package audit_test

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/edge/sql"
	sqlaudit "carnet.dev/carnet/internal/edge/sql/audit"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/audit"
)

// TestAttackRewrittenUnderARunningServer: whoever can write to the database, and has no
// key, links a running server's chain anew and takes its checkpoints away, so that the
// server would sign the forgery with its next record. It signs nothing that it didn't
// write: it begins another chain, and says so there.
func TestAttackRewrittenUnderARunningServer(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		db := sqltest.OpenWith(t, c)
		ring := ring(t, db)
		for name, change := range map[string]func(r []row) []row{
			"changed": func(r []row) []row {
				r[0]["body"] = strings.Replace(r[0]["body"].(string), "psn_a", "psn_b", 1)
				return r
			},
			"cut":      func(r []row) []row { return r[:2] },
			"gone":     func(r []row) []row { return nil },
			"added to": func(r []row) []row { return renumber(append(r, maps.Clone(r[0])), 1) },
		} {
			t.Run(name, func(t *testing.T) {
				x := &trail{db: db}
				exec := func(query string, args ...any) error {
					return db.Write(t.Context(), func(tx *sql.Tx) error { _, err := tx.Exec(query, args...); return err })
				}
				for _, table := range []string{"audit_record", "audit_chain", "audit_checkpoint"} { // of the run before
					if err := exec(`DELETE FROM ` + table); err != nil {
						t.Fatal(err)
					}
				}
				w := open(t, db, ring, nil)
				for range 4 {
					record(t, w, "sign-in")
				}
				checkpoint(t, w)
				forged := w.Chain()
				if err := exec(`DELETE FROM audit_checkpoint WHERE writer = $1`, forged); err != nil {
					t.Fatal(err)
				}
				if err := rewrite(exec, forged, make([]byte, 32), change(of(x.dump(t), forged))); err != nil {
					t.Fatal(err)
				}
				record(t, w, "exchange")
				checkpoint(t, w)
				checkpoint(t, w)
				record(t, w, "sign-in")
				checkpoint(t, w)
				for _, m := range x.dump(t)["audit_checkpoint"] {
					if m["writer"] == forged {
						t.Errorf("the forged chain was signed at record %v", m["seq"])
					}
				}
				rep := verify(t, db, audit.Expect{Signers: []string{w.Signer()}})
				if got := strings.Join(rep.Problems, "\n"); !strings.Contains(got, "a server found another chain changed") {
					t.Errorf("verify says %q", got)
				}
				if last := of(x.dump(t), w.Chain()); w.Chain() == forged || len(last) != 2 || last[0]["action"] != audit.ActionBroken {
					t.Errorf("the server goes on with %v", last)
				}
			})
		}
	})
}

// TestWhatIsRolledBackIsNoForgery: transactions that end in nothing leave a chain whose
// end is not the last that the server made. It is its own all the same.
func TestWhatIsRolledBackIsNoForgery(t *testing.T) {
	t.Parallel()
	db := sqltest.Open(t)
	w := open(t, db, ring(t, db), nil)
	chain := w.Chain()
	for i := range 5 {
		record(t, w, "sign-in")
		if i%2 == 0 {
			checkpoint(t, w)
		}
		if err := db.Atomic(t.Context(), func(ctx context.Context) error {
			if err := w.Record(ctx, event.Event{Action: "lost"}); err != nil {
				t.Error(err)
			}
			return errBack
		}); !errors.Is(err, errBack) {
			t.Fatal(err)
		}
		checkpoint(t, w)
	}
	if rep := verify(t, db, audit.Expect{}); len(rep.Problems) != 0 || w.Chain() != chain || rep.Unsigned != 0 {
		t.Errorf("%+v", rep)
	}
}

// TestAttackLaunderedByRetention: whoever can write to the database makes young records
// look old, or deletes them at a signed place, and waits for the day's pruning to delete
// the rest and to sign that all is well. It proves what it deletes, and deletes nothing.
func TestAttackLaunderedByRetention(t *testing.T) {
	t.Parallel()
	for name, queries := range map[string][]string{
		"young records look old":               {`UPDATE audit_record SET at = 1 WHERE writer = $1 AND seq <= 4`},
		"and their checkpoint":                 {`UPDATE audit_record SET at = 1 WHERE writer = $1 AND seq <= 4`, `UPDATE audit_checkpoint SET at = 1 WHERE writer = $1 AND seq = 4`},
		"a beginning is gone":                  {`DELETE FROM audit_record WHERE writer = $1 AND seq <= 4`},
		"all is gone but head and checkpoints": {`DELETE FROM audit_record WHERE writer = $1`},
		"one is gone, the others look old":     {`UPDATE audit_record SET at = 1 WHERE writer = $1`, `DELETE FROM audit_record WHERE writer = $1 AND seq = 2`},
		"a forged checkpoint over an old one":  {`UPDATE audit_record SET at = 1 WHERE writer = $1 AND seq <= 3`, `UPDATE audit_checkpoint SET seq = 3 WHERE writer = $1 AND seq = 2`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, now := sqltest.Open(t), time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
			ring := ring(t, db)
			begin := func() *audit.Writer {
				w, err := audit.Open(t.Context(), audit.Config{Store: sqlaudit.Store{DB: db}, Sealer: ring, Now: func() time.Time { return now }})
				if err != nil {
					t.Fatal(err)
				}
				return w
			}
			victim, live := begin(), begin()
			for range 3 {
				record(t, victim, "sign-in")
				record(t, victim, "exchange")
				checkpoint(t, victim)
			}
			for _, q := range queries {
				if err := db.Write(t.Context(), func(tx *sql.Tx) error { _, err := tx.Exec(q, victim.Chain()); return err }); err != nil {
					t.Fatal(err)
				}
			}
			before := len(of((&trail{db: db}).dump(t), victim.Chain()))
			for range 2 {
				cut, err := live.Prune(t.Context(), sqlaudit.Store{DB: db}, audit.Retention{Before: now.Add(-24 * time.Hour)})
				if err != nil || cut.Records != 0 || cut.Chains != 0 {
					t.Errorf("%+v was deleted, %v", cut, err)
				}
				checkpoint(t, live)
				now = now.Add(time.Hour)
			}
			if left := len(of((&trail{db: db}).dump(t), victim.Chain())); left != before {
				t.Errorf("%d of %d records are left", left, before)
			}
			rep := verify(t, db, audit.Expect{Signers: []string{live.Signer()}})
			if got := strings.Join(rep.Problems, "\n"); !strings.Contains(got, victim.Chain()) || !strings.Contains(got, "a server found another chain changed") {
				t.Errorf("verify says %q", got)
			}
		})
	}
}
