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
		var ids []string
		if err := t.Each(`SELECT id FROM login_session WHERE person = $1 AND expires > $2 AND cookie IS NOT NULL ORDER BY started DESC, id`,
			[]any{string(person), after.UnixMilli()}, func(scan func(...any) error) error {
				var id string
				err := scan(&id)
				ids = append(ids, id)
				return err
			}); err != nil {
			return err
		}
		for _, id := range ids {
			r, err := find(t, `id = $1`, id)
			if err != nil {
				return err
			}
			all = append(all, r)
		}
		return nil
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
