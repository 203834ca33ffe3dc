// Package sessiontoken seals and opens the session token of temporary keys: of a
// role session, of an IAM user's session or of a federated user.
//
// A session token is AES-256-GCM over the claims, with the id of its key in
// clear and the access key id as additional data, so a token serves one access
// key only. The secret access key inside is random: nothing that travels in a
// URL leads to it. Sealed text is at most MaxLength characters. With random
// 96-bit nonces one key may seal 2^32 tokens; the ring rotates long before.
// Nothing of a token is believed before it opened, and a token must never
// open under another access key id, or after its end.
package sessiontoken

import (
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
)

// MaxLength is the longest session token, in characters (design 7.4).
const MaxLength = 4096

// Keys is the ring of sealing keys. Ids are 1 to 32 printable ASCII
// characters. ByID must keep finding a key until the last token that it
// sealed has ended.
type Keys interface {
	Current() (id string, key [32]byte)
	ByID(id string) (key [32]byte, ok bool)
}

// Kind says whose keys a session token makes temporary.
type Kind uint8

// The kinds. Tokens of the first have no mark of their own, so those sealed
// before there were others still open.
const (
	RoleSession   Kind = iota // AssumeRole and its federated forms
	UserSession               // GetSessionToken: an IAM user's own rights
	FederatedUser             // GetFederationToken: a part of an IAM user's rights
	kinds
)

// Claims is what a session token carries. Times have whole seconds.
type Claims struct {
	Kind Kind

	// Of a role session.
	Role        arn.Role
	RoleID      identity.RoleID // stable; a re-made role has another one
	SessionName string
	// Chained marks a role session that another role session assumed.
	Chained bool

	// Of the other kinds: the IAM user whose keys asked.
	User   arn.User
	UserID identity.UserID // stable; a re-made user has another one
	// FederatedName is the name that GetFederationToken was given.
	FederatedName string

	SecretKey secret.Text // the secret access key of this access key id
	IssuedAt  time.Time
	Expires   time.Time
	// Epoch is the revocation epoch at issue: a revocation with an equal or
	// higher epoch refuses the token (design 7.5).
	Epoch uint64

	// Carnet's own ids; empty for a role session that rests on no sign-in at
	// Carnet and no token of its issuers. A job has the person who delegated and
	// the service principal that runs it.
	Person           identity.PersonID
	LoginSession     identity.LoginSessionID
	Delegation       identity.DelegationID
	ServicePrincipal identity.ServicePrincipalID

	// OnNode binds role keys that were made for a node: they end with the
	// attachment, the node and the cluster.
	identity.OnNode

	SourceIdentity    string
	Tags              []Tag    // session tags, each key once
	TransitiveTagKeys []string // a subset of the keys of Tags

	// Provider is the ARN of the federated provider; empty where none spoke.
	Provider      string
	Subject       string // saml:sub, or sub of the ID token
	SubjectType   string // saml:sub_type
	NameQualifier string // saml:namequalifier
	// Of an ID token: its audience, and amr, the ways of authentication.
	Audience string
	Methods  []string

	// SessionPolicy is the inline session policy as JSON; empty for none.
	SessionPolicy string
	// SessionPolicyARNs names managed session policies.
	SessionPolicyARNs []string
}

// Tag is one session tag.
type Tag struct{ Key, Value string }
