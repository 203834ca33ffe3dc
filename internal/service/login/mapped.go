package login

import (
	"carnet.dev/carnet/internal/service/revocation"
	"context"
	"strconv"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/entitlement"
)

// Mapped are the roles that are mapped to people, beside what sign-ins bring.
type Mapped interface {
	// Replace makes the roles of a sign-in the person's own mapped ones, within what
	// their identity provider may say, in the transaction that ctx carries; nothing
	// where the switch for it is off. A sign-in that was issued later counts.
	Replace(ctx context.Context, s Said) (Replaced, error)
	// MappedRoles gives those that count for a person who signs in by a provider.
	MappedRoles(ctx context.Context, person identity.PersonID, idp identity.IdPID) ([]arn.Role, error)
}

// Said is what a sign-in said of a person's roles.
type Said struct {
	Person   identity.PersonID
	IdP      identity.IdPID
	NameID   string // or sub
	Protocol string // saml or oidc
	Issued   time.Time
	Roles    []arn.Role
}

// Replaced is what came of it.
type Replaced struct {
	On             bool // the switch
	Stale          bool // a sign-in that was issued later has spoken already
	Added, Removed []arn.Role
	// None: nothing is left, where there was something.
	None bool
}

// CodeSuperseded is the code of the fault on a sign-in that was issued before one that
// has spoken already, where sign-ins say which roles are mapped.
const CodeSuperseded = "login.superseded"

// sync lets a sign-in say what roles are mapped to its person. Where it takes one
// away, what rests on earlier sign-ins of the person ends with it. It gives the epoch of
// that; 0: it ended nothing. One that was issued before another that has spoken is refused.
func (s *Service) sync(ctx context.Context, p *posted, who Subject, e entitlement.Entitlements) (ended uint64, err error) {
	said := Said{Person: who.ID, IdP: who.IdP, NameID: who.NameID, Protocol: e.Basis.Protocol, Issued: e.Basis.Issued}
	for _, c := range e.Candidates {
		said.Roles = append(said.Roles, c.Role)
	}
	r, err := s.Mapped.Replace(ctx, said)
	if err == nil && r.On && r.Stale {
		// It may bring roles that the later one took away.
		return 0, fault.Coded(fault.Denied, CodeSuperseded, "this sign-in is older than another one of yours, which has said already which roles you hold").WithMend("sign in again")
	}
	if err != nil || !r.On || len(r.Added)+len(r.Removed) == 0 {
		return 0, err
	}
	record := Event{Action: "roles.sync", Outcome: event.Done, Person: who.ID, UserName: who.UserName, IdP: who.IdP, Target: string(who.ID), Source: p.source.String(),
		Detail: map[string]string{"sign_in": clip(p.proof.name), "added": some(r.Added), "removed": some(r.Removed)}}
	for _, name := range [...]string{"added", "removed"} {
		if record.Detail[name] == "" {
			delete(record.Detail, name)
		}
	}
	if err := s.Audit.Record(ctx, record); err != nil || len(r.Removed) == 0 {
		return 0, err
	}
	if r.None {
		s.lost.note(s, who)
	}
	if s.Withdrawal != nil {
		if err := s.Withdrawal.DenyIn(ctx, who.ID, r.Removed); err != nil {
			return 0, err
		}
	}
	return s.Feed.Revoke(ctx, revocation.Person, string(who.ID))
}

// some names roles, the first fifty of them.
func some(roles []arn.Role) string {
	const most = 50
	var names []string
	for _, r := range roles[:min(most, len(roles))] {
		names = append(names, r.String())
	}
	text := strings.Join(names, " ")
	if n := len(roles) - most; n > 0 {
		text += " and " + strconv.Itoa(n) + " more"
	}
	return text
}

// unmapped is where nothing is mapped to anybody.
type unmapped struct{}

func (unmapped) Replace(context.Context, Said) (Replaced, error) { return Replaced{}, nil }

func (unmapped) MappedRoles(context.Context, identity.PersonID, identity.IdPID) ([]arn.Role, error) {
	return nil, nil
}
