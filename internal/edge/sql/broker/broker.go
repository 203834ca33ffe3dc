// Package broker keeps role sessions in SQL. It sees sealed keys only.
package broker

import (
	"context"
	"strconv"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/broker"
)

// Store is broker.Store and broker.Renewals on a database.
type Store struct{ DB *sql.DB }

var (
	_ broker.Store    = Store{}
	_ broker.Renewals = Store{}
)

// Save stores the role sessions of a login session, and what was learned of
// roles.
func (s Store) Save(ctx context.Context, id identity.LoginSessionID, rows []broker.Row, learned []broker.Longest) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		for _, r := range rows {
			trouble, err := writeTrouble(r.Trouble)
			if err != nil {
				return err
			}
			if _, err := t.Exec(`INSERT INTO role_session (login_session, role, place, session_name, assumed_role_arn, access_key_id,
				expiration, sealed, code, message, mend, ends, warning, command, served, evidence, obtained, renewals, trouble)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)`,
				string(id), r.Role, int64(r.Index), r.SessionName, r.AssumedRoleARN, r.AccessKeyID,
				millis(r.Expiration), append([]byte{}, r.Sealed...), r.Failure.Code, r.Failure.Message, r.Failure.Mend, r.Ends.UnixMilli(),
				r.Warning.Message, r.Warning.Command, string(r.Served), append([]byte{}, r.Evidence...), millis(r.Obtained), int64(r.Renewals), trouble); err != nil {
				return err
			}
		}
		for _, l := range learned {
			if _, err := t.Exec(`INSERT INTO role_longest (role, seconds, learned) VALUES ($1, $2, $3)
				ON CONFLICT (role) DO UPDATE SET seconds = excluded.seconds, learned = excluded.learned`,
				l.Role, int64(l.Duration/time.Second), l.Learned.UnixMilli()); err != nil {
				return err
			}
		}
		return nil
	})
}

// Load reads the role sessions of a login session, in the assertion's order.
func (s Store) Load(ctx context.Context, id identity.LoginSessionID) (rows []broker.Row, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		rows, err = read(t, `login_session = $1 ORDER BY place`, string(id))
		return err
	})
	return rows, err
}

// read gives the rows for which where, a constant, holds.
func read(t *sql.Tx, where string, args ...any) (rows []broker.Row, err error) {
	err = t.Each(`SELECT role, place, session_name, assumed_role_arn, access_key_id, expiration, sealed, code, message, mend, ends, warning, command,
		served, evidence, obtained, renewals, trouble FROM role_session WHERE `+where, args,
		func(scan func(...any) error) error {
			var r broker.Row
			var place, expiration, ends, obtained, renewals int64
			var served, trouble string
			if err := scan(&r.Role, &place, &r.SessionName, &r.AssumedRoleARN, &r.AccessKeyID, &expiration, &r.Sealed,
				&r.Failure.Code, &r.Failure.Message, &r.Failure.Mend, &ends, &r.Warning.Message, &r.Warning.Command,
				&served, &r.Evidence, &obtained, &renewals, &trouble); err != nil {
				return err
			}
			r.Index, r.Renewals, r.Served = int(place), int(renewals), broker.Served(served)
			r.Expiration, r.Ends, r.Obtained = moment(expiration), time.UnixMilli(ends).UTC(), moment(obtained)
			rows = append(rows, r)
			return readTrouble(trouble, &rows[len(rows)-1].Trouble)
		})
	return rows, err
}

// millis writes a moment; 0 stands for none.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func moment(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// Forget deletes the role sessions of a login session.
func (s Store) Forget(ctx context.Context, id identity.LoginSessionID) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		_, err := t.Exec(`DELETE FROM role_session WHERE login_session = $1`, string(id))
		return err
	})
}

// Longest reads what is known of these roles.
func (s Store) Longest(ctx context.Context, roles []string) ([]broker.Longest, error) {
	if len(roles) == 0 {
		return nil, nil
	}
	var places strings.Builder
	args := make([]any, len(roles))
	for i, r := range roles {
		places.WriteString(", $" + strconv.Itoa(i+1))
		args[i] = r
	}
	var out []broker.Longest
	err := s.DB.Read(ctx, func(t *sql.Tx) error {
		out = nil
		return t.Each(`SELECT role, seconds, learned FROM role_longest WHERE role IN (`+places.String()[2:]+`)`, args,
			func(scan func(...any) error) error {
				var l broker.Longest
				var seconds, learned int64
				err := scan(&l.Role, &seconds, &learned)
				l.Duration, l.Learned = time.Duration(seconds)*time.Second, time.UnixMilli(learned).UTC()
				out = append(out, l)
				return err
			})
	})
	return out, err
}

// Sweep deletes role sessions that ended before a time.
func (s Store) Sweep(ctx context.Context, before time.Time) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		_, err := t.Exec(`DELETE FROM role_session WHERE ends < $1`, before.UnixMilli())
		return err
	})
}
