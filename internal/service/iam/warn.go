package iam

import (
	"sort"

	"carnet.dev/carnet/internal/protocol/policy"
)

// Warnings says, for what is stored, what valid policies most likely allow
// that their writer does not want: a trust in whoever a provider signs for, all
// actions, all resources. Permissions boundaries and guardrails are left out:
// they are wide by nature.
func (s *Service) Warnings() ([]string, error) {
	snapshot, err := s.Current()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, records := range snapshot.view.groups {
		for _, r := range records {
			out = append(out, s.warnings(r)...)
		}
	}
	sort.Strings(out)
	return out, nil
}

// warnings looks through one record's policies.
func (s *Service) warnings(r Record) (out []string) {
	kind, name := describe(r)
	lint := func(k policy.Kind, what, document string) {
		for _, found := range policy.Lint(k, []byte(document), s.SAMLURL) {
			out = append(out, kind+" "+name+", "+what+": "+found)
		}
	}
	inline := func(policies []Policy) {
		for _, p := range policies {
			lint(policy.Identity, "policy "+p.Name, p.Document)
		}
	}
	switch r := r.(type) {
	case *RoleRecord:
		if r.Name == AdministratorRole {
			return nil
		}
		lint(policy.Trust, "trust policy", r.Trust.Document)
		inline(r.Policies)
	case *UserRecord:
		inline(r.Policies)
	case *GroupRecord:
		inline(r.Policies)
	case *ManagedPolicyRecord:
		inForce, _ := r.Version(r.Default)
		lint(policy.Identity, "document", inForce.Document)
	case *BucketRecord:
		lint(policy.Resource, "policy", r.Policy.Document)
	}
	return out
}
