package sql_test

import (
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
)

// BenchmarkWrite compares synced writes one after the other with writers that
// wait for each other and share commits. alone/shared is how much cheaper one
// write becomes.
func BenchmarkWrite(b *testing.B) {
	const writers = 64
	db := sqltest.Open(b)
	one := func(n int64) {
		err := db.Write(b.Context(), func(t *sql.Tx) error {
			_, err := t.Exec(`INSERT INTO used_once (kind, digest, until) VALUES ('bench', $1, $2)`, time.Now().AppendFormat(nil, time.RFC3339Nano), n)
			return err
		})
		if err != nil && !sql.IsDuplicate(err) {
			b.Error(err)
		}
	}
	var alone, shared time.Duration
	rounds := 0
	for b.Loop() {
		rounds++
		start := time.Now()
		for n := range int64(writers) {
			one(n)
		}
		alone += time.Since(start)
		start = time.Now()
		var wg sync.WaitGroup
		for n := range int64(writers) {
			wg.Go(func() { one(n) })
		}
		wg.Wait()
		shared += time.Since(start)
	}
	b.ReportMetric(float64(alone.Microseconds())/float64(rounds*writers), "alone-µs/write")
	b.ReportMetric(float64(shared.Microseconds())/float64(rounds*writers), "shared-µs/write")
	b.ReportMetric(float64(alone)/float64(shared), "alone/shared")
}
