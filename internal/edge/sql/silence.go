package sql

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// A database that has ended refuses at once, and so do we. One that hangs (its
// machine stands still, the network swallows what is sent) says nothing: each
// request would wait for its own bound, and writes wait behind each other. So
// the poller, which looks twice a second anyway, tells everybody: while its last
// look found silence, new work is refused at once. The poller alone goes on
// asking, and its first answer ends the silence.

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
	found  atomic.Bool
	failed atomic.Bool // it refused, and the log has it
}

// say notes what a look of the poller ended with, and logs what is new.
func (d *DB) say(err error) {
	var n net.Error
	silent := errors.Is(err, context.DeadlineExceeded) || pgconn.Timeout(err) || errors.As(err, &n) && n.Timeout()
	was := d.silence.found.Swap(silent)
	switch {
	case silent && !was:
		d.log.Error("the database is silent; what needs it is refused at once until it answers", "error", err)
	case err != nil && !silent && d.silence.failed.CompareAndSwap(false, true):
		d.log.Warn("changes of other servers can't be read", "error", err)
	case err == nil:
		if failed := d.silence.failed.Swap(false); failed || was {
			d.log.Info("the database answers again")
		}
	}
}

// hears fails while the database is silent.
func (d *DB) hears() error {
	if d.silence.found.Load() {
		return errSilent
	}
	return nil
}
