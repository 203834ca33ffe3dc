package login

import (
	"context"
	"time"

	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/login"
)

// OfPerson gives a person's open login sessions that end after a time, newest
// first.
func (s Store) OfPerson(ctx context.Context, person identity.PersonID, after time.Time) (all []login.Record, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		all = nil
		open, err := ids(t, `SELECT id FROM login_session WHERE person = $1 AND expires > $2 AND cookie IS NOT NULL ORDER BY started DESC, id`,
			string(person), after.UnixMilli())
		if err != nil {
			return err
		}
		for _, id := range open {
			r, err := find(t, `id = $1`, string(id))
			if err != nil {
				return err
			}
			all = append(all, r)
		}
		return nil
	})
	return all, err
}

// Surplus gives a person's open login sessions, without one, beyond the newest
// most.
func (s Store) Surplus(ctx context.Context, person identity.PersonID, beside identity.LoginSessionID, most int) (surplus []identity.LoginSessionID, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		surplus, err = ids(t, `SELECT id FROM login_session WHERE person = $1 AND id <> $2 AND cookie IS NOT NULL
			ORDER BY started DESC, id LIMIT 1000 OFFSET $3`, string(person), string(beside), int64(most))
		return err
	})
	return surplus, err
}

// ids reads the login session ids that a statement gives.
func ids(t *sql.Tx, q string, args ...any) (all []identity.LoginSessionID, err error) {
	err = t.Each(q, args, func(scan func(...any) error) error {
		var id string
		err := scan(&id)
		all = append(all, identity.LoginSessionID(id))
		return err
	})
	return all, err
}

// Forget deletes every login session, code, token and set-up link: a restored
// database must bring none of them back.
func (s Store) Forget(ctx context.Context) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		t.Changed(Topic)
		for _, q := range []string{`DELETE FROM login_session`, `DELETE FROM cli_code`, `DELETE FROM setup_link`} {
			if _, err := t.Exec(q); err != nil {
				return err
			}
		}
		return nil
	})
}
