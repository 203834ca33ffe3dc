// Package issuer keeps the keys of our OpenID issuers in SQL. It sees private
// keys only sealed and must never log one.
package issuer

import (
	"context"
	"errors"
	"time"

	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/issuer"
)

// Topic is raised when a key changes, and when minting stops or goes on.
const Topic = "issuer"

// Store is issuer.Store on a database.
type Store struct{ DB *sql.DB }

var _ issuer.Store = Store{}

// All reads every key, and whether minting stopped.
func (s Store) All(ctx context.Context) (all []issuer.Row, stop issuer.Stop, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) (err error) {
		all = nil
		if stop, err = stopped(t); err != nil {
			return err
		}
		return t.Each(`SELECT id, level, algorithm, serial, public, sealed, created, published_from, used_from, retired_from, gone_after
			FROM issuer_key ORDER BY level, algorithm, serial`, nil, func(scan func(...any) error) error {
			var r issuer.Row
			var at [5]int64
			err := scan(&r.ID, &r.Level, &r.Algorithm, &r.Serial, &r.Public, &r.Sealed, &at[0], &at[1], &at[2], &at[3], &at[4])
			for i, to := range []*time.Time{&r.Created, &r.PublishedFrom, &r.UsedFrom, &r.RetiredFrom, &r.GoneAfter} {
				*to = timeOf(at[i])
			}
			all = append(all, r)
			return err
		})
	})
	return all, stop, err
}

func stopped(t *sql.Tx) (issuer.Stop, error) {
	var stop issuer.Stop
	var at int64
	err := t.QueryRow(`SELECT at, reason, key_id FROM issuer_stop WHERE id = 1`).Scan(&at, &stop.Reason, &stop.KeyID)
	if errors.Is(err, sql.ErrNoRows) {
		return issuer.Stop{}, nil
	}
	stop.At = timeOf(at)
	return stop, err
}

// Change does a change unless the highest serial is another by now.
func (s Store) Change(ctx context.Context, c issuer.Change) (done bool, err error) {
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		done = false
		var last int
		if err := t.QueryRow(`SELECT COALESCE(MAX(serial), 0) FROM issuer_key WHERE level = $1 AND algorithm = $2`,
			string(c.Level), c.Algorithm).Scan(&last); err != nil || last != c.Last {
			return err
		}
		if r := c.Add; r != nil {
			if _, err := t.Exec(`INSERT INTO issuer_key (id, level, algorithm, serial, public, sealed, created, published_from, used_from, retired_from, gone_after)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`, r.ID, string(c.Level), c.Algorithm, last+1, r.Public, r.Sealed,
				ms(r.Created), ms(r.PublishedFrom), ms(r.UsedFrom), ms(r.RetiredFrom), ms(r.GoneAfter)); err != nil {
				return err
			}
		}
		for _, k := range c.Schedules {
			if _, err := t.Exec(`UPDATE issuer_key SET used_from = $2, retired_from = $3, gone_after = $4 WHERE id = $1`,
				k.ID, ms(k.UsedFrom), ms(k.RetiredFrom), ms(k.GoneAfter)); err != nil {
				return err
			}
			if !k.Destroy {
				continue
			}
			if _, err := t.Exec(`UPDATE issuer_key SET sealed = $2 WHERE id = $1`, k.ID, []byte{}); err != nil {
				return err
			}
		}
		done = true
		t.Changed(Topic)
		return nil
	})
	return done, err
}

// SetStop stores that minting stopped, or that it goes on.
func (s Store) SetStop(ctx context.Context, to issuer.Stop) (changed bool, err error) {
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		var n int64
		var err error
		if to.At.IsZero() {
			n, err = t.Exec(`DELETE FROM issuer_stop`)
		} else {
			n, err = t.Exec(`INSERT INTO issuer_stop (id, at, reason, key_id) VALUES (1, $1, $2, $3) ON CONFLICT DO NOTHING`, ms(to.At), to.Reason, to.KeyID)
		}
		if changed = n > 0; changed {
			t.Changed(Topic)
		}
		return err
	})
	return changed, err
}

// Watch calls changed after every change by any server.
func (s Store) Watch(ctx context.Context, changed func()) error {
	return s.DB.Watch(ctx, Topic, changed)
}

// ms is how times are stored: 0 for the zero time.
func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func timeOf(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
