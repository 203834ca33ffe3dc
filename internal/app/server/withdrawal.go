package server

import (
	"context"

	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/revocation"
	"carnet.dev/carnet/internal/service/withdrawal"
	"carnet.dev/carnet/internal/service/workload"
)

// openWithdrawal opens what takes back what was issued.
func (s *state) openWithdrawal() {
	s.withdrawal = withdrawal.New(withdrawal.Config{Feed: s.feed, Delegations: endsDelegations{s}, State: s.db, Trail: s.trail, Now: s.now, Logger: s.log})
}

// endsDelegations marks delegations that a revocation ends: they live longer than
// the feed remembers.
type endsDelegations struct{ *state }

// EndWith marks those that rest on t, in the transaction that ctx carries.
func (e endsDelegations) EndWith(ctx context.Context, t withdrawal.Target) error {
	switch t.Kind {
	case revocation.Person:
		return e.workload.EndAll(ctx, workload.Of{Person: identity.PersonID(t.ID)})
	case revocation.Everything:
		return e.workload.EndAll(ctx, workload.Of{})
	case revocation.Delegation:
		_, err := e.workload.Mark(ctx, identity.DelegationID(t.ID))
		return err
	}
	return nil
}

// takesBack is withdrawal as services ask it that revoke in a transaction of
// their own.
type takesBack struct{ *state }

// Revoke takes back everything of (kind, id), with what AWS has to be told.
func (t takesBack) Revoke(ctx context.Context, kind, id string) (uint64, error) {
	epoch, _, err := t.withdrawal.Withdraw(ctx, withdrawal.Target{Kind: kind, ID: id})
	return epoch, err
}
