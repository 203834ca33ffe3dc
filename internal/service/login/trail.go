package login

import (
	"context"
	"strings"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/broker"
)

// Event is one act of the audit trail.
type Event = event.Event

// Audit records in the transaction that ctx carries: what can't be recorded
// doesn't happen.
type Audit interface {
	Record(ctx context.Context, e Event) error
}

// Revocations is the feed of what no longer holds.
type Revocations interface {
	// Epoch is what a login session that begins now carries.
	Epoch() (uint64, error)
	// Refused reports whether (kind, id) was revoked after that epoch; a fault
	// Unavailable while this server can't say.
	Refused(kind, id string, epoch uint64) (bool, error)
	// RevokeLoginSession refuses all that rests on it, wherever Carnet decides;
	// in the transaction that ctx carries.
	RevokeLoginSession(ctx context.Context, id identity.LoginSessionID) error
	// Revoke refuses everything of (kind, id), likewise; epoch is that of this
	// revocation.
	Revoke(ctx context.Context, kind, id string) (epoch uint64, err error)
	// Confirm looks at once at what was revoked.
	Confirm(ctx context.Context) error
}

// Withdrawal knows keys that AWS honours by itself.
type Withdrawal interface {
	// DenyIn has AWS deny a person's keys in roles that they lost, where that may be;
	// in the transaction that ctx carries.
	DenyIn(ctx context.Context, person identity.PersonID, roles []arn.Role) error
}

// signInEvents tells of a sign-in and of each exchange. The assertion's id and
// the ids of the access keys join our trail with AWS's.
func signInEvents(r Record, p *posted, outcomes []broker.Outcome) []Event {
	signIn := act("sign-in", r)
	signIn.Source, signIn.Target = p.source.String(), clip(p.proof.name)
	detail := map[string]string{}
	if r.Administrator {
		detail["administrator"] = "true"
	}
	if p.unsolicited() {
		detail["unsolicited"] = "true"
	}
	if len(detail) > 0 {
		signIn.Detail = detail
	}
	events := []Event{signIn}
	for _, o := range outcomes {
		if o.Failure == nil && o.Session.Credentials.AccessKeyID == "" {
			continue // it is traded, and recorded, at its first use
		}
		e := act("exchange", r)
		e.Target, e.Account, e.Role = signIn.Target, o.Role.Account, o.Role.String()
		e.AccessKeyID = o.Session.Credentials.AccessKeyID
		if o.Failure != nil {
			e.Outcome, e.Code = event.Failed, o.Failure.Code
		}
		events = append(events, e)
	}
	return events
}

// Refusals takes what was refused into the audit trail, repeated ones as a number.
type Refusals interface {
	Refuse(ctx context.Context, e event.Event)
}

// refused has a sign-in recorded that came to nothing. The person is named where they
// were proven, the identity provider where it was found out.
func (s *Service) refused(ctx context.Context, p *posted, err error) {
	if err == nil || s.Refusals == nil {
		return
	}
	f := fault.Of(err)
	e := Event{Action: "sign-in", Outcome: event.Denied, Code: f.Code, Source: p.source.String(), Target: clip(p.proof.name), Detail: map[string]string{"reason": clip(f.Public)}}
	switch f.Kind {
	case fault.Unavailable, fault.Limited, fault.Internal, fault.Misconfigured:
		e.Outcome = event.Failed
	}
	if e.Code == "" {
		e.Code = f.Kind.String()
	}
	if p.sp != nil {
		e.IdP = p.sp.IdP.ID
	}
	e.Person, e.UserName = p.person.ID, p.person.UserName
	s.Refusals.Refuse(ctx, e)
}

func act(action string, r Record) Event {
	return Event{Action: action, Outcome: event.Done, Person: r.Person.ID, UserName: r.Person.UserName, IdP: r.Person.IdP, LoginSession: r.ID}
}

func clip(s string) string {
	const most = 128
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "")
}
