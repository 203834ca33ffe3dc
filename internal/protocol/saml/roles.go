package saml

import (
	"errors"
	"fmt"
	"strings"

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

// maxRoleBytes bounds all Role values of one assertion together.
const maxRoleBytes = 256 << 10

// RolePairs reads the Role attribute, in document order. A malformed value is
// named and spoils no other. Values past MaxRoles, or past 256 KiB together,
// are reported as malformed.
func RolePairs(a *Assertion) (pairs []RolePair, malformed []Malformed) {
	total := 0
	for i, value := range a.Values(AttrRole) {
		total += len(value)
		if i >= MaxRoles || total > maxRoleBytes {
			malformed = append(malformed, Malformed{Value: clip(value), Reason: "over the limit of 900 role values or 256 KiB", Index: i})
			continue
		}
		pair, err := parsePair(value)
		if err != nil {
			malformed = append(malformed, Malformed{Value: clip(value), Reason: err.Error(), Index: i})
			continue
		}
		pair.Index = i
		pairs = append(pairs, pair)
	}
	return pairs, malformed
}

var errNoPair = errors.New("want a role ARN and a SAML provider ARN, joined by one comma")

// parsePair splits before the second of two ARNs. Role names may hold commas
// themselves, so the comma alone does not tell.
func parsePair(value string) (RolePair, error) {
	if len(value) > 2*arn.MaxLength+16 {
		return RolePair{}, errors.New("longer than two ARNs can be")
	}
	second := strings.LastIndex(value, "arn:")
	if second < 0 || strings.Count(value, "arn:") != 2 {
		return RolePair{}, errNoPair
	}
	before := strings.TrimRight(value[:second], " \t\r\n")
	first, ok := strings.CutSuffix(before, ",")
	if !ok {
		return RolePair{}, errNoPair
	}
	p, err := pairOf(first, value[len(before):])
	p.Raw = value
	return p, err
}

func pairOf(left, right string) (RolePair, error) {
	first, second := strings.TrimSpace(left), strings.TrimSpace(right)
	p := RolePair{Spaced: first != left || second != right}
	if strings.Contains(first, ":saml-provider/") && !strings.Contains(first, ":role/") {
		first, second, p.Swapped = second, first, true
	}
	var err error
	if p.Role, err = arn.ParseRole(first); err != nil {
		return RolePair{}, fmt.Errorf("role: %w", err)
	}
	if p.Provider, err = arn.ParseSAMLProvider(second); err != nil {
		return RolePair{}, fmt.Errorf("SAML provider: %w", err)
	}
	return p, nil
}
