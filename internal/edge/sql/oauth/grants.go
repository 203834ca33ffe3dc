package oauth

import (
	"context"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/oauth"
)

// open is NotFound unless a login session is open.
func open(t *sql.Tx, id identity.LoginSessionID) error {
	var n int
	err := t.QueryRow(`SELECT 1 FROM login_session WHERE id = $1 AND cookie IS NOT NULL`, string(id)).Scan(&n)
	return nothing(err, "login session")
}

// enabled is NotFound unless a client may be given something. Another server may
// not know yet that it was switched off; what it gave in that moment would count
// again once the client is switched on.
func enabled(t *sql.Tx, client string) error {
	var on bool
	err := t.QueryRow(`SELECT enabled FROM oauth_client WHERE id = $1`, client).Scan(&on)
	if err == nil && !on {
		err = sql.ErrNoRows
	}
	return nothing(err, "client")
}

// PutCode stores a code of an open login session.
func (s Store) PutCode(ctx context.Context, c oauth.Code) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		if err := open(t, c.LoginSession); err != nil {
			return err
		}
		if err := enabled(t, c.Client); err != nil {
			return err
		}
		_, err := t.Exec(`INSERT INTO oauth_code (digest, level, client, login_session, redirect_uri, challenge, scope, nonce, expires)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			c.Digest[:], string(c.Level), c.Client, string(c.LoginSession), c.RedirectURI, c.Challenge, c.Scope, c.Nonce, c.Expires.UnixMilli())
		return err
	})
}

// Code gives a code that was not used.
func (s Store) Code(ctx context.Context, digest [32]byte) (c oauth.Code, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		var expires int64
		err := t.QueryRow(`SELECT level, client, login_session, redirect_uri, challenge, scope, nonce, expires FROM oauth_code WHERE digest = $1`, digest[:]).
			Scan(&c.Level, &c.Client, &c.LoginSession, &c.RedirectURI, &c.Challenge, &c.Scope, &c.Nonce, &expires)
		c.Digest, c.Expires = digest, moment(expires)
		return nothing(err, "code")
	})
	return c, err
}

// ClaimCode uses up a code.
func (s Store) ClaimCode(ctx context.Context, digest [32]byte) (won bool, err error) {
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		n, err := t.Exec(`DELETE FROM oauth_code WHERE digest = $1`, digest[:])
		won = n == 1
		return err
	})
	return won, err
}

// EndClient deletes the codes and grants of a client.
func (s Store) EndClient(ctx context.Context, client string) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		if _, err := t.Exec(`DELETE FROM oauth_code WHERE client = $1`, client); err != nil {
			return err
		}
		_, err := t.Exec(`DELETE FROM oauth_grant WHERE client = $1`, client)
		return err
	})
}

// PutGrant stores a grant of an open login session with its first tokens.
func (s Store) PutGrant(ctx context.Context, g oauth.Given, first oauth.Issued, most int) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		if err := open(t, g.LoginSession); err != nil {
			return err
		}
		if err := enabled(t, g.Client); err != nil {
			return err
		}
		if _, err := t.Exec(`DELETE FROM oauth_grant WHERE id IN (SELECT id FROM oauth_grant WHERE login_session = $1 ORDER BY created DESC, id LIMIT 1000 OFFSET $2)`,
			string(g.LoginSession), int64(most-1)); err != nil {
			return err
		}
		if _, err := t.Exec(`INSERT INTO oauth_grant (id, handle, code, level, client, login_session, person, scope, created, ends)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
			g.ID, g.Handle[:], orNull(g.Code), string(g.Level), g.Client, string(g.LoginSession), string(g.Person), g.Scope, g.Created.UnixMilli(), g.Ends.UnixMilli()); err != nil {
			return err
		}
		return insert(t, first)
	})
}

func insert(t *sql.Tx, i oauth.Issued) error {
	_, err := t.Exec(`INSERT INTO oauth_token (access_id, oauth_grant, refresh, parent, issued, ends, rotated) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		i.AccessID, i.Given, orNull(i.Refresh), i.Parent, i.Issued.UnixMilli(), i.Ends.UnixMilli(), millis(i.Rotated))
	return err
}

// Grant finds a grant with its tokens, oldest first.
func (s Store) Grant(ctx context.Context, by oauth.By, digest [32]byte) (g oauth.Given, tokens []oauth.Issued, err error) {
	where := map[oauth.By]string{oauth.ByCode: `code`, oauth.ByHandle: `handle`}[by]
	if where == "" {
		return g, nil, fault.New(fault.NotFound, "there is no such way to find a grant")
	}
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		g, tokens = oauth.Given{}, nil
		var handle, code []byte
		var created, ends int64
		err := t.QueryRow(`SELECT id, handle, code, level, client, login_session, person, scope, created, ends FROM oauth_grant WHERE `+where+` = $1`, digest[:]).
			Scan(&g.ID, &handle, &code, &g.Level, &g.Client, &g.LoginSession, &g.Person, &g.Scope, &created, &ends)
		if err != nil {
			return nothing(err, "grant")
		}
		g.Created, g.Ends = moment(created), moment(ends)
		if g.Handle, err = sum(handle); err != nil {
			return err
		}
		if g.Code, err = sum(code); err != nil {
			return err
		}
		tokens, err = issued(t, g.ID)
		return err
	})
	return g, tokens, err
}

func issued(t *sql.Tx, grant string) (all []oauth.Issued, err error) {
	err = t.Each(`SELECT access_id, oauth_grant, refresh, parent, issued, ends, rotated FROM oauth_token WHERE oauth_grant = $1 ORDER BY issued, access_id`, []any{grant},
		func(scan func(...any) error) error {
			var i oauth.Issued
			var refresh []byte
			var at, ends, rotated int64
			err := scan(&i.AccessID, &i.Given, &refresh, &i.Parent, &at, &ends, &rotated)
			if err != nil {
				return err
			}
			i.Issued, i.Ends, i.Rotated = moment(at), moment(ends), moment(rotated)
			i.Refresh, err = sum(refresh)
			all = append(all, i)
			return err
		})
	return all, err
}

// Rotate uses up the refresh token beside an access token and stores what it
// gave; its siblings lose theirs.
func (s Store) Rotate(ctx context.Context, accessID string, at time.Time, next oauth.Issued) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		if _, err := t.Exec(`UPDATE oauth_token SET rotated = $2 WHERE access_id = $1 AND rotated = 0`, accessID, at.UnixMilli()); err != nil {
			return err
		}
		if _, err := t.Exec(`UPDATE oauth_token SET refresh = NULL WHERE access_id <> $1 AND rotated = 0 AND parent <> ''
			AND parent = (SELECT parent FROM oauth_token WHERE access_id = $1)`, accessID); err != nil {
			return err
		}
		return insert(t, next)
	})
}

// RemoveGrant deletes a grant with its tokens.
func (s Store) RemoveGrant(ctx context.Context, id string) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		_, err := t.Exec(`DELETE FROM oauth_grant WHERE id = $1`, id)
		return err
	})
}

// Sweep deletes codes and grants that ended, access tokens that ended and have no
// refresh token left to count, and credentials whose service principal is gone.
func (s Store) Sweep(ctx context.Context, now time.Time) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		for _, q := range []string{
			`DELETE FROM oauth_code WHERE expires < $1`,
			`DELETE FROM oauth_grant WHERE ends < $1`,
			`DELETE FROM oauth_token WHERE ends < $1 AND (refresh IS NULL OR rotated > 0)`,
		} {
			if _, err := t.Exec(q, now.UnixMilli()); err != nil {
				return err
			}
		}
		n, err := t.Exec(`DELETE FROM oauth_credential WHERE client LIKE 'spn\_%' ESCAPE '\' AND client NOT IN (SELECT id FROM service_principal)`)
		if n > 0 {
			t.Changed(Topic)
		}
		return err
	})
}
