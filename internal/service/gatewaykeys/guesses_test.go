package gatewaykeys_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	sqlgatewaykeys "carnet.dev/carnet/internal/edge/sql/gatewaykeys"
	"carnet.dev/carnet/internal/service/gatewaykeys"
)

// slow is a database that takes its time, and counts.
type slow struct {
	sqlgatewaykeys.Store
	takes              atomic.Int64 // nanoseconds
	reads, now, atOnce atomic.Int32
}

func (s *slow) Keys(ctx context.Context, now time.Time) ([]gatewaykeys.Stored, error) {
	s.reads.Add(1)
	if n := s.now.Add(1); n > s.atOnce.Load() {
		s.atOnce.Store(n)
	}
	defer s.now.Add(-1)
	time.Sleep(time.Duration(s.takes.Load()))
	return s.Store.Keys(ctx, now)
}

// TestAttackGuessedKeyIDs: strangers send ids that nobody has, each another one. What
// they all cost is bounded together, and a database that is slow gets no queue of
// readings.
func TestAttackGuessedKeyIDs(t *testing.T) {
	for name, c := range map[string]struct {
		takes time.Duration
		most  int32 // readings in ten seconds
	}{"a quick database": {0, 101}, "a slow one": {200 * time.Millisecond, 11}, "one that hardly answers": {3 * time.Second, 3}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				db := &slow{Store: sqlgatewaykeys.Store{DB: w.db}}
				server := w.serverOn(db)
				db.takes.Store(int64(c.takes))
				db.reads.Store(0)
				ctx, enough := context.WithTimeout(t.Context(), 10*time.Second)
				defer enough()
				var all sync.WaitGroup
				for stranger := range 20 {
					all.Go(func() {
						for n := 0; ctx.Err() == nil; n++ {
							id := fmt.Sprintf("GWKA%02d%014d", stranger, n)
							if _, _, err := server.Find(ctx, id); fault.Of(err).Code != "InvalidAccessKeyId" {
								t.Error(err)
							}
						}
					})
				}
				all.Wait()
				if n := db.reads.Load(); n < 1 || n > c.most || db.atOnce.Load() > 1 {
					t.Errorf("%d readings, %d at once", n, db.atOnce.Load())
				}
				time.Sleep(time.Minute) // the last readings end
				db.takes.Store(0)
				// And after all that a key of another server is found.
				w.must(w.feed.Confirm(t.Context()))
				m := w.make(w.ann("1/analyst"))
				if _, _, err := server.Find(t.Context(), m.AccessKeyID); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
