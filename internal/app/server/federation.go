package server

import (
	"carnet.dev/carnet/internal/app/config"
	"carnet.dev/carnet/internal/service/federation"
)

// federationAccounts are the configured accounts as settings of identity
// providers ask for them.
func federationAccounts(c *config.Config) []federation.Account {
	var all []federation.Account
	for _, a := range c.Accounts {
		all = append(all, federation.Account{ID: a.ID, Name: a.Name, AWS: a.Kind == config.AccountAWS, SAMLDecryption: a.SAMLDecryption})
	}
	return all
}
