package audit

import (
	"context"
	"time"

	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/audit"
)

var _ audit.Places = Store{}

// Lease gives a target to a holder, unless another has it.
func (s Store) Lease(ctx context.Context, target, holder string, now, until time.Time) (ok bool, err error) {
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		if _, err := t.Exec(`INSERT INTO audit_target (name, holder, until, taken, trouble, troubled) VALUES ($1, '', 0, 0, '', 0)
			ON CONFLICT (name) DO NOTHING`, target); err != nil {
			return err
		}
		n, err := t.Exec(`UPDATE audit_target SET holder = $2, until = $3 WHERE name = $1 AND (holder = $2 OR until <= $4)`,
			target, holder, until.UnixMilli(), now.UnixMilli())
		ok = n == 1
		return err
	})
	return ok, err
}

// Behind gives the chains of which a target lacks records.
func (s Store) Behind(ctx context.Context, target string) (all []audit.Untaken, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		all = nil
		return t.Each(`SELECT c.writer, c.seq, COALESCE(p.seq, 0),
				COALESCE((SELECT r.at FROM audit_record r WHERE r.writer = c.writer AND r.seq > COALESCE(p.seq, 0) ORDER BY r.seq LIMIT 1), 0)
			FROM audit_chain c LEFT JOIN audit_target_place p ON p.target = $1 AND p.writer = c.writer
			WHERE c.seq > COALESCE(p.seq, 0) ORDER BY c.writer`, []any{target}, func(scan func(...any) error) error {
			var u audit.Untaken
			var oldest int64
			err := scan(&u.Writer, &u.Head, &u.Taken, &oldest)
			u.Oldest = moment(oldest)
			all = append(all, u)
			return err
		})
	})
	return all, err
}

// Advance notes how far a target has come, where its holder still has it.
func (s Store) Advance(ctx context.Context, target, holder, writer string, seq int64, now time.Time) (ok bool, err error) {
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		n, err := t.Exec(`UPDATE audit_target SET taken = $3, trouble = '', troubled = 0 WHERE name = $1 AND holder = $2`, target, holder, now.UnixMilli())
		if ok = n == 1; err != nil || !ok {
			return err
		}
		_, err = t.Exec(`INSERT INTO audit_target_place (target, writer, seq) VALUES ($1, $2, $3)
			ON CONFLICT (target, writer) DO UPDATE SET seq = excluded.seq WHERE audit_target_place.seq < excluded.seq`, target, writer, seq)
		return err
	})
	return ok, err
}

// Ail notes what is wrong with a target.
func (s Store) Ail(ctx context.Context, target, holder, trouble string, now time.Time) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		_, err := t.Exec(`UPDATE audit_target SET trouble = $3, troubled = CASE WHEN troubled = 0 THEN $4 ELSE troubled END
			WHERE name = $1 AND holder = $2 AND trouble <> $3`, target, holder, trouble, now.UnixMilli())
		return err
	})
}

// Targets gives what is known of all targets that ever were.
func (s Store) Targets(ctx context.Context) (all []audit.TargetState, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		all = nil
		return t.Each(`SELECT name, holder, until, taken, trouble, troubled FROM audit_target ORDER BY name`, nil, func(scan func(...any) error) error {
			var a audit.TargetState
			var until, taken, troubled int64
			err := scan(&a.Name, &a.Holder, &until, &taken, &a.Trouble, &troubled)
			a.Until, a.Taken, a.Since = moment(until), moment(taken), moment(troubled)
			all = append(all, a)
			return err
		})
	})
	return all, err
}

// moment reads a stored time; 0 is none.
func moment(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
