// Package sts is the security token service of the local authority. It trades
// SAML assertions, ID tokens and signed requests for temporary credentials.
//
// Everything is as AWS documents the operations (STS API Reference), error codes
// and texts included. Assertions and ID tokens are verified from what was sent,
// against what IAM holds, never from the result of a sign-in. What a denial
// rests on goes to the log, not to the caller. It must never return credentials
// that a trust policy does not allow, that outlive what the proof or the role
// permits, or for a request it did not read whole.
package sts

import (
	"context"
	"net/netip"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/oidc"
	"carnet.dev/carnet/internal/protocol/saml"
	"carnet.dev/carnet/internal/protocol/sessiontoken"
	"carnet.dev/carnet/internal/service/access"
	"carnet.dev/carnet/internal/service/iam"
)

// Limits of durations (STS API Reference).
const (
	DefaultDuration = time.Hour
	LeastDuration   = 900 * time.Second
	MostDuration    = 43200 * time.Second // of a role session
	// MostChained is the longest role session that another role session
	// assumes.
	MostChained = time.Hour
	// Of GetSessionToken and GetFederationToken:
	DefaultUserDuration = 43200 * time.Second
	MostUserDuration    = 129600 * time.Second
	// Redemption is how long after its IssueInstant an assertion is taken.
	Redemption = 5 * time.Minute
	// Skew is the clock difference allowed to a SAML identity provider, and
	// TokenSkew that to an OpenID provider, as measured at AWS.
	Skew      = time.Minute
	TokenSkew = 5 * time.Minute
)

// IAM gives the authority's state to decide with.
type IAM interface {
	Current() (*iam.Snapshot, error)
}

// Revocations gives the epoch that a session token issued now carries, and says
// what was taken back since a token of ours was made. An error refuses.
type Revocations interface {
	Epoch() (uint64, error)
	Refused(kind, id string, epoch uint64) (bool, error)
}

// Access decides what a signed caller may do.
type Access interface {
	Authorize(ctx context.Context, c access.Caller, q access.Question) access.Decision
	// Lookup gives the caller behind keys that hold now, and their secret.
	Lookup(ctx context.Context, accessKeyID string, token secret.Text) (access.Caller, secret.Text, error)
}

// KeySets gives the keys of configured OpenID providers. With unknown set the
// caller met a key id that is not in the last set. Faults: Unavailable where the
// provider can't be reached.
type KeySets interface {
	Keys(ctx context.Context, issuer string, unknown bool) (*oidc.KeySet, error)
}

// Claim is what an identity provider says by an assertion that verified.
type Claim struct {
	EntityID    string
	NameID      string
	SessionName string
	Role        arn.Role // the one that is asked for
	// Assertion is all that was said.
	Assertion *saml.Assertion
}

// Subjects says who at Carnet an assertion speaks of, so that revoking or
// switching off a person reaches keys that were traded here directly, and holds
// an identity provider to its list here as at sign-in.
type Subjects interface {
	// Subject gives the person of a claim; empty where nobody signs in at
	// Carnet by that provider: then the trust policies alone decide. A fault
	// Denied refuses: switched off, not known and not to be made, or beyond
	// what the provider may say.
	Subject(ctx context.Context, c Claim) (identity.PersonID, error)
	// Pairs gives the pairs of role and provider that Carnet derives from an
	// assertion that verified, beside those that it names itself: by the role
	// templates of the identity provider, within its list.
	Pairs(ctx context.Context, entityID string, a *saml.Assertion) ([]saml.RolePair, error)
}

// OwnSubject is who at Carnet stands behind a proof. A job has the person who
// delegated, the service principal that runs it, and the delegation.
type OwnSubject struct {
	Person           identity.PersonID
	LoginSession     identity.LoginSessionID
	ServicePrincipal identity.ServicePrincipalID
	Delegation       identity.DelegationID
	// OnNode is where the proof is good: of a token that was made for a node.
	identity.OnNode
	// Ends is when the attachment ends at the latest; zero: nothing does.
	Ends time.Time
}

// Own knows Carnet's own issuers and whom they speak of.
type Own interface {
	// Issues reports whether an issuer, letter for letter, is one of ours.
	Issues(issuer string) bool
	// Standing gives all who stand behind the subject of a token of ours: for a
	// delegation its person and its service principal too, for an attachment its
	// end. A fault Denied refuses: one of them is switched off, gone, or ended.
	Standing(ctx context.Context, s OwnSubject) (OwnSubject, error)
}

// Trail records an exchange; one that can't be recorded fails.
type Trail interface {
	Record(ctx context.Context, e event.Event) error
}

// Config is what a Service stands on.
type Config struct {
	IAM         IAM
	Keys        sessiontoken.Keys
	Revocations Revocations
	Access      Access   // nil refuses all signed operations
	KeySets     KeySets  // nil refuses ID tokens
	Subjects    Subjects // nil: nobody is known; for tests and tools
	Own         Own      // nil: no issuer is ours
	Trail       Trail    // nil: nothing is recorded; for tests and tools
	// Expect gives base with what is set for people of the identity provider
	// whose metadata an assertion is held against. Nil: base.
	Expect func(entityID string, base saml.STSExpect) saml.STSExpect
	// ClusterName gives the name of a cluster, for the trail. Nil: its id.
	ClusterName func(id identity.ClusterID) string
	Region      string
	Now         func() time.Time
	// MinDuration replaces LeastDuration; for tests on loopback. 0 keeps it.
	MinDuration time.Duration
}

// Service trades proofs for credentials. Safe for concurrent use.
type Service struct{ Config }

// New makes a Service.
func New(c Config) *Service {
	if c.MinDuration == 0 {
		c.MinDuration = LeastDuration
	}
	return &Service{Config: c}
}

// Limits are the parameters by which a caller narrows what they get.
type Limits struct {
	PolicyARNs  []string
	Policy      string
	HasPolicy   bool // an empty Policy is not an absent one
	Duration    time.Duration
	HasDuration bool
}

// SAMLRequest is one AssumeRoleWithSAML.
type SAMLRequest struct {
	RoleARN      string
	PrincipalARN string
	Assertion    secret.Text // base64, as the identity provider posted it
	Limits

	Caller Caller
}

// WebRequest is one AssumeRoleWithWebIdentity.
type WebRequest struct {
	RoleARN     string
	SessionName string
	Token       secret.Text // the ID token
	// ProviderID names an OAuth 2.0 provider; it is not for ID tokens.
	ProviderID string
	Limits

	Caller Caller
}

// RoleRequest is one AssumeRole.
type RoleRequest struct {
	RoleARN           string
	SessionName       string
	ExternalID        string
	HasExternalID     bool
	SourceIdentity    string
	HasSourceIdentity bool
	Tags              []sessiontoken.Tag
	TransitiveTagKeys []string
	ProvidedContexts  int // how many were sent
	MFA
	Limits

	Caller Caller
}

// MFA is what a caller sends of a device.
type MFA struct {
	SerialNumber, TokenCode       string
	HasSerialNumber, HasTokenCode bool
}

// SessionRequest is one GetSessionToken.
type SessionRequest struct {
	MFA
	Limits // its duration

	Caller Caller
}

// FederationRequest is one GetFederationToken.
type FederationRequest struct {
	Name string
	Tags []sessiontoken.Tag
	Limits

	Caller Caller
}

// Caller is what is known of who sends a request to STS.
type Caller struct {
	Request   identity.RequestID
	Source    netip.Addr // zero on the internal listener
	Secure    bool       // TLS, or the internal listener
	UserAgent string
	// Signed is who signed the request; its Kind is Nobody where it is unsigned.
	Signed access.Caller
	// OwnSubject is whom the keys are for. Before the proof was read it holds what
	// Carnet's own broker says on the internal listener, and nothing else.
	OwnSubject
}

// RoleAnswer is what all ways to a role session answer.
type RoleAnswer struct {
	Credentials      credential.Temporary
	AssumedRoleID    string // AROA…:session
	AssumedRoleARN   string
	PackedPolicySize int // percent; 0 without session policies and tags
	SourceIdentity   string
}

// SAMLAnswer is the answer to AssumeRoleWithSAML.
type SAMLAnswer struct {
	RoleAnswer
	Subject       string
	SubjectType   string
	Issuer        string
	Audience      string // the assertion's Recipient
	NameQualifier string
}

// WebAnswer is the answer to AssumeRoleWithWebIdentity.
type WebAnswer struct {
	RoleAnswer
	Subject  string
	Audience string // azp of the ID token, or else its aud
	Provider string // ARN of the IAM provider, as measured at AWS
}

// UserAnswer is the answer to GetSessionToken and GetFederationToken. The
// latter has the other fields too.
type UserAnswer struct {
	Credentials      credential.Temporary
	FederatedUserID  string // ACCOUNT:NAME
	FederatedUserARN string
	PackedPolicySize int
}
