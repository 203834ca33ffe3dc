package iam

import (
	"fmt"
	"strings"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/protocol/policy"
	"carnet.dev/carnet/internal/protocol/saml"
)

// Limits of names and sizes (IAM API Reference; quotas of the IAM User Guide).
const (
	leastMetadata = 1000
	mostMetadata  = 10_000_000
	mostTags      = 50
	// mostInline bounds the inline policies of one role together, in
	// characters.
	mostInline = 10240
)

// Compile makes the snapshot of a state for the configured accounts. Records
// that do not compile are listed in its Faults.
func Compile(state State, accounts []Account) *Snapshot {
	s := &Snapshot{
		revision:  state.Revision,
		providers: map[arn.SAMLProvider]*Provider{}, roles: map[arn.Role]*Role{},
		byID: map[identity.RoleID]*Role{}, buckets: map[string]*Bucket{}, accounts: map[string]bool{},
	}
	partitions := map[string]string{}
	for _, a := range accounts {
		s.accounts[a.ID] = true
		partitions[a.ID] = a.partition()
	}
	for _, r := range state.Providers {
		if p, err := compileProvider(r, partitions); err != nil {
			s.note("SAML provider", r.Account, r.Name, err)
		} else {
			s.providers[p.ARN] = p
		}
	}
	for _, r := range state.Roles {
		if role, err := compileRole(r, partitions); err != nil {
			s.note("role", r.Account, r.Name, err)
		} else {
			s.roles[role.ARN], s.byID[role.ID] = role, role
		}
	}
	for _, r := range state.Buckets {
		b, err := compileBucket(r, partitions)
		if err != nil {
			// A lost policy may have held a deny.
			s.note("bucket", r.Account, r.Name, err)
			b = &Bucket{Account: r.Account}
		}
		s.buckets[r.Name] = b
	}
	return s
}

func (s *Snapshot) note(kind, account, name string, err error) {
	s.faults = append(s.faults, fmt.Sprintf("%s %s of account %s: %s", kind, name, account, fault.Of(err).Public))
}

func (a Account) partition() string {
	if a.Partition == "" {
		return "aws"
	}
	return a.Partition
}

func invalid(format string, args ...any) error {
	return fault.Coded(fault.Invalid, "ValidationError", fmt.Sprintf(format, args...))
}

func compileProvider(r ProviderRecord, partitions map[string]string) (*Provider, error) {
	partition, ok := partitions[r.Account]
	if !ok {
		return nil, invalid("account %s is not configured as local", r.Account)
	}
	name, err := arn.ParseSAMLProvider("arn:" + partition + ":iam::" + r.Account + ":saml-provider/" + r.Name)
	if err != nil {
		return nil, invalid("%s", err)
	}
	if n := len(r.Metadata); n < leastMetadata || n > mostMetadata {
		return nil, invalid("the metadata document has %d characters: want %d to %d", n, leastMetadata, mostMetadata)
	}
	metadata, err := saml.ParseMetadata([]byte(r.Metadata))
	if err != nil {
		return nil, err
	}
	return &Provider{ARN: name, Metadata: metadata}, nil
}

func compileRole(r RoleRecord, partitions map[string]string) (*Role, error) {
	partition, ok := partitions[r.Account]
	if !ok {
		return nil, invalid("account %s is not configured as local", r.Account)
	}
	name, err := arn.ParseRole("arn:" + partition + ":iam::" + r.Account + ":role" + r.Path + r.Name)
	if err != nil {
		return nil, invalid("%s", err)
	}
	if name.Name != r.Name {
		return nil, invalid("role name %q must not hold a slash: give it as path", r.Name)
	}
	if strings.HasPrefix(r.Name, "AWSReservedSSO_") {
		return nil, invalid("role names that begin with AWSReservedSSO_ are AWS's own")
	}
	if r.MaxSession < LeastMaxSession || r.MaxSession > MostMaxSession {
		return nil, invalid("the maximum session duration is %s: want %s to %s", r.MaxSession, LeastMaxSession, MostMaxSession)
	}
	if err := checkTags(r.Tags); err != nil {
		return nil, err
	}
	role := &Role{ID: r.ID, ARN: name, Tags: r.Tags, MaxSession: r.MaxSession}
	if role.Trust, err = compilePolicy(policy.Trust, r.Trust); err != nil {
		return nil, err
	}
	return role, role.compilePolicies(r)
}

func (role *Role) compilePolicies(r RoleRecord) error {
	seen := map[string]bool{}
	total := 0
	for _, p := range r.Policies {
		if seen[fold(p.Name)] {
			return invalid("policy %q stands twice", p.Name)
		}
		seen[fold(p.Name)] = true
		d, err := compilePolicy(policy.Identity, p)
		if err != nil {
			return err
		}
		total += d.Size()
		role.Policies = append(role.Policies, d)
	}
	if total > mostInline {
		return fault.Coded(fault.TooLarge, "LimitExceeded",
			fmt.Sprintf("the inline policies have %d characters together, more than %d", total, mostInline))
	}
	if len(role.Policies) > 1 {
		role.Policies = []*policy.Document{policy.Unite(role.Policies)}
	}
	if r.Boundary == nil {
		return nil
	}
	var err error
	role.Boundary, err = compilePolicy(policy.Boundary, *r.Boundary)
	return err
}

func compilePolicy(kind policy.Kind, p Policy) (*policy.Document, error) {
	if len(p.Name) < 1 || len(p.Name) > 128 || !validName(p.Name) {
		return nil, invalid("policy name %q: want 1 to 128 of letters, digits and _+=,.@-", p.Name)
	}
	d, err := policy.Parse(kind, p.Name, []byte(p.Document))
	if err != nil {
		return nil, err
	}
	if kind != policy.Trust {
		if err := CheckSupplied(d); err != nil {
			return nil, err
		}
	}
	if kind == policy.Trust || kind == policy.Resource {
		d = d.Pin(p.Pins)
	}
	return d, nil
}

func validName(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && strings.IndexByte("_+=,.@-", c) < 0 {
			return false
		}
	}
	return true
}

func checkTags(tags map[string]string) error {
	if len(tags) > mostTags {
		return invalid("%d tags: want at most %d", len(tags), mostTags)
	}
	folded := map[string]bool{}
	for k, v := range tags {
		if k == "" || len(k) > 128 || len(v) > 256 || strings.HasPrefix(fold(k), "aws:") {
			return invalid("tag %q: want a key of 1 to 128 characters not beginning with aws: and a value of at most 256", k)
		}
		if folded[fold(k)] {
			return invalid("tag %q stands twice, letter case aside", k)
		}
		folded[fold(k)] = true
	}
	return nil
}

func compileBucket(r BucketRecord, partitions map[string]string) (*Bucket, error) {
	if _, ok := partitions[r.Account]; !ok {
		return nil, invalid("account %s is not configured as local", r.Account)
	}
	d, err := compilePolicy(policy.Resource, r.Policy)
	if err != nil {
		return nil, err
	}
	if !d.Within(r.Name) {
		return nil, fault.Coded(fault.Invalid, "MalformedPolicy",
			fmt.Sprintf("the policy of bucket %s names a resource outside it", r.Name)).
			WithMend("name arn:aws:s3:::" + r.Name + " and arn:aws:s3:::" + r.Name + "/* only")
	}
	return &Bucket{Account: r.Account, Policy: d}, nil
}
