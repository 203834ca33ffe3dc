// Package config reads carnet.yaml: how the server's processes run and which
// accounts, buckets and upstreams exist.
//
// The file is strict. An unknown key, a key given twice, an anchor, a second
// document or a value of the wrong shape is a problem with its line, and all
// problems are listed at once. No secret stands in the file: each is the path
// of a file that holds it. What people change while Carnet runs (identity
// providers, roles, policies) lives in the database and can't be set here, so
// that each setting has one source. This package must never fill in a value
// that widens what is allowed.
package config

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/ascii"
)

// Config is a valid configuration: every path absolute, every default filled.
type Config struct {
	// BaseURL is the web address of this installation, without a trailing slash.
	BaseURL string `yaml:"base_url"`
	// Region is the one region that the local authority and the gateway answer for.
	Region string `yaml:"region"`
	// Data is the folder of everything that Carnet stores by itself.
	Data   string `yaml:"data"`
	Listen Listen `yaml:"listen"`
	// Faces are served on the AWS listener: FaceSTS, FaceIAM, FaceS3.
	Faces []Face `yaml:"faces"`
	// SameHost is "accept" when web and AWS face may share a host name, else empty.
	SameHost     Acceptance   `yaml:"same_host"`
	Database     Database     `yaml:"database"`
	Secrets      Secrets      `yaml:"secrets"`
	Egress       Egress       `yaml:"egress"`
	IAM          IAM          `yaml:"iam"`
	OIDC         OIDC         `yaml:"oidc"`
	LoginSession LoginSession `yaml:"login_session"`
	Audit        Audit        `yaml:"audit"`
	AccessLog    AccessLog    `yaml:"access_log"`
	Telemetry    Telemetry    `yaml:"telemetry"`
	Accounts     []Account    `yaml:"accounts"`
	// StaticKeys is "allow" where IAM users may have long-lived access keys,
	// else empty.
	StaticKeys Permission `yaml:"static_keys"`
	// GatewayKeys bounds the keys without a session token.
	GatewayKeys GatewayKeys `yaml:"gateway_keys"`
	// Buckets are rules in order; the first whose Match covers a name decides.
	Buckets   []Bucket   `yaml:"buckets"`
	Upstreams []Upstream `yaml:"upstreams"`
}

// Acceptance is a risk taken knowingly: "accept" or nothing.
type Acceptance string

// Accepted is the one word that accepts a risk.
const Accepted Acceptance = "accept"

// Permission switches on what is off: "allow" or nothing.
type Permission string

// Allow is the one word that permits.
const Allow Permission = "allow"

// Face is one AWS service on the AWS listener.
type Face string

// The faces of this release.
const (
	FaceSTS Face = "sts"
	FaceIAM Face = "iam"
	FaceS3  Face = "s3"
)

// Listen holds the two listeners.
type Listen struct {
	Web Listener    `yaml:"web"`
	AWS AWSListener `yaml:"aws"`
	// Proxies are the networks of reverse proxies of ours: requests that come
	// from there are their clients', by X-Forwarded-For, -Proto and -Host.
	Proxies []Network `yaml:"proxies"`
}

// Listener is one TCP listener. Without TLS only a loopback address is valid.
type Listener struct {
	Address string `yaml:"address"` // host:port
	TLS     TLS    `yaml:"tls"`
}

// AWSListener is the listener of the AWS faces.
type AWSListener struct {
	Address string `yaml:"address"` // host:port
	TLS     TLS    `yaml:"tls"`
	// URL is what clients are told, without a trailing slash. Buckets may also
	// be named as a label before its host (virtual-hosted style).
	URL string `yaml:"url"`
	// FastPath has plain GET, HEAD and PUT requests without TLS read beside
	// net/http; default On. IAM has none.
	FastPath Switch `yaml:"fast_path"`
	// ClientCA is a PEM file of authorities for client certificates, which gateway
	// keys may be bound to; empty: none are asked for.
	ClientCA string `yaml:"client_ca"`
}

// TLS names a certificate chain and its key, both PEM files. Both or neither.
type TLS struct {
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
}

// On reports whether the listener speaks TLS.
func (t TLS) On() bool { return t.Certificate != "" }

// Database is where state lives: exactly one field is set.
type Database struct {
	SQLite            string `yaml:"sqlite"`
	PostgreSQLDSNFile string `yaml:"postgresql_dsn_file"`
}

// Secrets names the files of the server's own keys.
type Secrets struct {
	KeyEncryptionKey string `yaml:"key_encryption_key"`
	// AWS is Carnet's own AWS identity, for accounts with the exchange assume-role.
	// Without it the AWS SDK's default credentials of the server are used.
	AWS AWSIdentity `yaml:"aws"`
}

// AWSIdentity names the files of a long-lived key of Carnet's own at AWS.
type AWSIdentity struct {
	AccessKeyFile string `yaml:"access_key_file"`
	SecretKeyFile string `yaml:"secret_key_file"`
}

// Audit says what goes into the trail, and what becomes of it outside the
// database.
type Audit struct {
	// Checkpoints is a file to which every signed checkpoint is appended: on
	// another disk or a write-once mount. Empty: none.
	Checkpoints string `yaml:"checkpoints"`
	// Reads and Writes say whether permitted S3 requests are recorded; denied ones
	// always are. On or Off; default Off.
	Reads  Switch `yaml:"reads"`
	Writes Switch `yaml:"writes"`
	// Strict, when On, refuses S3 requests that should be recorded and can't be;
	// Off counts the loss. Default Off.
	Strict Switch `yaml:"strict"`
	// Retention is how long records stay in the database: a day at least, DefaultRetention where nothing is said.
	// Older ones are deleted once a day, chain by chain at a signed checkpoint.
	Retention time.Duration `yaml:"retention"`
	// Hold is how much longer records stay that a target has not taken yet; default
	// DefaultHold. Then they are deleted too, and the trail says so.
	Hold time.Duration `yaml:"hold"`
	// Targets get every record of the trail, in the order of each chain.
	Targets []AuditTarget `yaml:"targets"`
}

// Egress bounds the guarded HTTP client.
type Egress struct {
	// Allow opens loopback, link-local and private destinations.
	Allow []Network `yaml:"allow"`
}

// IAM holds the limits of the local authority.
type IAM struct {
	// MinimumDuration is the shortest life of temporary credentials. Under 15
	// minutes only when both listeners are on loopback: it is for tests.
	MinimumDuration time.Duration `yaml:"minimum_duration"`
	// Listen moves the IAM face to a listener of its own; without an address
	// it answers on the AWS listener.
	Listen AWSListener `yaml:"listen"`
	// LoopbackProviders lets OpenID Connect providers on loopback addresses
	// have a port and no TLS. Only when the AWS listener is on loopback.
	LoopbackProviders bool `yaml:"loopback_providers"`
	// Quotas bound what one local account holds; 0 takes AWS's default.
	Quotas Quotas `yaml:"quotas"`
}

// Quotas bound how many entities of a kind one local account holds.
type Quotas struct {
	Roles            int `yaml:"roles"`
	Users            int `yaml:"users"`
	Groups           int `yaml:"groups"`
	Policies         int `yaml:"policies"`
	InstanceProfiles int `yaml:"instance_profiles"`
	SAMLProviders    int `yaml:"saml_providers"`
	OIDCProviders    int `yaml:"oidc_providers"`
}

// GatewayKeys says what keys without a session token are bound to.
type GatewayKeys struct {
	// Networks bind the keys that people are given where an account is delivered
	// by the gateway; none: the address that each asks from.
	Networks []Network `yaml:"networks"`
}

// LoginSession bounds what one sign-in is good for.
type LoginSession struct {
	Lifetime time.Duration `yaml:"lifetime"`
}

// AccountKind says who keeps an account's roles and policies.
type AccountKind string

// The kinds of account.
const (
	AccountLocal AccountKind = "local" // Carnet's own authority
	AccountAWS   AccountKind = "aws"   // AWS itself
)

// Exchange is a way to trade an identity for temporary credentials.
type Exchange string

// The exchanges of this release.
const (
	ExchangeSAML        Exchange = "saml"         // AssumeRoleWithSAML
	ExchangeWebIdentity Exchange = "web-identity" // AssumeRoleWithWebIdentity, with an ID token of our own issuer
	ExchangeAssumeRole  Exchange = "assume-role"  // AssumeRole by Carnet's own AWS identity, for jobs and JDBC
)

// Deliver says how keys reach people and jobs.
type Deliver string

// The ways.
const (
	// DeliverDirect hands the role's own temporary credentials to the client.
	DeliverDirect Deliver = "direct"
	// DeliverGateway hands out gateway keys: the role's own stay in the server.
	DeliverGateway Deliver = "gateway"
)

// Account is one AWS account or one account of the local authority.
type Account struct {
	ID        string      `yaml:"id"`   // 12 digits
	Name      string      `yaml:"name"` // unique by case-fold
	Kind      AccountKind `yaml:"kind"`
	Exchanges []Exchange  `yaml:"exchanges"` // in order of preference
	// Bridge lets roles that were traded by SAML be renewed by web identity.
	Bridge Bridge `yaml:"bridge"`
	// Tags and SourceIdentity say whether our ID tokens carry session tags and a
	// source identity: STS refuses the whole call where a trust policy does not
	// allow them. On or Off; default On.
	Tags           Switch  `yaml:"tags"`
	SourceIdentity Switch  `yaml:"source_identity"`
	Deliver        Deliver `yaml:"deliver"`
	Region         string  `yaml:"region"`    // of its STS; default Config.Region
	Partition      string  `yaml:"partition"` // default from Region
	STS            STS     `yaml:"sts"`       // how AWS STS is reached; accounts at AWS only
	// SAMLDecryption says that the account's SAML provider at AWS holds our
	// decryption key, so that AWS can read encrypted assertions.
	SAMLDecryption bool `yaml:"saml_decryption"`
	// RevocationRole is the ARN of a role of the account that Carnet takes on, by a
	// token of its own, to deny keys of its roles that were taken back; empty: they
	// live to their end. Accounts at AWS only.
	RevocationRole string `yaml:"revocation_role"`
	// RevocationMargin is how far the clocks of AWS and of these servers may differ:
	// keys issued up to that long after a revocation are denied too.
	RevocationMargin time.Duration `yaml:"revocation_margin,omitempty"`
	IAM              Place         `yaml:"iam"` // how AWS IAM is reached, with RevocationRole only
}

// Bounds of Account.RevocationMargin.
const (
	DefaultRevocationMargin = 30 * time.Second
	MostRevocationMargin    = 10 * time.Minute
)

// Place says how a service at AWS is reached. HTTPS_PROXY and NO_PROXY of the
// environment hold as well.
type Place struct {
	// Endpoint is an https address without a path; empty means AWS's own.
	Endpoint string `yaml:"endpoint"`
	// CA is a PEM file of authorities believed beside the system's.
	CA string `yaml:"ca"`
}

// Accepts reports whether the account takes an exchange.
func (a Account) Accepts(x Exchange) bool { return slices.Contains(a.Exchanges, x) }

// Prefers reports whether the account takes an exchange, and lists another after it or
// not at all.
func (a Account) Prefers(x, to Exchange) bool {
	i, j := slices.Index(a.Exchanges, x), slices.Index(a.Exchanges, to)
	return i >= 0 && (j < 0 || i < j)
}

// STS says how the STS of an account at AWS is reached. HTTPS_PROXY and
// NO_PROXY of the environment hold as well.
type STS struct {
	// Endpoint is an https address such as that of a VPC endpoint, without a
	// path; empty means AWS's own endpoint of the region.
	Endpoint string `yaml:"endpoint"`
	// CA is a PEM file of authorities believed beside the system's, such as
	// that of a proxy that opens TLS.
	CA string `yaml:"ca"`
	// Parallel bounds the calls under way for one sign-in; default 32.
	Parallel int `yaml:"parallel"`
}

// Bucket is one rule: which account owns the buckets it covers, and which
// upstream stores them.
type Bucket struct {
	Match    string `yaml:"match"` // a bucket name; * stands for any run of characters
	Account  string `yaml:"account"`
	Upstream string `yaml:"upstream"`
	// Deliver says how clients get keys for these buckets; default that of the
	// account. Buckets of accounts at AWS only.
	Deliver Deliver `yaml:"deliver"`
}

// UpstreamKind says what stores the objects.
type UpstreamKind string

// The kinds of upstream.
const (
	UpstreamEmbedded UpstreamKind = "embedded" // a folder, served by a child process
	UpstreamS3       UpstreamKind = "s3"       // any S3 store, reached with a service key
	UpstreamAWS      UpstreamKind = "aws"      // AWS S3, reached with each role's own keys
)

// KeyRule says how an upstream turns a key into a stored name.
type KeyRule string

// The key rules (a probe at start proves the one that is stated).
const (
	KeysLiteral    KeyRule = "literal"
	KeysFilesystem KeyRule = "filesystem"
)

// Addressing says where a request to a store names its bucket.
type Addressing string

// The styles (S3 User Guide, "Virtual hosting of buckets").
const (
	AddressPath    Addressing = "path"    // https://store/bucket/key
	AddressVirtual Addressing = "virtual" // https://bucket.store/key
)

// Upstream is one S3 store behind the gateway.
type Upstream struct {
	Name   string       `yaml:"name"`
	Kind   UpstreamKind `yaml:"kind"`
	Folder string       `yaml:"folder"` // embedded
	// Endpoint is where the store answers. For aws it may be left out: AWS's own
	// endpoint of the region, and then buckets of other regions are found too.
	Endpoint string `yaml:"endpoint"`
	// BucketEndpoints are places of single buckets, as Endpoint is written.
	BucketEndpoints BucketEndpoints `yaml:"bucket_endpoints"`
	// Addressing defaults to virtual for AWS's own endpoints, else to path.
	Addressing    Addressing `yaml:"addressing"`
	Region        string     `yaml:"region"`          // s3, aws; default Config.Region
	AccessKeyFile string     `yaml:"access_key_file"` // s3
	SecretKeyFile string     `yaml:"secret_key_file"` // s3
	CA            string     `yaml:"ca"`              // s3, aws; PEM file, default the system's
	Client        TLS        `yaml:"client"`          // s3, aws; the certificate that we show
	PlainHTTP     Acceptance `yaml:"plain_http"`      // s3; accept http beyond loopback
	Keys          KeyRule    `yaml:"keys"`
	// Encryption and StorageClasses (beside STANDARD) are what requests may
	// choose at this store; default none.
	Encryption     []string `yaml:"encryption"`
	StorageClasses []string `yaml:"storage_classes"`
}

// BucketEndpoints maps the names of buckets to addresses.
type BucketEndpoints map[string]string

// Parallel bounds the calls to an account's STS that are under way for one
// sign-in; 0 where the account states none.
func (c *Config) Parallel(account string) int {
	for _, a := range c.Accounts {
		if a.ID == account {
			return a.STS.Parallel
		}
	}
	return 0
}

// IAMURL is where clients reach the IAM face.
func (c *Config) IAMURL() string {
	if c.IAM.Listen.Address != "" {
		return c.IAM.Listen.URL
	}
	return c.Listen.AWS.URL
}

// AWSHost gives the host name of the AWS face, without port.
func (c *Config) AWSHost() string { return hostname(c.Listen.AWS.URL) }

// WebHost gives the host name of the web face, without port.
func (c *Config) WebHost() string { return hostname(c.BaseURL) }

// SAMLURL is ACS URL, SP entity ID, Audience, Recipient and logout URL at once.
func (c *Config) SAMLURL() string { return c.BaseURL + "/saml/consume" }

// Serves reports whether the AWS listener offers a face.
func (c *Config) Serves(f Face) bool {
	return slices.Contains(c.Faces, f)
}

// Account finds a configured account by its number.
func (c *Config) Account(id string) (Account, bool) {
	for _, a := range c.Accounts {
		if a.ID == id {
			return a, true
		}
	}
	return Account{}, false
}

// Upstream finds an upstream by its name.
func (c *Config) Upstream(name string) (Upstream, bool) {
	for _, u := range c.Upstreams {
		if u.Name == name {
			return u, true
		}
	}
	return Upstream{}, false
}

// BucketRule finds the rule that decides for a bucket name: the first in the
// file that covers it. A name that no rule covers does not exist here.
func (c *Config) BucketRule(name string) (Bucket, bool) {
	for _, b := range c.Buckets {
		if ascii.Glob(b.Match, name) {
			return b, true
		}
	}
	return Bucket{}, false
}

// DeliverFor says how keys of an account reach clients, for one bucket where a
// rule says something else.
func (c *Config) DeliverFor(account, bucket string) Deliver {
	if rule, ok := c.BucketRule(bucket); ok && rule.Account == account && rule.Deliver != "" {
		return rule.Deliver
	}
	a, _ := c.Account(account)
	return a.Deliver
}

func hostname(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
}
