// Package arn holds the names of AWS things: accounts, roles, providers.
//
// Names are kept as given; equality of ARNs is equality of text. Parsing is
// strict: what this package accepts, AWS's documented grammar accepts (IAM
// User Guide, "IAM identifiers"). It must never guess a missing field.
package arn

import (
	"errors"
	"fmt"
	"strings"
)

// MaxLength is the longest ARN that STS takes, in characters.
const MaxLength = 2048

// ARN is a parsed Amazon Resource Name: arn:partition:service:region:account:resource.
type ARN struct {
	Partition string
	Service   string
	Region    string
	Account   string // 12 digits, or empty as in S3 ARNs
	Resource  string // all after the fifth colon
}

// Parse splits an ARN into its six fields. Account must be empty or 12 digits.
func Parse(s string) (ARN, error) {
	if len(s) > MaxLength {
		return ARN{}, fmt.Errorf("ARN is longer than %d characters", MaxLength)
	}
	f := strings.SplitN(s, ":", 6)
	if len(f) != 6 || f[0] != "arn" {
		return ARN{}, fmt.Errorf("%q is not an ARN: want arn:partition:service:region:account:resource", clip(s))
	}
	a := ARN{Partition: f[1], Service: f[2], Region: f[3], Account: f[4], Resource: f[5]}
	if a.Partition == "" || a.Service == "" || a.Resource == "" {
		return ARN{}, fmt.Errorf("%q is not an ARN: partition, service and resource must not be empty", clip(s))
	}
	if a.Account != "" && !IsAccount(a.Account) {
		return ARN{}, fmt.Errorf("%q names account %q: want 12 digits", clip(s), clip(a.Account))
	}
	return a, nil
}

// String joins the six fields.
func (a ARN) String() string {
	return strings.Join([]string{"arn", a.Partition, a.Service, a.Region, a.Account, a.Resource}, ":")
}

// IsAccount reports whether s is an AWS account number: exactly 12 digits.
func IsAccount(s string) bool {
	if len(s) != 12 {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// Role is the name of an IAM role. Comparable; the zero value names nothing.
type Role struct {
	Partition string
	Account   string
	Path      string // begins and ends with "/"
	Name      string // [\w+=,.@-]{1,64}
}

// ParseRole reads arn:P:iam::ACCOUNT:role/PATH/NAME.
func ParseRole(s string) (Role, error) {
	a, path, name, err := iamResource(s, "role")
	if err != nil {
		return Role{}, err
	}
	if len(name) > 64 {
		return Role{}, fmt.Errorf("role name %q is longer than 64 characters", clip(name))
	}
	return Role{Partition: a.Partition, Account: a.Account, Path: path, Name: name}, nil
}

// String gives the role's ARN.
func (r Role) String() string {
	if r == (Role{}) {
		return ""
	}
	return "arn:" + r.Partition + ":iam::" + r.Account + ":role" + r.Path + r.Name
}

// IsZero reports whether r names nothing.
func (r Role) IsZero() bool { return r == Role{} }

// AssumedRole gives the ARN of a role session: the role's path is dropped
// (IAM User Guide, "AWS STS principals").
func (r Role) AssumedRole(sessionName string) string {
	return "arn:" + r.Partition + ":sts::" + r.Account + ":assumed-role/" + r.Name + "/" + sessionName
}

// SAMLProvider is the name of an IAM SAML provider. Comparable.
type SAMLProvider struct {
	Partition string
	Account   string
	Name      string // [\w._-]{1,128}
}

// ParseSAMLProvider reads arn:P:iam::ACCOUNT:saml-provider/NAME.
func ParseSAMLProvider(s string) (SAMLProvider, error) {
	a, path, name, err := iamResource(s, "saml-provider")
	if err != nil {
		return SAMLProvider{}, err
	}
	if path != "/" {
		return SAMLProvider{}, fmt.Errorf("%q: a SAML provider has no path", clip(s))
	}
	if len(name) > 128 || strings.ContainsAny(name, "+=,@") {
		return SAMLProvider{}, fmt.Errorf("SAML provider name %q: want 1 to 128 of letters, digits, . _ -", clip(name))
	}
	return SAMLProvider{Partition: a.Partition, Account: a.Account, Name: name}, nil
}

// String gives the provider's ARN.
func (p SAMLProvider) String() string {
	if p == (SAMLProvider{}) {
		return ""
	}
	return "arn:" + p.Partition + ":iam::" + p.Account + ":saml-provider/" + p.Name
}

var errNotIAM = errors.New("want an IAM ARN with an empty region and a 12-digit account")

func iamResource(s, kind string) (a ARN, path, name string, err error) {
	a, err = Parse(s)
	if err != nil {
		return ARN{}, "", "", err
	}
	if a.Service != "iam" || a.Region != "" || a.Account == "" {
		return ARN{}, "", "", fmt.Errorf("%q: %w", clip(s), errNotIAM)
	}
	if !isPartition(a.Partition) {
		return ARN{}, "", "", fmt.Errorf("%q: unknown partition %q", clip(s), clip(a.Partition))
	}
	rest, ok := strings.CutPrefix(a.Resource, kind+"/")
	if !ok {
		return ARN{}, "", "", fmt.Errorf("%q is not the ARN of a %s", clip(s), kind)
	}
	i := strings.LastIndexByte(rest, '/')
	path, name = "/"+rest[:i+1], rest[i+1:]
	if !validPath(path) {
		return ARN{}, "", "", fmt.Errorf("%q has a malformed path", clip(s))
	}
	if !validName(name) {
		return ARN{}, "", "", fmt.Errorf("%q: name %q has characters outside [A-Za-z0-9_+=,.@-]", clip(s), clip(name))
	}
	return a, path, name, nil
}

func isPartition(p string) bool {
	switch p {
	case "aws", "aws-cn", "aws-us-gov":
		return true
	}
	return false
}

func validName(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case strings.IndexByte("_+=,.@-", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// validPath holds IAM's path rule: "/" or /printable-ASCII/, up to 512.
func validPath(p string) bool {
	if len(p) > 512 || strings.Contains(p, "//") {
		return false
	}
	for i := range len(p) {
		if p[i] < 0x21 || p[i] > 0x7e {
			return false
		}
	}
	return true
}

// clip bounds what an error repeats of outside input.
func clip(s string) string {
	const most = 120
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}
