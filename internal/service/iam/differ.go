package iam

import (
	"maps"
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
		same["managed policies"] = slices.Equal(old.Attached, want.Attached)
		same["permissions boundary"] = sameBoundary(old.Boundary, want.Boundary)
		same["tags"] = maps.Equal(old.Tags, want.Tags)
		same["maximum session duration"] = old.MaxSession == want.MaxSession
	case *BucketRecord:
		old := old.(*BucketRecord)
		same["policy"] = old.Account == want.Account && old.Policy.equal(want.Policy)
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
