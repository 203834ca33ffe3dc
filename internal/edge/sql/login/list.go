package login

import (
	"context"
	"errors"
	"time"

	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/login"
)

// OfPerson gives a person's open login sessions that end after a time, newest
// first.
func (s Store) OfPerson(ctx context.Context, person identity.PersonID, after time.Time) (all []login.Record, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		all, err = records(t, `SELECT id FROM login_session WHERE person = $1 AND expires > $2 AND cookie IS NOT NULL ORDER BY started DESC, id`,
			string(person), after.UnixMilli())
		return err
	})
	return all, err
}

// OfSubject gives the login sessions, open and parked, of a NameID, newest
// first.
func (s Store) OfSubject(ctx context.Context, idp identity.IdPID, nameID string) (all []login.Record, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		all, err = records(t, `SELECT id FROM login_session WHERE idp = $1 AND name_id = $2 AND name_id <> '' ORDER BY started DESC, id`, string(idp), nameID)
		return err
	})
	return all, err
}

// OfSession gives those with a SessionIndex or sid.
func (s Store) OfSession(ctx context.Context, idp identity.IdPID, index string) (all []login.Record, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		all, err = records(t, `SELECT id FROM login_session WHERE idp = $1 AND session_index = $2 AND session_index <> '' ORDER BY started DESC, id`, string(idp), index)
		return err
	})
	return all, err
}

// Hint gives the sealed ID token of a login session; nil where there is none.
func (s Store) Hint(ctx context.Context, id identity.LoginSessionID) (sealed []byte, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		err := t.QueryRow(`SELECT id_token FROM login_session WHERE id = $1`, string(id)).Scan(&sealed)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return sealed, err
}

// ByID gives an open login session.
func (s Store) ByID(ctx context.Context, id identity.LoginSessionID) (r login.Record, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		r, err = find(t, `cookie IS NOT NULL AND id = $1`, string(id))
		return err
	})
	return r, err
}

// records reads the login sessions whose ids a statement gives.
func records(t *sql.Tx, q string, args ...any) (all []login.Record, err error) {
	found, err := ids(t, q, args...)
	if err != nil {
		return nil, err
	}
	for _, id := range found {
		r, err := find(t, `id = $1`, string(id))
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
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

// Forget deletes every login session, code, token, set-up link and report: a restored
// database must bring none of them back.
func (s Store) Forget(ctx context.Context) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		t.Changed(Topic)
		for _, q := range []string{`DELETE FROM login_session`, `DELETE FROM cli_code`, `DELETE FROM setup_link`, `DELETE FROM login_test`} {
			if _, err := t.Exec(q); err != nil {
				return err
			}
		}
		return nil
	})
}
