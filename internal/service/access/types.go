// Package access answers the one question of every enforcement point: may this
// caller do this on that resource? The gateway asks it of buckets and keys, the
// IAM face of users, roles and policies, and STS of roles to be assumed.
//
// It opens session tokens, asks whether what they rest on was revoked, finds
// the account of a bucket and has the policy engine decide. It works from
// memory alone: an immutable snapshot of IAM, the key ring and the revocation
// view. It reads no request and writes no answer. It must never allow where a
// policy, a key or a view is missing: each of these denies.
package access

import (
	"net/netip"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/protocol/policy"
	"carnet.dev/carnet/internal/protocol/sessiontoken"
)

// Kind says what sort of principal a caller is.
type Kind uint8

// The kinds. The zero Kind is nobody, and is denied everything.
const (
	Nobody        Kind = iota
	RoleSession        // temporary keys of a role
	User               // long-term keys of an IAM user
	UserSession        // an IAM user's temporary keys, by GetSessionToken
	FederatedUser      // temporary keys by GetFederationToken
)

// Caller is the principal behind one verified access key id. A Caller made by
// Lookup carries what was proven of it; one made elsewhere carries nothing and
// is denied everything.
type Caller struct {
	Kind    Kind
	Account string // 12 digits
	// ARN is the principal as GetCallerIdentity names it: of the role session,
	// the user or the federated user.
	ARN string
	// UserID is aws:userid: AROA…:SESSION, AIDA…, or ACCOUNT:NAME.
	UserID string

	Role        arn.Role // of a role session, with its path
	RoleID      identity.RoleID
	SessionName string
	Chained     bool // the role session was assumed by another one

	User     arn.User // of the other kinds: the IAM user behind it
	IAMUser  identity.UserID
	MadeFrom time.Time // when its temporary keys were issued; zero for long-term ones

	SourceIdentity    string
	Tags              []sessiontoken.Tag // session tags
	TransitiveTagKeys []string

	// Whom the keys belong to at Carnet; revoking any of these ends them.
	Person           identity.PersonID
	LoginSession     identity.LoginSessionID
	ServicePrincipal identity.ServicePrincipalID
	Delegation       identity.DelegationID
	identity.OnNode  // of keys that were made for a node

	AccessKeyID string
	Expires     time.Time // zero for long-term keys

	proven *proven
}

// Environment is what the enforcement point knows of one request, beside the
// principal and the operation. The edge fills it; nothing in it comes from
// a header that the client could choose, but UserAgent and Referer.
type Environment struct {
	SourceIP     netip.Addr // of the socket, or of a configured trusted proxy
	Secure       bool       // TLS
	TLSVersion   string     // "1.2", "1.3"; empty without TLS
	UserAgent    string
	Referer      string
	Now          time.Time
	RequestID    identity.RequestID
	AuthType     string        // S3 only: REST-HEADER, REST-QUERY-STRING or POST
	SignatureAge time.Duration // presigned requests only: time since signing
	PayloadHash  string        // x-amz-content-sha256 as sent; empty when absent
	Stored       StoredTags    // S3 only; nil denies where a policy asks for them
}

// Question is one action on one resource, asked for anything but S3.
type Question struct {
	Action   string // service:Name, letter case aside
	Resource string // ARN; "*" for an action on no resource of its own
	// ResourceAccount owns the resource: 12 digits. Empty is another account
	// than any, so that nothing but a resource policy can allow.
	ResourceAccount string
	// ResourcePolicy is the policy of the resource itself, such as a role's
	// trust policy; nil for none.
	ResourcePolicy *policy.Document
	// Context holds the keys that only this request knows: aws:RequestTag/…,
	// aws:ResourceTag/…, sts:ExternalId, iam:PolicyARN and so on. It can't
	// overrule what is known of the principal.
	Context     policy.Context
	Environment Environment
}

// Decision is the answer. The zero value denies.
type Decision struct {
	Allow    bool
	Explicit bool // an explicit deny matched
	// Reason is one plain sentence for the AccessDenied answer and the log;
	// empty when allowed.
	Reason string
	// Statements names what decided, as policy#Sid or policy#index.
	Statements []string
	// Refused is the number of the check that was refused, from 0.
	Refused int
	// Explain tells of a refusal by policies what each statement said; nil for
	// others. It is as costly as there are statements, and may be called later,
	// on any goroutine: it answers by the policies that decided.
	Explain func() policy.Explanation
}

// Place says where a bucket lives.
type Place struct {
	Bucket   string
	Account  string // 12 digits
	Upstream string // the name of a configured upstream
	// AWS says that the account is at AWS: AWS decides, by the role's own keys,
	// and Decide is not asked.
	AWS bool
	// Closed says why the bucket is closed to everyone whatever policies say, as
	// the end of a sentence; empty: it is not. Decide refuses it by itself.
	Closed string
}
