package device

import (
	"context"
	"strconv"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
)

// Review shows the grant under a code that somebody typed. Nothing is granted
// by looking. Errors: Unsupported, NotFound "device.code", Limited
// "device.tries".
func (s *Service) Review(ctx context.Context, who Approver, text string) (Review, error) {
	g, err := s.look(ctx, who, text)
	if err != nil {
		return Review{}, err
	}
	return Review{UserCode: shown(g.UserCode), Client: g.Client, Scope: g.Scope, Source: g.Source, UserAgent: g.UserAgent, Asked: g.Asked, Expires: g.Expires}, nil
}

// Decide approves or refuses the grant under a code, once: what it gives ends
// with the approver's login session. Errors as for Review.
func (s *Service) Decide(ctx context.Context, who Approver, text string, yes bool) (Review, error) {
	g, err := s.look(ctx, who, text)
	if err != nil {
		return Review{}, err
	}
	to, action := Denied, "device.deny"
	if yes {
		to, action = Approved, "device.approve"
	}
	var done bool
	err = s.State.Atomic(ctx, func(ctx context.Context) (err error) {
		if done, err = s.Decisions.Decide(ctx, g.UserCode, to, who.LoginSession, s.Now()); err != nil || !done {
			return err
		}
		return s.Trail.Record(ctx, event.Event{
			Action: action, Outcome: event.Done, Person: who.Person, UserName: who.UserName, LoginSession: who.LoginSession,
			Source: who.Source.String(), Target: g.Client, Detail: map[string]string{"device_source": g.Source, "device_user_agent": g.UserAgent, "scope": g.Scope},
		})
	})
	if err == nil && !done {
		err = wrong()
	}
	return Review{UserCode: shown(g.UserCode), Client: g.Client, Scope: g.Scope, Source: g.Source, UserAgent: g.UserAgent, Asked: g.Asked, Expires: g.Expires}, err
}

func wrong() error {
	return fault.Coded(fault.NotFound, CodeWrong, "no device waits under this code").
		WithMend("compare it with what the device shows; a code counts for 10 minutes and for one approval, so have the device make a new one")
}

// look finds the grant that waits under a code. Whoever types wrong ones is
// counted, by login session and by address, before they are told anything: so
// guesses at the same time don't outrun the count.
func (s *Service) look(ctx context.Context, who Approver, text string) (Grant, error) {
	if s.Off {
		return Grant{}, off(CodeOff)
	}
	if who.Person == "" {
		return Grant{}, fault.Coded(fault.Denied, "device.nobody", "a set-up link is nobody whom a device could act as").WithMend("sign in with your identity provider")
	}
	code, readable := typed(text)
	var (
		found   Grant
		refusal error
		now     = s.Now()
	)
	err := s.State.Atomic(ctx, func(ctx context.Context) (err error) {
		found, refusal = Grant{}, nil
		if refusal, err = s.count(ctx, who, now); err != nil || refusal != nil {
			return err
		}
		if readable {
			found, err = s.Decisions.Typed(ctx, code)
		}
		if err != nil && fault.KindOf(err) != fault.NotFound {
			return err
		}
		if found.State != Waiting || !now.Before(found.Expires) {
			refusal = wrong()
			return nil
		}
		return s.forgive(ctx, who, now)
	})
	if err == nil {
		err = refusal
	}
	return found, err
}

// counted lists what wrong codes are counted under, and how many may be.
func counted(who Approver) map[string]int {
	return map[string]int{"session " + string(who.LoginSession): WrongPerSession, "source " + who.Source.String(): WrongPerSource}
}

// count counts one try. It refuses past the bound, and records the first such.
func (s *Service) count(ctx context.Context, who Approver, now time.Time) (refusal, err error) {
	for key, most := range counted(who) {
		n, err := s.Decisions.Count(ctx, key, 1, now, now.Add(Lifetime))
		if err != nil {
			return nil, err
		}
		if n > most {
			refusal = fault.Coded(fault.Limited, CodeTries, "too many wrong codes were typed here").
				WithMend("wait ten minutes, and type the code that your own device shows")
		}
		if n == most+1 {
			err := s.Trail.Record(ctx, event.Event{Action: "device.guess", Outcome: event.Denied, Code: CodeTries, Person: who.Person, UserName: who.UserName,
				LoginSession: who.LoginSession, Source: who.Source.String(), Detail: map[string]string{"tries": strconv.Itoa(n)}})
			if err != nil {
				return nil, err
			}
		}
	}
	return refusal, nil
}

// forgive takes a try back that was right.
func (s *Service) forgive(ctx context.Context, who Approver, now time.Time) error {
	for key := range counted(who) {
		if _, err := s.Decisions.Count(ctx, key, -1, now, now.Add(Lifetime)); err != nil {
			return err
		}
	}
	return nil
}
