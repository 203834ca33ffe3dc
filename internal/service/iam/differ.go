package iam

import (
	"maps"
	"reflect"
	"slices"
	"sort"
)

// differences names what an authority file would change of a stored record; none
// where both say the same.
func differences(old, want Record) []string {
	same := map[string]bool{}
	switch want := want.(type) {
	case *ProviderRecord:
		old := old.(*ProviderRecord)
		same["name"] = old.Name == want.Name
		same["metadata"] = old.Metadata == want.Metadata
		same["tags"] = maps.Equal(old.Tags, want.Tags)
		same["assertion encryption"] = old.EncryptionMode == want.EncryptionMode
	case *RoleRecord:
		old := old.(*RoleRecord)
		same["description"] = old.Description == want.Description
		same["trust policy"] = old.Trust.equal(want.Trust)
		same["policies"] = slices.EqualFunc(old.Policies, want.Policies, Policy.equal)
		same["managed policies"] = alike(old.Attached, want.Attached)
		same["permissions boundary"] = sameBoundary(old.Boundary, want.Boundary)
		same["tags"] = maps.Equal(old.Tags, want.Tags)
		same["maximum session duration"] = old.MaxSession == want.MaxSession
	case *OIDCProviderRecord:
		old := old.(*OIDCProviderRecord)
		same["url"] = old.URL == want.URL
		same["client ids"] = alike(old.ClientIDs, want.ClientIDs)
		same["thumbprints"] = alike(old.Thumbprints, want.Thumbprints)
		same["tags"] = maps.Equal(old.Tags, want.Tags)
	case *UserRecord:
		old := old.(*UserRecord)
		same["groups"] = alike(old.Groups, want.Groups)
		same["policies"] = slices.EqualFunc(old.Policies, want.Policies, Policy.equal)
		same["managed policies"] = alike(old.Attached, want.Attached)
		same["permissions boundary"] = sameBoundary(old.Boundary, want.Boundary)
		same["tags"] = maps.Equal(old.Tags, want.Tags)
	case *GroupRecord:
		old := old.(*GroupRecord)
		same["policies"] = slices.EqualFunc(old.Policies, want.Policies, Policy.equal)
		same["managed policies"] = alike(old.Attached, want.Attached)
	case *ManagedPolicyRecord:
		old := old.(*ManagedPolicyRecord)
		same["description"] = old.Description == want.Description
		same["document"] = old.Default == want.Default
		same["tags"] = maps.Equal(old.Tags, want.Tags)
	case *InstanceProfileRecord:
		old := old.(*InstanceProfileRecord)
		same["role"] = old.Role == want.Role
		same["tags"] = maps.Equal(old.Tags, want.Tags)
	case *AliasRecord:
		same["alias"] = old.(*AliasRecord).Alias == want.Alias
	case *GuardrailsRecord:
		old := old.(*GuardrailsRecord)
		same["service control"] = slices.EqualFunc(old.ServiceControl, want.ServiceControl, sameLevel)
		same["resource control"] = slices.EqualFunc(old.ResourceControl, want.ResourceControl, sameLevel)
	case *BucketRecord:
		old := old.(*BucketRecord)
		same["policy"] = old.Account == want.Account && old.Policy.equal(want.Policy)
	case *BucketCORSRecord:
		old := old.(*BucketCORSRecord)
		same["rules"] = old.Account == want.Account && reflect.DeepEqual(old.Rules, want.Rules)
	}
	var out []string
	for what, is := range same {
		if !is {
			out = append(out, what)
		}
	}
	sort.Strings(out)
	return out
}

// alike compares lists whose order means nothing.
func alike(a, b []string) bool { return slices.Equal(sorted(a), sorted(b)) }

func sorted(list []string) []string {
	out := slices.Clone(list)
	slices.Sort(out)
	return out
}

func sameLevel(a, b []Policy) bool { return slices.EqualFunc(a, b, Policy.equal) }
