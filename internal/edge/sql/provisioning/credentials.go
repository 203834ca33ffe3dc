package provisioning

import (
	"context"
	"fmt"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/provisioning"
)

// Topic is raised when a credential comes, goes or is used.
const Topic = "provisioning-credential"

var _ provisioning.Credentials = Store{}

const credentialColumns = `id, idp, label, owner, kinds, digest, made, expires, used`

// AddCredential stores a new one.
func (s Store) AddCredential(ctx context.Context, c provisioning.Credential, most int) error {
	kinds := make([]string, len(c.Kinds))
	for i, k := range c.Kinds {
		kinds[i] = string(k)
	}
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		var have int
		if err := t.QueryRow(`SELECT COUNT(*) FROM provisioning_credential WHERE idp = $1`, c.IdP).Scan(&have); err != nil {
			return err
		}
		if have >= most {
			return fault.Coded(fault.Conflict, provisioning.CodeMost, fmt.Sprintf("the identity provider has %d credentials already, the most that there can be", have)).
				WithMend("remove one that nobody uses: carnet provisioning credential list")
		}
		t.Changed(Topic)
		_, err := t.Exec(`INSERT INTO provisioning_credential (`+credentialColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0)`,
			c.ID, c.IdP, c.Label, c.Owner, strings.Join(kinds, " "), c.Digest, c.Made.UnixMilli(), c.Expires.UnixMilli())
		return err
	})
}

func scanCredential(scan func(...any) error) (c provisioning.Credential, err error) {
	var kinds string
	var made, expires, used int64
	err = scan(&c.ID, &c.IdP, &c.Label, &c.Owner, &kinds, &c.Digest, &made, &expires, &used)
	for k := range strings.FieldsSeq(kinds) {
		c.Kinds = append(c.Kinds, provisioning.Kind(k))
	}
	c.Made, c.Expires = time.UnixMilli(made).UTC(), time.UnixMilli(expires).UTC()
	if used > 0 {
		c.Used = time.UnixMilli(used).UTC()
	}
	return c, err
}

// List gives all.
func (s Store) List(ctx context.Context) (all []provisioning.Credential, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		all = nil
		return t.Each(`SELECT `+credentialColumns+` FROM provisioning_credential ORDER BY made, id`, nil, func(scan func(...any) error) error {
			c, err := scanCredential(scan)
			all = append(all, c)
			return err
		})
	})
	return all, err
}

// RemoveCredential deletes one.
func (s Store) RemoveCredential(ctx context.Context, id identity.CredentialID) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		n, err := t.Exec(`DELETE FROM provisioning_credential WHERE id = $1`, id)
		if err == nil && n == 0 {
			err = fault.New(fault.NotFound, "there is no such credential")
		}
		t.Changed(Topic)
		return err
	})
}

// Touch notes a use.
func (s Store) Touch(ctx context.Context, id identity.CredentialID, at time.Time) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		t.Changed(Topic)
		_, err := t.Exec(`UPDATE provisioning_credential SET used = $2 WHERE id = $1`, id, at.UnixMilli())
		return err
	})
}
