package audit_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/sql"
	sqlaudit "carnet.dev/carnet/internal/edge/sql/audit"
	sqlkeyring "carnet.dev/carnet/internal/edge/sql/keyring"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/audit"
	"carnet.dev/carnet/internal/service/keyring"
)

// outside keeps checkpoints as a place apart would.
type outside struct{ kept []audit.Checkpoint }

func (o *outside) Put(_ context.Context, c audit.Checkpoint) error {
	o.kept = append(o.kept, c)
	return nil
}

func ring(t testing.TB, db *sql.DB) *keyring.Keyring {
	t.Helper()
	keks, err := keyring.ParseKEKs(keyring.NewKEKFile())
	if err != nil {
		t.Fatal(err)
	}
	r, err := keyring.Open(t.Context(), keyring.Config{Store: sqlkeyring.Store{DB: db}, KEKs: keks, Server: "s", Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func open(t testing.TB, db *sql.DB, r *keyring.Keyring, out audit.Outside) *audit.Writer {
	t.Helper()
	w, err := audit.Open(t.Context(), audit.Config{Store: sqlaudit.Store{DB: db}, Sealer: r, Outside: out, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func record(t testing.TB, w *audit.Writer, action string) {
	t.Helper()
	if err := w.Record(t.Context(), event.Event{Action: action, Person: "psn_a", Target: "s3://sales"}); err != nil {
		t.Fatal(err)
	}
}

func checkpoint(t testing.TB, w *audit.Writer) {
	t.Helper()
	if err := w.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func verify(t testing.TB, db *sql.DB, x audit.Expect) audit.Report {
	t.Helper()
	r, err := audit.Verify(t.Context(), sqlaudit.Store{DB: db}, x)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestManyWritersOneTrail(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		db := sqltest.OpenWith(t, c)
		r := ring(t, db)
		var wg sync.WaitGroup
		var signer string
		for range 3 {
			w := open(t, sqltest.OpenWith(t, c), r, nil)
			if signer != "" && w.Signer() != signer {
				t.Error("two servers sign with different keys")
			}
			signer = w.Signer()
			wg.Go(func() {
				var each sync.WaitGroup
				for range 4 {
					each.Go(func() {
						for range 5 {
							record(t, w, "sign-in")
						}
					})
				}
				each.Wait()
				checkpoint(t, w)
			})
		}
		wg.Wait()
		rep := verify(t, db, audit.Expect{Signers: []string{signer}, Unsigned: time.Minute})
		if rep.Writers != 3 || rep.Records != 60 || rep.Checkpoints != 3 || len(rep.Problems) != 0 {
			t.Errorf("%+v", rep)
		}
	})
}

func TestNoRecordWithoutTheAct(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		db := sqltest.OpenWith(t, c)
		w := open(t, db, ring(t, db), nil)
		wrong := errors.New("the act failed")
		err := db.Atomic(t.Context(), func(ctx context.Context) error {
			if err := w.Record(ctx, event.Event{Action: "exchange"}); err != nil {
				return err
			}
			return wrong
		})
		if !errors.Is(err, wrong) {
			t.Fatal(err)
		}
		record(t, w, "sign-in")
		checkpoint(t, w)
		if rep := verify(t, db, audit.Expect{}); rep.Records != 1 || len(rep.Problems) != 0 {
			t.Errorf("%+v", rep)
		}
	})
}

// TestVerifyFindsTampering changes a whole trail in every way that the owner
// of the database could.
func TestVerifyFindsTampering(t *testing.T) {
	for _, c := range []struct {
		name, sql, want string
	}{
		{"untouched", ``, ``},
		{"body", `UPDATE audit_record SET body = replace(body, 'sales', 'hr') WHERE seq = 3`, "record 3 of chain W was changed"},
		{"time", `UPDATE audit_record SET at = at + 1 WHERE seq = 3`, "record 3 of chain W was changed"},
		{"column", `UPDATE audit_record SET person = 'psn_b' WHERE seq = 3`, "record 3 of chain W was changed"},
		{"hash", `UPDATE audit_record SET hash = zeroblob(32) WHERE seq = 3`, "record 3 of chain W was changed"},
		{"a record gone", `DELETE FROM audit_record WHERE seq = 3`, "chain W lacks record 3"},
		{"the end gone", `DELETE FROM audit_record WHERE seq = 5`, "chain W ends at record 4; its head says 5"},
		{"the end gone, head moved back", `DELETE FROM audit_record WHERE seq > 3;
			UPDATE audit_chain SET seq = 3, hash = (SELECT hash FROM audit_record WHERE seq = 3)`,
			"chain W has a checkpoint over record 5, which is gone"},
		{"the end gone with its checkpoint", `DELETE FROM audit_record WHERE seq > 2; DELETE FROM audit_checkpoint WHERE seq > 2;
			UPDATE audit_chain SET seq = 2, hash = (SELECT hash FROM audit_record WHERE seq = 2)`,
			"chain W has a checkpoint over record 5, which is gone"}, // only the outside knows
		{"a chain gone", `DELETE FROM audit_record; DELETE FROM audit_checkpoint; DELETE FROM audit_chain`,
			"chain W has a checkpoint over record 2, which is gone"},
		{"head", `UPDATE audit_chain SET hash = zeroblob(32)`, "the head of chain W is not its last record"},
		{"signature", `UPDATE audit_checkpoint SET at = at + 1 WHERE seq = 5`,
			"the checkpoint of chain W at record 5 has no valid signature of a trusted key"},
		{"another key", `UPDATE audit_signer SET public = zeroblob(32)`, "is not the key of that id"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			db := sqltest.Open(t)
			out := &outside{}
			w := open(t, db, ring(t, db), out)
			for i := range 5 {
				record(t, w, "sign-in")
				if i == 1 || i == 4 {
					checkpoint(t, w)
				}
			}
			if c.sql != "" {
				if err := db.Write(t.Context(), func(tx *sql.Tx) error { _, err := tx.Exec(c.sql); return err }); err != nil {
					t.Fatal(err)
				}
			}
			rep := verify(t, db, audit.Expect{Signers: []string{w.Signer()}, Outside: out.kept})
			got := strings.ReplaceAll(strings.Join(rep.Problems, "\n"), w.Chain(), "W")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestARewrittenTrailNeedsTheKey: someone rewrites everything, with a key of
// their own: the id noted outside tells.
func TestARewrittenTrailNeedsTheKey(t *testing.T) {
	db := sqltest.Open(t)
	honest := open(t, db, ring(t, db), nil)
	forged := sqltest.Open(t)
	w := open(t, forged, ring(t, forged), nil)
	record(t, w, "sign-in")
	checkpoint(t, w)
	if rep := verify(t, forged, audit.Expect{}); len(rep.Problems) != 0 {
		t.Fatalf("%+v", rep)
	}
	if rep := verify(t, forged, audit.Expect{Signers: []string{honest.Signer()}}); len(rep.Problems) == 0 {
		t.Error("a trail under a foreign key was taken")
	}
}

// TestUnsignedRecordsAreReported: where they are; those that a killed server leaves are
// no failure, and those that span more than a server leaves unsigned are.
func TestUnsignedRecordsAreReported(t *testing.T) {
	t.Parallel()
	db, now := sqltest.Open(t), time.Date(2026, 5, 1, 9, 0, 0, 0, time.UTC)
	w, err := audit.Open(t.Context(), audit.Config{Store: sqlaudit.Store{DB: db}, Sealer: ring(t, db), Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	record(t, w, "sign-in")
	checkpoint(t, w)
	x := audit.Expect{Unsigned: audit.MostUnsigned}
	for range 2 {
		now = now.Add(time.Second)
		record(t, w, "sign-in")
	}
	want := audit.Stretch{Writer: w.Chain(), From: 2, To: 3, Since: now.Add(-time.Second), Until: now}
	if rep := verify(t, db, x); len(rep.Problems) != 0 || rep.Unsigned != 2 || len(rep.Open) != 1 || rep.Open[0] != want {
		t.Errorf("%+v, want open %+v", rep, want)
	}
	now = now.Add(audit.MostUnsigned)
	record(t, w, "sign-in")
	if rep := verify(t, db, x); len(rep.Problems) != 1 || !strings.Contains(rep.Problems[0], "has no checkpoint after record 1") {
		t.Errorf("%+v", rep)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { w.Run(ctx); close(done) }()
	cancel()
	<-done // Run signs once more at its end
	if rep := verify(t, db, x); len(rep.Problems) != 0 || rep.Unsigned != 0 || len(rep.Open) != 0 {
		t.Errorf("%+v", rep)
	}
}

func TestQueue(t *testing.T) {
	db := sqltest.Open(t)
	w := open(t, db, ring(t, db), nil)
	strict, lax := audit.NewQueue(w, 2, true), audit.NewQueue(w, 2, false)
	for i := range 5 {
		err := strict.Put(event.Event{Action: "s3.get", Target: fmt.Sprint(i)})
		if full := errors.Is(err, fault.Coded(fault.Limited, "audit.full", "")); full != (i >= 2) {
			t.Errorf("strict, event %d: %v", i, err)
		}
		if err := lax.Put(event.Event{Action: "s3.get"}); err != nil {
			t.Errorf("lax, event %d: %v", i, err)
		}
	}
	if lax.Lost() != 3 {
		t.Errorf("%d lost, want 3", lax.Lost())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	strict.Run(ctx) // writes what is left, then ends
	lax.Run(ctx)
	checkpoint(t, w)
	rep := verify(t, db, audit.Expect{})
	if rep.Records != 2+1+2 || len(rep.Problems) != 0 || lax.Lost() != 0 {
		t.Errorf("%+v, %d lost: want 4 events and one record of the loss", rep, lax.Lost())
	}
	var detail string
	err := db.Read(t.Context(), func(tx *sql.Tx) error {
		return tx.QueryRow(`SELECT body FROM audit_record WHERE action = 'audit.lost'`).Scan(&detail)
	})
	if err != nil || !strings.Contains(detail, `"records":"3"`) {
		t.Errorf("%s, %v", detail, err)
	}
}

// A reserved place is nobody else's; one that was given back is anybody's; what
// was taken out to be written makes room.
func TestReservedPlaces(t *testing.T) {
	db := sqltest.Open(t)
	w := open(t, db, ring(t, db), nil)
	q := audit.NewQueue(w, 2, true)
	reserve := func(want bool) {
		t.Helper()
		if ok, err := q.Reserve(); ok != want || (err == nil) != want {
			t.Errorf("%v, %v: want %v", ok, err, want)
		}
	}
	reserve(true)
	if err := q.Put(event.Event{Action: "a"}); err != nil {
		t.Error(err)
	}
	reserve(false)
	q.Release()
	reserve(true)
	q.PutReserved(event.Event{Action: "b"})
	reserve(false)
	if q.Depth() != 2 || q.Size() != 2 || q.LostEver() != 0 {
		t.Errorf("depth %d of %d, %d lost", q.Depth(), q.Size(), q.LostEver())
	}
	ended, end := context.WithCancel(t.Context())
	end()
	q.Run(ended)
	reserve(true)
	reserve(true)
	reserve(false)
	lossy := audit.NewQueue(w, 1, false)
	for range 3 {
		if err := lossy.Put(event.Event{Action: "c"}); err != nil {
			t.Error(err)
		}
	}
	if ok, err := lossy.Reserve(); ok || err != nil || lossy.Lost() != 2 || lossy.LostEver() != 2 {
		t.Errorf("%v, %v, %d lost", ok, err, lossy.Lost())
	}
}

// An event that can't be a record is lost, alone: those behind it don't wait for
// it for ever.
func TestOversizedEventStandsInNobodysWay(t *testing.T) {
	db := sqltest.Open(t)
	w := open(t, db, ring(t, db), nil)
	q := audit.NewQueue(w, 8, false)
	for _, e := range []event.Event{{Action: "before"}, {Action: "huge", Target: strings.Repeat("x", 40<<10)}, {Action: "after"}} {
		if err := q.Put(e); err != nil {
			t.Fatal(err)
		}
	}
	ended, end := context.WithCancel(t.Context())
	end()
	q.Run(ended)
	checkpoint(t, w)
	if rep := verify(t, db, audit.Expect{}); rep.Records != 3 || len(rep.Problems) != 0 || q.LostEver() != 1 {
		t.Errorf("%+v, %d lost: want two events and one record of the loss", rep, q.LostEver())
	}
}

func BenchmarkRecord(b *testing.B) {
	db := sqltest.Open(b)
	w := open(b, db, ring(b, db), nil)
	b.Run("alone", func(b *testing.B) {
		for b.Loop() {
			record(b, w, "sign-in")
		}
	})
	b.Run("shared-commit", func(b *testing.B) {
		b.SetParallelism(16)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				record(b, w, "sign-in")
			}
		})
	})
}
