//go:build interop

package revocation_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/sql"
	sqlrevocation "carnet.dev/carnet/internal/edge/sql/revocation"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/revocation"
)

// TestAServerCutOffStopsSayingYes: a server loses touch with PostgreSQL; it
// goes on for the bound, then refuses; a revocation commits meanwhile at
// another; when the line is back so is the server, and the revocation holds.
func TestAServerCutOffStopsSayingYes(t *testing.T) {
	const bound = 3 * time.Second
	dsn := sqltest.PostgreSQL(t)
	line := sqltest.Lay(t)
	through := line.Through(dsn)

	near := serve(t, sqltest.OpenWith(t, sql.Config{PostgreSQL: dsn}), "near", bound)
	far := serve(t, sqltest.OpenWith(t, sql.Config{PostgreSQL: through}), "far", bound)
	issued, err := far.Epoch()
	if err != nil {
		t.Fatal(err)
	}
	says := func() (refused, unsure bool) {
		r, err := far.Refused(revocation.Person, "alice", issued)
		if err != nil && !errors.Is(err, fault.Coded(fault.Unavailable, "revocation.unconfirmed", "")) {
			t.Fatal(err)
		}
		return r, err != nil
	}
	if refused, unsure := says(); refused || unsure {
		t.Fatal("the server refuses before anything happened")
	}

	line.Silence()
	cut := time.Now()
	if _, err := near.Revoke(t.Context(), revocation.Person, "alice"); err != nil {
		t.Fatalf("a revocation doesn't commit while a server is away: %v", err)
	}
	t.Logf("revocation acknowledged %v after the cut", time.Since(cut).Round(time.Millisecond))
	for {
		_, unsure := says()
		if unsure {
			break
		}
		if time.Since(cut) > bound+200*time.Millisecond {
			t.Fatalf("still saying yes %v after the cut", time.Since(cut))
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("the server stopped saying yes %v after the cut (bound %v)", time.Since(cut).Round(time.Millisecond), bound)

	line.Sever()
	line.Heal()
	back := time.Now()
	for {
		refused, unsure := says()
		if !unsure {
			if !refused {
				t.Fatal("the server is back and the revocation doesn't hold")
			}
			break
		}
		if time.Since(back) > 15*time.Second {
			t.Fatal("the server doesn't come back by itself")
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("back by itself %v after the line was", time.Since(back).Round(time.Millisecond))
	for since := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		views, err := near.Who(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(views) == 2 && views[0].Epoch == 1 && views[1].Epoch == 1 {
			return
		}
		if time.Since(since) > 5*time.Second {
			t.Fatalf("who has applied it: %+v", views)
		}
	}
}

func serve(t *testing.T, db *sql.DB, name string, bound time.Duration) *revocation.Feed {
	t.Helper()
	f, err := revocation.Open(t.Context(), revocation.Config{Store: sqlrevocation.Store{DB: db}, Server: name, Now: time.Now, Bound: bound})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	changed := make(chan struct{}, 1)
	if err := db.Watch(ctx, sqlrevocation.Topic, func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); f.Run(ctx, changed) }()
	t.Cleanup(func() { cancel(); <-done })
	return f
}
