package server

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"time"

	"carnet.dev/carnet/internal/app/config"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/upstream/s3client"
	"carnet.dev/carnet/internal/service/access"
)

// place says where a bucket lives by the rules of the configuration.
func (s *state) place(bucket string) (access.Place, bool) {
	rule, ok := s.config.BucketRule(bucket)
	if !ok {
		return access.Place{}, false
	}
	account, _ := s.config.Account(rule.Account)
	return access.Place{Account: rule.Account, Upstream: rule.Upstream, AWS: account.Kind == config.AccountAWS}, true
}

// accountsOf lists the accounts whose bucket rules name an upstream.
func accountsOf(c *config.Config, upstream string) []string {
	ids := []string{}
	for _, rule := range c.Buckets {
		if rule.Upstream == upstream {
			ids = append(ids, rule.Account)
		}
	}
	return ids
}

// connecting bounds how long a connection to a store may take to come about.
const connecting = 5 * time.Second

// foreign connects to a store that somebody else runs.
func foreign(u config.Upstream, s *state) (*s3client.Client, error) {
	c := s3client.Config{
		Endpoint: u.Endpoint, BucketEndpoints: u.BucketEndpoints, Virtual: u.Addressing == config.AddressVirtual, Region: u.Region, Now: s.now,
	}
	var err error
	if u.Kind == config.UpstreamAWS {
		err = asAWS(&c, s.config)
	} else {
		err = serviceKey(&c, u)
	}
	if err != nil {
		return nil, err
	}
	if u.CA != "" {
		pem, err := os.ReadFile(u.CA)
		if err != nil {
			return nil, fault.Wrap(err, fault.Misconfigured, "cannot read the ca file")
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fault.New(fault.Misconfigured, u.CA+" holds no PEM certificate")
		}
	}
	if u.Client.On() {
		pair, err := tls.LoadX509KeyPair(u.Client.Certificate, u.Client.Key)
		if err != nil {
			return nil, fault.Wrap(err, fault.Misconfigured, "cannot use the certificate that is shown to the store").WithMend("check client.certificate and client.key: PEM, one pair")
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return s3client.New(c)
}

// asAWS makes a store one that takes each role's own keys. They travel to AWS by
// the same ways as what STS is asked, and never to this host or its link, unless
// egress.allow says so. AWS holds content to its length by itself.
func asAWS(c *s3client.Config, all *config.Config) error {
	allow, err := allowed(all)
	if err != nil {
		return err
	}
	c.RoleKeys, c.PlainBodies, c.Proxy, c.Dial = true, true, http.ProxyFromEnvironment, allow.Dialer(connecting)
	return nil
}

// serviceKey gives a store the one key that it is reached with.
func serviceKey(c *s3client.Config, u config.Upstream) error {
	id, err := config.ReadSecret(u.AccessKeyFile)
	if err != nil {
		return err
	}
	c.AccessKeyID = id.Reveal()
	c.SecretKey, err = config.ReadSecret(u.SecretKeyFile)
	return err
}
