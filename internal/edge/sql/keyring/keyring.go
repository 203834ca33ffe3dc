// Package keyring keeps the wrapped data keys of service/keyring in SQL. It
// sees only wrapped keys and must never log one.
package keyring

import (
	"context"
	"time"

	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/keyring"
)

// Topic is raised when keys are added, used or rewrapped.
const Topic = "keyring"

// Store is keyring.Store on a database.
type Store struct{ DB *sql.DB }

var _ keyring.Store = Store{}

// Load reads all keys and what the servers have loaded.
func (s Store) Load(ctx context.Context) (keyring.State, error) {
	var st keyring.State
	err := s.DB.Read(ctx, func(t *sql.Tx) error {
		st = keyring.State{}
		err := t.Each(`SELECT id, ring, generation, kek, wrapped, created, used_from FROM keyring_key ORDER BY ring, generation`, nil,
			func(scan func(...any) error) error {
				var k keyring.WrappedKey
				var created, used int64
				err := scan(&k.ID, &k.Ring, &k.Generation, &k.KEK, &k.Wrapped, &created, &used)
				k.Created = time.UnixMilli(created).UTC()
				if used != 0 {
					k.UsedFrom = time.UnixMilli(used).UTC()
				}
				st.Keys = append(st.Keys, k)
				return err
			})
		if err != nil {
			return err
		}
		return t.Each(`SELECT server, generation, seen FROM keyring_server`, nil,
			func(scan func(...any) error) error {
				var v keyring.ServerView
				var seen int64
				err := scan(&v.Server, &v.Generation, &seen)
				v.Seen = time.UnixMilli(seen).UTC()
				st.Servers = append(st.Servers, v)
				return err
			})
	})
	return st, err
}

// Add stores a key unless its ring has that generation.
func (s Store) Add(ctx context.Context, k keyring.WrappedKey) (added bool, err error) {
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		n, err := t.Exec(`INSERT INTO keyring_key (id, ring, generation, kek, wrapped, created, used_from)
			VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (ring, generation) DO NOTHING`,
			k.ID, k.Ring, k.Generation, k.KEK, k.Wrapped, k.Created.UnixMilli(), millis(k.UsedFrom))
		added = n == 1
		t.Changed(Topic)
		return err
	})
	return added, err
}

// Use sets when a key came into use, once.
func (s Store) Use(ctx context.Context, id string, at time.Time) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		_, err := t.Exec(`UPDATE keyring_key SET used_from = $2 WHERE id = $1 AND used_from = 0`, id, at.UnixMilli())
		t.Changed(Topic)
		return err
	})
}

// Rewrap replaces how keys are wrapped.
func (s Store) Rewrap(ctx context.Context, keys []keyring.WrappedKey) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		for _, k := range keys {
			if _, err := t.Exec(`UPDATE keyring_key SET kek = $2, wrapped = $3 WHERE id = $1`, k.ID, k.KEK, k.Wrapped); err != nil {
				return err
			}
		}
		t.Changed(Topic)
		return nil
	})
}

// Confirm stores what a server has loaded, and forgets servers that are long
// gone. They are looked for apart: a transaction that read other servers' rows would
// meet theirs.
func (s Store) Confirm(ctx context.Context, v keyring.ServerView) error {
	err := s.DB.Write(ctx, func(t *sql.Tx) error {
		_, err := t.Exec(`INSERT INTO keyring_server (server, generation, seen) VALUES ($1, $2, $3)
			ON CONFLICT (server) DO UPDATE SET generation = $2, seen = $3`, v.Server, v.Generation, v.Seen.UnixMilli())
		return err
	})
	if err != nil {
		return err
	}
	gone, over := v.Seen.Add(-24*time.Hour).UnixMilli(), false
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		return t.QueryRow(`SELECT EXISTS (SELECT 1 FROM keyring_server WHERE seen < $1)`, gone).Scan(&over)
	})
	if err != nil || !over {
		return err
	}
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		_, err := t.Exec(`DELETE FROM keyring_server WHERE seen < $1`, gone)
		return err
	})
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
