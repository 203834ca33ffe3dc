package iam

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"go.yaml.in/yaml/v3"
)

// Authority is the content of an authority file: per account what shall be.
type Authority struct {
	Accounts map[string]*AccountFile `yaml:"accounts"`
}

// AccountFile is what one account shall hold, and all that it shall hold.
type AccountFile struct {
	SAMLProviders []ProviderFile `yaml:"saml_providers"`
	Roles         []RoleFile     `yaml:"roles"`
	Buckets       []BucketFile   `yaml:"buckets"`
}

// ProviderFile is one SAML provider: metadata in place or from a file.
type ProviderFile struct {
	Name         string `yaml:"name"`
	Metadata     string `yaml:"metadata"`
	MetadataFile string `yaml:"metadata_file"`
}

// RoleFile is one role.
type RoleFile struct {
	Name               string            `yaml:"name"`
	Path               string            `yaml:"path"` // default "/"
	Description        string            `yaml:"description"`
	MaxSessionDuration string            `yaml:"max_session_duration"` // such as 4h; default 1h
	TrustPolicy        Document          `yaml:"trust_policy"`
	Policies           []PolicyFile      `yaml:"policies"`
	Boundary           *PolicyFile       `yaml:"permissions_boundary"`
	Tags               map[string]string `yaml:"tags"`

	maxSession time.Duration
}

// PolicyFile is one named policy.
type PolicyFile struct {
	Name     string   `yaml:"name"`
	Document Document `yaml:"document"`
}

// BucketFile is one bucket policy.
type BucketFile struct {
	Name   string   `yaml:"name"`
	Policy Document `yaml:"policy"`
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
		return nil, badFile(err)
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
		r := &f.Roles[i]
		if r.Path == "" {
			r.Path = "/"
		}
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
	}
	for _, b := range f.Buckets {
		if b.Policy == "" {
			return fmt.Errorf("bucket %q has no policy", b.Name)
		}
	}
	return nil
}

func (a *Authority) accounts() []string { return slices.Sorted(maps.Keys(a.Accounts)) }

func (a *Authority) names(account string) bool { return a.Accounts[account] != nil }

func (f *AccountFile) providers(account string, now time.Time) (out []ProviderRecord) {
	for _, p := range f.SAMLProviders {
		out = append(out, ProviderRecord{Account: account, Name: p.Name, Metadata: p.Metadata, Created: now})
	}
	return out
}

func (f *AccountFile) roles(account string, now time.Time) (out []RoleRecord) {
	for _, r := range f.Roles {
		record := RoleRecord{
			ID: identity.NewRoleID(), Account: account, Path: r.Path, Name: r.Name, Description: r.Description, Tags: r.Tags,
			Trust: Policy{Name: "trust", Document: string(r.TrustPolicy)}, MaxSession: r.maxSession, Created: now,
		}
		for _, p := range r.Policies {
			record.Policies = append(record.Policies, Policy{Name: p.Name, Document: string(p.Document)})
		}
		sort.Slice(record.Policies, func(i, j int) bool {
			return strings.Compare(record.Policies[i].Name, record.Policies[j].Name) < 0
		})
		if r.Boundary != nil {
			record.Boundary = &Policy{Name: r.Boundary.Name, Document: string(r.Boundary.Document)}
		}
		out = append(out, record)
	}
	return out
}

func (f *AccountFile) buckets(account string) (out []BucketRecord) {
	for _, b := range f.Buckets {
		out = append(out, BucketRecord{Account: account, Name: b.Name, Policy: Policy{Name: "bucket-policy", Document: string(b.Policy)}})
	}
	return out
}
