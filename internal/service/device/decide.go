package device

import (
	"context"

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
	return Review{UserCode: ShownCode(g.UserCode), Client: g.Client, Scope: g.Scope, Source: g.Source, UserAgent: g.UserAgent, Asked: g.Asked, Expires: g.Expires}, nil
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
	return Review{UserCode: ShownCode(g.UserCode), Client: g.Client, Scope: g.Scope, Source: g.Source, UserAgent: g.UserAgent, Asked: g.Asked, Expires: g.Expires}, err
}

func wrong() *fault.Fault {
	return fault.Coded(fault.NotFound, CodeWrong, "no device waits under this code").
		WithMend("compare it with what the device shows; a code counts for 10 minutes and for one approval, so have the device make a new one")
}

// look finds the grant that waits under a code.
func (s *Service) look(ctx context.Context, who Approver, text string) (found Grant, err error) {
	if s.Off {
		return Grant{}, off(CodeOff)
	}
	if who.Person == "" {
		return Grant{}, fault.Coded(fault.Denied, "device.nobody", "a set-up link is nobody whom a device could act as").WithMend("sign in with your identity provider")
	}
	err = s.guesses().Look(ctx, who, text, wrong(), func(ctx context.Context, code string) (there bool, err error) {
		found, err = s.Decisions.Typed(ctx, code)
		return err == nil && found.State == Waiting && s.Now().Before(found.Expires), err
	})
	return found, err
}

func (s *Service) guesses() Guesses {
	return Guesses{Counts: s.Decisions, State: s.State, Trail: s.Trail, Now: s.Now}
}
