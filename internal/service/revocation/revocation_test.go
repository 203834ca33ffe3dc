package revocation_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	sqlrevocation "carnet.dev/carnet/internal/edge/sql/revocation"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/revocation"
)

func open(t testing.TB, db *sql.DB, server string, now func() time.Time) *revocation.Feed {
	t.Helper()
	f, err := revocation.Open(t.Context(), revocation.Config{Store: sqlrevocation.Store{DB: db}, Server: server, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func epoch(t *testing.T, f *revocation.Feed) uint64 {
	t.Helper()
	e, err := f.Epoch()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func confirm(t *testing.T, f *revocation.Feed) {
	t.Helper()
	if err := f.Confirm(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func refused(t *testing.T, f *revocation.Feed, id string, epoch uint64) bool {
	t.Helper()
	r, err := f.Refused(revocation.Person, id, epoch)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRevocationsRefuseWhatWasIssuedBefore(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		a := open(t, sqltest.OpenWith(t, c), "a", time.Now)
		b := open(t, sqltest.OpenWith(t, c), "b", time.Now)
		before := epoch(t, a)
		if before == 0 {
			t.Fatal("tokens would carry epoch 0, which reads as none")
		}
		if _, err := a.Revoke(t.Context(), revocation.Person, "alice"); err != nil {
			t.Fatal(err)
		}
		late := epoch(t, b) // b issues without having seen the revocation
		confirm(t, a)
		confirm(t, b)
		for _, f := range []*revocation.Feed{a, b} {
			if !refused(t, f, "alice", before) || !refused(t, f, "alice", late) {
				t.Error("a token issued before the revocation was seen still holds")
			}
			if refused(t, f, "alice", epoch(t, f)) {
				t.Error("a token issued after the revocation is refused")
			}
			if refused(t, f, "bob", before) {
				t.Error("someone else was revoked too")
			}
		}
		views, err := a.Who(t.Context())
		if err != nil || len(views) != 2 || views[0].Epoch != 1 || views[1].Epoch != 1 {
			t.Errorf("who has applied it: %+v, %v", views, err)
		}
	})
}

func TestEverything(t *testing.T) {
	f := open(t, sqltest.Open(t), "a", time.Now)
	before := epoch(t, f)
	if _, err := f.Revoke(t.Context(), revocation.Everything, revocation.Everything); err != nil {
		t.Fatal(err)
	}
	confirm(t, f)
	if !refused(t, f, "anyone", before) || refused(t, f, "anyone", epoch(t, f)) {
		t.Error("everything up to now must be refused, and nothing issued later")
	}
}

func TestARolledBackRevocationIsNone(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		db := sqltest.OpenWith(t, c)
		f := open(t, db, "a", time.Now)
		before := epoch(t, f)
		wrong := errors.New("later step failed")
		err := db.Atomic(t.Context(), func(ctx context.Context) error {
			if _, err := f.Revoke(ctx, revocation.Person, "alice"); err != nil {
				return err
			}
			return wrong
		})
		if !errors.Is(err, wrong) {
			t.Fatal(err)
		}
		confirm(t, f)
		if refused(t, f, "alice", before) {
			t.Error("a revocation that wasn't committed refuses")
		}
	})
}

// TestManyPeopleAtOnce: all of them are refused from one epoch on, and nobody
// else.
func TestManyPeopleAtOnce(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		f := open(t, sqltest.OpenWith(t, c), "a", time.Now)
		before, err := f.Epoch()
		if err != nil {
			t.Fatal(err)
		}
		var people []identity.PersonID
		for i := range 2500 {
			people = append(people, identity.PersonID(fmt.Sprint("psn_", i)), identity.PersonID("psn_7"))
		}
		for range 2 { // again is no harm
			if err := f.RevokePeople(t.Context(), people); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.RevokePeople(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		confirm(t, f)
		if !refused(t, f, "psn_0", before) || !refused(t, f, "psn_2499", before) || refused(t, f, "psn_2500", before) {
			t.Error("the wrong people are refused")
		}
		if after, err := f.Epoch(); err != nil || after != before+2 {
			t.Errorf("from epoch %d to %d, %v", before, after, err)
		}
	})
}

// TestEpochsCommitInOrder: while servers revoke at once, a view at epoch n has
// every revocation up to n.
func TestEpochsCommitInOrder(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		var wg sync.WaitGroup
		watcher := sqlrevocation.Store{DB: sqltest.OpenWith(t, c)}
		for s := range 3 {
			f := open(t, sqltest.OpenWith(t, c), fmt.Sprint(s), time.Now)
			wg.Go(func() {
				for i := range 15 {
					if _, err := f.Revoke(t.Context(), revocation.Person, fmt.Sprintf("%d-%d", s, i)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		done := make(chan struct{})
		go func() { wg.Wait(); close(done) }()
		for looking := true; looking; {
			select {
			case <-done:
				looking = false
			default:
			}
			entries, head, err := watcher.After(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			if uint64(len(entries)) != head {
				t.Fatalf("the head is %d and %d revocations are seen", head, len(entries))
			}
			time.Sleep(time.Millisecond)
		}
	})
}

func TestAnUnconfirmedViewRefuses(t *testing.T) {
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	f := open(t, sqltest.Open(t), "a", func() time.Time { return now })
	now = now.Add(revocation.DefaultBound)
	if err := f.Current(); err != nil {
		t.Errorf("at the bound: %v", err)
	}
	now = now.Add(time.Millisecond)
	unconfirmed := fault.Coded(fault.Unavailable, "revocation.unconfirmed", "")
	if _, err := f.Refused(revocation.Person, "x", 1); !errors.Is(err, unconfirmed) {
		t.Errorf("Refused past the bound: %v", err)
	}
	if _, err := f.Epoch(); !errors.Is(err, unconfirmed) {
		t.Errorf("Epoch past the bound: %v", err)
	}
	confirm(t, f)
	if err := f.Current(); err != nil {
		t.Errorf("confirmed again: %v", err)
	}
}

// TestRunAppliesWithinTwoSeconds follows the feed on two servers as they run.
func TestRunAppliesWithinTwoSeconds(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		t.Cleanup(func() { cancel(); running.Wait() })
		var feeds []*revocation.Feed
		for _, name := range []string{"a", "b"} {
			db := sqltest.OpenWith(t, c)
			t.Cleanup(func() { cancel(); running.Wait() }) // before the database closes
			f := open(t, db, name, time.Now)
			changed := make(chan struct{}, 1)
			err := db.Watch(ctx, sqlrevocation.Topic, func() {
				select {
				case changed <- struct{}{}:
				default:
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			running.Go(func() { f.Run(ctx, changed) })
			feeds = append(feeds, f)
		}
		before := epoch(t, feeds[1])
		start := time.Now()
		if _, err := feeds[0].Revoke(t.Context(), revocation.Person, "alice"); err != nil {
			t.Fatal(err)
		}
		for !refused(t, feeds[0], "alice", before) || !refused(t, feeds[1], "alice", before) {
			if time.Since(start) > 2*time.Second {
				t.Fatal("not applied within 2 s")
			}
			time.Sleep(5 * time.Millisecond)
		}
		t.Logf("applied on both after %v", time.Since(start))
	})
}

func BenchmarkRefused(b *testing.B) {
	f := open(b, sqltest.Open(b), "a", time.Now)
	for i := range 100 {
		if _, err := f.Revoke(b.Context(), revocation.Person, fmt.Sprint(i)); err != nil {
			b.Fatal(err)
		}
	}
	if err := f.Confirm(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.Refused(revocation.Person, "7", 1000); err != nil {
			b.Fatal(err)
		}
	}
}

// TestCommandsAreNoServers: a command on the host revokes and asks who has
// applied it; it is not itself one of those.
func TestCommandsAreNoServers(t *testing.T) {
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	db := sqltest.Open(t)
	server := open(t, db, "a", clock)
	command := open(t, db, "", clock)
	e, err := command.Revoke(t.Context(), revocation.Person, "alice")
	if err != nil {
		t.Fatal(err)
	}
	who := func() []revocation.View {
		t.Helper()
		views, err := command.Who(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return views
	}
	confirm(t, command)
	if v := who(); len(v) != 1 || v[0].Server != "a" || v[0].Epoch >= e {
		t.Errorf("before: %+v", v)
	}
	confirm(t, server)
	if v := who(); len(v) != 1 || v[0].Epoch != e {
		t.Errorf("after: %+v", v)
	}
	now = now.Add(revocation.DefaultBound + time.Second)
	if v := who(); len(v) != 0 {
		t.Errorf("a server that decides nothing any more is waited for: %+v", v)
	}
}

// TestAServerThatEndsIsNotWaitedFor: it says so itself, so neither a
// revocation nor a rotation waits a minute for it.
func TestAServerThatEndsIsNotWaitedFor(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		ends := open(t, sqltest.OpenWith(t, c), "ends", time.Now)
		stays := open(t, sqltest.OpenWith(t, c), "stays", time.Now)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); ends.Run(ctx, nil) }()
		cancel()
		<-done
		if views, err := stays.Who(t.Context()); err != nil || len(views) != 1 || views[0].Server != "stays" {
			t.Errorf("%+v, %v", views, err)
		}
	})
}
