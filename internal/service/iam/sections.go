package iam

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"carnet.dev/carnet/internal/core/identity"
)

// sections gives what brings each kind to what the file says, in the order in
// which one names another.
func (p *planner) sections() []func(account string, f *AccountFile) {
	return []func(string, *AccountFile){
		p.managedPolicies, p.samlProviders, p.oidcProviders, p.roles, p.groupsOf, p.users, p.instanceProfiles, p.settings, p.buckets, p.orphans, p.quotas,
	}
}

func (p *planner) managedPolicies(account string, f *AccountFile) {
	var wanted []ManagedPolicyRecord
	for _, m := range f.ManagedPolicies {
		wanted = append(wanted, ManagedPolicyRecord{
			ID: identity.NewIAMID("ANPA"), Account: account, Path: m.Path, Name: m.Name, Description: m.Description, Tags: m.Tags,
			Versions: []PolicyVersion{{ID: "v1", Document: string(m.Document), Created: p.Now()}}, Default: "v1", Next: 2,
			Created: p.Now(), Updated: p.Now(),
		})
	}
	section(p, p.ManagedPolicies(account), wanted, func(want, old *ManagedPolicyRecord) {
		if want.Name != old.Name || want.Path != old.Path {
			return
		}
		document, now := want.Versions[0].Document, want.Updated
		was, _ := old.Version(old.Default)
		description, tags := want.Description, want.Tags
		*want = old.clone()
		want.Description, want.Tags = description, tags
		if was.Document != document {
			want.AddVersion(document, now)
		}
	})
}

func (p *planner) samlProviders(account string, f *AccountFile) {
	var wanted []ProviderRecord
	for _, r := range f.SAMLProviders {
		wanted = append(wanted, ProviderRecord{
			Account: account, Name: r.Name, Metadata: r.Metadata, UUID: identity.NewIAMID("SAMLP"), Tags: r.Tags,
			EncryptionMode: r.AssertionEncryption, Created: p.Now(),
		})
	}
	section(p, p.Providers(account), wanted, func(want, old *ProviderRecord) {
		want.PrivateKeys = old.PrivateKeys
		if want.Name == old.Name {
			want.Created, want.UUID = old.Created, old.UUID
		}
	})
	for i := range wanted {
		if r := &wanted[i]; r.EncryptionMode == EncryptionRequired && len(r.PrivateKeys) == 0 {
			p.refuse(r, input("assertion_encryption Required needs a private key: add one by aws iam update-saml-provider first"))
		}
	}
}

func (p *planner) oidcProviders(account string, f *AccountFile) {
	var wanted []OIDCProviderRecord
	for _, r := range f.OIDCProviders {
		record := OIDCProviderRecord{Account: account, URL: r.URL, ClientIDs: r.ClientIDs, Tags: r.Tags, Created: p.Now()}
		err := checkIssuer(r.URL, p.service.LoopbackProviders)
		if err == nil {
			record.Thumbprints, err = thumbprints(r.Thumbprints)
		}
		if err == nil && len(r.ClientIDs) > mostClientIDs {
			err = limited("Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: %d", mostClientIDs)
		}
		if err != nil {
			p.refuse(&record, err)
		}
		wanted = append(wanted, record)
	}
	section(p, p.OIDCProviders(account), wanted, func(want, old *OIDCProviderRecord) { want.Created = old.Created })
}

func (p *planner) roles(account string, f *AccountFile) {
	var wanted []RoleRecord
	for _, r := range f.Roles {
		record := RoleRecord{
			ID: identity.NewRoleID(), Account: account, Path: r.Path, Name: r.Name, Description: r.Description, Tags: r.Tags,
			Trust: Policy{Name: "trust", Document: string(r.TrustPolicy)}, MaxSession: r.maxSession, Created: p.Now(),
			Policies: policies(r.Policies),
		}
		if fold(r.Name) == AdministratorRole {
			p.refuse(&record, input("it is Carnet's own: leave it out of the file"))
			continue
		}
		record.Attached, record.Boundary = p.attached(account, r.ManagedPolicies), p.boundary(account, r.Boundary)
		wanted = append(wanted, record)
	}
	stored := slices.DeleteFunc(p.Roles(account), func(r RoleRecord) bool { return r.Name == AdministratorRole })
	section(p, stored, wanted, func(want, old *RoleRecord) {
		// A role keeps its id as long as its ARN stays the same.
		if want.Name == old.Name && want.Path == old.Path {
			want.ID, want.Created = old.ID, old.Created
		}
	})
}

func (p *planner) groupsOf(account string, f *AccountFile) {
	var wanted []GroupRecord
	for _, g := range f.Groups {
		wanted = append(wanted, GroupRecord{
			ID: identity.NewIAMID("AGPA"), Account: account, Path: g.Path, Name: g.Name, Created: p.Now(),
			Policies: policies(g.Policies), Attached: p.attached(account, g.ManagedPolicies),
		})
	}
	section(p, p.Groups(account), wanted, func(want, old *GroupRecord) {
		if want.Name == old.Name && want.Path == old.Path {
			want.ID, want.Created = old.ID, old.Created
		}
	})
}

func (p *planner) users(account string, f *AccountFile) {
	var wanted []UserRecord
	for _, u := range f.Users {
		record := UserRecord{
			ID: identity.NewUserID(), Account: account, Path: u.Path, Name: u.Name, Tags: u.Tags, Created: p.Now(),
			Policies: policies(u.Policies), Attached: p.attached(account, u.ManagedPolicies), Boundary: p.boundary(account, u.Boundary),
		}
		for _, name := range u.Groups {
			if g, ok := p.Group(account, name); ok {
				record.Groups = append(record.Groups, g.ID)
			} else {
				p.refuse(&record, input("there is no group %q", name))
			}
		}
		wanted = append(wanted, record)
	}
	section(p, p.Users(account), wanted, func(want, old *UserRecord) {
		if want.Name == old.Name && want.Path == old.Path {
			want.ID, want.Created = old.ID, old.Created
		}
	})
}

func (p *planner) instanceProfiles(account string, f *AccountFile) {
	var wanted []InstanceProfileRecord
	for _, r := range f.InstanceProfiles {
		record := InstanceProfileRecord{ID: identity.NewIAMID("AIPA"), Account: account, Path: r.Path, Name: r.Name, Tags: r.Tags, Created: p.Now()}
		if r.Role != "" {
			role, ok := p.Role(account, r.Role)
			if !ok {
				p.refuse(&record, input("there is no role %q", r.Role))
			}
			record.Role = role.ID
		}
		wanted = append(wanted, record)
	}
	section(p, p.InstanceProfiles(account), wanted, func(want, old *InstanceProfileRecord) {
		if want.Name == old.Name && want.Path == old.Path {
			want.ID, want.Created = old.ID, old.Created
		}
	})
}

// settings are what an account has one of at most.
func (p *planner) settings(account string, f *AccountFile) {
	var aliases []AliasRecord
	if f.Alias != "" {
		aliases = append(aliases, AliasRecord{Account: account, Alias: f.Alias, Created: p.Now()})
	}
	section(p, some(p.Alias(account)), aliases, func(want, old *AliasRecord) { want.Created = old.Created })
	var guardrails []GuardrailsRecord
	if g := f.Guardrails; g != nil && len(g.ServiceControl)+len(g.ResourceControl) > 0 {
		guardrails = append(guardrails, GuardrailsRecord{
			Account: account, ServiceControl: levels(g.ServiceControl), ResourceControl: levels(g.ResourceControl), Created: p.Now(),
		})
	}
	section(p, some(p.Guardrails(account)), guardrails, func(want, old *GuardrailsRecord) { want.Created = old.Created })
}

func some[R any](r R, ok bool) []R {
	if !ok {
		return nil
	}
	return []R{r}
}

func levels(file [][]PolicyFile) (out [][]Policy) {
	for _, level := range file {
		out = append(out, policies(level))
	}
	return out
}

func (p *planner) buckets(account string, f *AccountFile) {
	var wanted []BucketRecord
	var rules []BucketCORSRecord
	for _, b := range f.Buckets {
		if other, ok := p.Bucket(b.Name); ok && other.Account != account && p.over[other.Ref()] != nil {
			p.refuse(&other, invalid("it stands twice"))
			continue
		}
		if other, ok := p.BucketCORS(b.Name); ok && other.Account != account && p.over[other.Ref()] != nil {
			p.refuse(&other, invalid("it stands twice"))
			continue
		}
		if b.Policy != "" {
			wanted = append(wanted, BucketRecord{Account: account, Name: b.Name, Policy: Policy{Name: bucketPolicyName, Document: string(b.Policy)}})
		}
		if len(b.CORS) > 0 {
			rules = append(rules, BucketCORSRecord{Account: account, Name: b.Name, Rules: b.CORS, Created: p.Now()})
		}
	}
	section(p, p.Buckets(account), wanted, func(_, _ *BucketRecord) {})
	section(p, p.BucketsCORS(account), rules, func(want, old *BucketCORSRecord) { want.Created = old.Created })
}

// policies gives the file's policies in the order of their names.
func policies(file []PolicyFile) (out []Policy) {
	for _, f := range file {
		out = append(out, Policy{Name: f.Name, Document: string(f.Document)})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// attached gives the ARNs of managed policies that the file names or gives.
func (p *planner) attached(account string, names []string) (out []string) {
	for _, name := range names {
		out = append(out, p.policyARN(account, name))
	}
	slices.Sort(out)
	return out
}

// policyARN gives the ARN of a managed policy by name. One that isn't there
// fails to compile.
func (p *planner) policyARN(account, name string) string {
	if strings.HasPrefix(name, "arn:") {
		return name
	}
	partition, _ := p.Partition(account)
	if m, ok := p.ManagedPolicy(account, name); ok {
		return m.ARN(partition)
	}
	return ManagedPolicyRecord{Account: account, Path: "/", Name: name}.ARN(partition)
}

func (p *planner) boundary(account string, b *BoundaryFile) *Policy {
	switch {
	case b == nil:
		return nil
	case b.Managed != "":
		return BoundaryOf(p.policyARN(account, b.Managed))
	}
	return &Policy{Name: b.Policy.Name, Document: string(b.Policy.Document)}
}

// orphans deletes the access keys of users that go.
func (p *planner) orphans(account string, _ *AccountFile) {
	for _, key := range p.AccessKeys(account, "") {
		if _, ok := p.UserByID(account, key.User); !ok {
			p.Delete(key.Ref())
		}
	}
}

// quotas holds how much an account may have.
func (p *planner) quotas(account string, _ *AccountFile) {
	for _, k := range kinds() {
		if most := p.service.Quotas.Most(k); most > 0 && p.count(k, account) > most {
			p.bad = append(p.bad, fmt.Sprintf("account %s: Cannot exceed quota for %s: %d", account, p.service.Quotas.of(k).name, most))
		}
	}
}
