// Package revocation keeps the revocation feed in SQL. The counter's row is
// raised in the same transaction as the entry, so epochs commit in their order
// and a reader that has seen one has seen all before it.
package revocation

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/revocation"
)

// Topic is raised by every revocation.
const Topic = "revocation"

// Store is revocation.Store on a database.
type Store struct{ DB *sql.DB }

var _ revocation.Store = Store{}

// most bounds the rows of one statement: both engines take 32,766 parameters.
const most = 1000

// Add revokes all of ids with the next epoch.
func (s Store) Add(ctx context.Context, kind string, ids []string, at time.Time) (epoch uint64, err error) {
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		t.Changed(Topic)
		if err := t.QueryRow(`UPDATE revocation_head SET epoch = epoch + 1 RETURNING epoch`).Scan(&epoch); err != nil {
			return err
		}
		for some := range slices.Chunk(ids, most) {
			args := []any{kind, int64(epoch), at.UnixMilli()}
			rows := make([]string, len(some))
			for i, id := range some {
				args = append(args, id)
				rows[i] = "($1, $" + strconv.Itoa(len(args)) + ", $2, $3)"
			}
			if _, err := t.Exec(`INSERT INTO revocation (kind, id, epoch, at) VALUES `+strings.Join(rows, ", ")+`
				ON CONFLICT (kind, id) DO UPDATE SET epoch = $2, at = $3`, args...); err != nil {
				return err
			}
		}
		return nil
	})
	return epoch, err
}

// After gives what is above an epoch.
func (s Store) After(ctx context.Context, epoch uint64) (entries []revocation.Entry, head uint64, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		entries = nil
		if err := t.QueryRow(`SELECT epoch FROM revocation_head`).Scan(&head); err != nil {
			return err
		}
		if head == epoch {
			return nil
		}
		return t.Each(`SELECT kind, id, epoch, at FROM revocation WHERE epoch > $1`, []any{int64(epoch)},
			func(scan func(...any) error) error {
				var e revocation.Entry
				var at int64
				err := scan(&e.Kind, &e.ID, &e.Epoch, &at)
				e.At = time.UnixMilli(at).UTC()
				entries = append(entries, e)
				return err
			})
	})
	return entries, head, err
}

// Applied stores a server's view, in a transaction that reads no other server's: all
// of them do so after each revocation. What is over is looked for apart, and deleted
// where there is some.
func (s Store) Applied(ctx context.Context, v revocation.View, stale, old time.Time) error {
	err := s.DB.Write(ctx, func(t *sql.Tx) error {
		_, err := t.Exec(`INSERT INTO revocation_server (server, epoch, seen) VALUES ($1, $2, $3)
			ON CONFLICT (server) DO UPDATE SET epoch = $2, seen = $3`, v.Server, int64(v.Epoch), v.Seen.UnixMilli())
		return err
	})
	if err != nil {
		return err
	}
	var over bool
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		return t.QueryRow(`SELECT EXISTS (SELECT 1 FROM revocation_server WHERE seen < $1) OR EXISTS (SELECT 1 FROM revocation WHERE at < $2)`,
			stale.UnixMilli(), old.UnixMilli()).Scan(&over)
	})
	if err != nil || !over {
		return err
	}
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		if _, err := t.Exec(`DELETE FROM revocation_server WHERE seen < $1`, stale.UnixMilli()); err != nil {
			return err
		}
		_, err := t.Exec(`DELETE FROM revocation WHERE at < $1`, old.UnixMilli())
		return err
	})
}

// Views gives every server's view.
func (s Store) Views(ctx context.Context) (views []revocation.View, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		views = nil
		return t.Each(`SELECT server, epoch, seen FROM revocation_server ORDER BY server`, nil,
			func(scan func(...any) error) error {
				var v revocation.View
				var seen int64
				err := scan(&v.Server, &v.Epoch, &seen)
				v.Seen = time.UnixMilli(seen).UTC()
				views = append(views, v)
				return err
			})
	})
	return views, err
}

// restoredJump is more than there can have been revocations since a backup.
const restoredJump = 1 << 32

// Restored revokes everything after a backup was put back: what was revoked
// after the backup is forgotten, and tokens issued since then carry epochs that
// this database hasn't reached.
func (s Store) Restored(ctx context.Context, at time.Time) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		if _, err := t.Exec(`UPDATE revocation_head SET epoch = epoch + $1`, int64(restoredJump)); err != nil {
			return err
		}
		_, err := s.Add(t.Context(), revocation.Everything, []string{revocation.Everything}, at)
		return err
	})
}
