package gatewaykeys

import (
	"context"
	"sync"
	"time"

	"carnet.dev/carnet/internal/core/fault"
)

// answer is what was told, until when it is good without asking anew, and until
// when it is good at all.
type answer[T any] struct {
	value     T
	due, ends time.Time
	// away is until when it is good while nobody can be asked.
	away time.Time
	// epoch is that of the revocation feed before it was asked for.
	epoch uint64
}

// kept is an answer that is asked for anew while it is used: from due on beside,
// from ends on while whoever wants it waits. One attempt runs at a time.
type kept[T any] struct {
	mu     sync.Mutex
	last   answer[T]
	err    error // of the last attempt; nil where it succeeded
	next   time.Time
	flight chan struct{}
}

const (
	// patience bounds one attempt, and how long somebody waits for it.
	patience = 30 * time.Second
	// pause is between attempts that failed.
	pause = time.Second
)

// get gives the answer. A refusal ends it at once, and so does the revocation of what
// it tells of; what is away leaves it until it ends.
func (k *kept[T]) get(ctx context.Context, s *Service, ask func(context.Context) (answer[T], error), back func(answer[T]) bool) (T, error) {
	now := s.Now()
	k.mu.Lock()
	if k.last.epoch != 0 && back(k.last) {
		k.last = answer[T]{}
	}
	last, err, flight := k.last, k.err, k.flight
	if now.Before(last.due) && now.Before(last.ends) {
		k.mu.Unlock()
		return last.value, nil
	}
	if flight == nil && !now.Before(k.next) {
		flight = k.begin(ctx, s, ask)
	}
	k.mu.Unlock()
	if last.good(now, err) {
		return last.value, nil
	}
	if flight != nil {
		select {
		case <-flight:
		case <-ctx.Done():
			var none T
			return none, ctx.Err()
		}
		k.mu.Lock()
		last, err = k.last, k.err
		k.mu.Unlock()
		if last.epoch != 0 && back(last) { // it was under way before the revocation
			return k.get(ctx, s, ask, back)
		}
		if last.good(s.Now(), err) {
			return last.value, nil
		}
	}
	if err == nil {
		err = fault.Coded(fault.Unavailable, "ServiceUnavailable", "what was found out of this gateway key ended at once").WithMend("try again")
	}
	var none T
	return none, err
}

// good reports whether an answer counts, after what the last attempt to ask anew
// came to.
func (a answer[T]) good(now time.Time, err error) bool {
	return now.Before(a.ends) || err != nil && isAway(err) && now.Before(a.away)
}

// begin starts an attempt. Whoever began it may go away; others wait for it too.
func (k *kept[T]) begin(ctx context.Context, s *Service, ask func(context.Context) (answer[T], error)) chan struct{} {
	flight := make(chan struct{})
	k.flight = flight
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	s.flights.Go(func() {
		defer cancel()
		epoch, err := s.Feed.Epoch()
		var got answer[T]
		if err == nil {
			got, err = ask(ctx)
		}
		got.epoch = epoch
		now := s.Now()
		k.mu.Lock()
		defer k.mu.Unlock()
		switch {
		case err == nil:
			k.last, k.err, k.next = got, nil, time.Time{}
		case isAway(err):
			k.err, k.next = err, now.Add(pause)
		default:
			k.last, k.err, k.next = answer[T]{}, err, now.Add(pause)
		}
		k.flight = nil
		close(flight)
	})
	return flight
}

// isAway tells what could not be asked from what was refused.
func isAway(err error) bool {
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.Limited, fault.Internal:
		return true
	}
	return false
}
