package sql

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// watch is the poller of this process and those who wait for it.
type watch struct {
	mu       sync.Mutex
	started  bool
	watchers map[string]map[chan struct{}]struct{} // by topic
	wake     chan struct{}
}

// The poll is the net; PostgreSQL's notifications and this process's own
// commits wake it earlier.
const (
	pollSQLite     = 200 * time.Millisecond
	pollPostgreSQL = 500 * time.Millisecond
)

// Watch calls fn after every commit, by any server, of a transaction that said
// Changed(topic); commits close together make one call. Calls don't overlap
// and end with ctx. No change that commits after Watch returned is missed:
// watch first, then load. Errors: the first look at the database failed.
func (d *DB) Watch(ctx context.Context, topic string, fn func()) error {
	if err := d.startWatch(ctx); err != nil {
		return err
	}
	signal := make(chan struct{}, 1)
	d.watch.mu.Lock()
	if d.watch.watchers[topic] == nil {
		d.watch.watchers[topic] = map[chan struct{}]struct{}{}
	}
	d.watch.watchers[topic][signal] = struct{}{}
	d.watch.mu.Unlock()
	d.running.Go(func() {
		defer func() {
			d.watch.mu.Lock()
			delete(d.watch.watchers[topic], signal)
			d.watch.mu.Unlock()
		}()
		for {
			select {
			case <-signal:
				fn()
			case <-ctx.Done():
				return
			case <-d.closing.Done():
				return
			}
		}
	})
	return nil
}

// startWatch reads the counters once and starts the poller.
func (d *DB) startWatch(ctx context.Context) error {
	d.watch.mu.Lock()
	defer d.watch.mu.Unlock()
	if d.watch.started {
		return nil
	}
	seen, err := d.counters(ctx)
	if err != nil {
		return err
	}
	d.watch.started = true
	d.watch.watchers = map[string]map[chan struct{}]struct{}{}
	d.watch.wake = make(chan struct{}, 1)
	d.running.Go(func() { d.poll(seen) })
	if d.postgres {
		d.running.Go(d.listen)
	}
	return nil
}

func (d *DB) poll(seen map[string]int64) {
	every := pollSQLite
	if d.postgres {
		every = pollPostgreSQL
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-d.closing.Done():
			return
		case <-tick.C:
		case <-d.watch.wake:
		}
		now, err := d.counters(d.closing)
		if d.closing.Err() != nil {
			return
		}
		d.say(err)
		if err != nil {
			continue
		}
		for topic, seq := range now {
			if seq != seen[topic] {
				d.watch.signal(topic)
			}
		}
		seen = now
	}
}

// counters gives each topic's sum over the stripes; it only grows.
func (d *DB) counters(ctx context.Context) (map[string]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	seen := map[string]int64{}
	err := d.look(ctx, d.ears, func(t *Tx) error {
		return t.Each(`SELECT name, CAST(SUM(seq) AS BIGINT) FROM topic GROUP BY name`, nil,
			func(scan func(...any) error) error {
				var name string
				var seq int64
				err := scan(&name, &seq)
				seen[name] = seq
				return err
			})
	})
	return seen, err
}

func (w *watch) signal(topic string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.watchers[topic] {
		select {
		case c <- struct{}{}:
		default: // one is waiting already: it will see this change too
		}
	}
}

// kick wakes the poller, if one runs.
func (w *watch) kick() {
	w.mu.Lock()
	wake := w.wake
	w.mu.Unlock()
	if wake == nil {
		return
	}
	select {
	case wake <- struct{}{}:
	default:
	}
}

// listen wakes the poller at each notification of PostgreSQL and comes back
// after a lost connection.
func (d *DB) listen() {
	for d.closing.Err() == nil {
		if err := d.listenOnce(); err != nil && d.closing.Err() == nil {
			d.log.Warn("notifications of the database are interrupted; polling goes on", "error", err)
		}
		select {
		case <-time.After(time.Second):
		case <-d.closing.Done():
		}
	}
}

func (d *DB) listenOnce() error {
	conn, err := d.ears.Conn(d.closing)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	return conn.Raw(func(dc any) error {
		c := dc.(*stdlib.Conn).Conn()
		if err := d.bounded(func(ctx context.Context) error { _, err := c.Exec(ctx, `LISTEN carnet_topic`); return err }); err != nil {
			return err
		}
		for {
			quiet, cancel := context.WithTimeout(d.closing, stillThere)
			_, err := c.WaitForNotification(quiet)
			cancel()
			switch {
			case err == nil:
				d.watch.kick()
			case d.closing.Err() != nil || !pgconn.Timeout(err):
				return err
			default:
				// A line that was cut without a word stays quiet for ever.
				if err := d.bounded(c.Ping); err != nil {
					return err
				}
			}
		}
	})
}

// stillThere is how long a line may be quiet until it is asked whether it is one.
const stillThere = 20 * time.Second

// bounded runs one step of the listener within the time of a look.
func (d *DB) bounded(step func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(d.closing, lookTime)
	defer cancel()
	return step(ctx)
}
