// Package provisioning keeps what provisioning systems say, in SQL: on the tables
// of the directory, which decides by them, and one of its own for the rest. Every
// change is one serializable transaction, so that of two that race for a name one
// gets it, and of two that add members neither's is lost. It must never show or
// touch what another identity provider brought, or an administrator made.
package provisioning

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	sqldirectory "carnet.dev/carnet/internal/edge/sql/directory"
	"carnet.dev/carnet/internal/protocol/scim"
	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/provisioning"
)

// Store is provisioning.Store on a database.
type Store struct{ DB *sql.DB }

var _ provisioning.Store = Store{}

// table says where a kind lives. Columns: id, name, display name, mail, external
// id, active, created; then rest, version and changed.
type table struct{ columns, from, where string }

func of(k provisioning.Kind) table {
	switch k {
	case provisioning.User:
		return table{`s.id, s.user_name, s.display_name, s.mail, s.external_id, s.active, s.created`,
			` FROM person s LEFT JOIN provisioned p ON p.subject = s.id`, ` WHERE s.idp = $1`}
	case provisioning.Group:
		return table{`s.id, s.name, '', '', s.external_id, TRUE, s.created`,
			` FROM person_group s JOIN provisioned p ON p.subject = s.id`, ` WHERE p.idp = $1`}
	}
	return table{`s.id, s.name, '', '', s.external_id, s.active, s.created`,
		` FROM service_principal s JOIN provisioned p ON p.subject = s.id`, ` WHERE p.idp = $1`}
}

// fold is the column of the folded name.
func fold(k provisioning.Kind) string {
	if k == provisioning.User {
		return "s.user_name_fold"
	}
	return "s.name_fold"
}

// Rows gives one page.
func (s Store) Rows(ctx context.Context, p provisioning.Page) (all []provisioning.Row, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		all, err = rows(t, p)
		return err
	})
	return all, err
}

func rows(t *sql.Tx, p provisioning.Page) ([]provisioning.Row, error) {
	at := of(p.Kind)
	q := `SELECT ` + at.columns + `, COALESCE(p.rest, ''), COALESCE(p.version, 0), COALESCE(p.changed, s.created)` + at.from + at.where
	args := []any{p.IdP}
	switch p.By {
	case "":
	case "id":
		q, args = q+` AND s.id = $2`, append(args, p.Value)
	case "externalId":
		q, args = q+` AND s.external_id = $2`, append(args, p.Value)
	case "userName", "displayName":
		q, args = q+` AND `+fold(p.Kind)+` = $2`, append(args, directory.Fold(p.Value))
	default:
		return nil, fault.New(fault.Internal, "no index for "+p.By)
	}
	n := len(args)
	q += fmt.Sprintf(` ORDER BY %s, s.id LIMIT $%d OFFSET $%d`, fold(p.Kind), n+1, n+2)
	var all []provisioning.Row
	err := t.Each(q, append(args, p.Most, p.Skip), func(scan func(...any) error) error {
		r := provisioning.Row{Kind: p.Kind, IdP: p.IdP}
		var rest string
		var created, changed int64
		err := scan(&r.ID, &r.Name, &r.DisplayName, &r.Mail, &r.ExternalID, &r.Active, &created, &rest, &r.Version, &changed)
		r.Created, r.Changed = time.UnixMilli(created).UTC(), time.UnixMilli(changed).UTC()
		if rest != "" {
			r.Rest = []byte(rest)
		}
		all = append(all, r)
		return err
	})
	for i := range all {
		if err == nil {
			err = relations(t, &all[i], p.Members)
		}
	}
	return all, err
}

// relations reads roles, groups around, and members.
func relations(t *sql.Tx, r *provisioning.Row, members bool) error {
	if err := t.Each(`SELECT role FROM role_mapping WHERE subject = $1 AND origin = $2 AND idp = $3 ORDER BY role`,
		[]any{r.ID, directory.FromSCIM, r.IdP}, func(scan func(...any) error) error {
			var text string
			if err := scan(&text); err != nil {
				return err
			}
			role, err := arn.ParseRole(text)
			r.Roles = append(r.Roles, role)
			return err
		}); err != nil {
		return err
	}
	list := func(q string, into *[]provisioning.Member, args ...any) error {
		return t.Each(q, args, func(scan func(...any) error) error {
			var m provisioning.Member
			err := scan(&m.ID, &m.Name)
			*into = append(*into, m)
			return err
		})
	}
	if err := list(`SELECT g.id, g.name FROM person_group g JOIN group_member m ON m.person_group = g.id WHERE m.member = $1 ORDER BY g.name_fold`, &r.Groups, r.ID); err != nil {
		return err
	}
	if r.Kind != provisioning.Group || !members {
		return nil
	}
	return list(`SELECT m.member, COALESCE(p.user_name, g.name, s.name, '') FROM group_member m
		LEFT JOIN person p ON p.id = m.member LEFT JOIN person_group g ON g.id = m.member LEFT JOIN service_principal s ON s.id = m.member
		WHERE m.person_group = $1 ORDER BY m.member`, &r.Members, r.ID)
}

// Count counts a kind.
func (s Store) Count(ctx context.Context, k provisioning.Kind, idp identity.IdPID) (n int, err error) {
	at := of(k)
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		return t.QueryRow(`SELECT COUNT(*)`+at.from+at.where, idp).Scan(&n)
	})
	return n, err
}

// Add stores a new row.
func (s Store) Add(ctx context.Context, r provisioning.Row) (out provisioning.Row, err error) {
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		if err := free(t, r); err != nil {
			return err
		}
		t.Changed(sqldirectory.Topic)
		var err error
		name, created := directory.Fold(r.Name), r.Created.UnixMilli()
		switch r.Kind {
		case provisioning.User:
			_, err = t.Exec(`INSERT INTO person (id, idp, user_name, display_name, mail, external_id, active, administrator, created, user_name_fold)
				VALUES ($1, $2, $3, $4, $5, $6, $7, FALSE, $8, $9)`, r.ID, r.IdP, r.Name, r.DisplayName, r.Mail, r.ExternalID, r.Active, created, name)
		case provisioning.Group:
			_, err = t.Exec(`INSERT INTO person_group (id, name, name_fold, external_id, created) VALUES ($1, $2, $3, $4, $5)`, r.ID, r.Name, name, r.ExternalID, created)
		default:
			_, err = t.Exec(`INSERT INTO service_principal (id, name, name_fold, external_id, active, created) VALUES ($1, $2, $3, $4, $5, $6)`,
				r.ID, r.Name, name, r.ExternalID, r.Active, created)
		}
		if err != nil {
			return err
		}
		if err := put(t, r); err != nil {
			return err
		}
		if err := relate(t, provisioning.Row{Kind: r.Kind, ID: r.ID, IdP: r.IdP}, r); err != nil {
			return err
		}
		out, err = one(t, r.Kind, r.IdP, r.ID)
		return err
	})
	return out, taken(err)
}

// taken turns a broken unique rule into the answer of SCIM.
func taken(err error) error {
	if sql.IsDuplicate(err) {
		return fault.Coded(fault.Conflict, scim.CodeUniqueness, "The name or the external id is taken").WithCause(err)
	}
	return err
}

// free refuses a name or an external id that another has.
func free(t *sql.Tx, r provisioning.Row) error {
	from, within, args := "person s", " AND s.idp = $3", []any{directory.Fold(r.Name), r.ID, r.IdP}
	switch r.Kind {
	case provisioning.Group:
		from, within, args = "person_group s", "", args[:2]
	case provisioning.ServicePrincipal:
		from, within, args = "service_principal s", "", args[:2]
	}
	var n int
	if err := t.QueryRow(`SELECT COUNT(*) FROM `+from+` WHERE `+fold(r.Kind)+` = $1 AND s.id <> $2`+within, args...).Scan(&n); err != nil {
		return err
	}
	if n > 0 {
		return fault.Coded(fault.Conflict, scim.CodeUniqueness, fmt.Sprintf("The name %q is taken, letter case aside", r.Name))
	}
	if r.ExternalID == "" || r.Kind != provisioning.User {
		return nil
	}
	if err := t.QueryRow(`SELECT COUNT(*) FROM person WHERE idp = $1 AND external_id = $2 AND id <> $3`, r.IdP, r.ExternalID, r.ID).Scan(&n); err != nil {
		return err
	}
	if n > 0 {
		return fault.Coded(fault.Conflict, scim.CodeUniqueness, fmt.Sprintf("The external id %q is taken", r.ExternalID))
	}
	return nil
}

func put(t *sql.Tx, r provisioning.Row) error {
	_, err := t.Exec(`INSERT INTO provisioned (subject, kind, idp, rest, version, changed) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (subject) DO UPDATE SET rest = $4, version = $5, changed = $6`, r.ID, r.Kind, r.IdP, string(r.Rest), r.Version, r.Changed.UnixMilli())
	return err
}

func one(t *sql.Tx, k provisioning.Kind, idp identity.IdPID, id string) (provisioning.Row, error) {
	list, err := rows(t, provisioning.Page{Kind: k, IdP: idp, By: "id", Value: id, Most: 1, Members: true})
	if err != nil {
		return provisioning.Row{}, err
	}
	if len(list) == 0 {
		return provisioning.Row{}, fault.New(fault.NotFound, fmt.Sprintf("There is no %s with that id", k.Type().Name))
	}
	return list[0], nil
}

// Change reads, has changed, and writes.
func (s Store) Change(ctx context.Context, k provisioning.Kind, idp identity.IdPID, id string, change func(provisioning.Row) (provisioning.Row, error)) (before, after provisioning.Row, err error) {
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		var err error
		if before, err = one(t, k, idp, id); err != nil {
			return err
		}
		wanted, err := change(before)
		if err != nil {
			return err
		}
		wanted.Kind, wanted.ID, wanted.IdP = k, id, idp // not to be changed
		if provisioning.Same(before, wanted) {
			after = before
			return nil
		}
		wanted.Version = before.Version + 1
		if err := free(t, wanted); err != nil {
			return err
		}
		if err := write(t, wanted); err != nil {
			return err
		}
		if err := relate(t, before, wanted); err != nil {
			return err
		}
		after, err = one(t, k, idp, id)
		return err
	})
	return before, after, taken(err)
}

func write(t *sql.Tx, r provisioning.Row) error {
	t.Changed(sqldirectory.Topic)
	var err error
	name := directory.Fold(r.Name)
	switch r.Kind {
	case provisioning.User:
		_, err = t.Exec(`UPDATE person SET user_name = $2, user_name_fold = $3, display_name = $4, mail = $5, external_id = $6, active = $7 WHERE id = $1`,
			r.ID, r.Name, name, r.DisplayName, r.Mail, r.ExternalID, r.Active)
	case provisioning.Group:
		_, err = t.Exec(`UPDATE person_group SET name = $2, name_fold = $3, external_id = $4 WHERE id = $1`, r.ID, r.Name, name, r.ExternalID)
	default:
		_, err = t.Exec(`UPDATE service_principal SET name = $2, name_fold = $3, external_id = $4, active = $5 WHERE id = $1`, r.ID, r.Name, name, r.ExternalID, r.Active)
	}
	if err != nil {
		return err
	}
	return put(t, r)
}

// relate brings roles and members from what they were to what they shall be.
func relate(t *sql.Tx, before, after provisioning.Row) error {
	now := after.Changed.UnixMilli()
	for _, role := range before.Roles {
		if !slices.Contains(after.Roles, role) {
			if _, err := t.Exec(`DELETE FROM role_mapping WHERE subject = $1 AND role = $2 AND origin = $3 AND idp = $4`, after.ID, role.String(), directory.FromSCIM, after.IdP); err != nil {
				return err
			}
		}
	}
	for _, role := range after.Roles {
		if _, err := t.Exec(`INSERT INTO role_mapping (subject, role, origin, idp, set_at) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (subject, role, origin, idp) DO NOTHING`, after.ID, role.String(), directory.FromSCIM, after.IdP, now); err != nil {
			return err
		}
	}
	return join(t, before, after)
}

func join(t *sql.Tx, before, after provisioning.Row) error {
	was, is := map[string]bool{}, map[string]bool{}
	for _, m := range before.Members {
		was[m.ID] = true
	}
	for _, m := range after.Members {
		if is[m.ID] || was[m.ID] {
			is[m.ID] = true
			continue
		}
		is[m.ID] = true
		if err := brought(t, after.IdP, m.ID); err != nil {
			return err
		}
		if err := sqldirectory.Join(t, identity.GroupID(after.ID), m.ID); err != nil {
			return err
		}
	}
	for id := range was {
		if !is[id] {
			if _, err := t.Exec(`DELETE FROM group_member WHERE member = $1 AND person_group = $2`, id, after.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// brought refuses members that another provider brought, or nobody.
func brought(t *sql.Tx, idp identity.IdPID, id string) error {
	var n int
	q := `SELECT COUNT(*) FROM provisioned WHERE subject = $1 AND idp = $2`
	if provisioning.KindOf(id) == provisioning.User {
		q = `SELECT COUNT(*) FROM person WHERE id = $1 AND idp = $2`
	}
	if err := t.QueryRow(q, id, idp).Scan(&n); err != nil {
		return err
	}
	if n == 0 {
		return fault.Coded(fault.Invalid, scim.CodeValue, fmt.Sprintf("%q is the id of no user, group or service principal", id))
	}
	return nil
}

// Delete forgets a subject with all it held.
func (s Store) Delete(ctx context.Context, k provisioning.Kind, idp identity.IdPID, id string) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		if _, err := one(t, k, idp, id); err != nil {
			return err
		}
		if _, err := t.Exec(`DELETE FROM provisioned WHERE subject = $1`, id); err != nil {
			return err
		}
		d := sqldirectory.Store{DB: s.DB}
		var err error
		switch k {
		case provisioning.User:
			err = d.Delete(t.Context(), identity.PersonID(id))
		case provisioning.Group:
			err = d.DeleteGroup(t.Context(), identity.GroupID(id))
		default:
			err = d.DeleteServicePrincipal(t.Context(), identity.ServicePrincipalID(id))
		}
		if errors.Is(err, fault.New(fault.NotFound, "")) {
			return fault.New(fault.NotFound, fmt.Sprintf("There is no %s with that id", k.Type().Name))
		}
		return err
	})
}
