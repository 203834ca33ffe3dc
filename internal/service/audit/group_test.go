package audit_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/sql"
	sqlaudit "carnet.dev/carnet/internal/edge/sql/audit"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/audit"
)

// counting is a store that counts its transactions and can hold or fail them.
type counting struct {
	sqlaudit.Store
	commits atomic.Int64
	hold    chan struct{} // nil: nothing is held
	fail    atomic.Bool
}

func (c *counting) Atomic(ctx context.Context, fn func(context.Context) error) error {
	if c.hold != nil {
		<-c.hold
	}
	if c.fail.Load() {
		return errors.New("the disk is full")
	}
	c.commits.Add(1)
	return c.Store.Atomic(ctx, fn)
}

func grouped(t *testing.T, c sql.Config, hold chan struct{}) (*sql.DB, *counting, *audit.Writer) {
	t.Helper()
	db := sqltest.OpenWith(t, c)
	store := &counting{Store: sqlaudit.Store{DB: db}, hold: hold}
	w, err := audit.Open(t.Context(), audit.Config{Store: store, Sealer: ring(t, db), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return db, store, w
}

// TestGroupSharesCommits: who comes while a commit is under way shares the next,
// the chain is whole, and records of other transactions stand in it too.
func TestGroupSharesCommits(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		hold := make(chan struct{})
		db, store, w := grouped(t, c, hold)
		g := audit.NewGroup(w)
		var wait sync.WaitGroup
		for i := range 100 {
			wait.Go(func() {
				if err := g.Record(t.Context(), event.Event{Action: "exchange", Target: fmt.Sprint(i)}); err != nil {
					t.Error(err)
				}
			})
		}
		for store.commits.Load() == 0 {
			hold <- struct{}{} // one commit, while the others gather
		}
		close(hold)
		wait.Wait()
		record(t, w, "sign-in")
		checkpoint(t, w)
		if n := store.commits.Load(); n > 50 {
			t.Errorf("%d commits for 100 records", n)
		}
		rep := verify(t, db, audit.Expect{Signers: []string{w.Signer()}, Unsigned: time.Minute})
		if rep.Records != 101 || len(rep.Problems) != 0 {
			t.Errorf("%+v", rep)
		}
	})
}

// TestGroupAnswersAfterTheCommit: nobody is told yes before, and all are told no
// when it fails.
func TestGroupAnswersAfterTheCommit(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		hold := make(chan struct{})
		db, store, w := grouped(t, c, hold)
		g := audit.NewGroup(w)
		answers := make(chan error, 10)
		for range 10 {
			go func() { answers <- g.Record(t.Context(), event.Event{Action: "exchange"}) }()
		}
		select {
		case err := <-answers:
			t.Fatalf("answered before the commit: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
		store.fail.Store(true)
		close(hold)
		for range 10 {
			if err := <-answers; err == nil {
				t.Error("a record that was not committed counts")
			}
		}
		store.fail.Store(false)
		if err := g.Record(t.Context(), event.Event{Action: "exchange"}); err != nil {
			t.Errorf("afterwards: %v", err)
		}
		checkpoint(t, w)
		if rep := verify(t, db, audit.Expect{Signers: []string{w.Signer()}, Unsigned: time.Minute}); rep.Records != 1 || len(rep.Problems) != 0 {
			t.Errorf("%+v", rep)
		}
	})
}

func TestGroupLetsGoOfWhoLeaves(t *testing.T) {
	hold := make(chan struct{})
	_, _, w := grouped(t, sql.Config{SQLite: t.TempDir() + "/carnet.db"}, hold)
	defer close(hold)
	g := audit.NewGroup(w)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Record(ctx, event.Event{Action: "exchange"}); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("got %v", err)
	}
	if err := g.Record(t.Context(), event.Event{}); fault.KindOf(err) != fault.Internal {
		t.Errorf("a record of nothing: %v", err)
	}
}

// slow is a store in memory whose commits take a while.
type slow struct {
	takes   time.Duration
	commits int
	most    int // records of one commit
	head    audit.Head
	signers []audit.Signer
}

func (s *slow) Head(context.Context, string) (audit.Head, error) { return s.head, nil }

func (s *slow) Append(_ context.Context, after audit.Head, all []audit.Record) (bool, error) {
	if after != s.head && s.head.Seq > 0 {
		return false, nil
	}
	last := all[len(all)-1]
	s.head, s.most = audit.Head{Writer: last.Writer, Seq: last.Seq, Hash: last.Hash}, max(s.most, len(all))
	return true, nil
}

func (s *slow) PutCheckpoint(context.Context, audit.Checkpoint) error { return nil }

func (s *slow) Signers(_ context.Context, add *audit.Signer) ([]audit.Signer, error) {
	if add != nil {
		s.signers = []audit.Signer{*add}
	}
	return s.signers, nil
}

func (s *slow) Atomic(ctx context.Context, fn func(context.Context) error) error {
	time.Sleep(s.takes)
	s.commits++
	return fn(ctx)
}

type unsealed struct{}

func (unsealed) Seal(_ string, _, p []byte) ([]byte, error) { return p, nil }
func (unsealed) Open(_ string, _, p []byte) ([]byte, error) { return p, nil }

// TestGroupWaitsForCompanyOnlyWhereThereIs: one who records alone waits for
// nobody; of many who do so at once most share a commit, and never all, so that
// work goes on meanwhile.
func TestGroupWaitsForCompanyOnlyWhereThereIs(t *testing.T) {
	const rounds = 200
	for clients, want := range map[int]struct{ least, most int }{1: {1, 1}, 2: {1, 2}, 16: {4, 12}, 100: {5, 50}} {
		synctest.Test(t, func(t *testing.T) {
			store := &slow{takes: 300 * time.Microsecond}
			w, err := audit.Open(t.Context(), audit.Config{Store: store, Sealer: unsealed{}, Now: time.Now})
			if err != nil {
				t.Fatal(err)
			}
			g, began := audit.NewGroup(w), time.Now()
			processor := make(chan struct{}, 2)
			var wait sync.WaitGroup
			for range clients {
				wait.Go(func() {
					for range rounds {
						processor <- struct{}{}
						time.Sleep(200 * time.Microsecond) // the work of an exchange
						<-processor
						if err := g.Record(t.Context(), event.Event{Action: "exchange"}); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wait.Wait()
			took := time.Since(began)
			if mean := clients * rounds / store.commits; mean < want.least || store.most > want.most {
				t.Errorf("%d at once: %d of a commit, at most %d", clients, mean, store.most)
			}
			if least := rounds * 500 * time.Microsecond; clients == 1 && took != least {
				t.Errorf("one who is alone waits: %v, want %v", took, least)
			}
			if ideal := rounds * time.Duration(clients) * 100 * time.Microsecond; clients == 16 && took > ideal*5/4 {
				t.Errorf("16 at once took %v where their work alone takes %v", took, ideal)
			}
		})
	}
}

// TestChainGoesOnAfterARollback: what is taken back with its transaction leaves no
// gap, whoever records next.
func TestChainGoesOnAfterARollback(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		db, _, w := grouped(t, c, nil)
		g := audit.NewGroup(w)
		back := func() {
			t.Helper()
			err := db.Atomic(t.Context(), func(ctx context.Context) error {
				if err := w.Record(ctx, event.Event{Action: "sign-in"}); err != nil {
					t.Error(err)
				}
				return errors.New("taken back")
			})
			if err == nil {
				t.Fatal("it was not taken back")
			}
		}
		back()
		record(t, w, "sign-in")
		for range 2 {
			back()
			if err := g.Record(t.Context(), event.Event{Action: "exchange"}); err != nil {
				t.Fatal(err)
			}
			record(t, w, "sign-in")
		}
		checkpoint(t, w)
		if rep := verify(t, db, audit.Expect{Signers: []string{w.Signer()}, Unsigned: time.Minute}); rep.Records != 5 || len(rep.Problems) != 0 {
			t.Errorf("%+v", rep)
		}
	})
}
