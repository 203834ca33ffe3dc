// Package workload says who a machine is, and what it may have: it reads the
// tokens of other issuers by federation policies, keeps delegations, and gives
// ID tokens to service principals and jobs.
//
// A foreign token proves somebody only by a policy that an administrator wrote:
// issuer, audiences, subject and keys all come from it, and nothing that a token
// names is fetched. Such a token may be presented again within its life, as
// clusters project them into files; what is made from it never outlives it. A
// delegation lets a service principal work as a person who is away, in one role.
// Who is asked for is read anew at every use: switched off, revoked or no longer
// entitled means no. It must never take one kind of subject for another, link
// anybody by mail, or give a role that was not asked for by name.
package workload

import (
	"context"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
)

// Limits.
const (
	MostPerPrincipal = 20 // federation policies of one service principal
	MostAccountWide  = 20 // federation policies for people
	MostDelegations  = 50 // of one person, that have neither ended nor been revoked
	MostLabel        = 128
	// LongestDelegation bounds a delegation's life; DefaultDelegation is meant
	// where none is given.
	LongestDelegation = 365 * 24 * time.Hour
	DefaultDelegation = 30 * 24 * time.Hour
)

// FederationPolicy is an administrator's word that tokens of another issuer
// prove somebody here. Exactly one of ServicePrincipal and IdP is set.
type FederationPolicy struct {
	ID   identity.FederationPolicyID
	Name string // unique, letter case aside, as far as the policy reaches
	// Issuer is the iss of the tokens, letter for letter.
	Issuer string
	// Audiences are those of which a token must have one; none stands for our
	// own issuers' URLs and the organisation's id.
	Audiences []string
	// Subject is what the claim must say, letter for letter. It stands exactly
	// where ServicePrincipal does.
	Subject string
	// SubjectClaim names the claim; "sub" unless set otherwise.
	SubjectClaim string
	// JWKS are the issuer's keys, or JWKSURL is where they lie. With neither
	// they are found by discovery.
	JWKS    []byte
	JWKSURL string
	// ServicePrincipal is whom a token proves.
	ServicePrincipal identity.ServicePrincipalID
	// IdP makes it a policy for people: the claim is the subject (NameID or sub)
	// by which that identity provider knows a person.
	IdP     identity.IdPID
	Created time.Time
}

// Principal is who asks. A person or service principal stands alone; a job has
// its delegation, and the service principal that runs it or the cluster that it runs
// on.
type Principal struct {
	ServicePrincipal identity.ServicePrincipalID
	Person           identity.PersonID
	Delegation       identity.DelegationID
	// Cluster is where a delegation to a cluster is used.
	Cluster identity.ClusterID
	// IdP is by whose subject a person was proven.
	IdP identity.IdPID
}

// Subject gives the sub of tokens about the principal; empty for nobody.
func (p Principal) Subject() string {
	switch {
	case p.Delegation != "":
		return "job:" + string(p.Delegation)
	case p.ServicePrincipal != "":
		return "sp:" + string(p.ServicePrincipal)
	case p.Person != "":
		return "user:" + string(p.Person)
	}
	return ""
}

// Delegation is a person's word that a service principal may work as them in
// one role while they are away, or that they may be attached to the nodes of a cluster
// in it (design 4.6). Exactly one of ServicePrincipal and Cluster is set.
type Delegation struct {
	ID               identity.DelegationID
	Person           identity.PersonID
	IdP              identity.IdPID
	Role             arn.Role
	ServicePrincipal identity.ServicePrincipalID
	Cluster          identity.ClusterID
	Label            string
	Created          time.Time
	Expires          time.Time
	Revoked          time.Time // zero while it stands
	// Epoch is that of the revocation feed when it was made.
	Epoch    uint64
	Evidence Evidence
}

// Evidence is what a delegation rests on: the sign-in in which it was made.
type Evidence struct {
	LoginSession identity.LoginSessionID `json:"login_session"`
	UserName     string                  `json:"user_name"`
	SignedIn     time.Time               `json:"signed_in"`
}

// Entitled says whether a person may still have a role by the last word of their
// identity provider. Faults: Denied where not.
type Entitled interface {
	StillEntitled(ctx context.Context, person identity.PersonID, idp identity.IdPID, role arn.Role) error
}

// The codes of refusals, as RFC 6749, section 5.2, and RFC 8693, section 2.2.2,
// name them.
const (
	CodeGrant  = "invalid_grant"
	CodeTarget = "invalid_target"
	CodeParam  = "invalid_request"
)

// refused is a proof that is not taken.
func refused(public string) *fault.Fault { return fault.Coded(fault.Denied, CodeGrant, public) }
