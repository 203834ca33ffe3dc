package audit

import (
	"context"
	"errors"
	"math"
	"time"

	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/audit"
)

var _ audit.Pruned = Store{}

// Cut gives the checkpoint that a chain is cut at.
func (s Store) Cut(ctx context.Context, writer string, before time.Time, most int64) (c audit.Checkpoint, first int64, ok bool, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		c, first, ok = audit.Checkpoint{}, 0, false
		var last int64 // the last record before the first that is young
		if err := t.QueryRow(`SELECT COALESCE((SELECT MIN(seq) - 1 FROM audit_record WHERE writer = $1 AND at >= $2), (SELECT seq FROM audit_chain WHERE writer = $1), 0),
			COALESCE((SELECT MIN(seq) FROM audit_record WHERE writer = $1), 0)`, writer, before.UnixMilli()).Scan(&last, &first); err != nil {
			return err
		}
		c, ok, err = one(t.QueryRow(`SELECT `+checkpointColumns+` FROM audit_checkpoint WHERE writer = $1 AND seq <= $2 ORDER BY seq DESC LIMIT 1`, writer, min(last, most)).Scan)
		return err
	})
	return c, first, ok, err
}

// one gives one checkpoint, if there is one.
func one(scan func(...any) error) (audit.Checkpoint, bool, error) {
	c, err := checkpointIn(scan)
	if errors.Is(err, sql.ErrNoRows) {
		return audit.Checkpoint{}, false, nil
	}
	return c, err == nil, err
}

// Checkpoint gives the one over a record.
func (s Store) Checkpoint(ctx context.Context, writer string, seq int64) (c audit.Checkpoint, ok bool, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		c, ok, err = one(t.QueryRow(`SELECT `+checkpointColumns+` FROM audit_checkpoint WHERE writer = $1 AND seq = $2`, writer, seq).Scan)
		return err
	})
	return c, ok, err
}

// Taken gives what all targets have of a chain. One that never took anything of it has
// no row.
func (s Store) Taken(ctx context.Context, writer string, targets []string) (least int64, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		least = math.MaxInt64
		for _, name := range targets {
			var seq int64
			if err := t.QueryRow(`SELECT COALESCE((SELECT seq FROM audit_target_place WHERE target = $1 AND writer = $2), 0)`, name, writer).Scan(&seq); err != nil {
				return err
			}
			least = min(least, seq)
		}
		return nil
	})
	return least, err
}

// Forget deletes what lies before a cut.
func (s Store) Forget(ctx context.Context, c audit.Checkpoint, whole bool) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		if _, err := t.Exec(`DELETE FROM audit_record WHERE writer = $1 AND seq <= $2`, c.Writer, c.Seq); err != nil {
			return err
		}
		if !whole {
			_, err := t.Exec(`DELETE FROM audit_checkpoint WHERE writer = $1 AND seq < $2`, c.Writer, c.Seq)
			return err
		}
		// Only a chain that has not moved since it was looked at goes as a whole.
		n, err := t.Exec(`DELETE FROM audit_chain WHERE writer = $1 AND seq = $2`, c.Writer, c.Seq)
		if err != nil || n == 0 {
			return err
		}
		if _, err := t.Exec(`DELETE FROM audit_target_place WHERE writer = $1`, c.Writer); err != nil {
			return err
		}
		_, err = t.Exec(`DELETE FROM audit_checkpoint WHERE writer = $1`, c.Writer)
		return err
	})
}
