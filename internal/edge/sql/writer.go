package sql

import (
	"context"
	stdsql "database/sql"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// writer is the one write stream of this process. Writers that wait for each
// other anyway share a transaction and its commit: each runs in a savepoint of
// its own, and all are acknowledged together.
//
// Who came after a transaction began takes no part in it: what another server has
// committed and answered meanwhile can't be seen in it, and the newcomer may be asked
// about just that. They share the next one.
type writer struct {
	db      *DB
	arrived atomic.Int64 // all writers so far, each with its number
	mu      sync.Mutex   // held while a function runs
	turn    *sync.Cond   // of mu: a transaction has ended
	entered int64        // those that had their turn, or gave up
	open    *batch

	prepared prepared
}

const (
	maxBatch = 128
	// batchTime bounds one shared transaction, so that a database that went
	// silent can't hold the writers for longer.
	batchTime = 15 * time.Second
)

// errLost ends a batch that certainly did not commit: its writers run again.
var errLost = errors.New("sql: the shared transaction was rolled back")

type batch struct {
	tx     *stdsql.Tx
	ctx    context.Context
	stmt   context.Context // of its statements
	cancel context.CancelFunc
	last   int64 // the last writer that may take part
	left   int64 // of those, how many are still to come
	n      int
	broken bool // it must be rolled back whole
	topics []string
	done   chan struct{}
	err    error // read after done
}

// run takes part in the open batch, or opens one.
func (w *writer) run(ctx context.Context, fn func(*Tx) error) error {
	number := w.arrived.Add(1)
	w.mu.Lock()
	for w.open != nil && number > w.open.last {
		w.turn.Wait()
	}
	w.entered++
	b := w.open
	if b != nil {
		b.left--
	} else {
		// Whoever waited behind a silent database doesn't wait for it once more.
		err := errors.Join(ctx.Err(), w.db.hears())
		if err == nil {
			b, err = w.begin()
		}
		if err != nil {
			w.mu.Unlock()
			return err
		}
	}
	b.n++
	t := &Tx{db: w.db, tx: b.tx, stmt: b.stmt}
	t.ctx = context.WithValue(ctx, txKey{}, t)
	err := w.apply(b, t, fn)
	<-b.done
	if gone := hushed(b.ctx, errors.Join(err, b.err)); errors.Is(gone, errSilent) {
		return gone
	}
	if b.err != nil && (err == nil || w.db.conflicting(b.err)) {
		return b.err // also over fn's own error, which may rest on what was rolled back
	}
	if err == nil {
		for _, after := range t.after {
			after()
		}
	}
	return err
}

func (w *writer) begin() (*batch, error) {
	b := &batch{done: make(chan struct{}), last: w.arrived.Load()} // before anything is read in it
	b.left = b.last - w.entered
	b.ctx, b.cancel = w.db.within(context.Background(), batchTime)
	if b.stmt = b.ctx; !w.db.postgres {
		// SQLite's driver sets up a goroutine to break each statement off, which
		// costs as much as a small one does. Nothing is far away here: the
		// transaction as a whole ends in time.
		b.stmt = context.WithoutCancel(b.ctx)
	}
	w.prepared.prepare(b.ctx, w.db)
	tx, err := w.db.write.BeginTx(b.ctx, w.db.writeOptions())
	if err != nil {
		err = hushed(b.ctx, err)
		b.cancel()
		return nil, err
	}
	b.tx, w.open = tx, b
	return b, nil
}

// apply runs fn and releases the stream, even when fn panics or exits.
func (w *writer) apply(b *batch, t *Tx, fn func(*Tx) error) (err error) {
	err = errExited
	defer func() {
		t.done = true
		w.settle(b, t, err)
		if b.broken || b.n >= maxBatch || b.left <= 0 {
			w.open = nil
			b.finish(w.db)
			w.turn.Broadcast()
		}
		w.mu.Unlock()
	}()
	if err := t.ctx.Err(); err != nil {
		return err
	}
	if b.n > 1 {
		if _, err := b.tx.ExecContext(b.stmt, "SAVEPOINT one"); err != nil {
			b.broken = true
			return err
		}
	}
	if err := fn(t); err != nil {
		return err
	}
	if t.failed != nil {
		return t.failed
	}
	return t.announce()
}

// settle keeps what fn did, or takes back that alone.
func (w *writer) settle(b *batch, t *Tx, err error) {
	switch {
	case b.broken:
	case err == nil:
		b.topics = append(b.topics, t.topics...)
		if b.n > 1 {
			_, bad := b.tx.ExecContext(b.stmt, "RELEASE SAVEPOINT one")
			b.broken = bad != nil
		}
	case b.n == 1, w.db.conflicting(err):
		b.broken = true // nobody else is in it, or the engine has given it up
	default:
		_, bad := b.tx.ExecContext(b.stmt, "ROLLBACK TO SAVEPOINT one")
		if bad == nil {
			_, bad = b.tx.ExecContext(b.stmt, "RELEASE SAVEPOINT one")
		}
		b.broken = bad != nil
	}
}

func (b *batch) finish(d *DB) {
	defer b.cancel()
	if b.broken {
		_ = b.tx.Rollback() // the connection is dropped if this fails: nothing stays
		if b.err == nil && b.n > 1 {
			b.err = errLost
		}
	} else if b.err = b.tx.Commit(); b.err == nil && len(b.topics) > 0 {
		d.watch.kick()
	}
	close(b.done)
}
