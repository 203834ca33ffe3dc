// Package device keeps device grants and the counts of wrong codes in SQL.
// Device codes are there as digests only; an approved grant is deleted by the
// statement that redeems it.
package device

import (
	"context"
	"errors"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/device"
)

// Store is device.Grants and device.Decisions on a database.
type Store struct{ DB *sql.DB }

var (
	_ device.Grants    = Store{}
	_ device.Decisions = Store{}
)

// Put stores a grant in a free place of its bucket, or in that of one that has
// ended.
func (s Store) Put(ctx context.Context, g device.Grant, bucket int) (placed device.Placed, err error) {
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		place, ended, err := free(t, bucket, g.Asked)
		if err != nil {
			return err
		}
		if place < 0 {
			placed = device.Full
			return nil
		}
		if ended {
			if _, err := t.Exec(`DELETE FROM device_grant WHERE bucket = $1 AND place = $2`, bucket, place); err != nil {
				return err
			}
		}
		n, err := t.Exec(`INSERT INTO device_grant (bucket, place, device, user_code, level, client, scope, source, user_agent, asked, expires, state,
			login_session, poll_interval, next_poll) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) ON CONFLICT DO NOTHING`,
			bucket, place, g.Device[:], g.UserCode, g.Level, g.Client, g.Scope, g.Source, g.UserAgent, g.Asked.UnixMilli(), g.Expires.UnixMilli(), string(g.State),
			string(g.LoginSession), g.Interval.Milliseconds(), millis(g.Next))
		placed = device.Taken
		if n == 1 {
			placed = device.Stored
		}
		return err
	})
	return placed, err
}

// free gives a place of the bucket: an empty one, else one whose grant has
// ended; -1 where there is none.
func free(t *sql.Tx, bucket int, now time.Time) (place int, ended bool, err error) {
	var used [device.PerBucket]bool
	place = -1
	err = t.Each(`SELECT place, expires FROM device_grant WHERE bucket = $1`, []any{bucket}, func(scan func(...any) error) error {
		var p int
		var expires int64
		if err := scan(&p, &expires); err != nil {
			return err
		}
		used[p] = true
		if expires <= now.UnixMilli() {
			place, ended = p, true
		}
		return nil
	})
	for p, taken := range used {
		if !taken {
			return p, false, err
		}
	}
	return place, ended, err
}

const columns = `device, user_code, level, client, scope, source, user_agent, asked, expires, state, login_session, poll_interval, next_poll`

// Find gives the grant of a device code.
func (s Store) Find(ctx context.Context, digest [32]byte) (device.Grant, error) {
	return s.one(ctx, `SELECT `+columns+` FROM device_grant WHERE device = $1`, digest[:])
}

// Typed gives the grant of a user code.
func (s Store) Typed(ctx context.Context, userCode string) (device.Grant, error) {
	return s.one(ctx, `SELECT `+columns+` FROM device_grant WHERE user_code = $1`, userCode)
}

func (s Store) one(ctx context.Context, q string, arg any) (g device.Grant, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		var digest []byte
		var session, state string
		var asked, expires, interval, next int64
		err := t.QueryRow(q, arg).Scan(&digest, &g.UserCode, &g.Level, &g.Client, &g.Scope, &g.Source, &g.UserAgent, &asked, &expires, &state, &session, &interval, &next)
		if errors.Is(err, sql.ErrNoRows) {
			return fault.New(fault.NotFound, "there is no such device grant")
		}
		if err != nil {
			return err
		}
		if len(digest) != len(g.Device) {
			return errors.New("sql/device: a stored digest has the wrong length")
		}
		g.Device, g.State, g.LoginSession = [32]byte(digest), device.State(state), identity.LoginSessionID(session)
		g.Asked, g.Expires, g.Interval = time.UnixMilli(asked).UTC(), time.UnixMilli(expires).UTC(), time.Duration(interval)*time.Millisecond
		if next != 0 {
			g.Next = time.UnixMilli(next).UTC()
		}
		return nil
	})
	return g, err
}

// Polled stores the interval and the earliest next poll.
func (s Store) Polled(ctx context.Context, digest [32]byte, interval time.Duration, next time.Time) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		_, err := t.Exec(`UPDATE device_grant SET poll_interval = $2, next_poll = $3 WHERE device = $1`, digest[:], interval.Milliseconds(), millis(next))
		return err
	})
}

// Take deletes an approved grant.
func (s Store) Take(ctx context.Context, digest [32]byte) (won bool, err error) {
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		n, err := t.Exec(`DELETE FROM device_grant WHERE device = $1 AND state = $2`, digest[:], string(device.Approved))
		won = n == 1
		return err
	})
	return won && err == nil, err
}

// Decide moves a grant that waits to a state.
func (s Store) Decide(ctx context.Context, userCode string, to device.State, by identity.LoginSessionID, at time.Time) (done bool, err error) {
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		n, err := t.Exec(`UPDATE device_grant SET state = $2, login_session = $3 WHERE user_code = $1 AND state = $4 AND expires > $5`,
			userCode, string(to), string(by), string(device.Waiting), at.UnixMilli())
		done = n == 1
		return err
	})
	return done && err == nil, err
}

// Count adds to a count, or begins it anew.
func (s Store) Count(ctx context.Context, key string, n int, now, until time.Time) (sum int, err error) {
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		return t.QueryRow(`INSERT INTO device_guess (counted, tries, ends) VALUES ($1, $2, $3) ON CONFLICT (counted) DO UPDATE SET
			tries = CASE WHEN device_guess.ends <= $4 THEN excluded.tries ELSE device_guess.tries + excluded.tries END,
			ends = CASE WHEN device_guess.ends <= $4 THEN excluded.ends ELSE device_guess.ends END
			RETURNING tries`, key, n, until.UnixMilli(), now.UnixMilli()).Scan(&sum)
	})
	return sum, err
}

// Sweep deletes what ended before a time.
func (s Store) Sweep(ctx context.Context, before time.Time) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		if _, err := t.Exec(`DELETE FROM device_grant WHERE expires < $1`, before.UnixMilli()); err != nil {
			return err
		}
		_, err := t.Exec(`DELETE FROM device_guess WHERE ends < $1`, before.UnixMilli())
		return err
	})
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
