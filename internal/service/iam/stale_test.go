package iam_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/service/iam"
)

// hanging is a store that answers until it hangs.
type hanging struct{ hangs atomic.Bool }

func (h *hanging) Load(ctx context.Context) (iam.State, error) {
	if h.hangs.Load() {
		<-ctx.Done()
		return iam.State{}, ctx.Err()
	}
	return iam.State{}, nil
}

func (h *hanging) Since(ctx context.Context, _ int64) (iam.Change, bool, error) {
	_, err := h.Load(ctx)
	return iam.Change{}, true, err
}

func (h *hanging) Apply(context.Context, iam.Change, func(context.Context) error) error { return nil }

// TestOldViewOfAStoreThatHangs: whoever can stall the database must not keep a
// deleted role alive by it.
func TestOldViewOfAStoreThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &hanging{}
		s, err := iam.Open(t.Context(), iam.Config{Store: store, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go s.Run(ctx, nil)
		time.Sleep(10 * time.Minute)
		if _, err := s.Current(); err != nil {
			t.Fatalf("while the store answers: %v", err)
		}
		store.hangs.Store(true)
		time.Sleep(2 * time.Minute)
		if _, err := s.Current(); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("two minutes after the store hung it still decides: %v", err)
		}
		store.hangs.Store(false)
		time.Sleep(30 * time.Second)
		if _, err := s.Current(); err != nil {
			t.Errorf("after the store came back: %v", err)
		}
	})
}
