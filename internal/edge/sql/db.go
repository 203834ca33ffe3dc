// Package sql is the ground of all state: one database, two engines.
//
// SQLite serves one server, PostgreSQL several equal ones. Owners write one SQL
// text for both: $1 placeholders, times as BIGINT milliseconds UTC, BLOB (which
// migrations turn into BYTEA on PostgreSQL), BIGINT and BOOLEAN. Transactions
// are serializable on both engines, so what was read in one still holds when it
// commits. It must never retry a function whose commit may have happened, and
// never acknowledge a write that a power cut could take back.
package sql

import (
	"context"
	stdsql "database/sql"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
)

// ErrNoRows is what a row's Scan gives when the query found nothing.
var ErrNoRows = stdsql.ErrNoRows

// Config says where the state lives. Exactly one of SQLite and PostgreSQL is set.
type Config struct {
	// SQLite is the path of the database file. It is made, readable by its
	// owner alone, when it doesn't exist; its folder must exist.
	SQLite string
	// PostgreSQL is a connection string (URL or key=value form).
	PostgreSQL secret.Text
	// Logger takes what happens in the background. Nil discards it.
	Logger *slog.Logger
}

// DB is one open database. Safe for concurrent use.
type DB struct {
	write    *stdsql.DB
	read     *stdsql.DB
	ears     *stdsql.DB // the poller's own: slow reads can't make it deaf
	postgres bool
	log      *slog.Logger
	writer   writer
	watch    watch
	silence  silence
	stripe   int64
	closing  context.Context
	close    context.CancelFunc
	running  sync.WaitGroup
}

// stripes bounds the rows of one topic.
const stripes = 64

// Open opens the database and proves that it answers. It changes nothing in
// it; see Migrate.
func Open(ctx context.Context, c Config) (*DB, error) {
	if (c.SQLite == "") == c.PostgreSQL.IsZero() {
		return nil, fault.New(fault.Misconfigured, "the database is either SQLite or PostgreSQL").
			WithMend("set exactly one of database.sqlite and database.postgresql_dsn_file")
	}
	d := &DB{log: c.Logger, stripe: rand.Int64N(stripes)}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	d.closing, d.close = context.WithCancel(context.Background())
	d.silence.set(false)
	var err error
	if c.SQLite != "" {
		err = d.openSQLite(c.SQLite)
	} else {
		err = d.openPostgreSQL(c.PostgreSQL)
	}
	if err != nil {
		d.close()
		return nil, err
	}
	d.writer.db = d
	d.writer.turn = sync.NewCond(&d.writer.mu)
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := d.write.PingContext(ctx); err != nil {
		return nil, errors.Join(d.classify(err), d.Close())
	}
	return d, nil
}

// Close ends the watches and waits for them, then closes the connections.
func (d *DB) Close() error {
	d.close()
	d.running.Wait()
	err := errors.Join(d.read.Close(), d.write.Close())
	if d.ears != d.read {
		err = errors.Join(err, d.ears.Close())
	}
	return err
}

// Engine gives "sqlite" or "postgresql".
func (d *DB) Engine() string {
	if d.postgres {
		return "postgresql"
	}
	return "sqlite"
}

// Write runs fn in one serializable transaction and commits it. When fn or
// the commit meets a conflict with another writer, everything is rolled back
// and fn runs again, so it must do nothing outside the transaction but compute.
// A ctx that already carries a transaction of this database (Tx.Context)
// makes fn part of that one, and its error fails the whole.
//
// Concurrent writes of this process share one commit, so that a synced write
// costs one sync for all who wait. fn sees everything that was committed before
// Write was called, by whichever server. Errors: fn's own; a fault Unavailable
// ("state.unavailable") when the database doesn't answer, in bounded time: at
// once where that is known.
func (d *DB) Write(ctx context.Context, fn func(*Tx) error) error {
	if outer := carried(ctx, d); outer != nil {
		return outer.join(fn)
	}
	begun := time.Now()
	for try := 0; ; try++ {
		err := d.writer.run(ctx, fn)
		if !d.conflicting(err) || time.Since(begun) > longestTrying {
			return d.classify(err)
		}
		time.Sleep(time.Duration(1+rand.IntN(4<<min(try, 6))) * time.Millisecond)
	}
}

// longestTrying bounds how long a conflicting transaction is run again.
const longestTrying = 10 * time.Second

// Atomic makes one transaction of several stores' methods: every Write and Read
// of this database that gets the inner context is part of it. What is said of
// Write's fn holds here too: it may run more than once.
func (d *DB) Atomic(ctx context.Context, fn func(context.Context) error) error {
	return d.Write(ctx, func(t *Tx) error { return fn(t.Context()) })
}

// Read runs fn on one consistent snapshot, in bounded time. A ctx that carries a
// transaction of this database makes fn read inside that one. Errors: as Write.
func (d *DB) Read(ctx context.Context, fn func(*Tx) error) error {
	if outer := carried(ctx, d); outer != nil {
		return fn(outer)
	}
	if err := d.hears(); err != nil {
		return d.classify(err)
	}
	if d.postgres { // what is asked of SQLite is answered by this process
		var cancel context.CancelFunc
		ctx, cancel = d.within(ctx, readTime)
		defer cancel()
	}
	return d.classify(hushed(ctx, d.look(ctx, d.read, fn)))
}

// look is Read without its bounds, by one of the pools.
func (d *DB) look(ctx context.Context, by *stdsql.DB, fn func(*Tx) error) error {
	tx, err := by.BeginTx(ctx, d.readOptions())
	if err != nil {
		return d.classify(err)
	}
	defer func() { _ = tx.Rollback() }() // a read has nothing to commit
	t := &Tx{db: d, tx: tx, stmt: ctx, readOnly: true}
	defer func() { t.done = true }()
	t.ctx = context.WithValue(ctx, txKey{}, t)
	return d.classify(fn(t))
}

// classify turns what a driver says into a fault; other errors pass unchanged.
func (d *DB) classify(err error) error {
	var f *fault.Fault
	switch {
	case err == nil, errors.As(err, &f):
		return err
	case errors.Is(err, errSilent), d.away(err), d.conflicting(err):
		return fault.Wrap(err, fault.Unavailable, "the database doesn't answer").
			WithCode("state.unavailable").WithMend("try again in a moment")
	}
	return err
}
