// Package meta keeps the external id of Carnet's own AWS identity in SQL. It is
// written once, and never changes: data roles ask for it.
package meta

import (
	"context"

	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/meta"
)

// Store is meta.ExternalIDs on a database.
type Store struct{ DB *sql.DB }

var _ meta.ExternalIDs = Store{}

// ExternalID gives the one of the installation; where there is none yet, made becomes
// it.
func (s Store) ExternalID(ctx context.Context, made string) (id string, err error) {
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		if _, err := t.Exec(`INSERT INTO meta_identity (id, external_id) VALUES (1, $1) ON CONFLICT (id) DO NOTHING`, made); err != nil {
			return err
		}
		return t.QueryRow(`SELECT external_id FROM meta_identity WHERE id = 1`).Scan(&id)
	})
	return id, err
}
