package attachment

import (
	"context"
	"errors"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/attachment"
)

const requestColumns = `request, user_code, node, uid, scope, scope_id, account, asked, expires, state, attachment`

// Put stores a request. Of one uid the oldest that wait make place, and the oldest
// that were decided. Only those that wait count for the node: many people attach
// within the time of one code.
func (s Store) Put(ctx context.Context, r attachment.Request, perUID, perNode int) error {
	p := r.Place
	err := s.DB.Write(ctx, func(t *sql.Tx) error {
		for _, old := range []struct {
			is   string
			left int
		}{{"=", perUID - 1}, {"<>", perUID}} {
			if _, err := t.Exec(`DELETE FROM attachment_request WHERE node = $1 AND uid = $2 AND state `+old.is+` $3 AND request NOT IN (
				SELECT request FROM attachment_request WHERE node = $1 AND uid = $2 AND state `+old.is+` $3 AND expires > $4 ORDER BY asked DESC, request LIMIT $5)`,
				p.Node, int64(p.UID), string(attachment.Pending), r.Asked.UnixMilli(), old.left); err != nil {
				return err
			}
		}
		var have int
		if err := t.QueryRow(`SELECT COUNT(*) FROM attachment_request WHERE node = $1 AND state = $2 AND expires > $3`,
			p.Node, string(attachment.Pending), r.Asked.UnixMilli()).Scan(&have); err != nil {
			return err
		}
		if have >= perNode {
			return fault.Coded(fault.Limited, "attachment.busy", "too many on this node wait for somebody to approve them").WithMend("wait a minute, then try again")
		}
		_, err := t.Exec(`INSERT INTO attachment_request (`+requestColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
			r.Digest[:], r.UserCode, p.Node, int64(p.UID), p.Scope, int64(p.ScopeID), p.Account, r.Asked.UnixMilli(), r.Expires.UnixMilli(), string(r.State), r.Attachment)
		return err
	})
	if sql.IsDuplicate(err) {
		return fault.Wrap(err, fault.Conflict, "the code is another's").WithCode("attachment.code")
	}
	return err
}

// Asked gives the request that a node asks with.
func (s Store) Asked(ctx context.Context, digest [32]byte) (attachment.Request, error) {
	return s.request(ctx, `request = $1`, digest[:])
}

// Typed gives the request of a user code.
func (s Store) Typed(ctx context.Context, userCode string) (attachment.Request, error) {
	return s.request(ctx, `user_code = $1`, userCode)
}

func (s Store) request(ctx context.Context, where string, arg any) (r attachment.Request, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		var digest []byte
		var uid, scopeID, asked, expires int64
		var state string
		p := &r.Place
		err := t.QueryRow(`SELECT `+requestColumns+` FROM attachment_request WHERE `+where, arg).
			Scan(&digest, &r.UserCode, &p.Node, &uid, &p.Scope, &scopeID, &p.Account, &asked, &expires, &state, &r.Attachment)
		if errors.Is(err, sql.ErrNoRows) {
			return fault.New(fault.NotFound, "there is no such request")
		}
		if err != nil {
			return err
		}
		if len(digest) != len(r.Digest) {
			return errors.New("sql/attachment: a stored digest has the wrong length")
		}
		r.Digest, r.State, p.UID, p.ScopeID = [32]byte(digest), attachment.State(state), uint32(uid), uint64(scopeID)
		r.Asked, r.Expires = at(asked), at(expires)
		return nil
	})
	return r, err
}

// Decide moves a request that waits to a state.
func (s Store) Decide(ctx context.Context, userCode string, to attachment.State, made identity.AttachmentID, now time.Time) (done bool, err error) {
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		n, err := t.Exec(`UPDATE attachment_request SET state = $2, attachment = $3 WHERE user_code = $1 AND state = $4 AND expires > $5`,
			userCode, string(to), made, string(attachment.Pending), now.UnixMilli())
		done = n == 1
		return err
	})
	return done && err == nil, err
}

// Sweep deletes requests that ended before a time.
func (s Store) Sweep(ctx context.Context, before time.Time) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		_, err := t.Exec(`DELETE FROM attachment_request WHERE expires < $1`, before.UnixMilli())
		return err
	})
}
