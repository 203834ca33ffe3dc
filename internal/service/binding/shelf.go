package binding

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"carnet.dev/carnet/internal/core/fault"
)

// mostRoles bounds what is kept for one attachment, keys and tokens each.
const mostRoles = 32

// shelf holds what was fetched for one attachment, by the role as it was asked for.
type shelf struct {
	mu     sync.Mutex
	keys   row[*Answer]
	tokens row[*IDToken]
}

// row is what is kept of one sort: a few at most, so it is gone through.
type row[V dated] []*kept[V]

// of finds what is kept for a role as it was asked for; nil: nothing.
func (r row[V]) of(role string) *kept[V] {
	for _, k := range r {
		if k.role == role {
			return k
		}
	}
	return nil
}

// drop drops those that match.
func (r *row[V]) drop(match func(*kept[V]) bool) { *r = slices.DeleteFunc(*r, match) }

// forRole matches what is kept for a role as it was asked for.
func forRole[V dated](role string) func(*kept[V]) bool {
	return func(k *kept[V]) bool { return k.role == role }
}

// choose drops what was fetched for the current role when that is another now.
func (h *shelf) choose(role string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.keys.drop(func(k *kept[*Answer]) bool {
		return k.role == "" && !k.is(func(a *Answer) bool { return a.Role == role })
	})
	h.tokens.drop(func(k *kept[*IDToken]) bool {
		return k.role == "" && !k.is(func(t *IDToken) bool { return t.Role == role })
	})
}

// forget drops what was fetched for the current role.
func (h *shelf) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.keys.drop(forRole[*Answer](""))
	h.tokens.drop(forRole[*IDToken](""))
}

// drop drops what was fetched, or is being fetched, of what was taken back: what is
// under way may have been given before.
func (h *shelf) drop(back func(role, accessKeyID string) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.keys.drop(func(k *kept[*Answer]) bool {
		return !k.is(func(a *Answer) bool { return !back(a.Role, a.AccessKeyID) })
	})
	h.tokens.drop(func(k *kept[*IDToken]) bool {
		return !k.is(func(t *IDToken) bool { return !back(t.Role, "") })
	})
}

// given finds keys of a role that were given by another name of it: its ARN, its name,
// or as the current role. Nil: none, or the name is that of several.
func (h *shelf) given(now time.Time, role, current string) (found *Answer) {
	if role == "" {
		role = current
	}
	if role == "" {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, k := range h.keys {
		k.mu.Lock()
		a, err := k.offline(now, false)
		k.mu.Unlock()
		if err != nil || a.Role != role && a.Role[strings.LastIndexByte(a.Role, '/')+1:] != role {
			continue
		}
		if found != nil && found.Role != a.Role {
			return nil
		}
		found = a
	}
	return found
}

// place finds where something is kept, or makes room for it.
//
// What was refused a moment ago keeps its room: who asks for ever other roles does not
// make the agent ask the server so.
func place[V dated](h *shelf, all *row[V], role string, now time.Time) (*kept[V], error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if k := all.of(role); k != nil {
		return k, nil
	}
	if len(*all) >= mostRoles {
		all.drop(func(k *kept[V]) bool { return k.empty(now) })
	}
	if len(*all) >= mostRoles {
		return nil, fault.Coded(fault.Limited, "binding.roles", "Too many roles are in use at a time").WithMend("use fewer roles, or wait until keys have ended")
	}
	k := &kept[V]{role: strings.Clone(role)} // a text of the request's own memory would keep all of that
	*all = append(*all, k)
	return k, nil
}

// dated is what can be kept.
type dated interface {
	comparable
	until() time.Time
}

// kept is one thing that is fetched, given while it lasts, and renewed.
type kept[V dated] struct {
	role string // as it was asked for
	mu   sync.Mutex
	// current is given; before is the last one that was given, while current was not
	// given yet. The zero V: none.
	current, before V
	given           bool // current was
	due             time.Time
	flying          chan struct{}
	err             error // of the last fetch
	again           time.Time
	failures        int
}

func (k *kept[V]) is(same func(V) bool) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	var none V
	return k.flying == nil && k.current != none && same(k.current)
}

func (k *kept[V]) empty(now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	var none V
	return k.current == none && k.flying == nil && !now.Before(k.again)
}

// fetcher fetches one thing; it is bounded in time by its context.
type fetcher[V dated] func(ctx context.Context) (V, error)

// get gives what is kept, or fetches it: once, however many ask.
func get[V dated](ctx context.Context, s *Service, k *kept[V], fetch fetcher[V]) (V, error) {
	var none V
	now := s.c.Now()
	k.mu.Lock()
	if !s.fresh(now) {
		defer k.mu.Unlock()
		return k.offline(now, s.c.Refuse)
	}
	if k.current != none && now.Before(k.current.until()) {
		defer k.mu.Unlock()
		return k.give(), nil
	}
	if k.flying == nil {
		if k.err != nil && now.Before(k.again) {
			defer k.mu.Unlock()
			return none, k.err
		}
		k.start(ctx, s, s.fetching, fetch)
	}
	flying := k.flying
	k.mu.Unlock()
	select {
	case <-flying:
	case <-ctx.Done():
		return none, fault.Wrap(ctx.Err(), fault.Unavailable, "The server has not answered yet").WithMend("try again in a moment")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.current != none && s.c.Now().Before(k.current.until()) {
		return k.give(), nil
	}
	if k.err == nil {
		return none, fault.New(fault.Unavailable, "The server gave keys that have ended already").WithMend("compare the clocks of this machine and of the server")
	}
	return none, k.err
}

// ready gives what lies ready: the hot path.
func (k *kept[V]) ready(s *Service) (v V, ok bool) {
	now := s.c.Now()
	if !s.fresh(now) {
		return v, false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.current == v || !now.Before(k.current.until()) {
		return v, false
	}
	return k.give(), true
}

// give marks the current one as given. k is locked.
func (k *kept[V]) give() V {
	var none V
	k.given, k.before = true, none
	return k.current
}

// offline is the offline rule: what was given is given again, and nothing else.
func (k *kept[V]) offline(now time.Time, refuse bool) (V, error) {
	var none V
	if refuse {
		return none, stale()
	}
	for _, v := range []V{k.current, k.before} {
		if v != none && (v != k.current || k.given) && now.Before(v.until()) {
			return v, nil
		}
	}
	return none, stale()
}

// patience bounds one fetch. It outlives whoever asked first: others wait for it too,
// and SDKs ask again.
const patience = 20 * time.Second

// start begins a fetch. k is locked.
func (k *kept[V]) start(ctx context.Context, s *Service, places chan struct{}, fetch fetcher[V]) {
	flying := make(chan struct{})
	k.flying = flying
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		var v V
		err := error(nil)
		select {
		case places <- struct{}{}:
			v, err = fetch(ctx)
			<-places
		case <-ctx.Done():
			err = fault.New(fault.Unavailable, "The server is asked for too much at a time").WithMend("try again in a moment")
		}
		k.land(s, v, err)
		close(flying)
	}()
}

// land takes what a fetch brought.
func (k *kept[V]) land(s *Service, v V, err error) {
	var none V
	now := s.c.Now()
	if s.fetched.Add(1); err != nil {
		s.failed.Add(1)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.flying, k.err = nil, err
	if err == nil {
		if k.given {
			k.before = k.current
		}
		k.current, k.given, k.failures = v, false, 0
		k.due = s.dueAt(now, v.until())
		return
	}
	if !lasting(err) {
		k.current, k.before, k.given = none, none, false
	}
	k.failures++
	k.again = now.Add(min(firstAgain<<min(k.failures-1, 10), mostAgain))
	k.due = now.Add(s.backoff(k.failures))
}

// lasting reports whether keys in memory outlive this refusal: the server is away or
// broken, and has not said no.
func lasting(err error) bool {
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.Limited, fault.Internal, fault.Misconfigured:
		return true
	}
	return false
}
