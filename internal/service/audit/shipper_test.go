package audit_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/sql"
	sqlaudit "carnet.dev/carnet/internal/edge/sql/audit"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/audit"
)

// place is a target in memory, which can be made to fail.
type place struct {
	mu     sync.Mutex
	name   string
	taken  map[string][]int64 // by chain
	puts   []int              // how many documents came at once
	refuse func(d []audit.Document) error
}

func newPlace(name string) *place { return &place{name: name, taken: map[string][]int64{}} }

func (p *place) Name() string { return p.name }

func (p *place) Put(_ context.Context, documents []audit.Document) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.puts = append(p.puts, len(documents))
	if p.refuse != nil {
		if err := p.refuse(documents); err != nil {
			return err
		}
	}
	for _, d := range documents {
		p.taken[d.Chain.Writer] = append(p.taken[d.Chain.Writer], d.Chain.Seq)
	}
	return nil
}

func (p *place) failing(fn func([]audit.Document) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = fn
}

// has holds what a chain's records came as: each, in order, once.
func (p *place) has(t *testing.T, writer string, want int64) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	got := p.taken[writer]
	if int64(len(got)) != want {
		t.Fatalf("%d records of %s came, want %d: %v", len(got), writer, want, got)
	}
	for i, seq := range got {
		if seq != int64(i)+1 {
			t.Fatalf("record %d of %s came as number %d", seq, writer, i+1)
		}
	}
}

var errAway = fault.New(fault.Unavailable, "the collector is away")

// clock is a time that stands still until it is moved.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.at }
func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func shipper(db *sql.DB, p *place, server string, now func() time.Time, change ...func(*audit.ShipperConfig)) *audit.Shipper {
	c := audit.ShipperConfig{Target: p, Places: sqlaudit.Store{DB: db}, Server: server, Now: now}
	for _, f := range change {
		f(&c)
	}
	return audit.NewShipper(c)
}

func write(t *testing.T, w *audit.Writer, n int) {
	t.Helper()
	for range n {
		record(t, w, "sign-in")
	}
}

// TestShip: every record of every chain, in order, once; another server goes on where
// this one ended; one target that is away holds no other back.
func TestShip(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		db := sqltest.OpenWith(t, c)
		r, time0 := ring(t, db), &clock{at: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
		a, b := open(t, db, r, nil), open(t, db, r, nil)
		write(t, a, 7)
		write(t, b, 3)
		good, away := newPlace("good"), newPlace("away")
		away.failing(func([]audit.Document) error { return errAway })
		small := func(c *audit.ShipperConfig) { c.Most = 3 }
		one, other, stuck := shipper(db, good, "srv_1", time0.now, small), shipper(db, good, "srv_2", time0.now, small), shipper(db, away, "srv_1", time0.now)
		for one.Round(t.Context()) == 0 {
			if pause := other.Round(t.Context()); pause != 5*time.Second {
				t.Fatalf("the server that has not the target looks again after %s", pause)
			}
		}
		for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
			if pause := stuck.Round(t.Context()); pause != want*time.Second {
				t.Errorf("failure %d: looks again after %s", i, pause)
			}
			time0.move(time.Second)
		}
		good.has(t, a.Chain(), 7)
		good.has(t, b.Chain(), 3)
		if st := stuck.State(); st.Records != 10 || st.Trouble != "the collector is away" || !st.Holds || st.Oldest.IsZero() {
			t.Errorf("the target that is away: %+v", st)
		}
		if st := one.State(); st.Records != 0 && st.Taken != 10 || !st.Holds {
			t.Errorf("the good one: %+v", st)
		}

		// A server that ends well leaves at once; one that is killed when its lease ends.
		write(t, b, 2)
		one.Leave(t.Context())
		for other.Round(t.Context()) == 0 {
		}
		good.has(t, b.Chain(), 5)
		write(t, a, 2)
		third := shipper(db, good, "srv_3", time0.now)
		if third.Round(t.Context()); third.State().Holds {
			t.Fatal("two servers feed one target")
		}
		time0.move(46 * time.Second)
		for third.Round(t.Context()) == 0 {
		}
		good.has(t, a.Chain(), 9)

		away.failing(nil)
		for stuck.Round(t.Context()) == 0 {
		}
		away.has(t, a.Chain(), 9)
		away.has(t, b.Chain(), 5)
		if st := stuck.State(); st.Records != 0 || st.Trouble != "" {
			t.Errorf("back again: %+v", st)
		}
		states, err := sqlaudit.Store{DB: db}.Targets(t.Context())
		if err != nil || len(states) != 2 || states[0].Trouble != "" || states[0].Taken.IsZero() || states[1].Holder != "srv_3" {
			t.Errorf("%+v, %v", states, err)
		}
	})
}

// TestShipLostLease: a server whose lease went to another meanwhile notes nothing, and
// what it brought comes once more.
func TestShipLostLease(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		db := sqltest.OpenWith(t, c)
		w, time0 := open(t, db, ring(t, db), nil), &clock{at: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
		write(t, w, 4)
		p := newPlace("syslog")
		slow, fast := shipper(db, p, "srv_slow", time0.now), shipper(db, p, "srv_fast", time0.now)
		taken := false
		p.failing(func([]audit.Document) error {
			if taken {
				return nil
			}
			taken = true
			time0.move(time.Hour) // the machine stood still
			p.mu.Unlock()
			defer p.mu.Lock()
			for fast.Round(t.Context()) == 0 {
			}
			return nil
		})
		slow.Round(t.Context())
		if slow.State().Holds || !fast.State().Holds {
			t.Error("the one that came late thinks that it holds the target")
		}
		if got := p.taken[w.Chain()]; fmt.Sprint(got) != "[1 2 3 4 1 2 3 4]" {
			t.Errorf("came as %v", got)
		}
	})
}

// TestShipRefused: of records that a target refuses it gets all before the first that
// it can't take; other chains go on; nothing is skipped.
func TestShipRefused(t *testing.T) {
	t.Parallel()
	db := sqltest.Open(t)
	r := ring(t, db)
	a, b := open(t, db, r, nil), open(t, db, r, nil)
	write(t, a, 10)
	write(t, b, 4)
	p := newPlace("collector")
	p.failing(func(d []audit.Document) error {
		if slices.ContainsFunc(d, func(d audit.Document) bool { return d.Chain.Writer == a.Chain() && d.Chain.Seq == 7 }) {
			return fault.New(fault.Invalid, "answers 400 Bad Request")
		}
		return nil
	})
	s := shipper(db, p, "srv_1", time.Now)
	for range 8 {
		s.Round(t.Context())
	}
	p.has(t, a.Chain(), 6)
	p.has(t, b.Chain(), 4)
	if st := s.State(); !strings.Contains(st.Trouble, "record 7 of chain "+a.Chain()+" is refused: answers 400") || st.Records != 4 {
		t.Errorf("%+v", st)
	}
	p.failing(nil)
	for s.Round(t.Context()) == 0 {
	}
	p.has(t, a.Chain(), 10)
}

// TestShipWaitsForCompany: where larger parts are wanted, records wait for the time
// that was named, or until enough are there.
func TestShipWaitsForCompany(t *testing.T) {
	t.Parallel()
	db := sqltest.Open(t)
	time0 := &clock{at: time.Now()}
	w := open(t, db, ring(t, db), nil)
	p := newPlace("bucket")
	s := shipper(db, p, "srv_1", time0.now, func(c *audit.ShipperConfig) { c.Wait, c.Most = time.Minute, 5 })
	write(t, w, 3)
	s.Round(t.Context())
	p.has(t, w.Chain(), 0)
	time0.move(2 * time.Minute)
	s.Round(t.Context())
	p.has(t, w.Chain(), 3)
	time0.move(-2 * time.Minute)
	write(t, w, 5)
	s.Round(t.Context())
	p.has(t, w.Chain(), 8)
	if fmt.Sprint(p.puts) != "[3 5]" {
		t.Errorf("came in parts of %v", p.puts)
	}
}

// TestShipTwoServersAtOnce: real servers race for a target while both write; each
// record arrives, in order, and the database's word is not lost.
func TestShipTwoServersAtOnce(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		db := sqltest.OpenWith(t, c)
		second := db
		if c.SQLite == "" {
			second = sqltest.OpenWith(t, c)
		}
		r := ring(t, db)
		p := newPlace("archive")
		ctx, stop := context.WithCancel(t.Context())
		var running, writing sync.WaitGroup
		var chains []string
		for i, d := range []*sql.DB{db, second} {
			s := shipper(d, p, fmt.Sprintf("srv_%d", i), time.Now)
			running.Go(func() { s.Run(ctx) })
			w := open(t, d, r, nil)
			chains = append(chains, w.Chain())
			writing.Go(func() { write(t, w, 50) })
		}
		writing.Wait()
		for {
			p.mu.Lock()
			done := len(p.taken[chains[0]]) >= 50 && len(p.taken[chains[1]]) >= 50
			p.mu.Unlock()
			if done {
				break
			}
			select {
			case <-t.Context().Done():
				t.Fatal("the records did not all come")
			case <-time.After(10 * time.Millisecond):
			}
		}
		stop()
		running.Wait()
		p.has(t, chains[0], 50)
		p.has(t, chains[1], 50)
	})
}

// TestShipDatabaseAway: what can't be read is tried again, and nothing is forgotten.
func TestShipDatabaseAway(t *testing.T) {
	t.Parallel()
	db := sqltest.Open(t)
	w := open(t, db, ring(t, db), nil)
	write(t, w, 2)
	p := newPlace("archive")
	cut := &cutPlaces{Places: sqlaudit.Store{DB: db}}
	s := shipper(db, p, "srv_1", time.Now, func(c *audit.ShipperConfig) { c.Places = cut })
	cut.err = errors.New("no connection")
	if pause := s.Round(t.Context()); pause != time.Second {
		t.Errorf("looks again after %s", pause)
	}
	cut.err = nil
	s.Round(t.Context())
	p.has(t, w.Chain(), 2)
}

type cutPlaces struct {
	audit.Places
	err error
}

func (c *cutPlaces) Behind(ctx context.Context, target string) ([]audit.Untaken, error) {
	if c.err != nil {
		return nil, c.err
	}
	return c.Places.Behind(ctx, target)
}
