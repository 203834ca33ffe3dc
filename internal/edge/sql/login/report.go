package login

import (
	"context"
	"errors"
	"time"

	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/login"
)

// PutTest stores the sealed report of a test sign-in.
func (s Store) PutTest(ctx context.Context, k login.TestTicket) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		_, err := t.Exec(`INSERT INTO login_test (handle, pre_login, sealed, expires) VALUES ($1, $2, $3, $4)`,
			k.Handle[:], k.PreLogin[:], k.Sealed, k.Expires.UnixMilli())
		return err
	})
}

// Test gives a report.
func (s Store) Test(ctx context.Context, handle [32]byte) (k login.TestTicket, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		var preLogin []byte
		var expires int64
		err := t.QueryRow(`SELECT pre_login, sealed, expires FROM login_test WHERE handle = $1`, handle[:]).Scan(&preLogin, &k.Sealed, &expires)
		if err != nil {
			return nothing(err)
		}
		if len(preLogin) != len(k.PreLogin) {
			return errors.New("sql/login: a stored digest has the wrong length")
		}
		k.Handle, k.PreLogin, k.Expires = handle, [32]byte(preLogin), time.UnixMilli(expires).UTC()
		return nil
	})
	return k, err
}
