package directory

import (
	"context"
	"errors"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/directory"
)

const groupQuery = `SELECT g.id, g.name, g.external_id, g.created FROM person_group g `

func scanGroup(scan func(...any) error) (g directory.Group, err error) {
	var created int64
	err = scan(&g.ID, &g.Name, &g.ExternalID, &created)
	g.Created = time.UnixMilli(created).UTC()
	return g, err
}

// oneGroup gives NotFound where the query finds none.
func (s Store) oneGroup(ctx context.Context, where string, args ...any) (g directory.Group, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		g, err = scanGroup(t.QueryRow(groupQuery+where, args...).Scan)
		if errors.Is(err, sql.ErrNoRows) {
			return fault.New(fault.NotFound, "there is no such group")
		}
		return err
	})
	return g, err
}

func (s Store) groups(ctx context.Context, rest string, args ...any) (all []directory.Group, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		all = nil
		return t.Each(groupQuery+rest, args, func(scan func(...any) error) error {
			g, err := scanGroup(scan)
			all = append(all, g)
			return err
		})
	})
	return all, err
}

// GroupByName gives a group, letter case aside.
func (s Store) GroupByName(ctx context.Context, name string) (directory.Group, error) {
	return s.oneGroup(ctx, `WHERE g.name_fold = $1`, directory.Fold(name))
}

// Group gives one group.
func (s Store) Group(ctx context.Context, id identity.GroupID) (directory.Group, error) {
	return s.oneGroup(ctx, `WHERE g.id = $1`, id)
}

// ListGroups lists groups by folded name.
func (s Store) ListGroups(ctx context.Context, after directory.Group, most int) ([]directory.Group, error) {
	return s.groups(ctx, `WHERE g.name_fold > $1 ORDER BY g.name_fold LIMIT $2`, directory.Fold(after.Name), most)
}

// MemberOf gives the groups that a subject is in, not through others.
func (s Store) MemberOf(ctx context.Context, subject string) ([]directory.Group, error) {
	return s.groups(ctx, `JOIN group_member m ON m.person_group = g.id WHERE m.member = $1 ORDER BY g.name_fold`, subject)
}

// Members gives who is in a group, not through others.
func (s Store) Members(ctx context.Context, id identity.GroupID) (all []directory.Member, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		all = nil
		return t.Each(`SELECT m.member, COALESCE(p.user_name, g.name, s.name, '') FROM group_member m
			LEFT JOIN person p ON p.id = m.member LEFT JOIN person_group g ON g.id = m.member
			LEFT JOIN service_principal s ON s.id = m.member
			WHERE m.person_group = $1 ORDER BY SUBSTR(m.member, 1, 4), COALESCE(p.user_name_fold, g.name_fold, s.name_fold), m.member`,
			[]any{id}, func(scan func(...any) error) error {
				var m directory.Member
				err := scan(&m.ID, &m.Name)
				all = append(all, m)
				return err
			})
	})
	return all, err
}
