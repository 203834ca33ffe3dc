// Package login keeps login sessions, their tickets, command-line codes and
// tokens, and set-up links in SQL. Every secret is there as a digest only, and
// what is for one use is deleted by the statement that reads it.
package login

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/login"
)

// Topic is raised when a login session or a CLI token ended.
const Topic = "login-ended"

// Store is login.Sessions, login.CLI, login.Upkeep, login.Parked and login.Named
// on a database.
type Store struct{ DB *sql.DB }

var (
	_ login.Sessions = Store{}
	_ login.CLI      = Store{}
	_ login.Upkeep   = Store{}
	_ login.Parked   = Store{}
	_ login.Named    = Store{}
)

// nothing is what every look-up of something that isn't there gives.
func nothing(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return fault.New(fault.NotFound, "there is nothing of that name (any more)")
	}
	return err
}

// Park stores a login session without a cookie, and the ticket to it.
func (s Store) Park(ctx context.Context, r login.Record, k login.Ticket) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		if err := insert(t, r, nil); err != nil {
			return err
		}
		_, err := t.Exec(`INSERT INTO login_ticket (handle, login_session, pre_login, return_to, expires, unsolicited) VALUES ($1, $2, $3, $4, $5, $6)`,
			k.Handle[:], string(r.ID), k.PreLogin[:], k.ReturnTo, k.Expires.UnixMilli(), k.Unsolicited)
		return err
	})
}

func insert(t *sql.Tx, r login.Record, cookie []byte) error {
	notes, err := json.Marshal(r.Notes)
	if err != nil {
		return err
	}
	f := r.Federated
	_, err = t.Exec(`INSERT INTO login_session (id, person, idp, idp_name, user_name, display_name, administrator, started, expires, notes, epoch, cookie,
		name_id, name_id_format, name_qualifier, sp_name_qualifier, session_index, authn_context, idp_ends, authn_instant, id_token)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)`,
		string(r.ID), string(r.Person.ID), string(r.Person.IdP), r.IdPName, r.Person.UserName, r.Person.DisplayName,
		r.Administrator, r.Started.UnixMilli(), r.Expires.UnixMilli(), string(notes), int64(r.Epoch), cookie,
		f.NameID, f.NameIDFormat, f.NameQualifier, f.SPNameQualifier, f.SessionIndex, f.AuthnContext, millis(f.Ends), millis(f.AuthnInstant), r.Hint)
	return err
}

// millis writes a moment; 0 stands for none.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// moment reads what millis wrote.
func moment(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// Claim uses up a ticket and gives its login session.
func (s Store) Claim(ctx context.Context, handle [32]byte) (r login.Record, k login.Ticket, err error) {
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		r, k, err = ticket(t, `DELETE FROM login_ticket WHERE handle = $1 RETURNING login_session, pre_login, return_to, expires, unsolicited`, handle)
		return err
	})
	return r, k, err
}

// Look gives a ticket and its login session, and leaves both.
func (s Store) Look(ctx context.Context, handle [32]byte) (r login.Record, k login.Ticket, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		r, k, err = ticket(t, `SELECT login_session, pre_login, return_to, expires, unsolicited FROM login_ticket WHERE handle = $1`, handle)
		return err
	})
	return r, k, err
}

func ticket(t *sql.Tx, q string, handle [32]byte) (r login.Record, k login.Ticket, err error) {
	var id string
	var preLogin []byte
	var expires int64
	if err := t.QueryRow(q, handle[:]).Scan(&id, &preLogin, &k.ReturnTo, &expires, &k.Unsolicited); err != nil {
		return r, k, nothing(err)
	}
	if len(preLogin) != len(k.PreLogin) {
		return r, k, errors.New("sql/login: a stored digest has the wrong length")
	}
	k.Handle, k.PreLogin, k.Expires = handle, [32]byte(preLogin), time.UnixMilli(expires).UTC()
	r, err = find(t, `id = $1`, id)
	return r, k, err
}

// Open gives a claimed login session its cookie, or stores a new one with it.
func (s Store) Open(ctx context.Context, r login.Record, cookie [32]byte) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		n, err := t.Exec(`UPDATE login_session SET cookie = $1 WHERE id = $2 AND cookie IS NULL`, cookie[:], string(r.ID))
		if err != nil || n == 1 {
			return err
		}
		return insert(t, r, cookie[:])
	})
}

// Find gives the open login session with a cookie or CLI token.
func (s Store) Find(ctx context.Context, by login.By, digest [32]byte) (r login.Record, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		switch by {
		case login.ByCookie:
			r, err = find(t, `cookie = $1`, digest[:])
		case login.ByCLI:
			r, err = find(t, `cookie IS NOT NULL AND id = (SELECT login_session FROM cli_token WHERE digest = $1)`, digest[:])
		default:
			err = fault.New(fault.NotFound, "there is no such way to find a login session")
		}
		return err
	})
	return r, err
}

// find reads the one login session for which where, a constant, holds.
func find(t *sql.Tx, where string, arg any) (login.Record, error) {
	var r login.Record
	var id, person, idp, notes string
	var started, expires, ends, authn int64
	f := &r.Federated
	err := t.QueryRow(`SELECT id, person, idp, idp_name, user_name, display_name, administrator, started, expires, notes, epoch,
		name_id, name_id_format, name_qualifier, sp_name_qualifier, session_index, authn_context, idp_ends, authn_instant
		FROM login_session WHERE `+where, arg).
		Scan(&id, &person, &idp, &r.IdPName, &r.Person.UserName, &r.Person.DisplayName, &r.Administrator, &started, &expires, &notes, &r.Epoch,
			&f.NameID, &f.NameIDFormat, &f.NameQualifier, &f.SPNameQualifier, &f.SessionIndex, &f.AuthnContext, &ends, &authn)
	if err != nil {
		return login.Record{}, nothing(err)
	}
	r.ID, r.Person.ID, r.Person.IdP = identity.LoginSessionID(id), identity.PersonID(person), identity.IdPID(idp)
	r.Started, r.Expires = time.UnixMilli(started).UTC(), time.UnixMilli(expires).UTC()
	f.Ends, f.AuthnInstant = moment(ends), moment(authn)
	return r, json.Unmarshal([]byte(notes), &r.Notes)
}

// End deletes a login session; its ticket, codes and tokens go with it.
func (s Store) End(ctx context.Context, id identity.LoginSessionID) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		n, err := t.Exec(`DELETE FROM login_session WHERE id = $1`, string(id))
		if n > 0 {
			t.Changed(Topic)
		}
		return err
	})
}

// PutCode stores a one-use code of an open login session.
func (s Store) PutCode(ctx context.Context, c login.CLICode) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		if _, err := find(t, `cookie IS NOT NULL AND id = $1`, string(c.LoginSession)); err != nil {
			return err
		}
		_, err := t.Exec(`INSERT INTO cli_code (digest, login_session, challenge, expires) VALUES ($1, $2, $3, $4)`,
			c.Code[:], string(c.LoginSession), c.Challenge, c.Expires.UnixMilli())
		return err
	})
}

// ClaimCode uses up a code.
func (s Store) ClaimCode(ctx context.Context, code [32]byte) (c login.CLICode, err error) {
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		var id string
		var expires int64
		err := t.QueryRow(`DELETE FROM cli_code WHERE digest = $1 RETURNING login_session, challenge, expires`, code[:]).
			Scan(&id, &c.Challenge, &expires)
		c.Code, c.LoginSession, c.Expires = code, identity.LoginSessionID(id), time.UnixMilli(expires).UTC()
		return nothing(err)
	})
	return c, err
}

// PutToken stores a CLI token of an open login session.
func (s Store) PutToken(ctx context.Context, token [32]byte, id identity.LoginSessionID) (r login.Record, err error) {
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		if r, err = find(t, `cookie IS NOT NULL AND id = $1`, string(id)); err != nil {
			return err
		}
		_, err := t.Exec(`INSERT INTO cli_token (digest, login_session) VALUES ($1, $2)`, token[:], string(id))
		return err
	})
	return r, err
}

// DropToken deletes a CLI token.
func (s Store) DropToken(ctx context.Context, token [32]byte) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		n, err := t.Exec(`DELETE FROM cli_token WHERE digest = $1`, token[:])
		if n > 0 {
			t.Changed(Topic)
		}
		return err
	})
}

// PutSetup stores a set-up link in place of all older ones.
func (s Store) PutSetup(ctx context.Context, code [32]byte, expires time.Time) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		if _, err := t.Exec(`DELETE FROM setup_link`); err != nil {
			return err
		}
		_, err := t.Exec(`INSERT INTO setup_link (digest, expires) VALUES ($1, $2)`, code[:], expires.UnixMilli())
		return err
	})
}

// ClaimSetup uses up a set-up link.
func (s Store) ClaimSetup(ctx context.Context, code [32]byte) (expires time.Time, err error) {
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		var ms int64
		err := t.QueryRow(`DELETE FROM setup_link WHERE digest = $1 RETURNING expires`, code[:]).Scan(&ms)
		expires = time.UnixMilli(ms).UTC()
		return nothing(err)
	})
	return expires, err
}

// Sweep deletes what ended before a time: login sessions, parked ones that
// nobody fetched (whose ids it gives), codes, set-up links and reports.
func (s Store) Sweep(ctx context.Context, before time.Time) (abandoned []identity.LoginSessionID, err error) {
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		abandoned, err = ids(t, `DELETE FROM login_session WHERE id IN (SELECT login_session FROM login_ticket WHERE expires < $1)
			RETURNING id`, before.UnixMilli())
		if err != nil {
			return err
		}
		for _, q := range []string{
			`DELETE FROM login_session WHERE expires < $1`,
			`DELETE FROM cli_code WHERE expires < $1`,
			`DELETE FROM setup_link WHERE expires < $1`,
			`DELETE FROM login_test WHERE expires < $1`,
		} {
			if _, err := t.Exec(q, before.UnixMilli()); err != nil {
				return err
			}
		}
		return nil
	})
	return abandoned, err
}

// Watch calls ended after a login session or CLI token ended at any server.
func (s Store) Watch(ctx context.Context, ended func()) error {
	return s.DB.Watch(ctx, Topic, ended)
}
