package broker

import (
	"fmt"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
)

// Status is how a role of a login session is served, and when its person is
// needed.
type Status struct {
	Outcome Outcome // the newest that this server knows
	Served  Served
	// Renewable: keys come without the person until NeededBy.
	Renewable bool
	// NeededBy is when the person is needed next: they have to sign in again.
	// Zero: there are no keys, and none will come.
	NeededBy time.Time
	// Refused is why there are no keys; nil where there are, or will be.
	Refused *Failure
	// Warning says what is to be known before the keys end; zero: nothing.
	Warning Warning
}

// warnBefore is how long before the end a person is told of it.
const warnBefore = 30 * time.Minute

// Status tells of a role from memory: neither STS nor the store is asked.
func (b *Broker) Status(id identity.LoginSessionID, o Outcome) Status {
	now := b.Now()
	s := Status{Outcome: o, Served: o.Served, Warning: o.Warning, Refused: o.Failure}
	if o.Failure != nil {
		return s
	}
	trouble := o.Trouble.Failure
	var last error
	if h := b.memory.find(place{id, o.Role}); h != nil {
		if newest := h.newest.Load(); o.Session.Credentials.Expiration.Before(newest.Session.Credentials.Expiration) {
			s.Outcome, trouble = *newest, newest.Trouble.Failure
		}
		h.mu.Lock()
		last = h.err
		h.mu.Unlock()
	}
	if f := fault.Of(last); f != nil && !isAway(last) && f.Code != codeDeadline {
		trouble = Failure{Code: f.Code, Message: f.Public, Mend: f.Mend}
	}
	keys, deadline := s.Outcome.Session.Credentials, b.deadlineOf(o)
	s.Served = s.Outcome.Served
	s.Renewable = trouble == Failure{} && deadline.After(keys.Expiration) && deadline.Sub(now) >= b.least()
	switch {
	case s.Renewable:
		s.NeededBy = deadline
		if s.Served == ServedSAML {
			s.Served = ServedBridge
		}
	case keys.Live(now):
		s.NeededBy = keys.Expiration
	case trouble != Failure{}:
		s.Refused = &trouble
	}
	if w := b.warning(s, trouble, last, now); w != (Warning{}) {
		s.Warning = w
	}
	return s
}

// deadlineOf gives the deadline of a role's renewals; zero where it has none.
func (b *Broker) deadlineOf(o Outcome) time.Time {
	if !b.mayRenew(o) {
		return time.Time{}
	}
	speaker, err := b.Standing.Speaker(o.Basis.Evidence.IdP)
	if err != nil {
		return time.Time{}
	}
	return o.Basis.deadline(b.Accounts[o.Role.Account], b.Standing.Recalled(speaker))
}

// warning says what a person has to know of keys that live.
func (b *Broker) warning(s Status, trouble Failure, last error, now time.Time) Warning {
	keys := s.Outcome.Session.Credentials
	if !keys.Live(now) {
		return Warning{}
	}
	until := clockText(keys.Expiration)
	soon := s.NeededBy.Sub(now) < warnBefore
	switch {
	case trouble != Failure{}:
		return Warning{Message: fmt.Sprintf("these keys work until %s and were not renewed: %s: %s. To mend it, %s", until, trouble.Code, trouble.Message, trouble.Mend)}
	case last != nil && isAway(last):
		return Warning{Message: "these keys work until " + until + "; STS does not answer, and Carnet goes on trying to renew them"}
	case soon && s.Renewable:
		return Warning{Message: "this role is renewed until " + clockText(s.NeededBy) + " at the latest: sign in again before then to go on"}
	case soon && b.samlOnly(s.Outcome):
		return Warning{Message: "these keys end at " + until + ", and account " + s.Outcome.Role.Account + " takes SAML alone: sign in again before then to go on"}
	case soon:
		return Warning{Message: "these keys end at " + until + ": sign in again before then to go on"}
	}
	return Warning{}
}

// samlOnly: nothing but a sign-in brings new keys of this role.
func (b *Broker) samlOnly(o Outcome) bool {
	return o.Served == ServedSAML && !b.mayRenew(o)
}
