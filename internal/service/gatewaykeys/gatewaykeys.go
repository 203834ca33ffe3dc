// Package gatewaykeys keeps gateway keys: S3 keys without a session token, for
// engines and old tools that have no field for one.
//
// A gateway key is good at the gateway alone, for requests signed in the
// Authorization header. It ends after 24 hours at most, and with what it rests
// on: a login session, a delegation or a service principal. It works only from
// the networks, or with the client certificates, that it is bound to. It is no
// role: for each request the gateway picks one of the roles in the key's set
// that its owner holds at that moment, by the prefix grants of administrators,
// and takes that role's own temporary keys, which never leave the server.
//
// Whatever a request asks is answered from memory: keys, grants and clusters are
// loaded as a whole and follow every change; what an owner holds, and the keys of
// their roles, are asked for anew while they are used, and nobody waits for that
// but whoever comes first. It must never give a role that is not in the key's set
// or that the owner does not hold, nor make a key without a binding, nor show a
// secret to anybody but whom it was made for.
package gatewaykeys

import (
	"net/netip"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/holder"
)

// Limits.
const (
	// Longest is how long a gateway key lives at most, and where nothing is said.
	Longest = 24 * time.Hour
	// Shortest is the least that can be asked for.
	Shortest = time.Minute
	// DefaultOverlap is how long a key lives on after it was rolled, where nothing
	// is said.
	DefaultOverlap = time.Hour
	// MostPerOwner bounds the keys of one owner that have not ended.
	MostPerOwner = 200
	// MostDelivered bounds them where a person asks for them: they are short, and
	// there is one for each role and address.
	MostDelivered = 2000
	// MostRoles bounds the set of one key.
	MostRoles = 100
)

// Owner is who holds the roles of a key.
type Owner = holder.Owner

// Key is one gateway key, without its secret.
type Key struct {
	ID          identity.GatewayKeyID
	AccessKeyID string // GWKA…
	Owner       Owner
	// Cluster names the cluster whose binding holds beside the key's own; empty:
	// none.
	Cluster string
	Binding Binding
	// Roles is the set that a request's role is picked from; Default is one of
	// them, or zero.
	Roles   []arn.Role
	Default arn.Role
	// Delivered: Carnet made it for a person who asked for the keys of a role in
	// their own login session. Others were made by administrators.
	Delivered bool
	// Attachment is what it was delivered for on a node, and ends with; empty: none.
	Attachment identity.AttachmentID
	// Node is the one that it was delivered on: it ends with it, and is good while its
	// person may work on the cluster; empty: none.
	Node identity.NodeID
	// Follows is the key that this one was rolled from; empty: none.
	Follows identity.GatewayKeyID

	Made    time.Time
	Expires time.Time
	Revoked time.Time // zero while it stands
	Used    time.Time // when it was first used; zero: not yet
	// Epoch is that of the revocation feed when it was made.
	Epoch uint64
}

// Grant says which role serves the keys of a bucket that begin with a prefix,
// byte by byte: s3://lake/hr covers hr-old/x too. It gives nobody a role.
type Grant struct {
	ID     identity.PrefixGrantID
	Bucket string
	Prefix string // empty: the whole bucket
	Role   arn.Role
	Made   time.Time
}

// Peer is where a request comes from.
type Peer struct {
	Source netip.Addr
	// Certificate is the client's own, in DER, proven in the TLS handshake; nil
	// without one.
	Certificate []byte
}

// Want is what a request asks of a bucket, as far as a role is picked by it.
type Want struct {
	Bucket string // empty: of none
	// Account owns the bucket; empty where no rule places it.
	Account string
	// Part is the key of an object, the prefix of a listing, or empty for an
	// operation on the bucket as a whole.
	Part string
}

// Choice is the role that was picked for a request. AWS says that its account is
// at AWS: its keys go upstream, where AWS decides.
type Choice struct {
	Role arn.Role
	AWS  bool
}

// Holder is a gateway key that a request was signed with. Safe for concurrent use.
type Holder struct {
	key  Key
	uses *uses
}

// Key gives the key, as it was when the request came.
func (h *Holder) Key() Key { return h.key }
