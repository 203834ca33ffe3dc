package s3client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestShares: who holds fewer places than are free gets one more.
func TestShares(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		most int
		asks string // the callers, in the order in which they ask and keep what they get
		held map[string]int
	}{
		"the last place":    {1, "aab", map[string]int{"a": 1}},
		"two places":        {2, "aab", map[string]int{"a": 1, "b": 1}},
		"alone: half":       {12, "aaaaaaaaaaaa", map[string]int{"a": 6}},
		"an odd number":     {7, "aaaaaaaa", map[string]int{"a": 4}},
		"two: a third each": {12, "abababababab", map[string]int{"a": 4, "b": 4}},
		"three: a quarter":  {12, "abcabcabcabc", map[string]int{"a": 3, "b": 3, "c": 3}},
		"one after another": {12, "aaaaaaaabbbbbbbbccccccccddddee", map[string]int{"a": 6, "b": 3, "c": 2, "d": 1}},
		"many with one":     {4, "abcde", map[string]int{"a": 1, "b": 1, "c": 1, "d": 1}},
		"nobody's own":      {8, strings.Repeat(" ", 9), map[string]int{" ": 4}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newShares(c.most, time.Second)
				for _, caller := range c.asks {
					began := time.Now()
					var busy *Busy
					switch err := s.take(t.Context(), string(caller)); {
					case err != nil && !errors.As(err, &busy), (err != nil) != (time.Since(began) == time.Second):
						t.Fatalf("%c: %v after %s", caller, err, time.Since(began))
					case err != nil && busy.Theirs != (s.free > 0):
						t.Errorf("%c: %+v with %d places free", caller, busy, s.free)
					}
				}
				if !maps.Equal(s.held, c.held) {
					t.Errorf("held: %v", s.held)
				}
				for caller, n := range c.held {
					for range n {
						s.give(caller)
					}
				}
				s.mustBeEmpty(t)
			})
		})
	}
}

// mustBeEmpty demands that nothing is held, and nothing remembered of anybody.
func (p *shares) mustBeEmpty(t *testing.T) {
	t.Helper()
	if p.taken() != 0 || p.free != p.most || len(p.held) != 0 || len(p.waits) != 0 || p.turns.Len() != 0 {
		t.Errorf("left: %d of %d free, held %v, waiting %v, %d turns", p.free, p.most, p.held, p.waits, p.turns.Len())
	}
}

// TestSharesAreGivenInTurn: what comes free goes to each of those who wait, one after
// another, however many requests one of them has waiting.
func TestSharesAreGivenInTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShares(4, time.Hour)
		for _, caller := range []string{"a", "b", "c", "d"} {
			if err := s.take(t.Context(), caller); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		var mu sync.Mutex
		var waiting sync.WaitGroup
		for i, caller := range []string{"x", "x", "x", "y", "z"} {
			waiting.Go(func() {
				if err := s.take(t.Context(), caller); err != nil {
					t.Error(err)
				}
				mu.Lock()
				got = append(got, fmt.Sprint(caller, i))
				mu.Unlock()
				s.give(caller)
			})
			synctest.Wait()
		}
		s.give("a")
		waiting.Wait()
		if want := "x0 y3 z4 x1 x2"; strings.Join(got, " ") != want {
			t.Errorf("got %v, want %s", got, want)
		}
		for _, caller := range []string{"b", "c", "d"} {
			s.give(caller)
		}
		s.mustBeEmpty(t)
	})
}

// TestSharesUnderLoad: whoever goes away, while they wait or at the very moment when
// they get a place, leaves none behind; and nobody gets past their share.
func TestSharesUnderLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShares(16, 20*time.Millisecond)
		var all sync.WaitGroup
		for i := range 400 {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			all.Go(func() {
				caller := fmt.Sprint("caller-", i%7)
				for range 20 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(r.IntN(30))*time.Millisecond)
					if err := s.take(ctx, caller); err == nil {
						s.mu.Lock()
						if s.held[caller] < 1 || s.held[caller] > 8 || s.free < 0 {
							t.Errorf("%s holds %d, %d are free", caller, s.held[caller], s.free)
						}
						s.mu.Unlock()
						time.Sleep(time.Duration(r.IntN(10)) * time.Millisecond)
						s.give(caller)
					}
					cancel()
				}
			})
		}
		all.Wait()
		s.mustBeEmpty(t)
	})
}
