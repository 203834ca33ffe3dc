// Package iam holds the local authority's accounts: SAML providers, roles with
// their policies, and bucket policies.
//
// What is decided with is an immutable, compiled Snapshot in memory, replaced
// as a whole when the store changes. Roles have unique ids that are never
// reused, and policies that name a role keep its id: a role made again is not
// the old one. Only configured accounts exist. An entity that does not compile
// never weakens a decision: a role is left out, a bucket denies everything.
package iam

import (
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/protocol/policy"
	"carnet.dev/carnet/internal/protocol/saml"
)

// The limits of a role's MaxSessionDuration (IAM API Reference, CreateRole).
const (
	LeastMaxSession   = time.Hour
	DefaultMaxSession = time.Hour
	MostMaxSession    = 12 * time.Hour
)

// State is everything that the store keeps. Records hold what people wrote;
// policies are JSON text.
type State struct {
	// Revision counts the changes: Apply refuses one made for another.
	Revision  int64
	Providers []ProviderRecord
	Roles     []RoleRecord
	Buckets   []BucketRecord
}

// ProviderRecord is one SAML provider.
type ProviderRecord struct {
	Account  string
	Name     string
	Metadata string // XML
	Created  time.Time
}

// RoleRecord is one role.
type RoleRecord struct {
	ID          identity.RoleID
	Account     string
	Path        string
	Name        string
	Description string
	Trust       Policy
	Policies    []Policy
	Boundary    *Policy // nil for none
	Tags        map[string]string
	MaxSession  time.Duration // whole seconds
	Created     time.Time
}

// BucketRecord is one bucket policy.
type BucketRecord struct {
	Name    string
	Account string
	Policy  Policy
}

// Policy is a named policy document. Pins holds the unique id behind each role
// ARN that its Principal elements name.
type Policy struct {
	Name     string            `json:"name"`
	Document string            `json:"document"`
	Pins     map[string]string `json:"pins,omitempty"`
}

// Account is one account of the local authority.
type Account struct {
	ID        string // 12 digits
	Partition string // empty for aws
}

// Provider is a compiled SAML provider.
type Provider struct {
	ARN      arn.SAMLProvider
	Metadata *saml.Metadata
}

// Role is a compiled role.
type Role struct {
	ID         identity.RoleID
	ARN        arn.Role
	Trust      *policy.Document
	Policies   []*policy.Document
	Boundary   *policy.Document // nil for none
	Tags       map[string]string
	MaxSession time.Duration
}

// Bucket is the authority's view of a bucket that has a policy.
type Bucket struct {
	Account string
	// Policy is nil only where it did not compile: nothing is allowed then.
	Policy *policy.Document
}

// Snapshot is one state of the authority, compiled. Immutable.
type Snapshot struct {
	revision  int64
	providers map[arn.SAMLProvider]*Provider
	roles     map[arn.Role]*Role
	byID      map[identity.RoleID]*Role
	buckets   map[string]*Bucket
	accounts  map[string]bool
	faults    []string
}

// HasAccount reports whether the account is one of the local authority's.
func (s *Snapshot) HasAccount(id string) bool { return s.accounts[id] }

// Provider finds a SAML provider by its ARN.
func (s *Snapshot) Provider(p arn.SAMLProvider) (*Provider, bool) {
	found, ok := s.providers[p]
	return found, ok
}

// Role finds a role by its whole ARN, path included.
func (s *Snapshot) Role(r arn.Role) (*Role, bool) {
	found, ok := s.roles[r]
	return found, ok
}

// RoleByID finds a role by its unique id: what a session token names.
func (s *Snapshot) RoleByID(id identity.RoleID) (*Role, bool) {
	found, ok := s.byID[id]
	return found, ok
}

// Bucket finds the policy of a bucket; false where it has none.
func (s *Snapshot) Bucket(name string) (*Bucket, bool) {
	found, ok := s.buckets[name]
	return found, ok
}

// Faults lists what did not compile, for the log and the doctor.
func (s *Snapshot) Faults() []string { return s.faults }

// fold gives the form under which IAM names are unique.
func fold(name string) string { return strings.ToLower(name) }
