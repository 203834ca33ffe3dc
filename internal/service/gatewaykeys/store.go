package gatewaykeys

import (
	"context"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/holder"
)

// Stored is a key with its sealed secret.
type Stored struct {
	Key
	Sealed []byte
}

// Keys keeps gateway keys. Every method is one transaction, or part of the one
// that ctx carries.
type Keys interface {
	// AddKey stores k, and where it follows another ends that one at most at
	// ends. Conflict when its owner has most that end later than it was made
	// and are not revoked ("gateway-key.most"), or when another key follows the
	// same one already ("gateway-key.rolled").
	AddKey(ctx context.Context, k Stored, ends time.Time, most int) error
	// RevokeKey marks one; false when it was already, or there is none.
	RevokeKey(ctx context.Context, id identity.GatewayKeyID, at time.Time) (bool, error)
	// UseKey notes the first use; false when it was noted before.
	UseKey(ctx context.Context, id identity.GatewayKeyID, at time.Time) (bool, error)
	// Keys gives those that end after a time, revoked ones too, by time of making.
	Keys(ctx context.Context, after time.Time) ([]Stored, error)
	// SweepKeys deletes those that ended before a time.
	SweepKeys(ctx context.Context, before time.Time) error
}

// Clusters knows clusters, from memory: a key that names one works where that calls
// from.
type Clusters interface {
	// Find gives a cluster by id or name, letter case aside; NotFound.
	Find(text string) (cluster.Cluster, error)
	// Allows reports whether a role may be used on a cluster.
	Allows(c cluster.Cluster, role arn.Role) bool
	// MayAttach says why a person may not work on a cluster; nil: they may.
	MayAttach(c cluster.Cluster, person identity.PersonID, groups []identity.GroupID) error
	// Refresh reads clusters anew.
	Refresh(ctx context.Context) error
}

// Groups says which groups somebody is in.
type Groups interface {
	GroupsAround(ctx context.Context, subject string) ([]identity.GroupID, error)
}

// Grants keeps prefix grants. Transactions as for Keys.
type Grants interface {
	// AddGrant stores g. Conflict when the same role has the same prefix already.
	AddGrant(ctx context.Context, g Grant) error
	// RemoveGrant deletes; false when there was none.
	RemoveGrant(ctx context.Context, id identity.PrefixGrantID) (bool, error)
	// Grants gives all, by bucket, prefix and role.
	Grants(ctx context.Context) ([]Grant, error)
	// Watch calls changed after every change of keys or grants by any
	// server, until ctx ends.
	Watch(ctx context.Context, changed func()) error
}

// Sealer seals secrets. Purpose and aad must be the same on opening.
type Sealer interface {
	Seal(purpose string, aad, plain []byte) ([]byte, error)
	Open(purpose string, aad, sealed []byte) ([]byte, error)
}

// What holders are asked by (see holder).
type (
	Sessions = holder.Sessions
	Entitled = holder.Entitled
	Machines = holder.Machines
	STS      = holder.STS
)

// Revocations is the feed of what no longer holds.
type Revocations interface {
	Epoch() (uint64, error)
	Refused(kind, id string, epoch uint64) (bool, error)
	// Revoke works in the transaction that ctx carries.
	Revoke(ctx context.Context, kind, id string) (epoch uint64, err error)
}

// Atomic makes one transaction of what fn does with its context. fn may run
// more than once.
type Atomic interface {
	Atomic(ctx context.Context, fn func(context.Context) error) error
}

// Trail records in the transaction that ctx carries: what can't be recorded
// doesn't happen.
type Trail interface {
	Record(ctx context.Context, e event.Event) error
}
