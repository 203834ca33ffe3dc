// Package iam keeps the local authority in SQL. It stores what service/iam has
// checked and gives it back unchanged; it must never apply a change that was
// made for another revision, nor take a unique id twice.
package iam

import (
	"context"
	"fmt"

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
		if state.Revision, err = revision(t); err != nil {
			return err
		}
		for _, table := range tables() {
			if err := table.load(t, "", nil, state.Add); err != nil {
				return err
			}
		}
		return nil
	})
	return state, err
}

func revision(t *sql.Tx) (n int64, err error) {
	err = t.QueryRow(`SELECT revision FROM iam_revision WHERE only_row = 1`).Scan(&n)
	return n, err
}

// mostSince bounds how many records Since reads one by one.
const mostSince = 200

// Since gives what was changed after a revision.
func (s Store) Since(ctx context.Context, since int64) (c iam.Change, ok bool, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		c, ok = iam.Change{}, false
		if c.Revision, err = revision(t); err != nil || c.Revision < since {
			return err
		}
		touched, whole, err := touchedSince(t, since, c.Revision)
		if err != nil || !whole || len(touched) > mostSince {
			return err
		}
		for _, ref := range touched {
			c.Delete = append(c.Delete, ref)
			if err := load(t, ref, func(r iam.Record) { c.Put = append(c.Put, r) }); err != nil {
				return err
			}
		}
		ok = true
		return nil
	})
	return c, ok, err
}

// touchedSince gives what the revisions of (since, newest] touched; whole is
// false where one of them has left no row.
func touchedSince(t *sql.Tx, since, newest int64) (touched []iam.Ref, whole bool, err error) {
	if since == newest {
		return nil, true, nil
	}
	revisions, seen := map[int64]bool{}, map[iam.Ref]bool{}
	err = t.Each(`SELECT revision, kind, account, entity_key FROM iam_change WHERE revision > $1`, []any{since},
		func(scan func(...any) error) error {
			var n int64
			var ref iam.Ref
			if err := scan(&n, &ref.Kind, &ref.Account, &ref.Key); err != nil {
				return err
			}
			revisions[n] = true
			if !seen[ref] && ref.Kind != "" {
				seen[ref] = true
				touched = append(touched, ref)
			}
			return nil
		})
	return touched, int64(len(revisions)) == newest-since, err
}

// remembered is how many revisions iam_change goes back.
const remembered = 1000

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
		for _, ref := range c.Delete {
			if err := take(t, ref, c.Put); err != nil {
				return err
			}
		}
		for _, r := range c.Put {
			if err := put(t, r); err != nil {
				return err
			}
		}
		if err := remember(t, c); err != nil {
			return err
		}
		t.Changed(Topic)
		return note(t.Context())
	})
}

// remember writes down what the change touched. A change of nothing leaves a
// row without a kind.
func remember(t *sql.Tx, c iam.Change) error {
	touched := map[iam.Ref]bool{}
	for _, ref := range c.Delete {
		touched[ref] = true
	}
	for _, r := range c.Put {
		touched[r.Ref()] = true
	}
	if len(touched) == 0 {
		touched[iam.Ref{}] = true
	}
	for ref := range touched {
		if _, err := t.Exec(`INSERT INTO iam_change (revision, kind, account, entity_key) VALUES ($1, $2, $3, $4)`,
			c.Revision+1, string(ref.Kind), ref.Account, ref.Key); err != nil {
			return err
		}
	}
	_, err := t.Exec(`DELETE FROM iam_change WHERE revision <= $1`, c.Revision-remembered)
	return err
}

// unused refuses the id of something that was deleted.
func unused(t *sql.Tx, id string) error {
	var gone int
	if err := t.QueryRow(`SELECT (SELECT COUNT(*) FROM iam_role_gone WHERE id = $1) + (SELECT COUNT(*) FROM iam_entity_gone WHERE id = $1)`,
		id).Scan(&gone); err != nil {
		return err
	}
	if gone > 0 {
		return fault.Coded(fault.Conflict, "iam.id", fmt.Sprintf("the id %s was deleted and can't be used again", id))
	}
	return nil
}
