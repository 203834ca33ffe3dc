// Package iam keeps the local authority in SQL. It stores what service/iam has
// checked and gives it back unchanged; it must never apply a change that was
// made for another revision, nor take a role id twice.
package iam

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/iam"
)

// Topic is raised when the authority changes.
const Topic = "iam"

// Store is iam.Store on a database.
type Store struct{ DB *sql.DB }

var _ iam.Store = Store{}

// Load gives the whole state on one snapshot.
func (s Store) Load(ctx context.Context) (state iam.State, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		state = iam.State{}
		if err := t.QueryRow(`SELECT revision FROM iam_revision WHERE only_row = 1`).Scan(&state.Revision); err != nil {
			return err
		}
		if err := loadProviders(t, &state); err != nil {
			return err
		}
		if err := loadRoles(t, &state); err != nil {
			return err
		}
		return loadBuckets(t, &state)
	})
	return state, err
}

func loadProviders(t *sql.Tx, state *iam.State) error {
	return t.Each(`SELECT account, name, metadata, created FROM iam_saml_provider ORDER BY account, name_fold`, nil,
		func(scan func(...any) error) error {
			var r iam.ProviderRecord
			var created int64
			if err := scan(&r.Account, &r.Name, &r.Metadata, &created); err != nil {
				return err
			}
			r.Created = time.UnixMilli(created).UTC()
			state.Providers = append(state.Providers, r)
			return nil
		})
}

func loadRoles(t *sql.Tx, state *iam.State) error {
	return t.Each(`SELECT id, account, name, path, description, trust, policies, boundary, tags, max_session, created
		FROM iam_role ORDER BY account, name_fold`, nil,
		func(scan func(...any) error) error {
			var r iam.RoleRecord
			var trust, policies, boundary, tags string
			var maxSession, created int64
			if err := scan(&r.ID, &r.Account, &r.Name, &r.Path, &r.Description, &trust, &policies, &boundary, &tags, &maxSession, &created); err != nil {
				return err
			}
			if err := unpack([]string{trust, policies, boundary, tags}, &r.Trust, &r.Policies, &r.Boundary, &r.Tags); err != nil {
				return err
			}
			r.MaxSession = time.Duration(maxSession) * time.Second
			r.Created = time.UnixMilli(created).UTC()
			state.Roles = append(state.Roles, r)
			return nil
		})
}

func unpack(texts []string, to ...any) error {
	for i, text := range texts {
		if err := json.Unmarshal([]byte(text), to[i]); err != nil {
			return err
		}
	}
	return nil
}

func loadBuckets(t *sql.Tx, state *iam.State) error {
	return t.Each(`SELECT name, account, policy FROM iam_bucket ORDER BY name`, nil,
		func(scan func(...any) error) error {
			var r iam.BucketRecord
			var policy string
			if err := scan(&r.Name, &r.Account, &policy); err != nil {
				return err
			}
			state.Buckets = append(state.Buckets, r)
			return json.Unmarshal([]byte(policy), &state.Buckets[len(state.Buckets)-1].Policy)
		})
}

// Apply makes a change and whatever note records, in one transaction.
func (s Store) Apply(ctx context.Context, c iam.Change, note func(context.Context) error) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		n, err := t.Exec(`UPDATE iam_revision SET revision = revision + 1 WHERE only_row = 1 AND revision = $1`, c.Revision)
		if err != nil {
			return err
		}
		if n == 0 {
			return fault.Coded(fault.Conflict, "iam.changed", "the authority was changed since the plan was made").
				WithMend("make the plan again")
		}
		if err := remove(t, c); err != nil {
			return err
		}
		if err := put(t, c); err != nil {
			return err
		}
		t.Changed(Topic)
		return note(t.Context())
	})
}

func remove(t *sql.Tx, c iam.Change) error {
	for _, p := range c.DeleteProviders {
		if _, err := t.Exec(`DELETE FROM iam_saml_provider WHERE account = $1 AND name_fold = $2`, p.Account, strings.ToLower(p.Name)); err != nil {
			return err
		}
	}
	for _, id := range c.DeleteRoles {
		if _, err := t.Exec(`DELETE FROM iam_role WHERE id = $1`, string(id)); err != nil {
			return err
		}
		if _, err := t.Exec(`INSERT INTO iam_role_gone (id) VALUES ($1) ON CONFLICT DO NOTHING`, string(id)); err != nil {
			return err
		}
	}
	for _, name := range c.DeleteBuckets {
		if _, err := t.Exec(`DELETE FROM iam_bucket WHERE name = $1`, name); err != nil {
			return err
		}
	}
	return nil
}

func put(t *sql.Tx, c iam.Change) error {
	for _, p := range c.PutProviders {
		_, err := t.Exec(`INSERT INTO iam_saml_provider (account, name_fold, name, metadata, created) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (account, name_fold) DO UPDATE SET name = excluded.name, metadata = excluded.metadata, created = excluded.created`,
			p.Account, strings.ToLower(p.Name), p.Name, p.Metadata, p.Created.UnixMilli())
		if err != nil {
			return err
		}
	}
	for _, r := range c.PutRoles {
		if err := putRole(t, r); err != nil {
			return err
		}
	}
	for _, b := range c.PutBuckets {
		policy, err := json.Marshal(b.Policy)
		if err != nil {
			return err
		}
		_, err = t.Exec(`INSERT INTO iam_bucket (name, account, policy) VALUES ($1, $2, $3)
			ON CONFLICT (name) DO UPDATE SET account = excluded.account, policy = excluded.policy`, b.Name, b.Account, string(policy))
		if err != nil {
			return err
		}
	}
	return nil
}

func putRole(t *sql.Tx, r iam.RoleRecord) error {
	var gone int
	if err := t.QueryRow(`SELECT COUNT(*) FROM iam_role_gone WHERE id = $1`, string(r.ID)).Scan(&gone); err != nil {
		return err
	}
	if gone > 0 {
		return fault.Coded(fault.Conflict, "iam.role-id", "the id of a deleted role can't be used again")
	}
	texts := make([]string, 4)
	for i, v := range []any{r.Trust, r.Policies, r.Boundary, r.Tags} {
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		texts[i] = string(b)
	}
	_, err := t.Exec(`INSERT INTO iam_role (id, account, name_fold, name, path, description, trust, policies, boundary, tags, max_session, created)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
		ON CONFLICT (id) DO UPDATE SET description = excluded.description, trust = excluded.trust, policies = excluded.policies,
			boundary = excluded.boundary, tags = excluded.tags, max_session = excluded.max_session`,
		string(r.ID), r.Account, strings.ToLower(r.Name), r.Name, r.Path, r.Description,
		texts[0], texts[1], texts[2], texts[3], int64(r.MaxSession/time.Second), r.Created.UnixMilli())
	return err
}
