package login_test

import (
	"context"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/devidp"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/revocation"
)

// synced is role sync, switched on: it knows when the latest word was issued.
type synced struct{ last time.Time }

func (s *synced) Replace(_ context.Context, said login.Said) (login.Replaced, error) {
	if said.Issued.Before(s.last) {
		return login.Replaced{On: true, Stale: true}, nil
	}
	s.last = said.Issued
	return login.Replaced{On: true}, nil
}

func (s *synced) MappedRoles(context.Context, identity.PersonID, identity.IdPID) ([]arn.Role, error) {
	return nil, nil
}

// A response that was kept back, and still counts by its own times, must not bring back
// the roles that a later sign-in took away.
func TestAttackKeptResponseAfterALaterSignIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.config
	c.Mapped = &synced{}
	var err error
	w.Service, err = login.New(t.Context(), c)
	must(t, err)
	early := w.begin("/")
	response := w.respond(early, func(a *devidp.Answer) { a.IssueInstant = a.IssueInstant.Add(-time.Minute) })
	w.signIn()
	_, err = w.consume(early, response)
	wantCode(t, err, login.CodeSuperseded)
	w.signIn() // a fresh one is welcome
}

// lossy says that every sign-in loses the person a role.
type lossy struct{ synced }

func (l *lossy) Replace(context.Context, login.Said) (login.Replaced, error) {
	return login.Replaced{On: true, Removed: []arn.Role{{Partition: "aws", Account: "111122223333", Path: "/", Name: "gone"}}}, nil
}

// interrupted has something happen between what a sign-in ended and what begins.
type interrupted struct {
	*revocation.Feed
	meanwhile func()
}

func (i interrupted) Confirm(ctx context.Context) error {
	i.meanwhile()
	return i.Feed.Confirm(ctx)
}

// TestAttackTakenBackInTheMiddleOfASignIn: who is taken back, or switched off, after a
// sign-in was admitted and before it has ended is not in by it.
func TestAttackTakenBackInTheMiddleOfASignIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	person := w.signIn().Session.Person.ID
	c := w.config
	c.Mapped = &lossy{}
	c.Feed = interrupted{w.feed, func() {
		_, err := w.feed.Revoke(t.Context(), revocation.Person, string(person))
		must(t, err)
	}}
	var err error
	w.Service, err = login.New(t.Context(), c)
	must(t, err)
	v := w.begin("/")
	parked, err := w.consume(v, w.respond(v))
	if err == nil {
		_, err = w.Complete(t.Context(), parked.Handle, v.started.PreLogin)
	}
	wantCode(t, err, "login.required")
}
