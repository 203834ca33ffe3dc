// Package generate writes what an administrator has to set up elsewhere: the
// commands that make AWS, or the local authority, trust Carnet.
//
// It is text from names, with no look at any account: names go in, commands,
// the values for the identity provider and warnings come out. Every name is
// checked before it is written, so that nothing in it reaches a shell or a
// policy but as itself. It writes for access to data only, and never a
// wildcard that it was not asked for.
package generate

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/policy"
	"carnet.dev/carnet/internal/protocol/s3"
)

// Access is what a role may do in one bucket.
type Access struct {
	Account string // 12 digits; empty for every account of the set-up
	Bucket  string // "*" for every bucket, which is warned of
	Prefix  string // without a trailing slash; empty for the whole bucket
}

// AWS is a set-up of accounts: one role in each, for data in S3, and whom it
// trusts. With both trusts the role can be had by an assertion and be renewed by
// Carnet's own tokens.
type AWS struct {
	Partition string   // empty means aws
	Accounts  []string // 12 digits each, in order
	Buckets   []Access // not for an existing role
	Role      string
	ReadOnly  bool
	// MaxSession is the role's maximum session duration; zero means 12 h with
	// SAML, whose keys can't be renewed, and 1 h without.
	MaxSession time.Duration
	// Existing says that the role exists and is to get another trust policy
	// only.
	Existing bool
	// Trusted says that the account has the providers already.
	Trusted bool
	SAML    *SAML // nil: no trust in assertions
	OIDC    *OIDC // nil: no trust in Carnet's tokens
	Meta    *Meta // nil: no trust in Carnet's own AWS identity
}

// SAML is trust in one identity provider's assertions, as far as they were
// made for Carnet.
type SAML struct {
	URL      string // Carnet's SAML URL
	Provider string // the SAML provider's name in IAM
	Metadata string // file of the identity provider's metadata
	// Tags and SourceIdentity say that the identity provider sends them: STS
	// refuses the whole call where the trust policy does not allow them.
	Tags, SourceIdentity bool
	// Console admits the sign-in to the AWS console too, which is warned of.
	Console bool
}

// Setup is the generated set-up.
type Setup struct {
	// Warnings are plain sentences.
	Warnings []string
	Accounts []Account
	Identity Identity // zero without Meta
}

// Account is the part of one account.
type Account struct {
	ID          string
	Role        string // ARN
	Provider    string // ARN of the SAML provider; empty without SAML
	OIDC        string // ARN of the OIDC provider; empty without OIDC
	Trust       string // policy documents, JSON
	Permissions string // empty for an existing role
	// RoleValue is what the identity provider sends as a value of the Role
	// attribute for whoever shall hold the role; empty without SAML.
	RoleValue string
	// Commands are lines for a shell, one command each.
	Commands []string
}

var (
	providerName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)
	roleName     = regexp.MustCompile(`^[A-Za-z0-9+=,.@_-]{1,64}$`)
	// fileName is a path that needs no quoting and is no option.
	fileName   = regexp.MustCompile(`^[A-Za-z0-9._/+-]{1,256}$`)
	prefixText = regexp.MustCompile(`^[A-Za-z0-9!_.()/=@+-]{1,512}$`)
)

// unsafe characters of a URL could mean more than themselves in a shell or in
// a policy.
const unsafe = `'"\* <>$` + "\n"

// Generate gives the set-up. Errors: Invalid, with what to give instead.
func (s AWS) Generate() (*Setup, error) {
	if s.Partition == "" {
		s.Partition = "aws"
	}
	if s.MaxSession == 0 {
		s.MaxSession = time.Hour
		if s.SAML != nil {
			s.MaxSession = 12 * time.Hour
		}
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	out := &Setup{}
	if s.SAML != nil && s.OIDC != nil {
		out.Warnings = append(out.Warnings, BridgeRisk)
	}
	for _, id := range s.Accounts {
		a, err := s.account(id)
		if err != nil {
			return nil, err
		}
		out.Accounts = append(out.Accounts, a)
		for _, w := range append(policy.Lint(policy.Trust, []byte(a.Trust), s.samlURL()), policy.Lint(policy.Identity, []byte(a.Permissions), "")...) {
			out.Warnings = append(out.Warnings, "account "+id+": "+w)
		}
	}
	if s.OIDC != nil {
		out.Warnings = append(out.Warnings, s.OIDC.warnings()...)
	}
	if s.Meta != nil {
		out.Warnings = append(out.Warnings, s.Meta.warnings()...)
		var err error
		if out.Identity, err = s.identity(out.Accounts); err != nil {
			return nil, err
		}
	}
	if s.SAML != nil && s.OIDC == nil && s.MaxSession < 4*time.Hour {
		out.Warnings = append(out.Warnings, "keys that last less than 4 hours end in the middle of a day's work")
	}
	return out, nil
}

func (s AWS) samlURL() string {
	if s.SAML == nil {
		return ""
	}
	return s.SAML.URL
}

func bad(format string, args ...any) error {
	return fault.New(fault.Invalid, fmt.Sprintf(format, args...))
}

// badWith is bad with the way to mend it.
func badWith(mend, format string, args ...any) error {
	return fault.New(fault.Invalid, fmt.Sprintf(format, args...)).WithMend(mend)
}

func (s AWS) check() error {
	switch {
	case s.SAML == nil && s.OIDC == nil && s.Meta == nil:
		return bad("the role would trust nobody")
	case s.Partition != "aws" && s.Partition != "aws-cn" && s.Partition != "aws-us-gov":
		return bad("partition %q: want aws, aws-cn or aws-us-gov", s.Partition)
	case !roleName.MatchString(s.Role):
		return bad("role %q: want 1 to 64 letters, digits and +=,.@-_", s.Role)
	case s.MaxSession < time.Hour || s.MaxSession > 12*time.Hour || s.MaxSession%time.Second != 0:
		return bad("maximum session %s: AWS takes 1h to 12h", s.MaxSession)
	case len(s.Accounts) == 0:
		return badWith("give one with --account", "no account is named")
	case len(s.Buckets) == 0 && !s.Existing:
		return badWith("give one with --bucket", "no bucket is named")
	}
	if s.SAML != nil {
		if err := s.SAML.check(); err != nil {
			return err
		}
	}
	if s.OIDC != nil {
		if err := s.OIDC.check(); err != nil {
			return err
		}
	}
	if s.Meta != nil {
		if err := s.Meta.check(s.Partition); err != nil {
			return err
		}
	}
	for i, id := range s.Accounts {
		if !arn.IsAccount(id) {
			return bad("account %q: want 12 digits", id)
		}
		if slices.Contains(s.Accounts[:i], id) {
			return bad("account %s is named twice", id)
		}
	}
	return s.checkBuckets()
}

func (s SAML) check() error {
	u, err := url.Parse(s.URL)
	switch {
	case err != nil, u.Scheme != "https" && u.Scheme != "http", u.Host == "", strings.ContainsAny(s.URL, unsafe+"?#"), u.User != nil:
		return bad("%q is not a SAML URL such as https://carnet.example.com/saml/consume", s.URL)
	case !providerName.MatchString(s.Provider):
		return bad("provider %q: want 1 to 128 letters, digits, dots, dashes and underscores", s.Provider)
	case !fileName.MatchString(s.Metadata) || strings.HasPrefix(s.Metadata, "-"):
		return bad("metadata file %q: want a path of letters, digits and ._/+-", s.Metadata)
	}
	return nil
}

func (s AWS) checkBuckets() error {
	for _, b := range s.Buckets {
		switch {
		case b.Account != "" && !slices.Contains(s.Accounts, b.Account):
			return bad("bucket %s is of account %s, which is not named", b.Bucket, b.Account)
		case b.Bucket != "*" && s3.CheckBucketName(b.Bucket) != nil:
			return bad("bucket %q: that is no bucket name", b.Bucket)
		case b.Prefix != "" && !prefixText.MatchString(b.Prefix):
			return bad("prefix %q of bucket %s: want letters, digits and !_.()/=@+- only", b.Prefix, b.Bucket)
		}
	}
	return nil
}

func (s AWS) account(id string) (Account, error) {
	a := Account{ID: id, Role: fmt.Sprintf("arn:%s:iam::%s:role/%s", s.Partition, id, s.Role)}
	trust := document{Version: "2012-10-17"}
	if s.SAML != nil {
		a.Provider = fmt.Sprintf("arn:%s:iam::%s:saml-provider/%s", s.Partition, id, s.SAML.Provider)
		a.RoleValue = a.Role + "," + a.Provider
		trust.Statement = append(trust.Statement, s.SAML.trust(a.Provider))
	}
	if s.OIDC != nil {
		a.OIDC = fmt.Sprintf("arn:%s:iam::%s:oidc-provider/%s", s.Partition, id, s.OIDC.name())
		trust.Statement = append(trust.Statement, s.OIDC.trust(a.OIDC))
	}
	if s.Meta != nil {
		trust.Statement = append(trust.Statement, s.Meta.trust())
	}
	a.Trust = compact(trust)
	if _, err := policy.Parse(policy.Trust, s.Role, []byte(a.Trust)); err != nil {
		return a, fault.Wrap(err, fault.Invalid, "the trust policy would not be taken: "+fault.Of(err).Public)
	}
	if s.Existing {
		a.Commands = s.providers()
		a.Commands = append(a.Commands, fmt.Sprintf("aws iam update-assume-role-policy --role-name %s --policy-document '%s'", s.Role, a.Trust))
		return a, nil
	}
	grant := s.grant(id)
	if len(grant.Statement) == 0 {
		return a, bad("no bucket is named for account %s", id)
	}
	a.Permissions = compact(grant)
	if _, err := policy.Parse(policy.Identity, s.Role, []byte(a.Permissions)); err != nil {
		return a, fault.Wrap(err, fault.Invalid, "the policy for these buckets would not be taken: "+fault.Of(err).Public)
	}
	a.Commands = append(s.providers(),
		fmt.Sprintf("aws iam create-role --role-name %s --max-session-duration %d --assume-role-policy-document '%s'", s.Role, int(s.MaxSession/time.Second), a.Trust),
		fmt.Sprintf("aws iam put-role-policy --role-name %s --policy-name s3-data --policy-document '%s'", s.Role, a.Permissions))
	return a, nil
}

// providers gives the commands that make what the trust policy names. A role
// that exists and trusts assertions has its SAML provider.
func (s AWS) providers() (out []string) {
	if s.Trusted {
		return nil
	}
	if s.SAML != nil && !(s.Existing && (s.OIDC != nil || s.Meta != nil)) {
		out = append(out, fmt.Sprintf("aws iam create-saml-provider --name %s --saml-metadata-document file://%s", s.SAML.Provider, s.SAML.Metadata))
	}
	if s.OIDC != nil {
		out = append(out, fmt.Sprintf("aws iam create-open-id-connect-provider --url %s --client-id-list %s", s.OIDC.Issuer, AudienceAWS))
	}
	return out
}

// document and statement fix the order in which elements are written.
type document struct {
	Version   string
	Statement []statement
}

type statement struct {
	Sid       string            `json:",omitempty"`
	Effect    string            `json:",omitempty"`
	Principal map[string]string `json:",omitempty"`
	Action    []string
	Resource  []string                       `json:",omitempty"`
	Condition map[string]map[string][]string `json:",omitempty"`
}

func (s SAML) trust(provider string) statement {
	actions := []string{"sts:AssumeRoleWithSAML"}
	if s.Tags {
		actions = append(actions, "sts:TagSession")
	}
	if s.SourceIdentity {
		actions = append(actions, "sts:SetSourceIdentity")
	}
	audiences := []string{s.URL}
	if s.Console {
		audiences = append(audiences, policy.ConsoleAudience)
	}
	return statement{
		Effect: "Allow", Principal: map[string]string{"Federated": provider}, Action: actions,
		Condition: map[string]map[string][]string{"StringEquals": {"SAML:aud": audiences}},
	}
}

// grant gives the actions on data, and no others: no bucket is made, changed
// or opened to others with it.
func (s AWS) grant(account string) document {
	d := document{Version: "2012-10-17"}
	objects := []string{"s3:GetObject"}
	list := []string{"s3:ListBucket", "s3:GetBucketLocation"}
	if !s.ReadOnly {
		objects = append(objects, "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")
		list = append(list, "s3:ListBucketMultipartUploads")
	}
	var whole, all []string
	for _, b := range s.Buckets {
		if b.Account != "" && b.Account != account {
			continue
		}
		bucket := "arn:" + s.Partition + ":s3:::" + b.Bucket
		if b.Prefix == "" {
			whole = append(whole, bucket)
			if b.Bucket != "*" { // "*" covers the objects of every bucket as well
				bucket += "/*"
			}
			all = append(all, bucket)
			continue
		}
		prefix := strings.TrimSuffix(b.Prefix, "/")
		d.Statement = append(d.Statement,
			statement{Effect: "Allow", Action: []string{"s3:ListBucket"}, Resource: []string{bucket},
				Condition: map[string]map[string][]string{"StringLike": {"s3:prefix": {prefix, prefix + "/*"}}}},
			statement{Effect: "Allow", Action: []string{"s3:GetBucketLocation"}, Resource: []string{bucket}})
		all = append(all, bucket+"/"+prefix+"/*")
	}
	if len(whole) > 0 {
		d.Statement = append(d.Statement, statement{Sid: "List", Effect: "Allow", Action: list, Resource: whole})
	}
	if len(all) > 0 {
		d.Statement = append(d.Statement, statement{Sid: "Data", Effect: "Allow", Action: objects, Resource: all})
	}
	return d
}

func compact(d document) string {
	b, _ := json.Marshal(d) // strings, lists and maps always encode
	return string(b)
}
