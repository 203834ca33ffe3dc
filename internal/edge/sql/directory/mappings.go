package directory

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/directory"
)

// Map stores a right.
func (s Store) Map(ctx context.Context, m directory.Mapping) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		if err := exists(t, m.Subject); err != nil {
			return err
		}
		return put(t, m)
	})
}

func put(t *sql.Tx, m directory.Mapping) error {
	t.Changed(Topic)
	_, err := t.Exec(`INSERT INTO role_mapping (subject, role, origin, idp, set_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (subject, role, origin, idp) DO NOTHING`, m.Subject, m.Role.String(), m.Origin, m.IdP, m.Set.UnixMilli())
	return err
}

// Unmap takes one right of one origin away; it may be gone already.
func (s Store) Unmap(ctx context.Context, m directory.Mapping) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error { return remove(t, m) })
}

func remove(t *sql.Tx, m directory.Mapping) error {
	t.Changed(Topic)
	_, err := t.Exec(`DELETE FROM role_mapping WHERE subject = $1 AND role = $2 AND origin = $3 AND idp = $4`,
		m.Subject, m.Role.String(), m.Origin, m.IdP)
	return err
}

// Sync replaces a person's own rights by an assertion's.
func (s Store) Sync(ctx context.Context, y directory.Sync) (c directory.Change, err error) {
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		c = directory.Change{}
		n, err := t.Exec(`UPDATE person_identity SET synced = $4 WHERE idp = $1 AND subject = $2 AND person = $3 AND synced <= $4`,
			y.IdP, y.Subject, y.Person, y.Issued.UnixMilli())
		if err != nil {
			return err
		}
		if n == 0 {
			c.Stale = true
			return nil
		}
		old, err := own(t, string(y.Person))
		if err != nil {
			return err
		}
		held := map[arn.Role]bool{}
		for _, m := range old {
			switch {
			case !y.Within(m.Role):
			case slices.Contains(y.Roles, m.Role) && m.Origin == y.Origin && m.IdP == y.IdP:
				held[m.Role] = true
			default: // whoever set it: within its list the assertion's word counts
				if err := remove(t, m); err != nil {
					return err
				}
				if !slices.Contains(y.Roles, m.Role) && !slices.Contains(c.Removed, m.Role) {
					c.Removed = append(c.Removed, m.Role)
				}
			}
		}
		for _, r := range y.Roles {
			if held[r] {
				continue
			}
			held[r] = true
			if !slices.ContainsFunc(old, func(m directory.Mapping) bool { return m.Role == r }) {
				c.Added = append(c.Added, r)
			}
			if err := put(t, directory.Mapping{Subject: string(y.Person), Role: r, Origin: y.Origin, IdP: y.IdP, Set: y.Now}); err != nil {
				return err
			}
		}
		return nil
	})
	return c, err
}

// Own gives the subject's own rights.
func (s Store) Own(ctx context.Context, subject string) (all []directory.Mapping, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		all, err = own(t, subject)
		return err
	})
	return all, err
}

func own(t *sql.Tx, subject string) (all []directory.Mapping, err error) {
	err = t.Each(`SELECT subject, role, origin, idp, set_at FROM role_mapping WHERE subject = $1 ORDER BY role, origin, idp`,
		[]any{subject}, func(scan func(...any) error) error {
			m, err := scanMapping(scan)
			all = append(all, m)
			return err
		})
	return all, err
}

func scanMapping(scan func(...any) error) (m directory.Mapping, err error) {
	var role string
	var set int64
	if err := scan(&m.Subject, &role, &m.Origin, &m.IdP, &set); err != nil {
		return m, err
	}
	m.Set = time.UnixMilli(set).UTC()
	m.Role, err = arn.ParseRole(role)
	return m, err
}

// Held gives every right of a subject and of the groups around it.
func (s Store) Held(ctx context.Context, subject string) (held []directory.HeldMapping, err error) {
	var inside map[string][]directory.Group // by member: the groups it is in
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		held, inside = nil, map[string][]directory.Group{}
		if on, err := active(t, subject); err != nil || !on {
			return err
		}
		return t.Each(aroundAndHeld, []any{subject}, func(scan func(...any) error) error {
			var way bool
			var member, group, name, role, origin, idp string
			var set int64
			if err := scan(&way, &member, &group, &name, &role, &origin, &idp, &set); err != nil {
				return err
			}
			if way {
				inside[member] = append(inside[member], directory.Group{ID: identity.GroupID(group), Name: name})
				return nil
			}
			r, err := arn.ParseRole(role)
			held = append(held, directory.HeldMapping{Mapping: directory.Mapping{Subject: member, Role: r,
				Origin: directory.Origin(origin), IdP: identity.IdPID(idp), Set: time.UnixMilli(set).UTC()}})
			return err
		})
	})
	ways := waysOut(subject, inside)
	for i := range held {
		held[i].Through = ways[held[i].Subject]
	}
	slices.SortFunc(held, func(a, b directory.HeldMapping) int {
		return cmp.Or(strings.Compare(a.Role.String(), b.Role.String()), strings.Compare(a.Subject, b.Subject),
			cmp.Compare(a.Origin, b.Origin), cmp.Compare(a.IdP, b.IdP))
	})
	return held, err
}

// aroundAndHeld gives, in one walk, the memberships around a subject (way) and
// the mappings of all who are around it.
const aroundAndHeld = around + `
	SELECT TRUE, m.member, g.id, g.name, '', '', '', 0
		FROM around a CROSS JOIN group_member m CROSS JOIN person_group g
		WHERE m.member = a.id AND g.id = m.person_group
	UNION ALL
	SELECT FALSE, m.subject, '', '', m.role, m.origin, m.idp, m.set_at
		FROM around a CROSS JOIN role_mapping m WHERE m.subject = a.id`

// active reports whether a subject may hold anything: who is unknown may not.
func active(t *sql.Tx, subject string) (on bool, err error) {
	q := `SELECT active FROM person WHERE id = $1`
	switch {
	case strings.HasPrefix(subject, "spn_"):
		q = `SELECT active FROM service_principal WHERE id = $1`
	case !strings.HasPrefix(subject, "psn_"):
		return false, fault.New(fault.Invalid, "only a person or a service principal holds roles")
	}
	err = t.QueryRow(q, subject).Scan(&on)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return on, err
}

// waysOut gives, for each group around a subject, the shortest way there.
func waysOut(subject string, inside map[string][]directory.Group) map[string][]directory.Group {
	for _, groups := range inside { // of equally short ways, always the same one
		slices.SortFunc(groups, func(a, b directory.Group) int { return strings.Compare(a.Name, b.Name) })
	}
	ways := map[string][]directory.Group{subject: nil}
	for next := []string{subject}; len(next) > 0; next = next[1:] {
		for _, g := range inside[next[0]] {
			if _, seen := ways[string(g.ID)]; !seen {
				ways[string(g.ID)] = append(slices.Clone(ways[next[0]]), g)
				next = append(next, string(g.ID))
			}
		}
	}
	return ways
}
