// Package iam holds the local authority: accounts with their SAML and OpenID
// Connect providers, roles, users and groups, policies, access keys, instance
// profiles, guardrails and bucket policies.
//
// Records hold what people wrote. A View reads them, Service.Edit changes them
// through a Draft: one edit is one transaction with its audit event. What is
// decided with is an immutable, compiled Snapshot in memory, replaced as a
// whole when the store changes; what did not change is not compiled again.
// Unique ids are never reused, and policies that name a role or user keep its
// id: one made again is not the old one. Only configured accounts exist. An
// entity that does not compile never weakens a decision: a role or user is left
// out, with all that rests on it; a bucket or an account with such guardrails
// denies everything.
package iam

import (
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/policy"
	"carnet.dev/carnet/internal/protocol/saml"
)

// The limits of a role's MaxSessionDuration (IAM API Reference, CreateRole).
const (
	LeastMaxSession   = time.Hour
	DefaultMaxSession = time.Hour
	MostMaxSession    = 12 * time.Hour
)

// Account is one account of the local authority.
type Account struct {
	ID        string // 12 digits
	Partition string // empty for aws
}

// Provider is a compiled SAML provider.
type Provider struct {
	ARN      arn.SAMLProvider
	Metadata *saml.Metadata
	// Decrypter opens encrypted assertions; nil refuses them. It takes AES-GCM
	// alone: nothing here can say that AES-CBC is wanted.
	Decrypter *saml.Decrypter
	// RequireEncrypted refuses assertions in the clear.
	RequireEncrypted bool
}

// OIDCProvider is a compiled OpenID Connect provider.
type OIDCProvider struct {
	ARN         string
	Issuer      string // the URL as given, with its scheme
	Name        string // without: what condition keys begin with
	ClientIDs   []string
	Thumbprints []string // SHA-1 of certificates in lower-case hex
}

// Role is a compiled role.
type Role struct {
	ID    identity.RoleID
	ARN   arn.Role
	Trust *policy.Document
	// Policies are the inline and the attached ones, united.
	Policies   []*policy.Document
	Boundary   *policy.Document // nil for none
	Tags       map[string]string
	MaxSession time.Duration

	own own
}

// User is a compiled user.
type User struct {
	ID      identity.UserID
	ARN     string
	Account string
	Path    string
	Name    string
	// Policies are the user's own and those of their groups, united.
	Policies []*policy.Document
	Boundary *policy.Document // nil for none
	Tags     map[string]string

	own own
}

// AccessKey is an active long-term access key.
type AccessKey struct {
	ID     string
	User   *User
	Secret secret.Text
}

// ManagedPolicy is the version in force of a managed policy.
type ManagedPolicy struct {
	ARN      string
	Text     string           // the document as written
	Identity *policy.Document // as a policy of a principal, or passed to STS
	Boundary *policy.Document // as a permissions boundary
}

// Guardrails limit a whole account: each level must allow.
type Guardrails struct {
	ServiceControl  [][]*policy.Document // for the account's principals
	ResourceControl [][]*policy.Document // for the account's resources
}

// Bucket is the authority's view of a bucket that has a policy.
type Bucket struct {
	Account string
	// Policy is nil only where it did not compile: nothing is allowed then.
	Policy *policy.Document
}

// Snapshot is one state of the authority, compiled. Immutable.
type Snapshot struct {
	revision   int64
	view       *View
	providers  map[arn.SAMLProvider]*Provider
	oidc       map[Ref]*OIDCProvider
	roles      map[arn.Role]*Role
	roleIDs    map[identity.RoleID]*Role
	users      map[string]*User
	userIDs    map[identity.UserID]*User
	keys       map[string]*AccessKey
	managed    map[string]*ManagedPolicy
	guardrails map[string]*Guardrails
	buckets    map[string]*Bucket
	cors       map[string]*BucketCORS
	units      map[Ref]unit
	broken     map[Ref]error
}

// View gives the records that the snapshot was compiled from.
func (s *Snapshot) View() *View { return s.view }

// Provider finds a SAML provider by its ARN.
func (s *Snapshot) Provider(p arn.SAMLProvider) (*Provider, bool) {
	found, ok := s.providers[p]
	return found, ok
}

// OIDCProvider finds the OpenID Connect provider of an account by its issuer
// URL, compared whole, scheme included.
func (s *Snapshot) OIDCProvider(account, issuer string) (*OIDCProvider, bool) {
	found, ok := s.oidc[Ref{KindOIDCProvider, account, withoutScheme(issuer)}]
	if !ok || found.Issuer != issuer {
		return nil, false
	}
	return found, true
}

// Role finds a role by its whole ARN, path included.
func (s *Snapshot) Role(r arn.Role) (*Role, bool) {
	found, ok := s.roles[r]
	return found, ok
}

// RoleByID finds a role by its unique id: what a session token names.
func (s *Snapshot) RoleByID(id identity.RoleID) (*Role, bool) {
	found, ok := s.roleIDs[id]
	return found, ok
}

// User finds a user by its whole ARN, path included.
func (s *Snapshot) User(arn string) (*User, bool) {
	found, ok := s.users[arn]
	return found, ok
}

// UserByID finds a user by its unique id.
func (s *Snapshot) UserByID(id identity.UserID) (*User, bool) {
	found, ok := s.userIDs[id]
	return found, ok
}

// AccessKey finds an active access key with its user and secret.
func (s *Snapshot) AccessKey(id string) (*AccessKey, bool) {
	found, ok := s.keys[id]
	return found, ok
}

// ManagedPolicy finds a managed policy by its ARN, AWS's own included.
func (s *Snapshot) ManagedPolicy(arn string) (*ManagedPolicy, bool) {
	found, ok := s.managed[arn]
	return found, ok
}

// Guardrails gives the levels that limit the account's principals and those
// that limit its resources. None where the account has none; where they did
// not compile, levels that deny everything.
func (s *Snapshot) Guardrails(account string) (serviceControl, resourceControl [][]*policy.Document) {
	g := s.guardrails[account]
	if g == nil {
		return nil, nil
	}
	return g.ServiceControl, g.ResourceControl
}

// Bucket finds the policy of a bucket; false where it has none.
func (s *Snapshot) Bucket(name string) (*Bucket, bool) {
	found, ok := s.buckets[name]
	return found, ok
}
