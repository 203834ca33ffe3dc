package iam

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/s3"
	"go.yaml.in/yaml/v3"
)

// Authority is the content of an authority file: per account what shall be.
type Authority struct {
	Accounts map[string]*AccountFile `yaml:"accounts"`
}

// AccountFile is what one account shall hold, and all that it shall hold.
type AccountFile struct {
	Alias            string             `yaml:"alias,omitempty"`
	SAMLProviders    []ProviderFile     `yaml:"saml_providers,omitempty"`
	OIDCProviders    []OIDCProviderFile `yaml:"oidc_providers,omitempty"`
	ManagedPolicies  []ManagedFile      `yaml:"managed_policies,omitempty"`
	Roles            []RoleFile         `yaml:"roles,omitempty"`
	Groups           []GroupFile        `yaml:"groups,omitempty"`
	Users            []UserFile         `yaml:"users,omitempty"`
	InstanceProfiles []ProfileFile      `yaml:"instance_profiles,omitempty"`
	Guardrails       *GuardrailsFile    `yaml:"guardrails,omitempty"`
	Buckets          []BucketFile       `yaml:"buckets,omitempty"`
}

// ProviderFile is one SAML provider: metadata in place or from a file. Private
// keys don't stand in it: they stay as they are.
type ProviderFile struct {
	Name                string            `yaml:"name"`
	Metadata            string            `yaml:"metadata,omitempty"`
	MetadataFile        string            `yaml:"metadata_file,omitempty"`
	AssertionEncryption string            `yaml:"assertion_encryption,omitempty"` // Required or Allowed
	Tags                map[string]string `yaml:"tags,omitempty"`
}

// OIDCProviderFile is one OpenID Connect provider.
type OIDCProviderFile struct {
	URL         string            `yaml:"url"`
	ClientIDs   []string          `yaml:"client_ids,omitempty"`
	Thumbprints []string          `yaml:"thumbprints,omitempty"`
	Tags        map[string]string `yaml:"tags,omitempty"`
}

// ManagedFile is one managed policy: its version in force.
type ManagedFile struct {
	Name        string            `yaml:"name"`
	Path        string            `yaml:"path,omitempty"` // default "/"
	Description string            `yaml:"description,omitempty"`
	Document    Document          `yaml:"document"`
	Tags        map[string]string `yaml:"tags,omitempty"`
}

// RoleFile is one role.
type RoleFile struct {
	Name               string            `yaml:"name"`
	Path               string            `yaml:"path,omitempty"` // default "/"
	Description        string            `yaml:"description,omitempty"`
	MaxSessionDuration string            `yaml:"max_session_duration,omitempty"` // such as 4h; default 1h
	TrustPolicy        Document          `yaml:"trust_policy"`
	Policies           []PolicyFile      `yaml:"policies,omitempty"`
	ManagedPolicies    []string          `yaml:"managed_policies,omitempty"` // names or ARNs
	Boundary           *BoundaryFile     `yaml:"permissions_boundary,omitempty"`
	Tags               map[string]string `yaml:"tags,omitempty"`

	maxSession time.Duration
}

// GroupFile is one group of users.
type GroupFile struct {
	Name            string       `yaml:"name"`
	Path            string       `yaml:"path,omitempty"` // default "/"
	Policies        []PolicyFile `yaml:"policies,omitempty"`
	ManagedPolicies []string     `yaml:"managed_policies,omitempty"` // names or ARNs
}

// UserFile is one user. Access keys don't stand in it: they stay with the user.
type UserFile struct {
	Name            string            `yaml:"name"`
	Path            string            `yaml:"path,omitempty"` // default "/"
	Groups          []string          `yaml:"groups,omitempty"`
	Policies        []PolicyFile      `yaml:"policies,omitempty"`
	ManagedPolicies []string          `yaml:"managed_policies,omitempty"` // names or ARNs
	Boundary        *BoundaryFile     `yaml:"permissions_boundary,omitempty"`
	Tags            map[string]string `yaml:"tags,omitempty"`
}

// ProfileFile is one instance profile.
type ProfileFile struct {
	Name string            `yaml:"name"`
	Path string            `yaml:"path,omitempty"` // default "/"
	Role string            `yaml:"role,omitempty"` // its name
	Tags map[string]string `yaml:"tags,omitempty"`
}

// GuardrailsFile limits the whole account: a list of levels each, every one of
// which must allow.
type GuardrailsFile struct {
	ServiceControl  [][]PolicyFile `yaml:"service_control,omitempty"`
	ResourceControl [][]PolicyFile `yaml:"resource_control,omitempty"`
}

// PolicyFile is one named policy.
type PolicyFile struct {
	Name     string   `yaml:"name"`
	Document Document `yaml:"document"`
}

// BoundaryFile is a permissions boundary: the name or ARN of a managed policy,
// or a policy in place.
type BoundaryFile struct {
	Managed string
	Policy  PolicyFile
}

// UnmarshalYAML takes both forms.
func (b *BoundaryFile) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		return n.Decode(&b.Managed)
	}
	// Node.Decode would let unknown keys pass.
	for i := 0; n.Kind == yaml.MappingNode && i < len(n.Content); i += 2 {
		if k := n.Content[i].Value; k != "name" && k != "document" {
			return fmt.Errorf("line %d: field %s not found in a permissions boundary", n.Content[i].Line, k)
		}
	}
	return n.Decode(&b.Policy)
}

// MarshalYAML writes the form that it has.
func (b BoundaryFile) MarshalYAML() (any, error) {
	if b.Managed != "" {
		return b.Managed, nil
	}
	return b.Policy, nil
}

// BucketFile is what is kept of one bucket: its policy, CORS rules, or both.
type BucketFile struct {
	Name   string        `yaml:"name"`
	Policy Document      `yaml:"policy,omitempty"`
	CORS   []s3.CORSRule `yaml:"cors,omitempty"`
}

// Document is a policy as JSON text. In the file it is a mapping, or a string
// that holds JSON.
type Document string

// UnmarshalYAML takes both forms. Scalars become JSON strings with their text
// as written, so an account number stays a number of twelve digits and a
// Version stays a date's text; the policy parser reads them as it must.
func (d *Document) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" {
		*d = Document(n.Value)
		return nil
	}
	var b bytes.Buffer
	if err := writeJSON(&b, n, 0); err != nil {
		return err
	}
	*d = Document(b.String())
	return nil
}

func writeJSON(b *bytes.Buffer, n *yaml.Node, depth int) error {
	if depth > 16 {
		return fmt.Errorf("line %d: nested too deeply", n.Line)
	}
	switch n.Kind {
	case yaml.ScalarNode:
		if n.ShortTag() == "!!null" {
			b.WriteString("null")
			return nil
		}
		text, err := json.Marshal(n.Value)
		b.Write(text)
		return err
	case yaml.SequenceNode:
		b.WriteByte('[')
		for i, item := range n.Content {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := writeJSON(b, item, depth+1); err != nil {
				return err
			}
		}
		b.WriteByte(']')
		return nil
	case yaml.MappingNode:
		b.WriteByte('{')
		for i, item := range n.Content {
			switch {
			case i == 0:
			case i%2 == 0:
				b.WriteByte(',')
			default:
				b.WriteByte(':')
			}
			if i%2 == 0 && (item.Kind != yaml.ScalarNode || item.ShortTag() == "!!null" || item.ShortTag() == "!!merge") {
				return fmt.Errorf("line %d: a key must be plain text", item.Line)
			}
			if err := writeJSON(b, item, depth+1); err != nil {
				return err
			}
		}
		b.WriteByte('}')
		return nil
	}
	return fmt.Errorf("line %d: anchors and aliases are not taken in a policy", n.Line)
}

// mostFile bounds an authority file.
const mostFile = 16 << 20

// ParseAuthority reads an authority file. Unknown keys are errors. read gives
// the content of a metadata_file, named relative to the authority file.
func ParseAuthority(src []byte, read func(name string) ([]byte, error)) (*Authority, error) {
	if len(src) > mostFile {
		return nil, badFile(fmt.Errorf("it is longer than %d bytes", mostFile))
	}
	var a Authority
	dec := yaml.NewDecoder(bytes.NewReader(src))
	dec.KnownFields(true)
	if err := dec.Decode(&a); err != nil && !errors.Is(err, io.EOF) {
		return nil, badFile(plainYAML(err))
	}
	if err := dec.Decode(&struct{}{}); !errors.Is(err, io.EOF) {
		return nil, badFile(errors.New("it holds more than one document"))
	}
	if len(a.Accounts) == 0 {
		return nil, badFile(errors.New("it names no account"))
	}
	for _, id := range a.accounts() {
		if !arn.IsAccount(id) {
			return nil, badFile(fmt.Errorf("account %q: want 12 digits in quotes", id))
		}
		if a.Accounts[id] == nil {
			a.Accounts[id] = &AccountFile{}
		}
		if err := a.Accounts[id].complete(read); err != nil {
			return nil, badFile(fmt.Errorf("account %s: %w", id, err))
		}
	}
	return &a, nil
}

// plainYAML says what the YAML reader found without its names for Go types.
func plainYAML(err error) error {
	var found *yaml.TypeError
	if !errors.As(err, &found) {
		return err
	}
	lines := make([]string, len(found.Errors))
	for i, line := range found.Errors {
		key, _, unknown := strings.Cut(line, " not found in type ")
		if lines[i] = line; unknown {
			lines[i] = key + " is unknown"
		}
	}
	return errors.New(strings.Join(lines, "; "))
}

func badFile(err error) error {
	return fault.Coded(fault.Invalid, "authority.malformed", "the authority file is malformed: "+err.Error())
}

// complete reads named files and fills defaults in.
func (f *AccountFile) complete(read func(string) ([]byte, error)) error {
	for i := range f.SAMLProviders {
		p := &f.SAMLProviders[i]
		if (p.Metadata == "") == (p.MetadataFile == "") {
			return fmt.Errorf("saml_providers: %q: want exactly one of metadata and metadata_file", p.Name)
		}
		if p.MetadataFile != "" {
			b, err := read(p.MetadataFile)
			if err != nil {
				return fmt.Errorf("saml_providers: %q: %w", p.Name, err)
			}
			p.Metadata = string(b)
		}
	}
	for i := range f.Roles {
		if err := f.Roles[i].complete(); err != nil {
			return err
		}
	}
	for i := range f.ManagedPolicies {
		f.ManagedPolicies[i].Path = orSlash(f.ManagedPolicies[i].Path)
	}
	for i := range f.Groups {
		f.Groups[i].Path = orSlash(f.Groups[i].Path)
	}
	for i := range f.Users {
		f.Users[i].Path = orSlash(f.Users[i].Path)
	}
	for i := range f.InstanceProfiles {
		f.InstanceProfiles[i].Path = orSlash(f.InstanceProfiles[i].Path)
	}
	for _, b := range f.Buckets {
		if b.Policy == "" && len(b.CORS) == 0 {
			return fmt.Errorf("bucket %q has neither policy nor cors", b.Name)
		}
	}
	return nil
}

func (r *RoleFile) complete() error {
	r.Path = orSlash(r.Path)
	r.maxSession = DefaultMaxSession
	if r.MaxSessionDuration != "" {
		d, err := time.ParseDuration(r.MaxSessionDuration)
		if err != nil || d != d.Truncate(time.Second) {
			return fmt.Errorf("role %q: max_session_duration %q: want a duration such as 4h", r.Name, r.MaxSessionDuration)
		}
		r.maxSession = d
	}
	if r.TrustPolicy == "" {
		return fmt.Errorf("role %q has no trust_policy", r.Name)
	}
	return nil
}

func orSlash(path string) string {
	if path == "" {
		return "/"
	}
	return path
}

func (a *Authority) accounts() []string { return slices.Sorted(maps.Keys(a.Accounts)) }
