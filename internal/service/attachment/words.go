package attachment

import (
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/revocation"
)

// Limits.
const (
	// Lifetime is how long a request waits for its person.
	Lifetime = 10 * time.Minute
	// Interval is how often an agent may ask what became of a request.
	Interval = 2 * time.Second
	// MostPerUID bounds the requests that wait for one uid of a node; one more
	// takes the place of the oldest. MostPerNode bounds those of a node.
	MostPerUID  = 4
	MostPerNode = 256
	// Wait is how long View waits for a change.
	Wait = 25 * time.Second
)

// Why an attachment ended.
const (
	WhyDetached = "detached"    // by the person, on the node or on a page
	WhyScope    = "scope-ended" // nothing runs in its login scope any more
	WhyUID      = "uid-reused"  // the uid belongs to another account now
	WhyReplaced = "replaced"    // by a later one of the same person, uid and scope
	WhyManager  = "ended-by-manager"
	WhyReassign = "not-admitted" // the cluster does not admit the person any more
	WhyGround   = "ground-ended" // the login session or delegation that it rests on
	WhyNode     = "node-removed"
	WhyExpired  = "expired"
	WhyRevoked  = "revoked"
)

// Begun is a request that waits for its person.
type Begun struct {
	Request         secret.Text // what the node asks with
	UserCode        string      // as it is shown: XXXX-XXXX
	VerificationURI string
	Expires         time.Time
	Interval        time.Duration
}

// Review is a request as it is shown to whoever typed its code.
type Review struct {
	UserCode string
	Cluster  cluster.Cluster
	Node     cluster.Node
	// UID, Account and Scope are the node's word.
	UID            uint32
	Account        string
	Scope          string
	Asked, Expires time.Time
}

// State is what has become of a request.
type State string

// The states.
const (
	Pending  State = "pending"
	Attached State = "attached"
	Refused  State = "refused"
	Expired  State = "expired"
)

// Polled says what became of a request. Attachment is set where it is Attached.
type Polled struct {
	State      State
	Attachment Attachment
}

// NewOnBehalf is what an orchestrator asks for a person. The metadata service of the
// node must be out of reach by the node's own last report.
type NewOnBehalf struct {
	Node    string // its id, or its name in the cluster
	Person  string // psn_…, or a user name that one active person has
	UID     uint32
	Scope   string
	ScopeID uint64
	Account string
	// Role becomes the current one; empty: none is chosen.
	Role string
	// Lifetime is the cluster's longest where it is 0.
	Lifetime time.Duration
}

// View is all that counts on one node at one moment.
type View struct {
	// Revision stands for what the view says: an equal one says that nothing
	// changed. It is no counter.
	Revision    int64
	Cluster     cluster.Cluster
	Attachments []Attachment
	// Revoked is what was taken back lately of what agents keep: roles and access keys.
	Revoked []revocation.Entry
}

// Keys are the keys of a role for an attachment: temporary ones, or a gateway key,
// which has no session token.
type Keys struct {
	credential.Temporary
	Role arn.Role
	// Gateway: good at the gateway alone, whatever account the role is of.
	Gateway bool
}

// IDToken is a web-identity token for a role.
type IDToken struct {
	Token   secret.Text
	Expires time.Time
	Role    arn.Role
}

// RoleStatus is one role that the person holds and the cluster allows.
type RoleStatus struct {
	Role    arn.Role
	Current bool
	Trouble string // why it can't be had now; empty: it can
}

// Listed is an attachment as it is shown to people.
type Listed struct {
	Attachment
	ClusterName string
	NodeName    string
	// Live: it counts now, by itself and by what it rests on.
	Live bool
	// Orchestrator is the name of the service principal that made it; empty: none.
	Orchestrator string
}
