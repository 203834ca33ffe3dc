package withdrawal

import (
	"context"
	"strconv"
	"sync"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
)

// Standing is a deny with how far it has come.
type Standing struct {
	Deny
	State   DenyState // queued, written or failed
	Trouble string    // why it failed
}

// Work is the denies of one role, taken by one server.
type Work struct {
	Role   arn.Role
	Seq    int64 // of what was queued: what is queued later has another
	Denies []Deny
	Tries  int // that failed before
	// Trouble is that of the last try.
	Trouble string
}

// Outcome is what became of work.
type Outcome struct {
	Trouble string // empty: it is written
	// Due is when the role has to be looked at again.
	Due time.Time
}

// Denies keeps what AWS shall deny. Transactions as for Ledger.
type Denies interface {
	// Queue adds denies of a role, due at once.
	Queue(ctx context.Context, role arn.Role, denies []Deny, now time.Time) error
	// Denies gives those of a role.
	Denies(ctx context.Context, role arn.Role) ([]Standing, error)
	// Take gives work that is due and nobody's, to holder until the lease ends; ok
	// is false where there is none.
	Take(ctx context.Context, holder string, now, lease time.Time) (w Work, ok bool, err error)
	// Settle ends work that holder has; what ended by now is forgotten where it was
	// written. Work that somebody else has taken meanwhile is theirs.
	Settle(ctx context.Context, holder string, w Work, o Outcome, now time.Time) error
	// Watch calls changed after every Queue by any server, until ctx ends.
	Watch(ctx context.Context, changed func()) error
}

// Policies are the inline policies of roles at AWS, as far as Carnet writes them.
type Policies interface {
	// Get gives the document of PolicyName on a role; empty where there is none.
	Get(ctx context.Context, role arn.Role) (document string, err error)
	// Put writes it. Faults: TooLarge, where the role has no room for it; NotFound,
	// where there is no such role.
	Put(ctx context.Context, role arn.Role, document string) error
	// Delete deletes it; nil where there is none.
	Delete(ctx context.Context, role arn.Role) error
}

const (
	// lease is how long a server has for one role: longer than patience.
	lease    = time.Minute
	patience = 40 * time.Second
	// every is how often a server looks for work that nobody told it of.
	every = 5 * time.Second
	// parallel bounds the roles that one server writes at once.
	parallel = 8
	// The pauses between tries.
	firstPause, mostPause = time.Second, 5 * time.Minute
	sweepEvery            = time.Hour
	// giveUp is how long after their end denies are tried to be taken away.
	giveUp = 24 * time.Hour
)

// Run writes denies to AWS, takes away those that have ended, and forgets keys that
// have, until ctx ends.
func (s *Service) Run(ctx context.Context) {
	wake := make(chan struct{}, 1)
	if err := s.Denies.Watch(ctx, func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	}); err != nil && ctx.Err() == nil {
		s.Logger.Warn("word of what AWS has to deny comes late", "error", err)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	var swept time.Time
	for {
		s.work(ctx)
		if now := s.Now(); now.Sub(swept) >= sweepEvery {
			if err := s.Ledger.Sweep(ctx, now); err != nil && ctx.Err() == nil {
				s.Logger.Warn("keys of AWS that have ended can't be forgotten", "error", err)
			} else {
				swept = now
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-wake:
		case <-tick.C:
		}
	}
}

// work does all that is due.
func (s *Service) work(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	slots := make(chan struct{}, parallel)
	for ctx.Err() == nil {
		slots <- struct{}{}
		now := s.Now()
		w, ok, err := s.Denies.Take(ctx, s.Holder, now, now.Add(lease))
		if err != nil || !ok {
			if err != nil && ctx.Err() == nil {
				s.Logger.Warn("what AWS has to deny can't be read", "error", err)
			}
			return
		}
		all.Go(func() { s.one(ctx, w); <-slots })
	}
}

// one writes the denies of one role, and settles what became of it, with its record.
func (s *Service) one(ctx context.Context, w Work) {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	form, err := s.write(limited, w)
	if ctx.Err() != nil {
		return // another server goes on when the lease has ended
	}
	now := s.Now()
	o := Outcome{Due: now.Add(MostSession + time.Hour)}
	for _, d := range w.Denies {
		if now.Before(d.Ends) && d.Ends.Before(o.Due) {
			o.Due = d.Ends
		}
	}
	e := event.Event{Action: "revocation.deny", Outcome: event.Done, Account: w.Role.Account, Role: w.Role.String(), Target: PolicyName,
		Detail: map[string]string{"denies": strconv.Itoa(len(union(now, w.Denies...)))}}
	if err != nil && len(union(now.Add(-giveUp), w.Denies...)) == 0 {
		form, err = "nothing", nil // what could not be taken away denies no live key
	}
	if err != nil {
		f := fault.Of(err)
		o = Outcome{Trouble: f.Public, Due: now.Add(pause(w.Tries))}
		e.Outcome, e.Code, e.Detail["reason"] = event.Denied, f.Code, f.Public
		s.Logger.Warn("AWS can't be told whose keys to deny; it is tried again", "role", w.Role.String(), "error", err, "tries", w.Tries+1)
	}
	if form != "" {
		e.Detail["form"] = form
	}
	err = s.State.Atomic(ctx, func(ctx context.Context) error {
		if err := s.Denies.Settle(ctx, s.Holder, w, o, now); err != nil || o.Trouble != "" && o.Trouble == w.Trouble {
			return err // the same trouble is recorded once
		}
		return s.Trail.Record(ctx, e)
	})
	if err != nil && ctx.Err() == nil {
		s.Logger.Warn("what became of a deny at AWS can't be stored; it is written again", "role", w.Role.String(), "error", err)
	}
}

func pause(tries int) time.Duration {
	return min(mostPause, firstPause<<min(tries, 10))
}

// write brings the policy of a role to what is to be denied there, with what stands
// there by another installation; it says in which form.
func (s *Service) write(ctx context.Context, w Work) (form string, err error) {
	if a := s.Accounts[w.Role.Account]; !a.Writable || a.Partition != w.Role.Partition {
		if len(union(s.Now(), w.Denies...)) == 0 {
			return "nothing", nil
		}
		return "", fault.Coded(fault.Misconfigured, "revocation.role", "account "+w.Role.Account+" has no revocation_role any more")
	}
	document, err := s.Policies.Get(ctx, w.Role)
	if err != nil {
		return "", err
	}
	var there []Deny
	if document != "" {
		if there, err = parse(document); err != nil {
			return "", err
		}
	}
	denies := union(s.Now(), append(there, w.Denies...)...)
	if len(denies) == 0 {
		if document == "" {
			return "nothing", nil
		}
		return "nothing", s.Policies.Delete(ctx, w.Role)
	}
	for i, text := range forms(denies) {
		if text == document {
			return formNames[i], nil
		}
		if len(text) > MostPolicy {
			continue
		}
		err = s.Policies.Put(ctx, w.Role, text)
		if fault.KindOf(err) == fault.NotFound {
			return "no role", nil // no key of it is good for anything
		}
		if fault.KindOf(err) != fault.TooLarge {
			return formNames[i], err
		}
	}
	return "", err
}

// formNames name what forms gives.
var formNames = [...]string{"each", "at one time", "all keys"}
