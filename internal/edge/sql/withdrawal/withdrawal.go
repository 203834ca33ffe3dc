// Package withdrawal keeps in SQL which keys of AWS are out, and what AWS has to be
// told of them. No key's secret is ever there.
package withdrawal

import (
	"context"
	"strconv"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/withdrawal"
)

// Topic is announced when denies are queued.
const Topic = "aws_deny"

// Store is withdrawal.Ledger and withdrawal.Denies on a database.
type Store struct{ DB *sql.DB }

var (
	_ withdrawal.Ledger = Store{}
	_ withdrawal.Denies = Store{}
)

// Note stores a key, once.
func (s Store) Note(ctx context.Context, n withdrawal.Noted) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		_, err := t.Exec(`INSERT INTO aws_key (id, account, role, person, login_session, delegation, service_principal, session_name, issuer, subject,
			access_key_id, issued, until, reach) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT (id) DO NOTHING`,
			n.ID, n.Account, n.Role.String(), string(n.Person), string(n.LoginSession), string(n.Delegation), string(n.ServicePrincipal), n.SessionName, n.Issuer, n.Subject,
			n.AccessKeyID, n.Issued.UnixMilli(), n.Until.UnixMilli(), n.Reach.UnixMilli())
		return err
	})
}

// Noted gives the keys that are chosen and reach beyond a time, by Until.
func (s Store) Noted(ctx context.Context, of withdrawal.Of, now time.Time) (all []withdrawal.Noted, err error) {
	where, args := `reach > $1`, []any{now.UnixMilli()}
	for _, c := range []struct{ column, value string }{
		{"person", string(of.Person)}, {"login_session", string(of.LoginSession)}, {"delegation", string(of.Delegation)},
		{"service_principal", string(of.ServicePrincipal)}, {"access_key_id", of.AccessKeyID}, {"role", of.Role.String()},
	} {
		if c.value != "" {
			args = append(args, c.value)
			where += ` AND ` + c.column + ` = $` + strconv.Itoa(len(args))
		}
	}
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		all = nil
		return t.Each(`SELECT id, account, role, person, login_session, delegation, service_principal, session_name, issuer, subject, access_key_id,
			issued, until, reach FROM aws_key WHERE `+where+` ORDER BY until, id`, args, func(scan func(...any) error) error {
			var n withdrawal.Noted
			var role, person, session, delegation, machine string
			var issued, until, reach int64
			if err := scan(&n.ID, &n.Account, &role, &person, &session, &delegation, &machine, &n.SessionName, &n.Issuer, &n.Subject, &n.AccessKeyID,
				&issued, &until, &reach); err != nil {
				return err
			}
			n.Person, n.LoginSession = identity.PersonID(person), identity.LoginSessionID(session)
			n.Delegation, n.ServicePrincipal = identity.DelegationID(delegation), identity.ServicePrincipalID(machine)
			n.Issued, n.Until, n.Reach = moment(issued), moment(until), moment(reach)
			var err error
			n.Role, err = arn.ParseRole(role)
			all = append(all, n)
			return err
		})
	})
	return all, err
}

func moment(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// Sweep deletes the keys that reach no further than a time.
func (s Store) Sweep(ctx context.Context, now time.Time) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		_, err := t.Exec(`DELETE FROM aws_key WHERE reach <= $1`, now.UnixMilli())
		return err
	})
}

// Queue adds denies of a role, due at once. Of two at the same place the later cut
// and end count.
func (s Store) Queue(ctx context.Context, role arn.Role, denies []withdrawal.Deny, now time.Time) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		var seq int64
		if err := t.QueryRow(`INSERT INTO aws_deny_role (role, seq, written, due, tries, trouble, holder, lease) VALUES ($1, 1, 0, $2, 0, '', '', 0)
			ON CONFLICT (role) DO UPDATE SET seq = aws_deny_role.seq + 1, due = $2, tries = 0 RETURNING seq`, role.String(), now.UnixMilli()).Scan(&seq); err != nil {
			return err
		}
		for _, d := range denies {
			if _, err := t.Exec(`INSERT INTO aws_deny (role, form, value, cut, ends, seq) VALUES ($1, $2, $3, $4, $5, $6)
				ON CONFLICT (role, form, value) DO UPDATE SET seq = excluded.seq,
				cut = CASE WHEN excluded.cut > aws_deny.cut THEN excluded.cut ELSE aws_deny.cut END,
				ends = CASE WHEN excluded.ends > aws_deny.ends THEN excluded.ends ELSE aws_deny.ends END`,
				role.String(), string(d.Form), d.Value, d.Cut.UnixMilli(), d.Ends.UnixMilli(), seq); err != nil {
				return err
			}
		}
		t.Changed(Topic)
		return nil
	})
}

// Denies gives the denies of a role with how far each has come.
func (s Store) Denies(ctx context.Context, role arn.Role) (all []withdrawal.Standing, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		all = nil
		return t.Each(`SELECT d.form, d.value, d.cut, d.ends, d.seq, r.written, r.trouble FROM aws_deny d JOIN aws_deny_role r ON r.role = d.role
			WHERE d.role = $1 ORDER BY d.form, d.value`, []any{role.String()}, func(scan func(...any) error) error {
			var d withdrawal.Standing
			var form string
			var cut, ends, seq, written int64
			if err := scan(&form, &d.Value, &cut, &ends, &seq, &written, &d.Trouble); err != nil {
				return err
			}
			d.Form, d.Cut, d.Ends = withdrawal.Form(form), moment(cut), moment(ends)
			switch {
			case seq <= written:
				d.State, d.Trouble = withdrawal.DenyWritten, ""
			case d.Trouble != "":
				d.State = withdrawal.DenyFailed
			default:
				d.State = withdrawal.DenyQueued
			}
			all = append(all, d)
			return nil
		})
	})
	return all, err
}

// Take gives work that is due and nobody's, to holder until the lease ends.
func (s Store) Take(ctx context.Context, holder string, now, lease time.Time) (w withdrawal.Work, ok bool, err error) {
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		w, ok = withdrawal.Work{}, false
		var role string
		var tries int64
		err := t.QueryRow(`UPDATE aws_deny_role SET holder = $1, lease = $2 WHERE role IN
			(SELECT role FROM aws_deny_role WHERE due <= $3 AND lease <= $3 ORDER BY due, role LIMIT 1) RETURNING role, seq, tries, trouble`,
			holder, lease.UnixMilli(), now.UnixMilli()).Scan(&role, &w.Seq, &tries, &w.Trouble)
		if err == sql.ErrNoRows {
			return nil
		}
		if err != nil {
			return err
		}
		w.Tries, ok = int(tries), true
		if w.Role, err = arn.ParseRole(role); err != nil {
			return err
		}
		return t.Each(`SELECT form, value, cut, ends FROM aws_deny WHERE role = $1 ORDER BY form, value`, []any{role}, func(scan func(...any) error) error {
			var form, value string
			var cut, ends int64
			err := scan(&form, &value, &cut, &ends)
			w.Denies = append(w.Denies, withdrawal.Deny{Form: withdrawal.Form(form), Value: value, Cut: moment(cut), Ends: moment(ends)})
			return err
		})
	})
	return w, ok && err == nil, err
}

// Settle ends work that holder has. What was queued meanwhile is due at once.
func (s Store) Settle(ctx context.Context, holder string, w withdrawal.Work, o withdrawal.Outcome, now time.Time) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		role := w.Role.String()
		if o.Trouble != "" {
			_, err := t.Exec(`UPDATE aws_deny_role SET lease = 0, holder = '', tries = CASE WHEN seq = $3 THEN tries + 1 ELSE 0 END, trouble = $4,
				due = CASE WHEN seq = $3 THEN $5 ELSE due END WHERE role = $1 AND holder = $2`, role, holder, w.Seq, strings.ToValidUTF8(o.Trouble, "?"), o.Due.UnixMilli())
			return err
		}
		n, err := t.Exec(`UPDATE aws_deny_role SET lease = 0, holder = '', tries = 0, trouble = '', written = $3,
			due = CASE WHEN seq = $3 THEN $4 ELSE due END WHERE role = $1 AND holder = $2`, role, holder, w.Seq, o.Due.UnixMilli())
		if err != nil || n == 0 {
			return err
		}
		if _, err := t.Exec(`DELETE FROM aws_deny WHERE role = $1 AND ends <= $2 AND seq <= $3`, role, now.UnixMilli(), w.Seq); err != nil {
			return err
		}
		_, err = t.Exec(`DELETE FROM aws_deny_role WHERE role = $1 AND NOT EXISTS (SELECT 1 FROM aws_deny WHERE role = $1)`, role)
		return err
	})
}

// Watch calls changed after every Queue by any server, until ctx ends.
func (s Store) Watch(ctx context.Context, changed func()) error {
	return s.DB.Watch(ctx, Topic, changed)
}
