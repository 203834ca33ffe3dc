package workload

import (
	"context"
	"time"

	"carnet.dev/carnet/internal/core/identity"
)

// Policies keeps federation policies. Every method is one transaction, or part
// of the one that ctx carries.
type Policies interface {
	// AddPolicy stores p. Conflict when its name is taken or there are most
	// already, both among those of its service principal, or among those for
	// people.
	AddPolicy(ctx context.Context, p FederationPolicy, most int) error
	// RemovePolicy deletes; false when there was none.
	RemovePolicy(ctx context.Context, id identity.FederationPolicyID) (bool, error)
	// Policies gives all of them, by name.
	Policies(ctx context.Context) ([]FederationPolicy, error)
	// ForgetServicePrincipal deletes the policies of one, and its delegations.
	ForgetServicePrincipal(ctx context.Context, id identity.ServicePrincipalID) error
	// WatchPolicies calls changed after every change by any server, until ctx ends.
	WatchPolicies(ctx context.Context, changed func()) error
}

// Of chooses delegations. A field that is set must be equal; the zero value
// chooses all.
type Of struct {
	Person           identity.PersonID
	IdP              identity.IdPID
	ServicePrincipal identity.ServicePrincipalID
}

// Delegations keeps delegations. Transactions as for Policies.
type Delegations interface {
	// AddDelegation stores d. Conflict when its person has most that stand, Limited
	// when they made twice as many within half a day.
	AddDelegation(ctx context.Context, d Delegation, most int) error
	// Delegation gives one; NotFound.
	Delegation(ctx context.Context, id identity.DelegationID) (Delegation, error)
	// Delegations lists by time of making, ended ones too.
	Delegations(ctx context.Context, of Of) ([]Delegation, error)
	// EndDelegation marks one as revoked; false when it was already, or there
	// is none.
	EndDelegation(ctx context.Context, id identity.DelegationID, at time.Time) (bool, error)
	// SweepDelegations deletes those that ended, or were revoked, before a time.
	SweepDelegations(ctx context.Context, before time.Time) error
}
