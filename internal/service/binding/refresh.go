package binding

import (
	"context"
	"sync"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
)

const (
	// firstAgain is how long a refusal is remembered, so that a program in a loop does
	// not become the server's; after several it is longer, up to mostAgain.
	firstAgain = time.Second
	mostAgain  = 5 * time.Second
	// longestAgain bounds the wait between two tries to renew.
	longestAgain = time.Minute
	// spreadOver is how long renewals are spread over that all became due while the
	// server was away.
	spreadOver = 30 * time.Second
	// every is how often Run looks for what is due.
	every = time.Second
)

// dueAt is when keys are renewed: a window before their end (a third of their life at
// most), and up to a quarter of it earlier, each at another time.
func (s *Service) dueAt(now, until time.Time) time.Time {
	window := min(s.c.Window, until.Sub(now)/3)
	return until.Add(-window - time.Duration(s.c.Random()*float64(window)/4))
}

// backoff is how long to wait after so many failures in a row, half of it by chance.
func (s *Service) backoff(failures int) time.Duration {
	wait := min(time.Second<<min(failures, 10), longestAgain)
	return wait/2 + time.Duration(s.c.Random()*float64(wait)/2)
}

// Run renews what is in use, and tells the server what ended here, until the context
// ends. A server that does not answer holds up neither for the other.
func (s *Service) Run(ctx context.Context) {
	var telling sync.WaitGroup
	telling.Go(func() { s.each(ctx, s.tell) })
	s.each(ctx, s.renew)
	telling.Wait()
}

// each does something each second. Nothing is asked of a server that is away: the watch
// says when it is back.
func (s *Service) each(ctx context.Context, do func(context.Context)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if s.Fresh() {
			do(ctx)
		}
	}
}

// renew starts to renew what is due and was given since it came.
func (s *Service) renew(ctx context.Context) {
	now := s.c.Now()
	for id, l := range s.table.Load().byID {
		if !now.Before(l.Expires) {
			continue
		}
		l.kept.mu.Lock()
		l.kept.keys.drop(func(k *kept[*Answer]) bool { return stayOrGo(ctx, s, k, now, id, s.fetchKeys) })
		l.kept.tokens.drop(func(k *kept[*IDToken]) bool { return stayOrGo(ctx, s, k, now, id, s.fetchToken) })
		l.kept.mu.Unlock()
	}
}

// stayOrGo begins to renew one thing if it is time, and reports whether it is of no use
// any more.
func stayOrGo[V dated](ctx context.Context, s *Service, k *kept[V], now time.Time, id identity.AttachmentID, fetch func(identity.AttachmentID, string) fetcher[V]) (gone bool) {
	var none V
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.flying != nil:
		return false
	case k.current == none:
		return k.err != nil && now.After(k.again)
	case k.given && !now.Before(k.due):
		k.start(ctx, s, s.renewing, fetch(id, k.role))
		return false
	}
	return !now.Before(k.current.until())
}

// spread puts off what became due while the server was away, each by another time, but
// never near its end.
func (s *Service) spread(now time.Time) {
	for _, l := range s.table.Load().byID {
		l.kept.mu.Lock()
		for _, k := range l.kept.keys {
			putOff(s, k, now)
		}
		for _, k := range l.kept.tokens {
			putOff(s, k, now)
		}
		l.kept.mu.Unlock()
	}
}

func putOff[V dated](s *Service, k *kept[V], now time.Time) {
	var none V
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.current == none || k.due.After(now) {
		return
	}
	room := min(spreadOver, k.current.until().Sub(now)/2)
	k.due = now.Add(time.Duration(s.c.Random() * float64(max(room, 0))))
}

// End ends an attachment here, at once; Run tells the server. Ending one that is not
// known does nothing.
func (s *Service) End(id identity.AttachmentID, why Why) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.table.Load()
	if old.byID[id] == nil {
		return
	}
	s.ended[id] = &ending{why: why}
	next := &table{revision: old.revision, byUID: map[uint32][]*live{}, byID: map[identity.AttachmentID]*live{}}
	for other, l := range old.byID {
		if other != id {
			next.byID[other] = l
			next.byUID[l.UID] = append(next.byUID[l.UID], l)
		}
	}
	s.put(next)
}

// Told reports whether a view was seen, and the server knows of all that ended here.
func (s *Service) Told() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.ended {
		if !e.told {
			return false
		}
	}
	return s.confirmed.Load() != nil
}

// tell tells the server what ended here, as far as it does not know.
func (s *Service) tell(ctx context.Context) {
	now := s.c.Now()
	due := map[identity.AttachmentID]Why{}
	s.mu.Lock()
	for id, e := range s.ended {
		if !e.told && !now.Before(e.next) {
			e.next = now.Add(longestAgain / 4)
			due[id] = e.why
		}
	}
	s.mu.Unlock()
	for id, why := range due {
		err := s.c.Server.End(ctx, id, why)
		if err != nil && fault.KindOf(err) != fault.NotFound {
			s.c.Logger.Warn("the server has not heard yet that an attachment ended", "attachment", id, "why", why, "error", err)
			continue
		}
		s.mu.Lock()
		if e := s.ended[id]; e != nil {
			e.told = true
		}
		s.mu.Unlock()
	}
}
