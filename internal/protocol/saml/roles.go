package saml

import (
	"carnet.dev/carnet/internal/core/arn"
)

// Names of the attributes that AWS STS reads (IAM User Guide, "Configure SAML
// assertions for the authentication response"). They are case-sensitive.
const (
	AttrRole               = "https://aws.amazon.com/SAML/Attributes/Role"
	AttrRoleSessionName    = "https://aws.amazon.com/SAML/Attributes/RoleSessionName"
	AttrSessionDuration    = "https://aws.amazon.com/SAML/Attributes/SessionDuration"
	AttrSourceIdentity     = "https://aws.amazon.com/SAML/Attributes/SourceIdentity"
	AttrPrincipalTagPrefix = "https://aws.amazon.com/SAML/Attributes/PrincipalTag:"
	AttrTransitiveTagKeys  = "https://aws.amazon.com/SAML/Attributes/TransitiveTagKeys"
)

// RolePair is one value of the Role attribute: the role and the SAML provider
// that may be used to assume it.
type RolePair struct {
	Role     arn.Role
	Provider arn.SAMLProvider
	// Swapped: the provider came first. Spaced: spaces stood around an ARN.
	// Both are accepted and worth a note to the administrator.
	Swapped, Spaced bool
	Raw             string // the value as received
	Index           int    // place among the Role values, from 0
}

// Malformed is a Role value that names no role and provider.
type Malformed struct {
	Value  string // as received, clipped
	Reason string
	Index  int // place among the Role values, from 0
}

// RolePairs reads the Role attribute, in document order. A malformed value is
// named and spoils no other. Values past MaxRoles are reported as malformed.
func RolePairs(a *Assertion) (pairs []RolePair, malformed []Malformed) {
	return nil, nil
}
