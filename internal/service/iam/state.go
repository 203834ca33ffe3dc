package iam

// State is everything that the store keeps. Records hold what people wrote;
// policies are JSON text.
type State struct {
	// Revision counts the changes: Apply refuses one made for another.
	Revision         int64
	Providers        []ProviderRecord
	OIDCProviders    []OIDCProviderRecord
	Roles            []RoleRecord
	Users            []UserRecord
	Groups           []GroupRecord
	ManagedPolicies  []ManagedPolicyRecord
	InstanceProfiles []InstanceProfileRecord
	AccessKeys       []AccessKeyRecord
	Aliases          []AliasRecord
	Guardrails       []GuardrailsRecord
	Buckets          []BucketRecord
	BucketCORS       []BucketCORSRecord
}

// Add puts a record into its list.
func (s *State) Add(r Record) {
	switch r := r.(type) {
	case *ProviderRecord:
		s.Providers = append(s.Providers, *r)
	case *OIDCProviderRecord:
		s.OIDCProviders = append(s.OIDCProviders, *r)
	case *RoleRecord:
		s.Roles = append(s.Roles, *r)
	case *UserRecord:
		s.Users = append(s.Users, *r)
	case *GroupRecord:
		s.Groups = append(s.Groups, *r)
	case *ManagedPolicyRecord:
		s.ManagedPolicies = append(s.ManagedPolicies, *r)
	case *InstanceProfileRecord:
		s.InstanceProfiles = append(s.InstanceProfiles, *r)
	case *AccessKeyRecord:
		s.AccessKeys = append(s.AccessKeys, *r)
	case *AliasRecord:
		s.Aliases = append(s.Aliases, *r)
	case *GuardrailsRecord:
		s.Guardrails = append(s.Guardrails, *r)
	case *BucketRecord:
		s.Buckets = append(s.Buckets, *r)
	case *BucketCORSRecord:
		s.BucketCORS = append(s.BucketCORS, *r)
	}
}

// Records gives every record, kind by kind.
func (s *State) Records() []Record {
	var all []Record
	all = appendRecords(all, s.Providers)
	all = appendRecords(all, s.OIDCProviders)
	all = appendRecords(all, s.Roles)
	all = appendRecords(all, s.Users)
	all = appendRecords(all, s.Groups)
	all = appendRecords(all, s.ManagedPolicies)
	all = appendRecords(all, s.InstanceProfiles)
	all = appendRecords(all, s.AccessKeys)
	all = appendRecords(all, s.Aliases)
	all = appendRecords(all, s.Guardrails)
	all = appendRecords(all, s.Buckets)
	return appendRecords(all, s.BucketCORS)
}

func appendRecords[R any, P interface {
	*R
	Record
}](all []Record, list []R) []Record {
	for i := range list {
		all = append(all, P(&list[i]))
	}
	return all
}

// Change is what Apply does to a state of one revision: first records are
// deleted, then written (inserted, or in place of the one of the same Ref).
// Deleting and writing one Ref makes it another thing, with another unique id.
type Change struct {
	Revision int64
	Delete   []Ref
	Put      []Record
}
