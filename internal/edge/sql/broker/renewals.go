package broker

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/broker"
)

// Row reads one role session.
func (s Store) Row(ctx context.Context, id identity.LoginSessionID, role string) (r broker.Row, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		rows, err := read(t, `login_session = $1 AND role = $2`, string(id), role)
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			return ended()
		}
		r = rows[0]
		return nil
	})
	return r, err
}

func ended() error {
	return fault.New(fault.NotFound, "the login session has ended, or never had the role")
}

// Renew replaces the keys of a role session, where those of was stand.
func (s Store) Renew(ctx context.Context, id identity.LoginSessionID, r broker.Row, was string) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		n, err := t.Exec(`UPDATE role_session SET session_name = $1, assumed_role_arn = $2, access_key_id = $3, expiration = $4, sealed = $5,
			code = '', message = '', mend = '', warning = '', command = '', served = $6, obtained = $7, renewals = $8, trouble = ''
			WHERE login_session = $9 AND role = $10 AND access_key_id = $11`,
			r.SessionName, r.AssumedRoleARN, r.AccessKeyID, millis(r.Expiration), r.Sealed, string(r.Served), millis(r.Obtained), int64(r.Renewals),
			string(id), r.Role, was)
		if err != nil || n == 1 {
			return err
		}
		var one int
		err = t.QueryRow(`SELECT 1 FROM role_session WHERE login_session = $1 AND role = $2`, string(id), r.Role).Scan(&one)
		if errors.Is(err, sql.ErrNoRows) {
			return ended()
		}
		if err != nil {
			return err
		}
		return fault.New(fault.Conflict, "another server has renewed the role meanwhile")
	})
}

// Refuse stores why a renewal was refused.
func (s Store) Refuse(ctx context.Context, id identity.LoginSessionID, role string, why broker.Trouble) error {
	text, err := writeTrouble(why)
	if err != nil {
		return err
	}
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		_, err := t.Exec(`UPDATE role_session SET trouble = $1 WHERE login_session = $2 AND role = $3`, text, string(id), role)
		return err
	})
}

// PutWord stores a word of an identity provider, unless a later one stands there.
func (s Store) PutWord(ctx context.Context, w broker.Word) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		_, err := t.Exec(`INSERT INTO last_word (person, idp, issued, sealed) VALUES ($1, $2, $3, $4)
			ON CONFLICT (person, idp) DO UPDATE SET issued = excluded.issued, sealed = excluded.sealed WHERE excluded.issued >= last_word.issued`,
			string(w.Person), string(w.IdP), w.Issued.UnixMilli(), w.Sealed)
		return err
	})
}

// Word reads the last word of an identity provider.
func (s Store) Word(ctx context.Context, person identity.PersonID, idp identity.IdPID) (w broker.Word, err error) {
	w = broker.Word{Person: person, IdP: idp}
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		var issued int64
		err := t.QueryRow(`SELECT issued, sealed FROM last_word WHERE person = $1 AND idp = $2`, string(person), string(idp)).Scan(&issued, &w.Sealed)
		if errors.Is(err, sql.ErrNoRows) {
			return fault.New(fault.NotFound, "the identity provider has said nothing of this person")
		}
		w.Issued = time.UnixMilli(issued).UTC()
		return err
	})
	return w, err
}

// Restored deletes every role session and every last word: a restored database
// must bring none of them back, since other words were spoken after it.
func (s Store) Restored(ctx context.Context) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		if _, err := t.Exec(`DELETE FROM role_session`); err != nil {
			return err
		}
		_, err := t.Exec(`DELETE FROM last_word`)
		return err
	})
}

// trouble is the stored form of broker.Trouble.
type trouble struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Mend    string `json:"mend"`
	At      int64  `json:"at"`
}

func writeTrouble(t broker.Trouble) (string, error) {
	if t == (broker.Trouble{}) {
		return "", nil
	}
	text, err := json.Marshal(trouble{t.Code, t.Message, t.Mend, millis(t.At)})
	return string(text), err
}

func readTrouble(text string, into *broker.Trouble) error {
	if text == "" {
		return nil
	}
	var t trouble
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return err
	}
	*into = broker.Trouble{Failure: broker.Failure{Code: t.Code, Message: t.Message, Mend: t.Mend}, At: moment(t.At)}
	return nil
}
