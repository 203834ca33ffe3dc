//go:build interop

package sql_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
)

var unavailable = fault.Coded(fault.Unavailable, "state.unavailable", "")

// TestASilentDatabaseIsRefused: PostgreSQL hangs without a word. However many
// wait for it, they are all refused after about one bound, not one bound after
// another; whoever comes then is refused at once; and when it speaks again all
// goes on.
func TestASilentDatabaseIsRefused(t *testing.T) {
	line := sqltest.Lay(t)
	db := sqltest.OpenWith(t, sql.Config{PostgreSQL: line.Through(sqltest.PostgreSQL(t))})
	counter(t, db)
	if err := db.Watch(t.Context(), "anything", func() {}); err != nil {
		t.Fatal(err)
	}
	line.Silence()

	const each = 60
	refused := make(chan error, 2*each)
	var wg sync.WaitGroup
	for range each {
		wg.Go(func() { refused <- increment(t.Context(), db) })
		wg.Go(func() {
			refused <- db.Read(t.Context(), func(tx *sql.Tx) error { var v int; return tx.QueryRow(`SELECT v FROM n`).Scan(&v) })
		})
	}
	began := time.Now()
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(2 * time.Minute): // one after another would take a quarter of an hour
		t.Fatal("they wait for each other")
	}
	t.Logf("%d refused after at most %v", 2*each, time.Since(began).Round(time.Millisecond))
	for range 2 * each {
		if err := <-refused; !errors.Is(err, unavailable) {
			t.Fatalf("a refusal says %v", err)
		}
	}
	// Known silence costs nobody a wait, however many ask.
	began = time.Now()
	for range 10_000 {
		if err := increment(t.Context(), db); !errors.Is(err, unavailable) {
			t.Fatalf("while it is silent a write says %v", err)
		}
	}
	t.Logf("10,000 refused one after another in %v", time.Since(began).Round(time.Millisecond))

	line.Heal()
	healed := time.Now()
	var v int64
	for v == 0 {
		if err := increment(t.Context(), db); err == nil {
			v = value(t, db)
		}
		if time.Since(healed) > time.Minute {
			t.Fatal("it does not come back by itself")
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("back by itself after %v", time.Since(healed).Round(time.Millisecond))
}

// TestSlowReadsAreNotSilence: as many reads as there are connections take longer
// than a look of the poller may; nobody is refused for that.
func TestSlowReadsAreNotSilence(t *testing.T) {
	db := sqltest.OpenWith(t, sql.Config{PostgreSQL: sqltest.PostgreSQL(t)})
	counter(t, db)
	if err := db.Watch(t.Context(), "anything", func() {}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := db.Read(t.Context(), func(tx *sql.Tx) error {
				var nothing string
				return tx.QueryRow(`SELECT pg_sleep(6)`).Scan(&nothing)
			}); err != nil {
				t.Error(err)
			}
		})
	}
	slow := make(chan struct{})
	go func() { wg.Wait(); close(slow) }()
	for {
		select {
		case <-slow:
			return
		case <-time.After(50 * time.Millisecond):
			if err := increment(t.Context(), db); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestACutServerHoldsNobodyUp: a server's line is cut in the middle of a transaction.
// The rows that it holds are free again before those who wait for them are refused.
func TestACutServerHoldsNobodyUp(t *testing.T) {
	dsn, line := sqltest.PostgreSQL(t), sqltest.Lay(t)
	near, far := sqltest.OpenWith(t, sql.Config{PostgreSQL: dsn}), sqltest.OpenWith(t, sql.Config{PostgreSQL: line.Through(dsn)})
	counter(t, near)
	written, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- far.Write(t.Context(), func(tx *sql.Tx) error {
			if _, err := tx.Exec(`UPDATE n SET v = 7 WHERE id = 1`); err != nil {
				return err
			}
			line.Silence()
			close(written)
			_, err := tx.Exec(`UPDATE n SET v = 8 WHERE id = 1`)
			return err
		})
	}()
	select {
	case <-written:
	case err := <-done:
		t.Fatal(err)
	}
	if err := increment(t.Context(), near); err != nil {
		t.Errorf("a server beside the one that was cut: %v", err)
	}
	if err := <-done; !errors.Is(err, unavailable) {
		t.Errorf("the server that was cut says %v", err)
	}
	line.Heal()
	if got := value(t, near); got != 1 {
		t.Errorf("the value is %d, want 1: what was cut off is not committed", got)
	}
}
