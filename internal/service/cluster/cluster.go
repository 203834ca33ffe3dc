// Package cluster keeps clusters: machines that people share, who may work on
// them, which roles may be used there, and the nodes that joined.
//
// A node proves itself by a key that it made: a one-use join token brings the
// public half here, and from then on a signed assertion buys a short access token.
// What a node may ask for is bounded by its cluster, here and not at the node:
// whoever has a node's key reaches the people attached there and the roles allowed
// there, and nothing else.
//
// It must never take a join token twice, nor a node's word for which cluster it
// belongs to.
package cluster

import (
	"time"

	"carnet.dev/carnet/internal/core/identity"
)

// Kind is how a cluster is shared.
type Kind string

// The kinds of clusters.
const (
	// Standard: one assigned person, whom those who manage the cluster may replace.
	Standard Kind = "standard"
	// HighConcurrency: many people, each isolated: no two ever share a uid of a node.
	HighConcurrency Kind = "high-concurrency"
)

// Cluster is one set of machines.
type Cluster struct {
	ID   identity.ClusterID
	Name string // unique, letter case aside
	Kind Kind
	// Assigned is the one person of a standard cluster; empty: nobody yet.
	Assigned identity.PersonID
	// Managers may reassign it, end attachments and make join tokens, beside
	// administrators.
	Managers []identity.PersonID
	// People and Groups may attach; both empty on a high-concurrency cluster:
	// everybody who signs in.
	People []identity.PersonID
	Groups []identity.GroupID
	// Orchestrators may attach people who have a live login session or a
	// delegation to this cluster.
	Orchestrators []identity.ServicePrincipalID
	// Roles are the patterns (role ARNs, with *) that may be used there; empty:
	// every role that a person holds.
	Roles []string
	// LoginNames is the identity provider whose user names equal the login names of
	// the nodes; empty: an account name proves nothing.
	LoginNames identity.IdPID
	// Meta: jobs and JDBC connections may take roles by Carnet's own identity.
	Meta bool
	// InstanceMetadata: the agents may offer IMDSv2. On by default on standard
	// clusters, off on high-concurrency ones. SigningProxy: they may offer the signing
	// proxy. Off by default.
	InstanceMetadata bool
	SigningProxy     bool
	// Longest bounds an attachment; 0: DefaultLongest.
	Longest time.Duration
	// Binding is where its engines call the gateway from; zero: gateway keys that name
	// the cluster work nowhere.
	Binding Binding
	// Revision counts its changes: an update names the one that it was made of.
	Revision int64
	Made     time.Time
}

// DefaultLongest is how long an attachment lives at most, where nothing is said.
const DefaultLongest = 12 * time.Hour

// LongestFor is how long an attachment lives at most.
func (c Cluster) LongestFor() time.Duration {
	if c.Longest == 0 {
		return DefaultLongest
	}
	return c.Longest
}

// Node is one machine that joined.
type Node struct {
	ID      identity.NodeID
	Cluster identity.ClusterID
	Name    string // as its administrator calls it; unique in its cluster, letter case aside
	// Key is its public key, SPKI in DER: ECDSA P-256.
	Key []byte
	// Before is the key that it had before, which counts until BeforeEnds; nil: none.
	Before     []byte
	BeforeEnds time.Time
	Joined     time.Time
	// Epoch is that of the revocation feed when it joined; of a node that Prove or
	// NodeOf gave, when it was proven: what is revoked after that refuses it.
	Epoch uint64
}

// Health is how a node was seen last.
type Health struct {
	Node   identity.NodeID
	Report Report
	Seen   time.Time // when it last reported or proved itself
}

// Listed is a node with its health.
type Listed struct {
	Node
	Health Health
}

// JoinToken is a join token as it is kept: by its digest.
type JoinToken struct {
	Digest  [32]byte
	Cluster identity.ClusterID
	By      identity.PersonID // empty: on the server's host
	Made    time.Time
	Expires time.Time
}
