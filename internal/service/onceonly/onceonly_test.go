package onceonly_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/sql"
	sqlonceonly "carnet.dev/carnet/internal/edge/sql/onceonly"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/onceonly"
)

func TestTwentyAtOnceOneWins(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		var servers []*onceonly.Once
		for range 3 {
			servers = append(servers, onceonly.New(sqlonceonly.Store{DB: sqltest.OpenWith(t, c)}, 1000, time.Now))
		}
		until := time.Now().Add(5 * time.Minute)
		for round := range 5 {
			var won atomic.Int64
			var wg sync.WaitGroup
			for i := range 20 {
				wg.Go(func() {
					ok, err := servers[i%3].Consume(t.Context(), "assertion", fmt.Sprint("id", round), until)
					if err != nil {
						t.Error(err)
					}
					if ok {
						won.Add(1)
					}
				})
			}
			wg.Wait()
			if won.Load() != 1 {
				t.Errorf("round %d: %d of 20 won", round, won.Load())
			}
		}
	})
}

func TestKindsAreApartAndTransactionsCount(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		db := sqltest.OpenWith(t, c)
		o := onceonly.New(sqlonceonly.Store{DB: db}, 1000, time.Now)
		until := time.Now().Add(time.Minute)
		wrong := errors.New("later step failed")
		err := db.Atomic(t.Context(), func(ctx context.Context) error {
			if ok, err := o.Consume(ctx, "code", "x", until); err != nil || !ok {
				t.Errorf("%v, %v", ok, err)
			}
			return wrong
		})
		if !errors.Is(err, wrong) {
			t.Fatal(err)
		}
		for _, kind := range []string{"code", "assertion"} {
			if ok, err := o.Consume(t.Context(), kind, "x", until); err != nil || !ok {
				t.Errorf("%s: %v, %v: the failed transaction used the id up", kind, ok, err)
			}
			if ok, _ := o.Consume(t.Context(), kind, "x", until); ok {
				t.Errorf("%s: used twice", kind)
			}
		}
	})
}

func TestForgottenOnlyAfterItsTime(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
		o := onceonly.New(sqlonceonly.Store{DB: sqltest.OpenWith(t, c)}, 2, func() time.Time { return now })
		until := now.Add(5 * time.Minute)
		use := func(id string) (bool, error) { return o.Consume(t.Context(), "k", id, until) }
		for _, id := range []string{"a", "b", "c"} {
			if ok, err := use(id); !ok || err != nil {
				t.Fatal(ok, err)
			}
		}
		sweep := func() {
			t.Helper()
			if err := o.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		sweep()
		if _, err := use("d"); !errors.Is(err, fault.Coded(fault.Limited, "onceonly.full", "")) {
			t.Errorf("over the bound: %v", err)
		}
		now = until.Add(onceonly.Slack - time.Second)
		sweep()
		if _, err := use("a"); err == nil {
			t.Error("an id was forgotten while a slow clock may still take it")
		}
		now = until.Add(onceonly.Slack + time.Second)
		until = now.Add(time.Minute)
		sweep()
		if ok, err := use("e"); !ok || err != nil {
			t.Errorf("after the sweep: %v, %v", ok, err)
		}
		if _, err := o.Consume(t.Context(), "k", "f", now.Add(onceonly.Longest+time.Hour)); !errors.Is(err, fault.New(fault.Invalid, "")) {
			t.Errorf("a validity that can't be remembered: %v", err)
		}
	})
}

func TestNoYesWithoutTheStore(t *testing.T) {
	db := sqltest.Open(t)
	o := onceonly.New(sqlonceonly.Store{DB: db}, 10, time.Now)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if ok, err := o.Consume(ctx, "k", "a", time.Now()); ok || err == nil {
		t.Errorf("%v, %v", ok, err)
	}
}
