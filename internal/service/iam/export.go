package iam

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Export writes an authority file that says what is stored: planned at once,
// it changes nothing. Secrets (access keys, private keys of SAML providers) and
// what is Carnet's own don't stand in it, nor do versions of managed policies
// that are not in force.
func (s *Service) Export(ctx context.Context) ([]byte, error) {
	if err := s.Reload(ctx); err != nil {
		return nil, err
	}
	v := s.current.Load().view
	a := Authority{Accounts: map[string]*AccountFile{}}
	for account := range v.partitions {
		a.Accounts[account] = v.file(account)
	}
	b := bytes.NewBufferString("# What the local authority holds. Look first: carnet authority plan FILE\n")
	e := yaml.NewEncoder(b)
	e.SetIndent(2)
	if err := e.Encode(a); err != nil {
		return nil, err
	}
	return b.Bytes(), e.Close()
}

// file writes one account as an authority file does.
func (v *View) file(account string) *AccountFile {
	f := &AccountFile{}
	if alias, ok := v.Alias(account); ok {
		f.Alias = alias.Alias
	}
	for _, r := range v.Providers(account) {
		f.SAMLProviders = append(f.SAMLProviders, ProviderFile{Name: r.Name, Metadata: r.Metadata, AssertionEncryption: r.EncryptionMode, Tags: r.Tags})
	}
	for _, r := range v.OIDCProviders(account) {
		f.OIDCProviders = append(f.OIDCProviders, OIDCProviderFile{URL: r.URL, ClientIDs: r.ClientIDs, Thumbprints: r.Thumbprints, Tags: r.Tags})
	}
	for _, r := range v.ManagedPolicies(account) {
		inForce, _ := r.Version(r.Default)
		f.ManagedPolicies = append(f.ManagedPolicies, ManagedFile{
			Name: r.Name, Path: notSlash(r.Path), Description: r.Description, Document: Document(inForce.Document), Tags: r.Tags,
		})
	}
	for _, r := range v.Roles(account) {
		if r.Name == AdministratorRole {
			continue
		}
		f.Roles = append(f.Roles, RoleFile{
			Name: r.Name, Path: notSlash(r.Path), Description: r.Description, MaxSessionDuration: hours(r.MaxSession),
			TrustPolicy: Document(v.Shown(r.Trust)), Policies: policyFiles(r.Policies), ManagedPolicies: r.Attached,
			Boundary: boundaryFile(r.Boundary), Tags: r.Tags,
		})
	}
	v.people(account, f)
	if g, ok := v.Guardrails(account); ok {
		f.Guardrails = &GuardrailsFile{ServiceControl: levelFiles(g.ServiceControl), ResourceControl: levelFiles(g.ResourceControl)}
	}
	f.Buckets = v.bucketFiles(account)
	return f
}

// bucketFiles writes what is kept of buckets, by name.
func (v *View) bucketFiles(account string) (out []BucketFile) {
	for _, r := range v.Buckets(account) {
		out = append(out, BucketFile{Name: r.Name, Policy: Document(v.Shown(r.Policy))})
	}
	for _, r := range v.BucketsCORS(account) {
		i := slices.IndexFunc(out, func(b BucketFile) bool { return b.Name == r.Name })
		if i < 0 {
			i, out = len(out), append(out, BucketFile{Name: r.Name})
		}
		out[i].CORS = r.Rules
	}
	slices.SortFunc(out, func(a, b BucketFile) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// people writes groups, users and instance profiles.
func (v *View) people(account string, f *AccountFile) {
	names := map[string]string{}
	for _, r := range v.Groups(account) {
		names[r.ID] = r.Name
		f.Groups = append(f.Groups, GroupFile{Name: r.Name, Path: notSlash(r.Path), Policies: policyFiles(r.Policies), ManagedPolicies: r.Attached})
	}
	for _, r := range v.Users(account) {
		u := UserFile{
			Name: r.Name, Path: notSlash(r.Path), Policies: policyFiles(r.Policies), ManagedPolicies: r.Attached,
			Boundary: boundaryFile(r.Boundary), Tags: r.Tags,
		}
		for _, id := range r.Groups {
			u.Groups = append(u.Groups, names[id])
		}
		slices.Sort(u.Groups)
		f.Users = append(f.Users, u)
	}
	for _, r := range v.InstanceProfiles(account) {
		p := ProfileFile{Name: r.Name, Path: notSlash(r.Path), Tags: r.Tags}
		if role, ok := v.RoleByID(account, r.Role); ok {
			p.Role = role.Name
		}
		f.InstanceProfiles = append(f.InstanceProfiles, p)
	}
}

func notSlash(path string) string {
	if path == "/" {
		return ""
	}
	return path
}

// hours writes a duration without the zeros that Go puts behind it.
func hours(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func policyFiles(policies []Policy) (out []PolicyFile) {
	for _, p := range policies {
		out = append(out, PolicyFile{Name: p.Name, Document: Document(p.Document)})
	}
	return out
}

func boundaryFile(b *Policy) *BoundaryFile {
	switch {
	case b == nil:
		return nil
	case b.ARN != "":
		return &BoundaryFile{Managed: b.ARN}
	}
	return &BoundaryFile{Policy: PolicyFile{Name: b.Name, Document: Document(b.Document)}}
}

func levelFiles(levels [][]Policy) (out [][]PolicyFile) {
	for _, level := range levels {
		out = append(out, policyFiles(level))
	}
	return out
}
