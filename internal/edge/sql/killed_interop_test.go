//go:build interop

package sql_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
)

// TestAKilledDatabaseIsUnavailable kills PostgreSQL under reads and writes, again and
// again: wherever in a transaction that strikes, the refusal says that the database is
// away, and what was acknowledged is there.
func TestAKilledDatabaseIsUnavailable(t *testing.T) {
	pg := sqltest.Start(t)
	dsn := pg.Database(t)
	db := sqltest.OpenWith(t, sql.Config{PostgreSQL: dsn})
	counter(t, db)
	if err := db.Watch(t.Context(), "anything", func() {}); err != nil {
		t.Fatal(err)
	}
	var acknowledged, unknown, refused atomic.Int64
	check := func(err error) {
		if err != nil && !errors.Is(err, unavailable) {
			t.Errorf("a refusal says %v", err)
		}
	}
	for range 4 {
		stop := make(chan struct{})
		var wg sync.WaitGroup
		work := func(do func()) {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						do()
					}
				}
			})
		}
		for range 4 {
			work(func() {
				err := increment(t.Context(), db)
				if check(err); err == nil {
					acknowledged.Add(1)
					return
				}
				unknown.Add(1)
				refused.Add(1)
				time.Sleep(time.Millisecond)
			})
			work(func() {
				var v int64
				err := db.Read(t.Context(), func(tx *sql.Tx) error { return tx.QueryRow(`SELECT v FROM n WHERE id = 1`).Scan(&v) })
				if check(err); err != nil {
					refused.Add(1)
					time.Sleep(time.Millisecond)
				}
			})
		}
		time.Sleep(100 * time.Millisecond)
		pg.Kill(t)
		time.Sleep(100 * time.Millisecond)
		pg.Start(t)
		close(stop)
		wg.Wait()
	}
	t.Logf("%d writes acknowledged, %d requests refused", acknowledged.Load(), refused.Load())
	if got := value(t, db); got < acknowledged.Load() || got > acknowledged.Load()+unknown.Load() {
		t.Errorf("%d increments acknowledged, %d of unknown end: the value is %d", acknowledged.Load(), unknown.Load(), got)
	}
	if acknowledged.Load() == 0 || refused.Load() == 0 {
		t.Error("nothing was shown")
	}
}
