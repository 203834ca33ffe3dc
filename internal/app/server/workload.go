package server

import (
	"context"

	"carnet.dev/carnet/internal/core/identity"
	sqlworkload "carnet.dev/carnet/internal/edge/sql/workload"
	"carnet.dev/carnet/internal/edge/upstream/jwks"
	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/workload"
)

// openWorkload opens federation policies and delegations. Whether a person who is
// away is still entitled the broker says, which trades nothing for that.
func (s *state) openWorkload(ctx context.Context) (err error) {
	installation, err := s.federation.Installation()
	if err != nil {
		return err
	}
	keys, err := s.keySource()
	if err != nil {
		return err
	}
	entitled, err := newBroker(s, Options{}, nil)
	if err != nil {
		return err
	}
	store := sqlworkload.Store{DB: s.db}
	s.workload, err = workload.Open(ctx, workload.Config{
		Policies: store, Delegations: store, Directory: machines{s.directory}, IdPs: s.federation, Accounts: entitledAccounts(s.config),
		KeySets: keys, Issuer: s.issuer, Entitled: entitled, Clusters: s.clusters, Feed: denying{s.feed, s.withdrawal}, State: s.db, Trail: s.trail, Ledger: s.withdrawal,
		Organisation: installation.Organisation, Loopback: s.config.IAM.LoopbackProviders, Now: s.now, Logger: s.log,
	})
	return err
}

// keySource fetches the keys of other issuers, by the guarded client.
func (s *state) keySource() (_ *jwks.Source, err error) {
	keys := jwks.Config{Now: s.now}
	if keys.Client, err = guarded(s.config); err != nil {
		return nil, err
	}
	if s.config.IAM.LoopbackProviders {
		if keys.Loopback, err = guarded(s.config, "127.0.0.0/8", "::1", "localhost"); err != nil {
			return nil, err
		}
	}
	return jwks.New(keys), nil
}

// machines is the directory as workloads ask it.
type machines struct{ *directory.Directory }

// Person gives one person.
func (m machines) Person(ctx context.Context, id identity.PersonID) (directory.Person, error) {
	return m.People.Person(ctx, id)
}

// BySubject gives the person that an identity provider's subject proves.
func (m machines) BySubject(ctx context.Context, idp identity.IdPID, subject string) (directory.Person, error) {
	return m.Identities.BySubject(ctx, idp, subject)
}

// ServicePrincipal gives one.
func (m machines) ServicePrincipal(ctx context.Context, id identity.ServicePrincipalID) (directory.ServicePrincipal, error) {
	return m.Directory.ServicePrincipals.ServicePrincipal(ctx, id)
}

// ServicePrincipals gives all.
func (m machines) ServicePrincipals(ctx context.Context) ([]directory.ServicePrincipal, error) {
	return m.Directory.ServicePrincipals.ServicePrincipals(ctx)
}
