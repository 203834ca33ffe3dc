package sql

import (
	"context"
	stdsql "database/sql"
	"errors"
)

// Tx is one open transaction. It is good only inside the function it was
// handed to, and for one goroutine.
type Tx struct {
	db       *DB
	tx       *stdsql.Tx
	ctx      context.Context // the caller's, carrying this transaction
	stmt     context.Context // bounds each statement
	readOnly bool
	done     bool
	failed   error // a joined function's error: the whole must not commit
	topics   []string
	after    []func()
}

type txKey struct{}

var (
	errReadOnly = errors.New("sql: a write inside a read transaction")
	errDone     = errors.New("sql: the transaction is over")
	errExited   = errors.New("sql: the function left without returning")
)

// carried gives the transaction of d that ctx carries, if it is still open.
func carried(ctx context.Context, d *DB) *Tx {
	t, ok := ctx.Value(txKey{}).(*Tx)
	if !ok || t.db != d || t.done {
		return nil
	}
	return t
}

// Context carries this transaction to other stores of the same database.
func (t *Tx) Context() context.Context { return t.ctx }

// Exec runs one statement and gives the number of rows it touched.
func (t *Tx) Exec(q string, args ...any) (int64, error) {
	if t.done {
		return 0, errDone
	}
	if t.readOnly {
		return 0, errReadOnly
	}
	var r stdsql.Result
	var err error
	if s := t.statement(q); s != nil {
		r, err = s.ExecContext(t.stmt, args...)
	} else {
		r, err = t.tx.ExecContext(t.stmt, q, args...)
	}
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// Query runs a query. Close the rows before the next statement: PostgreSQL
// has one answer at a time on a connection.
func (t *Tx) Query(q string, args ...any) (*stdsql.Rows, error) {
	if t.done {
		return nil, errDone
	}
	return t.tx.QueryContext(t.stmt, q, args...)
}

// QueryRow runs a query for one row; Scan gives ErrNoRows when there is none.
func (t *Tx) QueryRow(q string, args ...any) *stdsql.Row {
	if s := t.statement(q); s != nil {
		return s.QueryRowContext(t.stmt, args...)
	}
	return t.tx.QueryRowContext(t.stmt, q, args...)
}

// Each runs a query and calls scan for every row, then closes the rows.
func (t *Tx) Each(q string, args []any, scan func(scan func(...any) error) error) (err error) {
	rows, err := t.Query(q, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := scan(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Changed says that this transaction changed what topic stands for: after the
// commit every watcher of the topic, on every server, is called.
func (t *Tx) Changed(topic string) {
	for _, known := range t.topics {
		if known == topic {
			return
		}
	}
	t.topics = append(t.topics, topic)
}

// AfterCommit runs fn in this process once the commit holds, before Write
// returns. A transaction that is rolled back never runs it.
func (t *Tx) AfterCommit(fn func()) { t.after = append(t.after, fn) }

func (t *Tx) join(fn func(*Tx) error) error {
	if t.readOnly {
		return errReadOnly
	}
	err := fn(t)
	if err != nil && t.failed == nil {
		t.failed = err
	}
	return err
}

// announce raises the topics' counters, inside the transaction.
func (t *Tx) announce() error {
	for _, topic := range t.topics {
		if _, err := t.Exec(`INSERT INTO topic (name, stripe, seq) VALUES ($1, $2, 1)
			ON CONFLICT (name, stripe) DO UPDATE SET seq = topic.seq + 1`, topic, t.db.stripe); err != nil {
			return err
		}
		if !t.db.postgres {
			continue
		}
		if _, err := t.Exec(`SELECT pg_notify('carnet_topic', $1)`, topic); err != nil {
			return err
		}
	}
	return nil
}
