package kept_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"carnet.dev/carnet/internal/edge/upstream/kept"
)

// TestTimes: fresh for five minutes, served for an hour while its server is away,
// and asked for again no sooner than after ten seconds.
func TestTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, away := 0, false
		s := kept.New(kept.Config[string, int]{Now: time.Now, Left: func(_ string, cause error) error { return cause },
			Fetch: func(context.Context, string) (int, error) {
				if asked++; away {
					return 0, errors.New("away")
				}
				return asked, nil
			}})
		get := func(unknown bool) int {
			v, err := s.Get(t.Context(), "a", unknown)
			if err != nil {
				return -1
			}
			return v
		}
		for _, step := range []struct {
			pass    time.Duration
			away    bool
			unknown bool
			want    int
			asked   int
		}{
			{0, false, false, 1, 1},
			{4 * time.Minute, false, false, 1, 1},
			{time.Second, false, true, 2, 2},      // something unknown: anew
			{time.Second, false, true, 2, 2},      // but not again at once
			{5 * time.Minute, false, false, 3, 3}, // no longer fresh
			{30 * time.Minute, true, false, 3, 4}, // away: what is known serves
			{time.Second, true, false, 3, 4},
			{31 * time.Minute, true, false, -1, 5}, // for an hour
			{time.Second, false, false, -1, 5},
			{10 * time.Second, false, false, 6, 6},
		} {
			time.Sleep(step.pass)
			away = step.away
			if got := get(step.unknown); got != step.want || asked != step.asked {
				t.Errorf("after %v: %d, asked %d times; want %+v", step.pass, got, asked, step)
			}
		}
	})
}

// TestOneRequest: whoever comes while one is under way waits for it, or leaves.
func TestOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		s := kept.New(kept.Config[string, int]{Now: time.Now, Left: func(_ string, cause error) error { return cause },
			Fetch: func(context.Context, string) (int, error) {
				v := asked.Add(1)
				time.Sleep(time.Second)
				return int(v), nil
			}})
		for range 10 {
			go func() {
				if v, err := s.Get(t.Context(), "a", false); v != 1 || err != nil {
					t.Errorf("%d, %v", v, err)
				}
			}()
		}
		hasty, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := s.Get(hasty, "a", false); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("somebody in a hurry: %v", err)
		}
		if v, err := s.Get(t.Context(), "b", false); v != 2 || err != nil {
			t.Errorf("another thing: %d, %v", v, err)
		}
		synctest.Wait()
		if n := asked.Load(); n != 2 {
			t.Errorf("asked %d times", n)
		}
	})
}
