package sql

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// A database that has ended refuses at once, and so do we. One that hangs (its
// machine stands still, the network swallows what is sent) says nothing: each
// request would wait for its own bound, and writes wait behind each other. So
// the poller, which looks twice a second anyway, tells everybody: once its look
// finds silence, what is under way is broken off and new work is refused at once.
// The poller alone goes on asking, and its first answer ends the silence.

const (
	// lookTime bounds one look of the poller. It is the longest time until
	// silence is known.
	lookTime = 5 * time.Second
	// readTime bounds a read, with its wait for a connection. It is longer than
	// the time that PostgreSQL gives a statement, so that a slow one fails there
	// and keeps its connection.
	readTime = 12 * time.Second
)

var errSilent = errors.New("sql: the database is silent")

// silence is what the poller found last.
type silence struct {
	failed bool // it refused, and the log has it

	mu sync.Mutex
	// heard ends, because of errSilent, when the database has gone silent: what is
	// under way need not wait for its own bound. hush ends it.
	heard context.Context
	hush  context.CancelCauseFunc
}

func (s *silence) now() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard
}

// set notes whether the database is silent, and reports a change.
func (s *silence) set(silent bool) (changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.heard != nil && silent == (s.heard.Err() != nil) {
		return false
	}
	if silent {
		s.hush(errSilent)
	} else {
		s.heard, s.hush = context.WithCancelCause(context.Background())
	}
	return true
}

// say notes what a look of the poller ended with, and logs what is new.
func (d *DB) say(err error) {
	var n net.Error
	silent := d.postgres && (errors.Is(err, context.DeadlineExceeded) || pgconn.Timeout(err) || errors.As(err, &n) && n.Timeout())
	changed := d.silence.set(silent)
	switch {
	case silent && changed:
		d.log.Error("the database is silent; what needs it is refused at once until it answers", "error", err)
	case err != nil && !silent && !d.silence.failed:
		d.log.Warn("changes of other servers can't be read", "error", err)
	case err == nil && (changed || d.silence.failed):
		d.log.Info("the database answers again")
	}
	d.silence.failed = err != nil
}

// hears fails while the database is silent.
func (d *DB) hears() error { return context.Cause(d.silence.now()) }

// within bounds work by a time, and by the database's silence.
func (d *DB) within(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	ctx, end := context.WithTimeout(ctx, limit)
	ctx, hush := context.WithCancelCause(ctx)
	stop := context.AfterFunc(d.silence.now(), func() { hush(errSilent) })
	return ctx, func() { stop(); hush(nil); end() }
}

// hushed gives errSilent in place of an error that silence brought about.
func hushed(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), errSilent) {
		return errSilent
	}
	return err
}
