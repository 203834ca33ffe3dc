package directory

import (
	"context"
	"errors"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/directory"
)

// PutGroup stores a new group.
func (s Store) PutGroup(ctx context.Context, g directory.Group) error {
	err := s.DB.Write(ctx, func(t *sql.Tx) error {
		t.Changed(Topic)
		_, err := t.Exec(`INSERT INTO person_group (id, name, name_fold, external_id, created) VALUES ($1, $2, $3, $4, $5)`,
			g.ID, g.Name, directory.Fold(g.Name), g.ExternalID, g.Created.UnixMilli())
		return err
	})
	if sql.IsDuplicate(err) {
		return fault.New(fault.Conflict, "there is a group of that name, letter case aside")
	}
	return err
}

// DeleteGroup forgets a group, who was in it, and what it gave.
func (s Store) DeleteGroup(ctx context.Context, id identity.GroupID) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		n, err := t.Exec(`DELETE FROM person_group WHERE id = $1`, id) // its members' rows go with it
		if err != nil {
			return err
		}
		if n == 0 {
			return fault.New(fault.NotFound, "there is no such group")
		}
		return forget(t, string(id))
	})
}

// around gives, from one subject, the groups around it: first CTE of queries
// that follow memberships outwards. UNION drops what was seen, so it ends.
// SQLite takes CROSS JOIN as the order to join in: from the few groups around
// one subject to their rows, whatever it guesses about sizes.
const around = `WITH RECURSIVE around (id) AS (
	SELECT CAST($1 AS TEXT)
	UNION
	SELECT m.person_group FROM around a CROSS JOIN group_member m WHERE m.member = a.id) `

// Everyone gives the people and machines that a subject stands for: itself, or of a
// group all that are in it, through others too.
func (s Store) Everyone(ctx context.Context, subject string) (all []string, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		all = nil
		return t.Each(`WITH RECURSIVE inside (id) AS (
	SELECT CAST($1 AS TEXT)
	UNION
	SELECT m.member FROM inside i CROSS JOIN group_member m WHERE m.person_group = i.id)
SELECT id FROM inside WHERE id NOT LIKE 'grp%' ORDER BY id`, []any{subject}, func(scan func(...any) error) error {
			var id string
			err := scan(&id)
			all = append(all, id)
			return err
		})
	})
	return all, err
}

// AddMember puts a subject into a group.
func (s Store) AddMember(ctx context.Context, g identity.GroupID, member string) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error { return Join(t, g, member) })
}

// Join puts a subject into a group, in a transaction. Faults as for AddMember.
func Join(t *sql.Tx, g identity.GroupID, member string) error {
	if err := exists(t, string(g), member); err != nil {
		return err
	}
	// The transaction is serializable: two servers that close a circle from both
	// sides at once can't both commit.
	var circle int
	if err := t.QueryRow(around+`SELECT COUNT(*) FROM around WHERE id = $2`, g, member).Scan(&circle); err != nil {
		return err
	}
	if circle > 0 {
		return fault.Coded(fault.Conflict, "directory.circle", "the group would become a member of itself").
			WithMend("look at the groups around it")
	}
	t.Changed(Topic)
	_, err := t.Exec(`INSERT INTO group_member (member, person_group) VALUES ($1, $2)
		ON CONFLICT (member, person_group) DO NOTHING`, member, g)
	return err
}

// exists refuses memberships and mappings of subjects that aren't there.
func exists(t *sql.Tx, ids ...string) error {
	for _, id := range ids {
		prefix, _, _ := strings.Cut(id, "_")
		table, ok := map[string]string{"psn": "person", "grp": "person_group", "spn": "service_principal"}[prefix]
		if !ok {
			return fault.New(fault.Invalid, "the id is neither a person's, a group's nor a service principal's")
		}
		var n int
		if err := t.QueryRow(`SELECT COUNT(*) FROM `+table+` WHERE id = $1`, id).Scan(&n); err != nil {
			return err
		}
		if n == 0 {
			return fault.New(fault.NotFound, "there is no such person, group or service principal")
		}
	}
	return nil
}

// RemoveMember takes a subject out of a group; it may be gone already.
func (s Store) RemoveMember(ctx context.Context, g identity.GroupID, member string) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		t.Changed(Topic)
		_, err := t.Exec(`DELETE FROM group_member WHERE member = $1 AND person_group = $2`, member, g)
		return err
	})
}

// PutServicePrincipal stores a new one or the flags of a known one.
func (s Store) PutServicePrincipal(ctx context.Context, p directory.ServicePrincipal) error {
	err := s.DB.Write(ctx, func(t *sql.Tx) error {
		t.Changed(Topic)
		_, err := t.Exec(`INSERT INTO service_principal (id, name, name_fold, external_id, active, created)
			VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (id) DO UPDATE SET name = $2, name_fold = $3, external_id = $4, active = $5`,
			p.ID, p.Name, directory.Fold(p.Name), p.ExternalID, p.Active, p.Created.UnixMilli())
		return err
	})
	if sql.IsDuplicate(err) {
		return fault.New(fault.Conflict, "there is a service principal of that name, letter case aside")
	}
	return err
}

const servicePrincipalQuery = `SELECT id, name, external_id, active, created FROM service_principal `

func scanServicePrincipal(scan func(...any) error) (p directory.ServicePrincipal, err error) {
	var created int64
	err = scan(&p.ID, &p.Name, &p.ExternalID, &p.Active, &created)
	p.Created = time.UnixMilli(created).UTC()
	return p, err
}

// ServicePrincipal gives one.
func (s Store) ServicePrincipal(ctx context.Context, id identity.ServicePrincipalID) (p directory.ServicePrincipal, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		p, err = scanServicePrincipal(t.QueryRow(servicePrincipalQuery+`WHERE id = $1`, id).Scan)
		if errors.Is(err, sql.ErrNoRows) {
			return fault.New(fault.NotFound, "there is no such service principal")
		}
		return err
	})
	return p, err
}

// ServicePrincipals lists all, by name.
func (s Store) ServicePrincipals(ctx context.Context) (all []directory.ServicePrincipal, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		all = nil
		return t.Each(servicePrincipalQuery+`ORDER BY name_fold`, nil, func(scan func(...any) error) error {
			p, err := scanServicePrincipal(scan)
			all = append(all, p)
			return err
		})
	})
	return all, err
}

// ChangeServicePrincipal rewrites flags of one.
func (s Store) ChangeServicePrincipal(ctx context.Context, id identity.ServicePrincipalID, change func(*directory.ServicePrincipal)) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		p, err := s.ServicePrincipal(t.Context(), id)
		if err != nil {
			return err
		}
		change(&p)
		t.Changed(Topic)
		_, err = t.Exec(`UPDATE service_principal SET external_id = $2, active = $3 WHERE id = $1`, p.ID, p.ExternalID, p.Active)
		return err
	})
}

// DeleteServicePrincipal forgets one with all it held.
func (s Store) DeleteServicePrincipal(ctx context.Context, id identity.ServicePrincipalID) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		n, err := t.Exec(`DELETE FROM service_principal WHERE id = $1`, id)
		if err != nil {
			return err
		}
		if n == 0 {
			return fault.New(fault.NotFound, "there is no such service principal")
		}
		return forget(t, string(id))
	})
}
