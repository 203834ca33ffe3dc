package cluster

import (
	"context"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/federation"
)

// Clusters keeps clusters. Every method is one transaction, or part of the one that
// ctx carries.
type Clusters interface {
	// AddCluster stores c. Conflict ("cluster.name") when one has its name, letter case
	// aside.
	AddCluster(ctx context.Context, c Cluster) error
	// UpdateCluster replaces the one of c's id whose revision is one less than c's;
	// false when there is none. Its id, name and time of making stay.
	UpdateCluster(ctx context.Context, c Cluster) (bool, error)
	// RemoveCluster deletes one with its nodes and join tokens; false when there is
	// none.
	RemoveCluster(ctx context.Context, id identity.ClusterID) (bool, error)
	// Clusters gives all, by name.
	Clusters(ctx context.Context) ([]Cluster, error)
	// Watch calls changed after every change of clusters and nodes by any server,
	// until ctx ends.
	Watch(ctx context.Context, changed func()) error
}

// Nodes keeps nodes. Transactions as for Clusters.
type Nodes interface {
	// AddNode stores n. Conflict ("node.name") when one of its cluster has its name,
	// letter case aside; NotFound ("cluster.unknown") when the cluster is gone; Limited
	// ("node.most") when it has most.
	AddNode(ctx context.Context, n Node, most int) error
	// SetNodeKey replaces n's key where it is still n.Before; false when it is not, or
	// the node is gone.
	SetNodeKey(ctx context.Context, n Node) (bool, error)
	// RemoveNode deletes one; false when there is none.
	RemoveNode(ctx context.Context, id identity.NodeID) (bool, error)
	// Nodes gives all, by cluster and name.
	Nodes(ctx context.Context) ([]Node, error)
}

// Healths keeps how nodes were seen last. No change of it is watched.
type Healths interface {
	// SetSeen notes when a node was seen; false when the node is gone.
	SetSeen(ctx context.Context, id identity.NodeID, at time.Time) (bool, error)
	// SetHealth replaces what is kept of a node; false when the node is gone.
	SetHealth(ctx context.Context, h Health) (bool, error)
	// Healths gives those of a cluster's nodes.
	Healths(ctx context.Context, of identity.ClusterID) ([]Health, error)
}

// JoinTokens keeps join tokens. Transactions as for Clusters.
type JoinTokens interface {
	// AddJoinToken stores t. Limited ("join-token.most") when its cluster has most
	// that have not expired; NotFound ("cluster.unknown") when it is gone.
	AddJoinToken(ctx context.Context, t JoinToken, most int) error
	// JoinToken gives the one of a digest; false when there is none.
	JoinToken(ctx context.Context, digest [32]byte) (JoinToken, bool, error)
	// SweepJoinTokens deletes those that expired before a time.
	SweepJoinTokens(ctx context.Context, before time.Time) error
}

// Once lets an id be used once, in the transaction that ctx carries.
type Once interface {
	Consume(ctx context.Context, kind, id string, until time.Time) (bool, error)
}

// Sealer seals node access tokens. Purpose and aad must be the same on opening.
type Sealer interface {
	Seal(purpose string, aad, plain []byte) ([]byte, error)
	Open(purpose string, aad, sealed []byte) ([]byte, error)
}

// Directory knows who there is.
type Directory interface {
	Person(ctx context.Context, id identity.PersonID) (directory.Person, error)
	Group(ctx context.Context, id identity.GroupID) (directory.Group, error)
	ServicePrincipal(ctx context.Context, id identity.ServicePrincipalID) (directory.ServicePrincipal, error)
}

// Providers knows the identity providers.
type Providers interface {
	Get(ctx context.Context, id identity.IdPID) (federation.IdP, error)
}

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
