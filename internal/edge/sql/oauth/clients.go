// Package oauth keeps clients, their credentials, codes and refresh tokens in
// SQL. Every secret is there as a digest only, and what is for one use is deleted
// by the statement that uses it.
package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/oauth"
)

// Topic is raised when a client or credential changes.
const Topic = "oauth-client"

// Store is oauth.Clients, oauth.Credentials, oauth.Codes and oauth.Grants on a
// database.
type Store struct{ DB *sql.DB }

var (
	_ oauth.Clients     = Store{}
	_ oauth.Credentials = Store{}
	_ oauth.Codes       = Store{}
	_ oauth.Grants      = Store{}
)

// nothing is what every look-up of something that isn't there gives.
func nothing(err error, what string) error {
	if errors.Is(err, sql.ErrNoRows) {
		return fault.New(fault.NotFound, "there is no such "+what)
	}
	return err
}

// document is the stored form of what is read and written whole.
type document struct {
	Public           bool                        `json:"public,omitempty"`
	RedirectURIs     []string                    `json:"redirect_uris,omitempty"`
	Grants           []string                    `json:"grants,omitempty"`
	Scopes           []string                    `json:"scopes,omitempty"`
	Audiences        []string                    `json:"audiences,omitempty"`
	Trusted          bool                        `json:"trusted,omitempty"`
	ResourceServer   bool                        `json:"resource_server,omitempty"`
	ServicePrincipal identity.ServicePrincipalID `json:"service_principal,omitempty"`
	IDTokenAlg       string                      `json:"id_token_alg,omitempty"`
	Owner            string                      `json:"owner,omitempty"`
}

const clientQuery = `SELECT id, name, enabled, document, created FROM oauth_client `

func scanClient(scan func(...any) error) (c oauth.Client, err error) {
	var text string
	var created int64
	if err := scan(&c.ID, &c.Name, &c.Enabled, &text, &created); err != nil {
		return c, err
	}
	var d document
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		return c, err
	}
	return oauth.Client{ID: c.ID, Name: c.Name, Enabled: c.Enabled, Created: moment(created), Public: d.Public, RedirectURIs: d.RedirectURIs,
		Grants: d.Grants, Scopes: d.Scopes, Audiences: d.Audiences, Trusted: d.Trusted, ResourceServer: d.ResourceServer,
		ServicePrincipal: d.ServicePrincipal, IDTokenAlg: d.IDTokenAlg, Owner: d.Owner}, nil
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

// All reads every client and credential on one snapshot.
func (s Store) All(ctx context.Context) (clients []oauth.Client, creds []oauth.Kept, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		clients, creds = nil, nil
		if err := t.Each(clientQuery+`ORDER BY name_fold`, nil, func(scan func(...any) error) error {
			c, err := scanClient(scan)
			clients = append(clients, c)
			return err
		}); err != nil {
			return err
		}
		return t.Each(`SELECT id, client, kind, digest, jwk, owner, created, expires, last_used FROM oauth_credential ORDER BY created, id`, nil,
			func(scan func(...any) error) error {
				k, err := scanCredential(scan)
				creds = append(creds, k)
				return err
			})
	})
	return clients, creds, err
}

func scanCredential(scan func(...any) error) (k oauth.Kept, err error) {
	var digest []byte
	var jwk string
	var created, expires, used int64
	if err := scan(&k.ID, &k.Client, &k.Kind, &digest, &jwk, &k.Owner, &created, &expires, &used); err != nil {
		return k, err
	}
	k.Created, k.Expires, k.LastUsed = moment(created), moment(expires), moment(used)
	if jwk != "" {
		k.JWK = []byte(jwk)
	}
	k.Digest, err = sum(digest)
	return k, err
}

// sum reads a digest; NULL is the zero one.
func sum(b []byte) (out [32]byte, err error) {
	if b != nil && copy(out[:], b) != len(out) {
		err = errors.New("sql/oauth: a stored digest has the wrong length")
	}
	return out, err
}

// orNull writes a digest; the zero one is NULL.
func orNull(digest [32]byte) []byte {
	if digest == [32]byte{} {
		return nil
	}
	return digest[:]
}

// Client gives one.
func (s Store) Client(ctx context.Context, id string) (c oauth.Client, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		c, err = scanClient(t.QueryRow(clientQuery+`WHERE id = $1`, id).Scan)
		return nothing(err, "client")
	})
	return c, err
}

// PutClient stores a new or changed client.
func (s Store) PutClient(ctx context.Context, c oauth.Client) error {
	text, err := json.Marshal(document{c.Public, c.RedirectURIs, c.Grants, c.Scopes, c.Audiences, c.Trusted, c.ResourceServer, c.ServicePrincipal, c.IDTokenAlg, c.Owner})
	if err != nil {
		return err
	}
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		t.Changed(Topic)
		_, err := t.Exec(`INSERT INTO oauth_client (id, name, name_fold, enabled, document, created) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (id) DO UPDATE SET name = $2, name_fold = $3, enabled = $4, document = $5`,
			c.ID, c.Name, directory.Fold(c.Name), c.Enabled, string(text), c.Created.UnixMilli())
		if sql.IsDuplicate(err) {
			return fault.Wrap(err, fault.Conflict, "there is a client of that name, letter case aside")
		}
		return err
	})
	return err
}

// RemoveClient deletes a client with all that hangs on it.
func (s Store) RemoveClient(ctx context.Context, id string) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		if _, err := t.Exec(`DELETE FROM oauth_credential WHERE client = $1`, id); err != nil {
			return err
		}
		n, err := t.Exec(`DELETE FROM oauth_client WHERE id = $1`, id)
		if err == nil && n == 0 {
			return nothing(sql.ErrNoRows, "client")
		}
		t.Changed(Topic)
		return err
	})
}

// Watch calls changed after every change by any server.
func (s Store) Watch(ctx context.Context, changed func()) error {
	return s.DB.Watch(ctx, Topic, changed)
}

// PutCredential stores a new credential, where the client has fewer than most of
// its kind.
func (s Store) PutCredential(ctx context.Context, k oauth.Kept, most int) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		var have int
		if err := t.QueryRow(`SELECT COUNT(*) FROM oauth_credential WHERE client = $1 AND kind = $2`, k.Client, string(k.Kind)).Scan(&have); err != nil {
			return err
		}
		if have >= most {
			return fault.New(fault.Conflict, "there are as many credentials of this kind as there may be").WithMend("remove one that is not needed any more")
		}
		t.Changed(Topic)
		_, err := t.Exec(`INSERT INTO oauth_credential (id, client, kind, digest, jwk, owner, created, expires, last_used) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			string(k.ID), k.Client, string(k.Kind), orNull(k.Digest), string(k.JWK), k.Owner, k.Created.UnixMilli(), millis(k.Expires), millis(k.LastUsed))
		return err
	})
}

// RemoveCredential deletes a credential of a client.
func (s Store) RemoveCredential(ctx context.Context, client string, id identity.CredentialID) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		n, err := t.Exec(`DELETE FROM oauth_credential WHERE client = $1 AND id = $2`, client, string(id))
		if err == nil && n == 0 {
			return nothing(sql.ErrNoRows, "credential of this client")
		}
		t.Changed(Topic)
		return err
	})
}

// Used notes the use of a credential.
func (s Store) Used(ctx context.Context, id identity.CredentialID, at time.Time) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		_, err := t.Exec(`UPDATE oauth_credential SET last_used = $2 WHERE id = $1 AND last_used < $2`, string(id), at.UnixMilli())
		return err
	})
}
