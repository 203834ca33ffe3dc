package server

import (
	"context"

	"carnet.dev/carnet/internal/app/config"
	sqlmeta "carnet.dev/carnet/internal/edge/sql/meta"
	"carnet.dev/carnet/internal/edge/upstream/stsclient"
	"carnet.dev/carnet/internal/service/holder"
	"carnet.dev/carnet/internal/service/jdbc"
	"carnet.dev/carnet/internal/service/meta"
)

// openMeta opens Carnet's own AWS identity, for accounts that it takes roles of.
// Without one no role is had so.
func (s *state) openMeta(ctx context.Context) error {
	accounts, err := metaAccounts(s.config)
	if err != nil {
		return err
	}
	own, err := ownIdentity(s.config)
	if err != nil {
		return err
	}
	sts, err := stsclient.NewAssumer(ctx, accounts, own)
	if err != nil {
		return err
	}
	s.meta, err = meta.Open(ctx, meta.Config{STS: sts, Clusters: s.clusters, ExternalIDs: sqlmeta.Store{DB: s.db}, Accounts: entitledAccounts(s.config),
		State: s.db, Trail: s.trail, Ledger: s.withdrawal, Now: s.now})
	return err
}

// ownIdentity reads Carnet's own AWS identity.
func ownIdentity(c *config.Config) (own stsclient.Own, err error) {
	files := c.Secrets.AWS
	if files.AccessKeyFile == "" {
		return own, nil
	}
	id, err := config.ReadSecret(files.AccessKeyFile)
	if err != nil {
		return own, err
	}
	own.AccessKeyID = id.Reveal()
	own.SecretAccessKey, err = config.ReadSecret(files.SecretKeyFile)
	return own, err
}

// metaAccounts says how the STS of the accounts is reached that take assume-role.
func metaAccounts(c *config.Config) (all []stsclient.Account, err error) {
	for _, a := range c.Accounts {
		if !a.Accepts(config.ExchangeAssumeRole) {
			continue
		}
		s, err := atAWS(a)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// atAWS says how the STS of an account at AWS is reached.
func atAWS(a config.Account) (s stsclient.Account, err error) {
	s = stsclient.Account{ID: a.ID, Region: a.Region, Endpoint: a.STS.Endpoint}
	if a.STS.CA != "" {
		s.RootCAs, err = believed(a.STS.CA)
	}
	return s, err
}

// newJDBC serves connections to engines.
func (srv *Server) newJDBC() *jdbc.Service {
	byAccount, accounts := byGateway(srv.config), entitledAccounts(srv.config)
	return jdbc.New(jdbc.Config{Proofs: srv.issuer, Sessions: srv.login, Clusters: srv.clusters, Groups: srv.directory,
		Holders:     holder.Holders{Sessions: srv.login, Entitled: srv.broker, Machines: srv.workload, STS: srv.broker.STS, Accounts: accounts, Ledger: srv.withdrawal, Now: srv.now},
		GatewayKeys: srv.gatewayKeys, Binder: srv.sts, Meta: srv.meta, Entitled: srv.broker, Accounts: accounts, ByGateway: func(account string) bool { return byAccount(account, "") },
		Sealer: srv.ring, Feed: srv.feed, State: srv.db, Trail: srv.trail, Now: srv.now})
}
