package iam

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
)

// Quotas bound how much one account holds. Zero fields take AWS's defaults
// (IAM User Guide, "IAM and AWS STS quotas").
type Quotas struct {
	Roles            int `yaml:"roles"`    // 1000
	Users            int `yaml:"users"`    // 5000
	Groups           int `yaml:"groups"`   // 300
	Policies         int `yaml:"policies"` // 1500
	InstanceProfiles int // 1000
	SAMLProviders    int `yaml:"saml_providers"` // 100
	OIDCProviders    int `yaml:"oidc_providers"` // 100
}

// quotaOf is the quota of one kind: its value, AWS's default and AWS's name.
type quotaOf struct {
	value, usual int
	name         string
}

func (q Quotas) of(k Kind) quotaOf {
	switch k {
	case KindRole:
		return quotaOf{q.Roles, 1000, "RolesPerAccount"}
	case KindUser:
		return quotaOf{q.Users, 5000, "UsersPerAccount"}
	case KindGroup:
		return quotaOf{q.Groups, 300, "GroupsPerAccount"}
	case KindManagedPolicy:
		return quotaOf{q.Policies, 1500, "PoliciesPerAccount"}
	case KindInstanceProfile:
		return quotaOf{q.InstanceProfiles, 1000, "InstanceProfilesPerAccount"}
	case KindSAMLProvider:
		return quotaOf{q.SAMLProviders, 100, "SAMLProvidersPerAccount"}
	case KindOIDCProvider:
		return quotaOf{q.OIDCProviders, 100, "OpenIdConnectProvidersPerAccount"}
	}
	return quotaOf{}
}

// Most gives how many records of a kind an account may hold; 0 for a kind
// without a quota.
func (q Quotas) Most(k Kind) int {
	of := q.of(k)
	if of.value > 0 {
		return of.value
	}
	return of.usual
}

// quota refuses one more record of a kind. Errors: LimitExceeded.
func (d *Draft) quota(k Kind, account string) error {
	most := d.service.Quotas.Most(k)
	if d.count(k, account) >= most {
		return limited("Cannot exceed quota for %s: %d", d.service.Quotas.of(k).name, most)
	}
	return nil
}

// count gives the number of records of a kind in an account.
func (v *View) count(k Kind, account string) int {
	n := 0
	v.each(k, account, func(Record) { n++ })
	return n
}

// MergeTags gives tags with more set. Letter case of keys does not count: a
// key that is there in another case gives way.
func MergeTags(tags, more map[string]string) map[string]string {
	out := WithoutTags(tags, slices.Collect(maps.Keys(more)))
	if out == nil && len(more) > 0 {
		out = map[string]string{}
	}
	maps.Copy(out, more)
	return out
}

// WithoutTags gives tags without some keys, letter case aside.
func WithoutTags(tags map[string]string, keys []string) map[string]string {
	out := maps.Clone(tags)
	maps.DeleteFunc(out, func(have, _ string) bool {
		return slices.ContainsFunc(keys, func(k string) bool { return strings.EqualFold(k, have) })
	})
	if len(out) == 0 {
		return nil
	}
	return out
}

// The errors of IAM's operations, in AWS's words.

func exists(format string, args ...any) error {
	return fault.Coded(fault.Conflict, "EntityAlreadyExists", fmt.Sprintf(format, args...))
}

func gone(format string, args ...any) error {
	return fault.Coded(fault.NotFound, "NoSuchEntity", fmt.Sprintf(format, args...))
}

func input(format string, args ...any) error {
	return fault.Coded(fault.Invalid, "InvalidInput", fmt.Sprintf(format, args...))
}

func deleteConflict(text string) error { return fault.Coded(fault.Conflict, "DeleteConflict", text) }
