// Package kept keeps what is fetched from others' servers: key sets, discovery
// documents.
//
// Each thing is fetched by one request at a time, however many wait for it. It is
// used without asking while it is fresh, and for a while longer while its server
// is away; whoever met something unknown may have it fetched anew, but not more
// often than once in a set time. It must never give one thing for another, nor
// keep what is past its time.
package kept

import (
	"context"
	"sync"
	"time"
)

// Defaults of Config.
const (
	DefaultFresh    = 5 * time.Minute
	DefaultStale    = time.Hour
	DefaultAgain    = 10 * time.Second
	DefaultPatience = 8 * time.Second
	most            = 1000
)

// Config is what a Source stands on. K names a thing, V is one.
type Config[K comparable, V any] struct {
	Fetch func(ctx context.Context, k K) (V, error)
	// Left makes the fault for somebody who stopped to wait.
	Left     func(k K, cause error) error
	Now      func() time.Time
	Fresh    time.Duration // how long a thing is used without asking; 0: 5 minutes
	Stale    time.Duration // how long it serves while its server is away; 0: 1 hour
	Again    time.Duration // the least time between two requests; 0: 10 seconds
	Patience time.Duration // for one fetch; 0: 8 seconds
}

// Source gives things. Safe for concurrent use.
type Source[K comparable, V any] struct {
	c     Config[K, V]
	mu    sync.Mutex
	known map[K]*held[V]
}

// held is what is known of one thing.
type held[V any] struct {
	value   V
	has     bool      // false before the first success
	fetched time.Time // when value was fetched
	tried   time.Time // when a fetch began last
	err     error     // of the last fetch
	flying  chan struct{}
	waiting int // for it
}

// New makes a Source.
func New[K comparable, V any](c Config[K, V]) *Source[K, V] {
	for to, standard := range map[*time.Duration]time.Duration{&c.Fresh: DefaultFresh, &c.Stale: DefaultStale, &c.Again: DefaultAgain, &c.Patience: DefaultPatience} {
		if *to == 0 {
			*to = standard
		}
	}
	return &Source[K, V]{c: c, known: map[K]*held[V]{}}
}

// Get gives a thing. With unknown set the caller met something that is not in the
// last one: then it is fetched anew, unless that was just done. Errors are those
// of Fetch.
func (s *Source[K, V]) Get(ctx context.Context, k K, unknown bool) (V, error) {
	s.mu.Lock()
	h := s.held(k)
	now := s.c.Now()
	age := now.Sub(h.fetched)
	usable := h.has && age < s.c.Stale
	if h.flying == nil {
		justTried := !h.tried.IsZero() && now.Sub(h.tried) < s.c.Again
		switch {
		case usable && (age < s.c.Fresh && !unknown || justTried):
			defer s.mu.Unlock()
			return h.value, nil
		case justTried:
			defer s.mu.Unlock()
			return s.none(h.err)
		}
		h.tried, h.flying = now, make(chan struct{})
		// The fetch outlives whoever asked first: others wait for it too.
		go s.fly(context.WithoutCancel(ctx), k, h)
	}
	wasAway := h.err != nil // when it was last asked
	switch {
	case usable && !unknown && (age < s.c.Fresh || wasAway):
		defer s.mu.Unlock()
		return h.value, nil // others look for the unknown, or it won't come
	case !usable && wasAway && h.waiting > 0:
		defer s.mu.Unlock()
		return s.none(h.err) // one waits for it, and no more
	}
	flying := h.flying
	h.waiting++
	s.mu.Unlock()
	var left error
	select {
	case <-flying:
	case <-ctx.Done():
		left = s.c.Left(k, ctx.Err())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.waiting--; left != nil {
		return s.none(left)
	}
	if h.has && s.c.Now().Sub(h.fetched) < s.c.Stale {
		return h.value, nil
	}
	return s.none(h.err)
}

func (s *Source[K, V]) none(err error) (none V, _ error) { return none, err }

// held finds what is known of a thing, and keeps their number bounded: things
// come and go, and only configured ones are asked for.
func (s *Source[K, V]) held(k K) *held[V] {
	h := s.known[k]
	if h != nil {
		return h
	}
	if len(s.known) >= most {
		clear(s.known)
	}
	h = &held[V]{}
	s.known[k] = h
	return h
}

func (s *Source[K, V]) fly(ctx context.Context, k K, h *held[V]) {
	ctx, cancel := context.WithTimeout(ctx, s.c.Patience)
	defer cancel()
	v, err := s.c.Fetch(ctx, k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.err = err; err == nil {
		h.value, h.has, h.fetched = v, true, s.c.Now()
	}
	close(h.flying)
	h.flying = nil
}
