package iam

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/identity"
)

// Kind names what a record is.
type Kind string

// The kinds. Their texts are stored.
const (
	KindSAMLProvider    Kind = "saml-provider"
	KindOIDCProvider    Kind = "oidc-provider"
	KindRole            Kind = "role"
	KindUser            Kind = "user"
	KindGroup           Kind = "group"
	KindManagedPolicy   Kind = "policy"
	KindInstanceProfile Kind = "instance-profile"
	KindAccessKey       Kind = "access-key"
	KindAlias           Kind = "alias"
	KindGuardrails      Kind = "guardrails"
	KindBucket          Kind = "bucket"
	KindBucketCORS      Kind = "bucket-cors"
)

// kinds gives every kind in the order in which plans name them: what others
// rest on comes first.
func kinds() []Kind {
	return []Kind{
		KindManagedPolicy, KindSAMLProvider, KindOIDCProvider, KindRole, KindGroup, KindUser, KindAccessKey,
		KindInstanceProfile, KindAlias, KindGuardrails, KindBucket, KindBucketCORS,
	}
}

// Ref is what a record is found and replaced by. Key is the name under which
// it is unique within its account (with letter case folded where IAM does),
// or everywhere where Account is empty.
type Ref struct {
	Kind    Kind
	Account string
	Key     string
}

// Record is one thing that the store keeps: a pointer to one of the types
// below. A record in a State, a View or a Change must not be changed.
type Record interface {
	Ref() Ref
	// UniqueID is the id that is never given out twice; empty where IAM has none.
	UniqueID() string
}

// NewRecord makes an empty record of a kind, for a store to read into; nil for
// a kind that this release doesn't know.
func NewRecord(k Kind) Record {
	switch k {
	case KindSAMLProvider:
		return &ProviderRecord{}
	case KindOIDCProvider:
		return &OIDCProviderRecord{}
	case KindRole:
		return &RoleRecord{}
	case KindUser:
		return &UserRecord{}
	case KindGroup:
		return &GroupRecord{}
	case KindManagedPolicy:
		return &ManagedPolicyRecord{}
	case KindInstanceProfile:
		return &InstanceProfileRecord{}
	case KindAccessKey:
		return &AccessKeyRecord{}
	case KindAlias:
		return &AliasRecord{}
	case KindGuardrails:
		return &GuardrailsRecord{}
	case KindBucket:
		return &BucketRecord{}
	case KindBucketCORS:
		return &BucketCORSRecord{}
	}
	return nil
}

// Policy is a named policy document, or a reference to a managed one. Pins
// holds the unique id behind each role or user ARN that its Principal elements
// name.
type Policy struct {
	Name     string            `json:"name"`
	Document string            `json:"document"`
	ARN      string            `json:"arn,omitempty"` // of a managed policy; Document is empty then
	Pins     map[string]string `json:"pins,omitempty"`
}

func (p Policy) equal(o Policy) bool {
	return p.Name == o.Name && p.Document == o.Document && p.ARN == o.ARN && maps.Equal(p.Pins, o.Pins)
}

func sameBoundary(a, b *Policy) bool {
	return (a == nil) == (b == nil) && (a == nil || a.equal(*b))
}

// ProviderRecord is one SAML provider.
type ProviderRecord struct {
	Account  string
	Name     string
	Metadata string // XML
	// UUID is what the IAM API shows as SAMLProviderUUID.
	UUID string
	Tags map[string]string
	// EncryptionMode is Required, Allowed or empty: assertions must be, may
	// be, or can't be encrypted.
	EncryptionMode string
	PrivateKeys    []PrivateKey
	Created        time.Time
}

// PrivateKey is one key that opens encrypted assertions.
type PrivateKey struct {
	ID     string    `json:"id"`
	Added  time.Time `json:"added"`
	Sealed []byte    `json:"sealed"` // PKCS #8, under SealPrivateKey and the ID
}

// Ref names the record: names are unique with letter case folded.
func (r ProviderRecord) Ref() Ref { return Ref{KindSAMLProvider, r.Account, fold(r.Name)} }

// UniqueID is empty: a SAML provider is its ARN.
func (r ProviderRecord) UniqueID() string { return "" }

// ARN gives arn:P:iam::ACCOUNT:saml-provider/NAME.
func (r ProviderRecord) ARN(partition string) string {
	return entityARN(partition, r.Account, "saml-provider/", r.Name)
}

func (r ProviderRecord) clone() ProviderRecord {
	r.Tags, r.PrivateKeys = maps.Clone(r.Tags), slices.Clone(r.PrivateKeys)
	return r
}

// OIDCProviderRecord is one OpenID Connect provider.
type OIDCProviderRecord struct {
	Account     string
	URL         string // the issuer, as given: https://HOST/PATH
	ClientIDs   []string
	Thumbprints []string
	Tags        map[string]string
	Created     time.Time `json:"-"`
}

// Ref names the record by its URL without the scheme, letter case kept.
func (r OIDCProviderRecord) Ref() Ref { return Ref{KindOIDCProvider, r.Account, r.Name()} }

// UniqueID is empty: a provider is its ARN.
func (r OIDCProviderRecord) UniqueID() string { return "" }

// Name gives the issuer without its scheme: what condition keys begin with.
func (r OIDCProviderRecord) Name() string { return withoutScheme(r.URL) }

// ARN gives arn:P:iam::ACCOUNT:oidc-provider/HOST/PATH.
func (r OIDCProviderRecord) ARN(partition string) string {
	return entityARN(partition, r.Account, "oidc-provider/", r.Name())
}

func (r OIDCProviderRecord) clone() OIDCProviderRecord {
	r.ClientIDs, r.Thumbprints, r.Tags = slices.Clone(r.ClientIDs), slices.Clone(r.Thumbprints), maps.Clone(r.Tags)
	return r
}

func withoutScheme(url string) string {
	if _, rest, ok := strings.Cut(url, "://"); ok {
		return rest
	}
	return url
}

// RoleRecord is one role.
type RoleRecord struct {
	ID          identity.RoleID
	Account     string
	Path        string
	Name        string
	Description string
	Trust       Policy
	Policies    []Policy // inline, by name
	Attached    []string // ARNs of managed policies
	// Boundary is nil for none. The IAM API sets it by ARN; an authority file
	// may write the document in place.
	Boundary   *Policy
	Tags       map[string]string
	MaxSession time.Duration // whole seconds
	Created    time.Time
}

// Ref names the record: names are unique with letter case folded, paths aside.
func (r RoleRecord) Ref() Ref { return Ref{KindRole, r.Account, fold(r.Name)} }

// UniqueID is AROA….
func (r RoleRecord) UniqueID() string { return string(r.ID) }

// ARN gives arn:P:iam::ACCOUNT:role/PATH/NAME.
func (r RoleRecord) ARN(partition string) string {
	return entityARN(partition, r.Account, "role", r.Path+r.Name)
}

func (r RoleRecord) clone() RoleRecord {
	r.Policies, r.Attached, r.Tags = slices.Clone(r.Policies), slices.Clone(r.Attached), maps.Clone(r.Tags)
	return r
}

// UserRecord is one user.
type UserRecord struct {
	ID       identity.UserID
	Account  string
	Path     string
	Name     string
	Policies []Policy // inline, by name
	Attached []string // ARNs of managed policies
	Groups   []string // ids of groups: AGPA…
	Boundary *Policy  // nil for none
	Tags     map[string]string
	Created  time.Time `json:"-"`
}

// Ref names the record: names are unique with letter case folded, paths aside.
func (r UserRecord) Ref() Ref { return Ref{KindUser, r.Account, fold(r.Name)} }

// UniqueID is AIDA….
func (r UserRecord) UniqueID() string { return string(r.ID) }

// ARN gives arn:P:iam::ACCOUNT:user/PATH/NAME.
func (r UserRecord) ARN(partition string) string {
	return entityARN(partition, r.Account, "user", r.Path+r.Name)
}

func (r UserRecord) clone() UserRecord {
	r.Policies, r.Attached, r.Groups = slices.Clone(r.Policies), slices.Clone(r.Attached), slices.Clone(r.Groups)
	r.Tags = maps.Clone(r.Tags)
	return r
}

// GroupRecord is one group of users. Its members name it by ID.
type GroupRecord struct {
	ID       string
	Account  string
	Path     string
	Name     string
	Policies []Policy  // inline, by name
	Attached []string  // ARNs of managed policies
	Created  time.Time `json:"-"`
}

// Ref names the record: names are unique with letter case folded, paths aside.
func (r GroupRecord) Ref() Ref { return Ref{KindGroup, r.Account, fold(r.Name)} }

// UniqueID is AGPA….
func (r GroupRecord) UniqueID() string { return r.ID }

// ARN gives arn:P:iam::ACCOUNT:group/PATH/NAME.
func (r GroupRecord) ARN(partition string) string {
	return entityARN(partition, r.Account, "group", r.Path+r.Name)
}

func (r GroupRecord) clone() GroupRecord {
	r.Policies, r.Attached = slices.Clone(r.Policies), slices.Clone(r.Attached)
	return r
}

// ManagedPolicyRecord is one customer managed policy.
type ManagedPolicyRecord struct {
	ID          string
	Account     string
	Path        string
	Name        string
	Description string
	Versions    []PolicyVersion // at most 5, oldest first
	Default     string          // the ID of the version in force
	// Next is the number of the next version: numbers are not used again.
	Next    int
	Tags    map[string]string
	Updated time.Time
	Created time.Time `json:"-"`
}

// PolicyVersion is one version of a managed policy.
type PolicyVersion struct {
	ID       string    `json:"id"` // v1, v2, …
	Document string    `json:"document"`
	Created  time.Time `json:"created"`
}

// Ref names the record: names are unique with letter case folded, paths aside.
func (r ManagedPolicyRecord) Ref() Ref { return Ref{KindManagedPolicy, r.Account, fold(r.Name)} }

// UniqueID is ANPA….
func (r ManagedPolicyRecord) UniqueID() string { return r.ID }

// ARN gives arn:P:iam::ACCOUNT:policy/PATH/NAME.
func (r ManagedPolicyRecord) ARN(partition string) string {
	return entityARN(partition, r.Account, "policy", r.Path+r.Name)
}

// Version finds a version by its id.
func (r ManagedPolicyRecord) Version(id string) (PolicyVersion, bool) {
	i := slices.IndexFunc(r.Versions, func(v PolicyVersion) bool { return v.ID == id })
	if i < 0 {
		return PolicyVersion{}, false
	}
	return r.Versions[i], true
}

// AddVersion makes document the version in force, under a new number. The
// oldest of five gives way.
func (r *ManagedPolicyRecord) AddVersion(document string, now time.Time) {
	if len(r.Versions) >= mostVersions {
		i := slices.IndexFunc(r.Versions, func(v PolicyVersion) bool { return v.ID != r.Default })
		r.Versions = slices.Delete(r.Versions, i, i+1)
	}
	r.Default = "v" + strconv.Itoa(r.Next)
	r.Versions = append(r.Versions, PolicyVersion{ID: r.Default, Document: document, Created: now})
	r.Next, r.Updated = r.Next+1, now
}

func (r ManagedPolicyRecord) clone() ManagedPolicyRecord {
	r.Versions, r.Tags = slices.Clone(r.Versions), maps.Clone(r.Tags)
	return r
}

// InstanceProfileRecord is one instance profile.
type InstanceProfileRecord struct {
	ID      string
	Account string
	Path    string
	Name    string
	Role    identity.RoleID // empty for none; a role made again is another
	Tags    map[string]string
	Created time.Time `json:"-"`
}

// Ref names the record: names are unique with letter case folded, paths aside.
func (r InstanceProfileRecord) Ref() Ref { return Ref{KindInstanceProfile, r.Account, fold(r.Name)} }

// UniqueID is AIPA….
func (r InstanceProfileRecord) UniqueID() string { return r.ID }

// ARN gives arn:P:iam::ACCOUNT:instance-profile/PATH/NAME.
func (r InstanceProfileRecord) ARN(partition string) string {
	return entityARN(partition, r.Account, "instance-profile", r.Path+r.Name)
}

func (r InstanceProfileRecord) clone() InstanceProfileRecord {
	r.Tags = maps.Clone(r.Tags)
	return r
}

// AccessKeyRecord is one long-term access key of a user.
type AccessKeyRecord struct {
	ID      string // AKIA…
	Account string
	User    identity.UserID
	Sealed  []byte // the secret access key, under SealAccessKey and the ID
	Active  bool
	Created time.Time `json:"-"`
}

// Ref names the record by its id, which is unique everywhere.
func (r AccessKeyRecord) Ref() Ref { return Ref{KindAccessKey, "", r.ID} }

// UniqueID is AKIA….
func (r AccessKeyRecord) UniqueID() string { return r.ID }

func (r AccessKeyRecord) clone() AccessKeyRecord { return r }

// AliasRecord is an account's alias. Aliases are unique everywhere.
type AliasRecord struct {
	Account string
	Alias   string
	Created time.Time `json:"-"`
}

// Ref names the record by its account: an account has one alias at most.
func (r AliasRecord) Ref() Ref { return Ref{KindAlias, r.Account, "alias"} }

// UniqueID is empty.
func (r AliasRecord) UniqueID() string { return "" }

func (r AliasRecord) clone() AliasRecord { return r }

// GuardrailsRecord is what limits a whole account. Each level must allow; the
// policies of one level are united.
type GuardrailsRecord struct {
	Account string
	// ServiceControl limits the principals of the account, ResourceControl
	// who does what with its resources.
	ServiceControl  [][]Policy
	ResourceControl [][]Policy
	Created         time.Time `json:"-"`
}

// Ref names the record by its account.
func (r GuardrailsRecord) Ref() Ref { return Ref{KindGuardrails, r.Account, "guardrails"} }

// UniqueID is empty.
func (r GuardrailsRecord) UniqueID() string { return "" }

func (r GuardrailsRecord) clone() GuardrailsRecord { return r }

func entityARN(partition, account, kind, name string) string {
	return "arn:" + partition + ":iam::" + account + ":" + kind + name
}

// fold gives the form under which IAM names are unique.
func fold(name string) string { return strings.ToLower(name) }
