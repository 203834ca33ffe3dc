// Package federation keeps identity providers in SQL. What it reads is an
// administrator's word, checked by service/federation before it was written;
// it must never change an entry but add or remove it whole.
package federation

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/federation"
)

// Topic is raised when an identity provider is added or removed.
const Topic = "federation"

// Store is federation.Store on a database.
type Store struct{ DB *sql.DB }

var _ federation.Store = Store{}

// Add inserts an identity provider; Conflict when its name or entity id is taken.
func (s Store) Add(ctx context.Context, p federation.IdP) error {
	lists, err := pack(p.Accounts, p.RolePatterns, p.UserNameDomains, p.AdministratorGroups)
	if err != nil {
		return err
	}
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		n, err := t.Exec(`INSERT INTO identity_provider (id, name, name_fold, entity_id, metadata, enabled, accounts, role_patterns,
			user_name_domains, administrator_groups, groups_attribute, allow_auto_create, created)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT DO NOTHING`,
			string(p.ID), p.Name, strings.ToLower(p.Name), p.EntityID, p.Metadata, p.Enabled, lists[0], lists[1],
			lists[2], lists[3], p.GroupsAttribute, p.AllowAutoCreate, p.Created.UnixMilli())
		if err != nil {
			return err
		}
		if n == 0 {
			return fault.Coded(fault.Conflict, "federation.taken",
				"there is an identity provider with the name "+p.Name+" or the entity id "+p.EntityID).
				WithMend("remove that one first, or give this one another name")
		}
		t.Changed(Topic)
		return nil
	})
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
		return t.Each(`SELECT id, name, entity_id, metadata, enabled, accounts, role_patterns, user_name_domains,
			administrator_groups, groups_attribute, allow_auto_create, created FROM identity_provider ORDER BY name_fold`, nil,
			func(scan func(...any) error) error {
				var p federation.IdP
				var id string
				var lists [4]string
				var created int64
				if err := scan(&id, &p.Name, &p.EntityID, &p.Metadata, &p.Enabled, &lists[0], &lists[1], &lists[2],
					&lists[3], &p.GroupsAttribute, &p.AllowAutoCreate, &created); err != nil {
					return err
				}
				p.ID, p.Created = identity.IdPID(id), time.UnixMilli(created).UTC()
				all = append(all, p)
				return unpack(lists, &all[len(all)-1])
			})
	})
	return all, err
}

// Watch calls changed after every change by any server.
func (s Store) Watch(ctx context.Context, changed func()) error {
	return s.DB.Watch(ctx, Topic, changed)
}

func pack(lists ...[]string) ([]string, error) {
	out := make([]string, len(lists))
	for i, l := range lists {
		b, err := json.Marshal(l)
		if err != nil {
			return nil, err
		}
		out[i] = string(b)
	}
	return out, nil
}

func unpack(lists [4]string, p *federation.IdP) error {
	for i, to := range []*[]string{&p.Accounts, &p.RolePatterns, &p.UserNameDomains, &p.AdministratorGroups} {
		if err := json.Unmarshal([]byte(lists[i]), to); err != nil {
			return err
		}
	}
	return nil
}
