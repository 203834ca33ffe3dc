// Package denial keeps explanations of denied requests in SQL.
package denial

import (
	"context"
	"errors"
	"time"

	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/denial"
)

// Store is denial.Store on a database.
type Store struct{ DB *sql.DB }

var _ denial.Store = Store{}

// Put stores rows, in one transaction.
func (s Store) Put(ctx context.Context, rows []denial.Row) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		for _, r := range rows {
			if _, err := t.Exec(`INSERT INTO denial (request, at, body) VALUES ($1, $2, $3) ON CONFLICT (request) DO NOTHING`,
				string(r.Request), r.At.UnixMilli(), r.Body); err != nil {
				return err
			}
		}
		return nil
	})
}

// Find gives one; false where there is none.
func (s Store) Find(ctx context.Context, id identity.RequestID) (r denial.Row, ok bool, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		var at int64
		err := t.QueryRow(`SELECT at, body FROM denial WHERE request = $1`, string(id)).Scan(&at, &r.Body)
		if errors.Is(err, sql.ErrNoRows) {
			ok = false
			return nil
		}
		r.Request, r.At, ok = id, time.UnixMilli(at).UTC(), err == nil
		return err
	})
	return r, ok, err
}

// Recent gives the newest, at most some.
func (s Store) Recent(ctx context.Context, most int) (all []denial.Row, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		all = nil
		return t.Each(`SELECT request, at, body FROM denial ORDER BY at DESC, request LIMIT $1`, []any{most}, func(scan func(...any) error) error {
			var r denial.Row
			var at int64
			err := scan((*string)(&r.Request), &at, &r.Body)
			r.At = time.UnixMilli(at).UTC()
			all = append(all, r)
			return err
		})
	})
	return all, err
}

// Sweep deletes those before a time, and the oldest beyond most.
func (s Store) Sweep(ctx context.Context, before time.Time, most int) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		if _, err := t.Exec(`DELETE FROM denial WHERE at < $1`, before.UnixMilli()); err != nil {
			return err
		}
		var oldest int64
		err := t.QueryRow(`SELECT at FROM denial ORDER BY at DESC LIMIT 1 OFFSET $1`, most).Scan(&oldest)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err == nil {
			_, err = t.Exec(`DELETE FROM denial WHERE at <= $1`, oldest)
		}
		return err
	})
}
