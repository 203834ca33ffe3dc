// Package onceonly keeps used ids in SQL. The primary key decides who was
// first; nothing here reads before it writes.
package onceonly

import (
	"context"
	"time"

	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/onceonly"
)

// Store is onceonly.Store on a database.
type Store struct{ DB *sql.DB }

var _ onceonly.Store = Store{}

// Insert stores a digest and reports whether it was new.
func (s Store) Insert(ctx context.Context, kind string, digest [32]byte, until time.Time) (won bool, err error) {
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		n, err := t.Exec(`INSERT INTO used_once (kind, digest, until) VALUES ($1, $2, $3)
			ON CONFLICT (kind, digest) DO NOTHING`, kind, digest[:], until.UnixMilli())
		won = n == 1
		return err
	})
	return won && err == nil, err
}

// sweepBatch bounds one transaction of the sweep.
const sweepBatch = 5000

// Sweep forgets some ids whose time is over.
func (s Store) Sweep(ctx context.Context, now time.Time, most int) (forgot, left int, err error) {
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		n, err := t.Exec(`DELETE FROM used_once WHERE (kind, digest) IN
			(SELECT kind, digest FROM used_once WHERE until < $1 ORDER BY until LIMIT $2)`, now.UnixMilli(), sweepBatch)
		if err != nil {
			return err
		}
		forgot = int(n)
		return t.QueryRow(`SELECT COUNT(*) FROM (SELECT 1 FROM used_once LIMIT $1) AS kept`, most).Scan(&left)
	})
	return forgot, left, err
}
