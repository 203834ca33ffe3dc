package attachment

import (
	"context"
	"net/netip"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/gatewaykeys"
	"carnet.dev/carnet/internal/service/holder"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/revocation"
	"carnet.dev/carnet/internal/service/workload"
)

// Request is the stored form of what a process of a node asks.
type Request struct {
	Digest   [32]byte // of what the node asks with
	UserCode string   // eight letters; it opens nothing by itself
	Place    Place
	Asked    time.Time
	Expires  time.Time
	State    State // Pending, Attached or Refused
	// Attachment is what came of it; empty unless it is Attached.
	Attachment identity.AttachmentID
}

// Requests keeps what nodes began. Every method is one transaction, or part of the
// one that ctx carries; NotFound faults say that there is nothing.
type Requests interface {
	// Put stores r, in the place of the oldest where its uid has perUID that wait; of
	// those that were decided so many are kept. Limited "attachment.busy" where perNode
	// wait on its node; Conflict where its user code is another's.
	Put(ctx context.Context, r Request, perUID, perNode int) error
	// Asked gives the one that a node asks with.
	Asked(ctx context.Context, digest [32]byte) (Request, error)
	// Typed gives the one of a user code.
	Typed(ctx context.Context, userCode string) (Request, error)
	// Decide moves one that waits, and has not ended by at, to a state; false
	// where it does not wait.
	Decide(ctx context.Context, userCode string, to State, made identity.AttachmentID, at time.Time) (bool, error)
	// Sweep deletes requests that ended before a time.
	Sweep(ctx context.Context, before time.Time) error
}

// Changes keeps attachments. Transactions as for Requests.
type Changes interface {
	// Add stores a. Conflict "attachment.uid" where something of another person
	// lives under its uid of its node, whatever its scope.
	Add(ctx context.Context, a Attachment) error
	// SetRole changes the current role of a live one; false where there is none.
	SetRole(ctx context.Context, id identity.AttachmentID, role arn.Role) (bool, error)
	// End ends a live one; false where there is none.
	End(ctx context.Context, id identity.AttachmentID, why string, at time.Time) (bool, error)
	// SweepEnded deletes those that ended before a time.
	SweepEnded(ctx context.Context, before time.Time) error
}

// Lists tells of attachments.
type Lists interface {
	// Attachment gives one; NotFound.
	Attachment(ctx context.Context, id identity.AttachmentID) (Attachment, error)
	// Live gives those that have not been ended, by time of making, those past
	// their time too.
	Live(ctx context.Context) ([]Attachment, error)
	// At gives those under a uid of a node that have not been ended.
	At(ctx context.Context, node identity.NodeID, uid uint32) ([]Attachment, error)
	// Of gives those of a person, of a cluster or, where both are empty, all,
	// ended ones too, newest first, most of them.
	Of(ctx context.Context, person identity.PersonID, cluster identity.ClusterID, most int) ([]Attachment, error)
	// Watch calls changed after every change by any server, until ctx ends.
	Watch(ctx context.Context, changed func()) error
}

// Clusters are the clusters with their nodes, in memory.
type Clusters interface {
	// Find gives one by id or name; NotFound.
	Find(text string) (cluster.Cluster, error)
	Cluster(id identity.ClusterID) (cluster.Cluster, bool)
	Node(id identity.NodeID) (cluster.Node, bool)
	// FindNode gives one of a cluster, by id or name; NotFound.
	FindNode(of identity.ClusterID, text string) (cluster.Node, error)
	// Changed calls changed after every change of clusters or nodes that this
	// server has followed, until ctx ends.
	Changed(ctx context.Context, changed func()) error
}

// Rules say what clusters admit, from memory.
type Rules interface {
	MayAttach(c cluster.Cluster, person identity.PersonID, groups []identity.GroupID) error
	Allows(c cluster.Cluster, role arn.Role) bool
	MayOrchestrate(c cluster.Cluster, by identity.ServicePrincipalID) bool
	MayManage(c cluster.Cluster, person identity.PersonID) bool
	// ListNodes gives the nodes of a cluster with what they last said.
	ListNodes(ctx context.Context, of identity.ClusterID) ([]cluster.Listed, error)
}

// People are those who can be attached.
type People interface {
	Person(ctx context.Context, id identity.PersonID) (directory.Person, error)
	// ByUserName gives the person of an identity provider with a user name; NotFound.
	ByUserName(ctx context.Context, idp identity.IdPID, userName string) (directory.Person, error)
	// Named gives all people with a user name, whoever proves them.
	Named(ctx context.Context, userName string) ([]directory.Person, error)
	// GroupsAround gives every group that a subject is in, through others too.
	GroupsAround(ctx context.Context, subject string) ([]identity.GroupID, error)
}

// Sessions are login sessions.
type Sessions interface {
	// ResumeID gives one that neither ended nor was revoked.
	ResumeID(ctx context.Context, id identity.LoginSessionID) (login.LoginSession, error)
	// Latest gives a person's newest one; Unauthenticated where there is none.
	Latest(ctx context.Context, person identity.PersonID) (login.LoginSession, error)
}

// Delegations are people's word that they may be attached while they are away.
type Delegations interface {
	ListNamed(ctx context.Context, of workload.Of) ([]workload.Listed, error)
	// Behind gives one that counts now.
	Behind(ctx context.Context, id identity.DelegationID) (workload.Delegation, directory.Person, error)
	// Token gives an ID token for AWS STS, with its record.
	Token(ctx context.Context, who workload.Principal, a workload.Ask) (issuer.Minted, error)
}

// Holders say what somebody holds, and have its keys.
type Holders interface {
	Standing(ctx context.Context, o holder.Owner, of []arn.Role) (holder.Standing, error)
	Keys(ctx context.Context, o holder.Owner, role arn.Role, why string) (credential.Temporary, error)
}

// RoleTokens mints ID tokens for AWS STS, for a role of a login session that holds.
type RoleTokens interface {
	IDToken(ctx context.Context, id identity.LoginSessionID, role arn.Role, on identity.OnNode) (issuer.Minted, error)
}

// Binder binds keys of local accounts to where they are used: they end with that, and
// at ends (zero: open) at the latest.
type Binder interface {
	Bind(ctx context.Context, keys credential.Temporary, on identity.OnNode, ends time.Time) (credential.Temporary, error)
}

// GatewayKeys makes gateway keys.
type GatewayKeys interface {
	// DeliverAttached gives the key of a role for an attachment, bound to its
	// cluster, or to the address that its node asks from.
	DeliverAttached(ctx context.Context, a gatewaykeys.Attached, role arn.Role, from netip.Addr) (gatewaykeys.Made, error)
	// TrinoRulesFor gives the rules of a cluster for those who are attached.
	TrinoRulesFor(ctx context.Context, c cluster.Cluster, users []gatewaykeys.TrinoUser) (gatewaykeys.TrinoRules, error)
}

// Revocations is the feed of what no longer holds.
type Revocations interface {
	Epoch() (uint64, error)
	Refused(kind, id string, epoch uint64) (bool, error)
	// Latest gives the last revocation of each id of some kinds.
	Latest(kinds ...string) []revocation.Entry
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
