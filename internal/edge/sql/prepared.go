package sql

import (
	"context"
	stdsql "database/sql"
)

// prepared keeps the statements that SQLite's one write connection runs again
// and again: reading their text is a good part of what a small write costs.
// PostgreSQL's driver does the same by itself. It is used under the writer's
// lock only.
type prepared struct {
	ready  map[string]*stdsql.Stmt
	seen   map[string]bool
	wanted []string
}

// mostPrepared bounds the statements that are kept, and those that are watched
// for coming again.
const mostPrepared = 128

// prepare readies the statements that came twice. No transaction may be open:
// they need its connection.
func (p *prepared) prepare(ctx context.Context, d *DB) {
	for _, q := range p.wanted {
		if len(p.ready) >= mostPrepared {
			break
		}
		if p.ready == nil {
			p.ready = map[string]*stdsql.Stmt{}
		}
		// One that can't be prepared fails again where it is run, and says why.
		if s, err := d.write.PrepareContext(ctx, q); err == nil {
			p.ready[q] = s
		}
	}
	p.wanted = nil
}

// find gives the statement for a text, or notes that it is wanted.
func (p *prepared) find(q string) *stdsql.Stmt {
	if s := p.ready[q]; s != nil {
		return s
	}
	if p.seen[q] {
		p.wanted = append(p.wanted, q)
		delete(p.seen, q)
		return nil
	}
	if p.seen == nil || len(p.seen) >= mostPrepared {
		p.seen = map[string]bool{}
	}
	p.seen[q] = true
	return nil
}

// statement gives the prepared form of q within this transaction; nil where
// there is none.
func (t *Tx) statement(q string) *stdsql.Stmt {
	if t.readOnly || t.db.postgres {
		return nil
	}
	s := t.db.writer.prepared.find(q)
	if s == nil {
		return nil
	}
	return t.tx.StmtContext(t.stmt, s)
}
