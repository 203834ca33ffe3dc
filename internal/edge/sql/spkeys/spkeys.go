// Package spkeys keeps our own SAML keys in SQL. It sees private keys only
// sealed and must never log one.
package spkeys

import (
	"context"
	"time"

	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/spkeys"
)

// Topic is raised when one of our SAML keys changes.
const Topic = "spkeys"

// Store is spkeys.Store on a database.
type Store struct{ DB *sql.DB }

var _ spkeys.Store = Store{}

// All reads every key.
func (s Store) All(ctx context.Context) (all []spkeys.Row, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		all = nil
		return t.Each(`SELECT id, purpose, state, certificate, sealed, created, changed FROM saml_key ORDER BY created, id`, nil,
			func(scan func(...any) error) error {
				var r spkeys.Row
				var created, changed int64
				err := scan(&r.ID, &r.Purpose, &r.State, &r.Certificate, &r.Sealed, &created, &changed)
				r.Created, r.Changed = time.UnixMilli(created).UTC(), time.UnixMilli(changed).UTC()
				all = append(all, r)
				return err
			})
	})
	return all, err
}

// Add stores a key unless its purpose has a next or current one already.
func (s Store) Add(ctx context.Context, r spkeys.Row) (stored bool, err error) {
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		n, err := t.Exec(`INSERT INTO saml_key (id, purpose, state, certificate, sealed, created, changed)
			VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
			r.ID, string(r.Purpose), string(r.State), r.Certificate, r.Sealed, r.Created.UnixMilli(), r.Changed.UnixMilli())
		if stored = n == 1; stored {
			t.Changed(Topic)
		}
		return err
	})
	return stored, err
}

// Promote retires the current key and makes the next one current.
func (s Store) Promote(ctx context.Context, p spkeys.Purpose, at time.Time) (done bool, err error) {
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		done = false
		var next int
		if err := t.QueryRow(`SELECT COUNT(*) FROM saml_key WHERE purpose = $1 AND state = $2`, string(p), string(spkeys.Next)).Scan(&next); err != nil {
			return err
		}
		if next == 0 {
			return nil
		}
		for _, step := range []struct{ from, to spkeys.State }{{spkeys.Current, spkeys.Retired}, {spkeys.Next, spkeys.Current}} {
			if _, err := t.Exec(`UPDATE saml_key SET state = $3, changed = $4 WHERE purpose = $1 AND state = $2`,
				string(p), string(step.from), string(step.to), at.UnixMilli()); err != nil {
				return err
			}
		}
		done = true
		t.Changed(Topic)
		return nil
	})
	return done, err
}

// Remove deletes a key that is not current.
func (s Store) Remove(ctx context.Context, id string) (gone bool, err error) {
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		n, err := t.Exec(`DELETE FROM saml_key WHERE id = $1 AND state <> $2`, id, string(spkeys.Current))
		if gone = n == 1; gone {
			t.Changed(Topic)
		}
		return err
	})
	return gone, err
}

// Watch calls changed after every change by any server.
func (s Store) Watch(ctx context.Context, changed func()) error {
	return s.DB.Watch(ctx, Topic, changed)
}
