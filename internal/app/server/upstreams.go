package server

import (
	"carnet.dev/carnet/internal/app/config"
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
