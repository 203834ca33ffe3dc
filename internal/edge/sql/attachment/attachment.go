// Package attachment keeps attachments, and what nodes ask until its person decides,
// in SQL. A uid of a node is one person's while anything lives under it: a row of its
// own says so, whose key is the uid.
package attachment

import (
	"context"
	"errors"
	"fmt"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/attachment"
)

// Topic is raised when an attachment is made, changed or ended.
const Topic = "attachment"

// Store is every store interface of service/attachment on a database.
type Store struct{ DB *sql.DB }

var (
	_ attachment.Requests = Store{}
	_ attachment.Changes  = Store{}
	_ attachment.Lists    = Store{}
)

// Watch calls changed after every change by any server.
func (s Store) Watch(ctx context.Context, changed func()) error {
	return s.DB.Watch(ctx, Topic, changed)
}

const columns = `id, cluster, node, uid, scope, scope_id, account, person, idp, name, login_session, delegation, how, orchestrator, role, made, expires, ended, why, epoch`

// Add stores an attachment, where its uid is nobody else's.
func (s Store) Add(ctx context.Context, a attachment.Attachment) error {
	taken := fault.Coded(fault.Conflict, "attachment.uid", fmt.Sprintf("somebody else is attached under uid %d of this node", a.Place.UID)).
		WithMend("work under an account of your own there, or have them detach: two people never share a uid")
	p := a.Place
	err := s.DB.Write(ctx, func(t *sql.Tx) error {
		t.Changed(Topic)
		if err := release(t, p.Node, p.UID, a.Made); err != nil {
			return err
		}
		if _, err := t.Exec(`INSERT INTO attachment_uid (node, uid, person) VALUES ($1, $2, $3) ON CONFLICT (node, uid) DO NOTHING`, p.Node, int64(p.UID), a.Person); err != nil {
			return err
		}
		var owner identity.PersonID
		if err := t.QueryRow(`SELECT person FROM attachment_uid WHERE node = $1 AND uid = $2`, p.Node, int64(p.UID)).Scan(&owner); err != nil {
			return err
		}
		if owner != a.Person {
			return taken
		}
		_, err := t.Exec(`INSERT INTO attachment (`+columns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)`,
			a.ID, a.Cluster, p.Node, int64(p.UID), p.Scope, int64(p.ScopeID), p.Account, a.Person, a.IdP, a.Name, a.LoginSession, a.Delegation, string(a.How), a.By,
			roleText(a.Role), a.Made.UnixMilli(), a.Expires.UnixMilli(), millis(a.Ended), a.Why, int64(a.Epoch))
		return err
	})
	if sql.IsDuplicate(err) {
		return taken.WithCause(err)
	}
	return err
}

// release gives a uid back under which nothing lives.
func release(t *sql.Tx, node identity.NodeID, uid uint32, now time.Time) error {
	_, err := t.Exec(`DELETE FROM attachment_uid WHERE node = $1 AND uid = $2 AND NOT EXISTS (
		SELECT 1 FROM attachment WHERE attachment.node = $1 AND attachment.uid = $2 AND ended = 0 AND expires > $3)`, node, int64(uid), now.UnixMilli())
	return err
}

// SetRole changes the current role of a live attachment.
func (s Store) SetRole(ctx context.Context, id identity.AttachmentID, role arn.Role) (done bool, err error) {
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		n, err := t.Exec(`UPDATE attachment SET role = $2 WHERE id = $1 AND ended = 0`, id, roleText(role))
		if done = n == 1; done {
			t.Changed(Topic)
		}
		return err
	})
	return done && err == nil, err
}

// End ends a live attachment, and gives its uid back where it was the last.
func (s Store) End(ctx context.Context, id identity.AttachmentID, why string, at time.Time) (done bool, err error) {
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		n, err := t.Exec(`UPDATE attachment SET ended = $2, why = $3 WHERE id = $1 AND ended = 0`, id, at.UnixMilli(), why)
		if done = n == 1; err != nil || !done {
			return err
		}
		t.Changed(Topic)
		var node identity.NodeID
		var uid int64
		if err := t.QueryRow(`SELECT node, uid FROM attachment WHERE id = $1`, id).Scan(&node, &uid); err != nil {
			return err
		}
		return release(t, node, uint32(uid), at)
	})
	return done && err == nil, err
}

// SweepEnded deletes attachments that ended before a time.
func (s Store) SweepEnded(ctx context.Context, before time.Time) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		_, err := t.Exec(`DELETE FROM attachment WHERE ended <> 0 AND ended < $1`, before.UnixMilli())
		return err
	})
}

// Attachment gives one.
func (s Store) Attachment(ctx context.Context, id identity.AttachmentID) (a attachment.Attachment, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		a, err = scan(t.QueryRow(`SELECT `+columns+` FROM attachment WHERE id = $1`, id).Scan)
		if errors.Is(err, sql.ErrNoRows) {
			return fault.Coded(fault.NotFound, "attachment.unknown", "there is no such attachment")
		}
		return err
	})
	return a, err
}

// Live gives those that have not been ended.
func (s Store) Live(ctx context.Context) ([]attachment.Attachment, error) {
	return s.list(ctx, `WHERE ended = 0 ORDER BY made, id`)
}

// At gives those under a uid of a node that have not been ended.
func (s Store) At(ctx context.Context, node identity.NodeID, uid uint32) ([]attachment.Attachment, error) {
	return s.list(ctx, `WHERE node = $1 AND uid = $2 AND ended = 0 ORDER BY made, id`, node, int64(uid))
}

// Of lists those of a person, of a cluster, or all.
func (s Store) Of(ctx context.Context, person identity.PersonID, cluster identity.ClusterID, most int) ([]attachment.Attachment, error) {
	return s.list(ctx, `WHERE ($1 = '' OR person = $1) AND ($2 = '' OR cluster = $2) ORDER BY made DESC, id LIMIT $3`, string(person), string(cluster), most)
}

func (s Store) list(ctx context.Context, where string, args ...any) (all []attachment.Attachment, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		all = nil
		return t.Each(`SELECT `+columns+` FROM attachment `+where, args, func(row func(...any) error) error {
			a, err := scan(row)
			all = append(all, a)
			return err
		})
	})
	return all, err
}

func scan(row func(...any) error) (a attachment.Attachment, err error) {
	var uid, scopeID, made, expires, ended, epoch int64
	var how, role string
	p := &a.Place
	if err := row(&a.ID, &a.Cluster, &p.Node, &uid, &p.Scope, &scopeID, &p.Account, &a.Person, &a.IdP, &a.Name, &a.LoginSession, &a.Delegation, &how, &a.By,
		&role, &made, &expires, &ended, &a.Why, &epoch); err != nil {
		return a, err
	}
	p.UID, p.ScopeID, a.How, a.Epoch = uint32(uid), uint64(scopeID), attachment.How(how), uint64(epoch)
	a.Made, a.Expires, a.Ended = at(made), at(expires), at(ended)
	if role != "" {
		if a.Role, err = arn.ParseRole(role); err != nil {
			return a, fmt.Errorf("attachment %s: %w", a.ID, err)
		}
	}
	return a, nil
}

func roleText(r arn.Role) string {
	if r.IsZero() {
		return ""
	}
	return r.String()
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func at(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
