// Package federation keeps identity providers in SQL, and what holds for the
// installation as a whole. What it reads is an administrator's word, checked by
// service/federation before it was written; it must never write an entry but
// whole, and never over a newer one.
package federation

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/federation"
)

// Topic is raised when an identity provider or a switch changes.
const Topic = "federation"

// Store is federation.Store on a database.
type Store struct{ DB *sql.DB }

var (
	_ federation.Store         = Store{}
	_ federation.Installations = Store{}
)

// columns are those of an identity provider but its id, in the order of values.
const columns = `name, name_fold, entity_id, metadata, enabled, accounts, role_patterns, user_name_domains,
	administrator_groups, groups_attribute, allow_auto_create, created, settings, metadata_state, protocol, oidc, client_secret`

// values gives the columns' values.
func values(p federation.IdP) ([]any, error) {
	texts, err := pack(p.Accounts, p.RolePatterns, p.UserNameDomains, p.AdministratorGroups, p.Settings, p.Kept, p.OIDC)
	if err != nil {
		return nil, err
	}
	metadata := p.Metadata
	if metadata == nil {
		metadata = []byte{}
	}
	return []any{p.Name, strings.ToLower(p.Name), entity(p), metadata, p.Enabled, texts[0], texts[1], texts[2],
		texts[3], p.GroupsAttribute, p.AllowAutoCreate, p.Created.UnixMilli(), texts[4], texts[5],
		string(p.Protocol), texts[6], p.OIDC.SealedSecret}, nil
}

// entity is what an identity provider is unique by: the entity id, or issuer and
// client id.
func entity(p federation.IdP) string {
	if p.Protocol == federation.OIDC {
		return "oidc " + p.OIDC.Issuer + " " + p.OIDC.ClientID
	}
	return p.EntityID
}

// Add inserts an identity provider; Conflict when its name or entity id is taken.
func (s Store) Add(ctx context.Context, p federation.IdP) error {
	values, err := values(p)
	if err != nil {
		return err
	}
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		n, err := t.Exec(`INSERT INTO identity_provider (`+columns+`, id, revision)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19) ON CONFLICT DO NOTHING`,
			append(values, string(p.ID), p.Revision)...)
		if err != nil {
			return err
		}
		if n == 0 {
			return taken(p)
		}
		t.Changed(Topic)
		return nil
	})
}

func taken(p federation.IdP) error {
	what := "the entity id " + p.EntityID
	if p.Protocol == federation.OIDC {
		what = "the client id " + p.OIDC.ClientID + " at " + p.OIDC.Issuer
	}
	return fault.Coded(fault.Conflict, "federation.taken",
		"there is an identity provider with the name "+p.Name+" or "+what).
		WithMend("remove that one first, or give this one another name")
}

// Update replaces an identity provider whose stored revision is p's, which
// becomes revision; false when it is another or p is gone. Conflict when its name or
// entity id is another's.
func (s Store) Update(ctx context.Context, p federation.IdP, revision int64) (stood bool, err error) {
	values, err := values(p)
	if err != nil {
		return false, err
	}
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		var others int
		err := t.QueryRow(`SELECT COUNT(*) FROM identity_provider WHERE id <> $1 AND (name_fold = $2 OR entity_id = $3)`,
			string(p.ID), strings.ToLower(p.Name), entity(p)).Scan(&others)
		if err != nil {
			return err
		}
		if others > 0 {
			return taken(p)
		}
		n, err := t.Exec(`UPDATE identity_provider SET (`+columns+`, revision) =
			($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $20) WHERE id = $18 AND revision = $19`,
			append(values, string(p.ID), p.Revision, revision)...)
		stood = n == 1
		if stood {
			t.Changed(Topic)
		}
		return err
	})
	return stood, err
}

// Remove deletes an identity provider and reports whether there was one.
func (s Store) Remove(ctx context.Context, id identity.IdPID) (found bool, err error) {
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		n, err := t.Exec(`DELETE FROM identity_provider WHERE id = $1`, string(id))
		found = n == 1
		t.Changed(Topic)
		return err
	})
	return found, err
}

// All reads every identity provider.
func (s Store) All(ctx context.Context) ([]federation.IdP, error) {
	var all []federation.IdP
	err := s.DB.Read(ctx, func(t *sql.Tx) error {
		all = nil
		return t.Each(`SELECT id, revision, `+columns+` FROM identity_provider ORDER BY name_fold`, nil,
			func(scan func(...any) error) error {
				var p federation.IdP
				var id, fold, protocol string
				var texts [7]string
				var created int64
				if err := scan(&id, &p.Revision, &p.Name, &fold, &p.EntityID, &p.Metadata, &p.Enabled, &texts[0], &texts[1], &texts[2],
					&texts[3], &p.GroupsAttribute, &p.AllowAutoCreate, &created, &texts[4], &texts[5],
					&protocol, &texts[6], &p.OIDC.SealedSecret); err != nil {
					return err
				}
				p.ID, p.Created = identity.IdPID(id), time.UnixMilli(created).UTC()
				p.Protocol = federation.Protocol(protocol)
				err := unpack(texts, &p)
				if p.Protocol == federation.OIDC {
					p.EntityID, p.Metadata = p.OIDC.Issuer, nil
				}
				all = append(all, p)
				return err
			})
	})
	return all, err
}

// Watch calls changed after every change by any server.
func (s Store) Watch(ctx context.Context, changed func()) error {
	return s.DB.Watch(ctx, Topic, changed)
}

// Installation gives the installation's row, and stores first where there is
// none yet.
func (s Store) Installation(ctx context.Context, first federation.Installation) (federation.Installation, error) {
	read := func(t *sql.Tx) (i federation.Installation, err error) {
		err = t.QueryRow(`SELECT organisation, unified_login, role_sync FROM installation WHERE id = 1`).Scan(&i.Organisation, &i.UnifiedLogin, &i.RoleSync)
		return i, err
	}
	var i federation.Installation
	err := s.DB.Read(ctx, func(t *sql.Tx) (err error) { i, err = read(t); return err })
	if !errors.Is(err, sql.ErrNoRows) {
		return i, err
	}
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		if _, err := t.Exec(`INSERT INTO installation (id, organisation, unified_login) VALUES (1, $1, $2) ON CONFLICT DO NOTHING`,
			first.Organisation, first.UnifiedLogin); err != nil {
			return err
		}
		var err error
		i, err = read(t)
		return err
	})
	return i, err
}

// SetSwitches stores the switches of the installation.
func (s Store) SetSwitches(ctx context.Context, to federation.Switches) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		_, err := t.Exec(`UPDATE installation SET unified_login = $1, role_sync = $2 WHERE id = 1`, to.UnifiedLogin, to.RoleSync)
		t.Changed(Topic)
		return err
	})
}

func pack(values ...any) ([]string, error) {
	out := make([]string, len(values))
	for i, v := range values {
		b, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		out[i] = string(b)
	}
	return out, nil
}

func unpack(texts [7]string, p *federation.IdP) error {
	for i, to := range []any{&p.Accounts, &p.RolePatterns, &p.UserNameDomains, &p.AdministratorGroups, &p.Settings, &p.Kept, &p.OIDC} {
		if err := json.Unmarshal([]byte(texts[i]), to); err != nil {
			return err
		}
	}
	return nil
}
