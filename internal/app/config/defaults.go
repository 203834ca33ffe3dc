package config

import (
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"carnet.dev/carnet/internal/protocol/s3"
)

// The defaults; docs/configuration.md states them and a test compares.
const (
	DefaultRegion          = "us-east-1"
	DefaultWebAddress      = "127.0.0.1:8480"
	DefaultAWSAddress      = "127.0.0.1:8481"
	DefaultLoginSession    = 12 * time.Hour
	DefaultMinimumDuration = 15 * time.Minute
	DefaultParallel        = 32
)

// Complete fills what a program that makes its own configuration leaves out.
// Paths start from the data folder.
func (c *Config) Complete() { c.complete(c.Data) }

// complete fills what the file leaves out and makes every path absolute.
func (c *Config) complete(dir string) {
	fill(&c.Region, DefaultRegion)
	fill(&c.Listen.Web.Address, DefaultWebAddress)
	fill(&c.Listen.AWS.Address, DefaultAWSAddress)
	if c.Listen.AWS.URL == "" {
		c.Listen.AWS.URL = scheme(c.Listen.AWS.TLS) + c.Listen.AWS.Address
	}
	if c.Listen.AWS.FastPath == "" {
		c.Listen.AWS.FastPath = On
	}
	if c.IAM.Listen.Address != "" && c.IAM.Listen.URL == "" {
		c.IAM.Listen.URL = scheme(c.IAM.Listen.TLS) + c.IAM.Listen.Address
	}
	c.BaseURL, c.Listen.AWS.URL, c.IAM.Listen.URL = plainOrigin(c.BaseURL), plainOrigin(c.Listen.AWS.URL), plainOrigin(c.IAM.Listen.URL)
	if c.Faces == nil {
		c.Faces = []Face{FaceSTS, FaceIAM, FaceS3}
	}
	if c.LoginSession.Lifetime == 0 {
		c.LoginSession.Lifetime = DefaultLoginSession
	}
	if c.IAM.MinimumDuration == 0 {
		c.IAM.MinimumDuration = DefaultMinimumDuration
	}
	c.OIDC.complete()
	c.completeObservation()
	c.paths(dir)
	if c.Database == (Database{}) && c.Data != "" {
		c.Database.SQLite = filepath.Join(c.Data, "carnet.db")
	}
	for i := range c.Accounts {
		c.Accounts[i].complete(c.Region)
	}
	for i := range c.Upstreams {
		c.Upstreams[i].complete(c)
	}
}

// plainOrigin writes an address as clients do: without a last slash and without
// the scheme's own port, which they leave out of the Host header.
func plainOrigin(raw string) string {
	raw = strings.TrimSuffix(raw, "/")
	u, err := url.Parse(raw)
	if err != nil || u.Port() != map[string]string{"https": "443", "http": "80"}[u.Scheme] || u.Port() == "" {
		return raw
	}
	u.Host = strings.TrimSuffix(u.Host, ":"+u.Port())
	return u.String()
}

func (c *Config) paths(dir string) {
	list := []*string{
		&c.Data, &c.Database.SQLite, &c.Database.PostgreSQLDSNFile, &c.Secrets.KeyEncryptionKey, &c.Secrets.AWS.AccessKeyFile, &c.Secrets.AWS.SecretKeyFile, &c.Audit.Checkpoints, &c.AccessLog.File,
		&c.Listen.Web.TLS.Certificate, &c.Listen.Web.TLS.Key,
		&c.Listen.AWS.TLS.Certificate, &c.Listen.AWS.TLS.Key, &c.Listen.AWS.ClientCA,
		&c.IAM.Listen.TLS.Certificate, &c.IAM.Listen.TLS.Key, &c.OIDC.Publish.Folder,
	}
	for i := range c.Upstreams {
		u := &c.Upstreams[i]
		list = append(list, &u.Folder, &u.AccessKeyFile, &u.SecretKeyFile, &u.CA, &u.Client.Certificate, &u.Client.Key)
	}
	for i := range c.Accounts {
		list = append(list, &c.Accounts[i].STS.CA, &c.Accounts[i].IAM.CA)
	}
	list = append(list, &c.Telemetry.Traces.HeadersFile)
	for i := range c.Audit.Targets {
		t := &c.Audit.Targets[i]
		list = append(list, &t.File, &t.HeadersFile, &t.CA, &t.Client.Certificate, &t.Client.Key)
	}
	for _, p := range list {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		} else if *p != "" {
			*p = filepath.Clean(*p)
		}
	}
}

func (a *Account) complete(region string) {
	fill(&a.Region, region)
	fill(&a.Partition, partition(a.Region))
	if a.Exchanges == nil {
		a.Exchanges = []Exchange{ExchangeSAML}
	}
	if a.Deliver == "" {
		a.Deliver = DeliverDirect
	}
	a.completeWebIdentity()
	a.STS.Endpoint = strings.TrimSuffix(a.STS.Endpoint, "/")
	if a.Kind == AccountAWS && a.STS.Parallel == 0 {
		a.STS.Parallel = DefaultParallel
	}
	a.IAM.Endpoint = strings.TrimSuffix(a.IAM.Endpoint, "/")
	if a.RevocationRole != "" && a.RevocationMargin == 0 {
		a.RevocationMargin = DefaultRevocationMargin
	}
}

func (u *Upstream) complete(c *Config) {
	switch u.Kind {
	case UpstreamEmbedded:
		if u.Folder == "" && c.Data != "" {
			u.Folder = filepath.Join(c.Data, "store", u.Name)
		}
		if u.Keys == "" {
			u.Keys = KeysFilesystem
		}
	case UpstreamS3:
		u.completeForeign(c)
		if u.Addressing == "" {
			u.Addressing = AddressPath
		}
	case UpstreamAWS:
		if u.Addressing == "" {
			u.Addressing = AddressVirtual
			if u.Endpoint != "" && !strings.HasSuffix(hostname(u.Endpoint), ".amazonaws.com") && !strings.HasSuffix(hostname(u.Endpoint), ".amazonaws.com.cn") {
				u.Addressing = AddressPath
			}
		}
		u.completeForeign(c)
		if u.Keys == "" {
			u.Keys = KeysLiteral
		}
		if u.Encryption == nil {
			u.Encryption = s3.EncryptAny.Names()
		}
		if u.StorageClasses == nil {
			u.StorageClasses = s3.StorageClasses()
		}
	}
}

func (u *Upstream) completeForeign(c *Config) {
	fill(&u.Region, c.Region)
	u.Endpoint = strings.TrimSuffix(u.Endpoint, "/")
	for bucket, endpoint := range u.BucketEndpoints {
		u.BucketEndpoints[bucket] = strings.TrimSuffix(endpoint, "/")
	}
}

func fill(s *string, value string) {
	if *s == "" {
		*s = value
	}
}

func scheme(t TLS) string {
	if t.On() {
		return "https://"
	}
	return "http://"
}

// partition gives the partition that a region lies in (AWS General Reference,
// "Amazon Resource Names").
func partition(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	}
	return "aws"
}
