package server

import (
	"context"

	"carnet.dev/carnet/internal/app/config"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/protocol/saml"
	"carnet.dev/carnet/internal/service/federation"
	"carnet.dev/carnet/internal/service/workload"
)

// federationAccounts are the configured accounts as settings of identity
// providers ask for them.
func federationAccounts(c *config.Config) []federation.Account {
	var all []federation.Account
	for _, a := range c.Accounts {
		all = append(all, federation.Account{ID: a.ID, Name: a.Name, AWS: a.Kind == config.AccountAWS, SAMLDecryption: a.SAMLDecryption,
			WebIdentity: a.Accepts(config.ExchangeWebIdentity)})
	}
	return all
}

// expectAtSTS lets the local authority read what people of an identity provider
// sign in with: with our keys where it encrypts for us.
func (s *state) expectAtSTS(entityID string, base saml.STSExpect) saml.STSExpect {
	idp, known, err := s.federation.ByEntityID(entityID)
	if err != nil || !known || !idp.Enabled {
		return base
	}
	return (&federation.Speaker{IdP: idp}).ExpectAtSTS(base, s.spkeys.Decrypter(false))
}

// samlMetadata describes us to identity providers, as things stand now.
func (s *state) samlMetadata() ([]byte, error) {
	return saml.SPMetadata(federation.Describe(s.spkeys.SP(s.config.SAMLURL()), s.federation.List()...))
}

// ends takes back what an identity provider's people hold.
type ends struct{ *state }

// EndAll revokes everybody whom the identity provider proves: their login
// sessions and the keys that rest on them, and keys traded at STS directly. Who
// is also proven by another one signs in there again.
func (e ends) EndAll(ctx context.Context, id identity.IdPID) error {
	people, err := e.directory.Identities.ProvenBy(ctx, id)
	if err != nil {
		return err
	}
	if err := e.workload.EndAll(ctx, workload.Of{IdP: id}); err != nil {
		return err
	}
	if err := e.withdrawal.DenyPeople(ctx, people); err != nil {
		return err
	}
	return e.feed.RevokePeople(ctx, people)
}
