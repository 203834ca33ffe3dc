// Package audit keeps the audit trail in SQL. Records are only ever inserted;
// nothing here can change or delete one.
package audit

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"time"

	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/audit"
)

// Store is audit.Store and audit.Trail on a database.
type Store struct{ DB *sql.DB }

var (
	_ audit.Store = Store{}
	_ audit.Trail = Store{}
)

// Atomic makes one transaction of what fn does.
func (s Store) Atomic(ctx context.Context, fn func(context.Context) error) error {
	return s.DB.Atomic(ctx, fn)
}

// Head gives the end of a chain; zero for one that hasn't begun.
func (s Store) Head(ctx context.Context, writer string) (h audit.Head, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		h = audit.Head{Writer: writer}
		var hash []byte
		err := t.QueryRow(`SELECT seq, hash FROM audit_chain WHERE writer = $1`, writer).Scan(&h.Seq, &hash)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		h.Hash = wholeHash(hash)
		return err
	})
	return h, err
}

// wholeHash reads a hash: one of another length is none, so nothing is equal to it.
func wholeHash(b []byte) (h [32]byte) {
	if len(b) == len(h) {
		copy(h[:], b)
	}
	return h
}

// inserts are the statements that insert 1, 2, 4, 8 and 16 records: one of many
// rows costs half of what as many statements do.
var inserts = [...]string{insert(1), insert(2), insert(4), insert(8), insert(16)}

func insert(rows int) string {
	var b strings.Builder
	b.WriteString("INSERT INTO audit_record (writer, seq, at, action, person, body, hash) VALUES ")
	for i := range rows {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "($%d, $%d, $%d, $%d, $%d, $%d, $%d)", 7*i+1, 7*i+2, 7*i+3, 7*i+4, 7*i+5, 7*i+6, 7*i+7)
	}
	return b.String()
}

// Append stores records that follow after, and moves the head.
func (s Store) Append(ctx context.Context, after audit.Head, records []audit.Record) (ok bool, err error) {
	if len(records) == 0 {
		return true, nil
	}
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		if ok, err = move(t, after, records[len(records)-1]); err != nil || !ok {
			return err
		}
		for rest := records; len(rest) > 0; {
			n := 1 << min(bits.Len(uint(len(rest)))-1, len(inserts)-1)
			args := make([]any, 0, 7*n)
			for _, r := range rest[:n] {
				args = append(args, r.Writer, r.Seq, r.At.UnixMilli(), r.Action, r.Person, r.Body, r.Hash[:])
			}
			if _, err := t.Exec(inserts[bits.Len(uint(n))-1], args...); err != nil {
				return err
			}
			rest = rest[n:]
		}
		return nil
	})
	return ok, err
}

// move moves the head of a chain, if it stands where it is said to.
func move(t *sql.Tx, from audit.Head, to audit.Record) (ok bool, err error) {
	var n int64
	if from.Seq == 0 {
		n, err = t.Exec(`INSERT INTO audit_chain (writer, seq, hash) VALUES ($1, $2, $3) ON CONFLICT (writer) DO NOTHING`, to.Writer, to.Seq, to.Hash[:])
	} else {
		n, err = t.Exec(`UPDATE audit_chain SET seq = $2, hash = $3 WHERE writer = $1 AND seq = $4 AND hash = $5`, to.Writer, to.Seq, to.Hash[:], from.Seq, from.Hash[:])
	}
	return n == 1, err
}

// PutCheckpoint stores a signed head.
func (s Store) PutCheckpoint(ctx context.Context, c audit.Checkpoint) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		_, err := t.Exec(`INSERT INTO audit_checkpoint (writer, seq, hash, at, signer, signature)
			VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (writer, seq) DO NOTHING`,
			c.Writer, c.Seq, c.Hash[:], c.At.UnixMilli(), c.Signer, c.Signature)
		return err
	})
}

// Signers gives the signing keys, newest first, and stores the first one.
func (s Store) Signers(ctx context.Context, add *audit.Signer) (all []audit.Signer, err error) {
	read := func(t *sql.Tx) error {
		all = nil
		return t.Each(`SELECT id, public, sealed, created FROM audit_signer ORDER BY created DESC, id`, nil,
			func(scan func(...any) error) error {
				var k audit.Signer
				var created int64
				err := scan(&k.ID, (*[]byte)(&k.Public), &k.Sealed, &created)
				k.Created = time.UnixMilli(created).UTC()
				all = append(all, k)
				return err
			})
	}
	if add == nil {
		err = s.DB.Read(ctx, read)
		return all, err
	}
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		if err := read(t); err != nil || len(all) > 0 {
			return err
		}
		if _, err := t.Exec(`INSERT INTO audit_signer (id, public, sealed, created) VALUES ($1, $2, $3, $4)`,
			add.ID, []byte(add.Public), add.Sealed, add.Created.UnixMilli()); err != nil {
			return err
		}
		return read(t)
	})
	return all, err
}

// Heads gives the end of every chain.
func (s Store) Heads(ctx context.Context) (all []audit.Head, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		all = nil
		return t.Each(`SELECT writer, seq, hash FROM audit_chain ORDER BY writer`, nil, func(scan func(...any) error) error {
			var h audit.Head
			var hash []byte
			err := scan(&h.Writer, &h.Seq, &hash)
			h.Hash = wholeHash(hash)
			all = append(all, h)
			return err
		})
	})
	return all, err
}

// Writers gives the names of all chains that have records.
func (s Store) Writers(ctx context.Context) (all []string, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		all = nil
		return t.Each(`SELECT DISTINCT writer FROM audit_record ORDER BY writer`, nil, func(scan func(...any) error) error {
			var w string
			err := scan(&w)
			all = append(all, w)
			return err
		})
	})
	return all, err
}

// Records gives a chain in pages.
func (s Store) Records(ctx context.Context, writer string, after int64, most int) (all []audit.Record, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		all, err = records(t, `writer = $1 AND seq > $2 ORDER BY seq LIMIT $3`, writer, after, most)
		return err
	})
	return all, err
}

// records gives those that the end of a query, from its conditions on, names.
func records(t *sql.Tx, which string, args ...any) (all []audit.Record, err error) {
	err = t.Each(`SELECT writer, seq, at, action, person, body, hash FROM audit_record WHERE `+which, args, func(scan func(...any) error) error {
		var r audit.Record
		var at int64
		var hash []byte
		err := scan(&r.Writer, &r.Seq, &at, &r.Action, &r.Person, &r.Body, &hash)
		r.At = time.UnixMilli(at).UTC()
		r.Hash = wholeHash(hash)
		all = append(all, r)
		return err
	})
	return all, err
}

// Checkpoints gives all signed heads.
func (s Store) Checkpoints(ctx context.Context) (all []audit.Checkpoint, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		all = nil
		return t.Each(`SELECT `+checkpointColumns+` FROM audit_checkpoint ORDER BY writer, seq`, nil,
			func(scan func(...any) error) error {
				c, err := checkpointIn(scan)
				all = append(all, c)
				return err
			})
	})
	return all, err
}

const checkpointColumns = `writer, seq, hash, at, signer, signature`

func checkpointIn(scan func(...any) error) (c audit.Checkpoint, err error) {
	var at int64
	var hash []byte
	err = scan(&c.Writer, &c.Seq, &hash, &at, &c.Signer, &c.Signature)
	c.At, c.Hash = time.UnixMilli(at).UTC(), wholeHash(hash)
	return c, err
}
