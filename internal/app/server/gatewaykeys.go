package server

import (
	"context"
	"net/netip"

	"carnet.dev/carnet/internal/app/config"
	sqlgatewaykeys "carnet.dev/carnet/internal/edge/sql/gatewaykeys"
	"carnet.dev/carnet/internal/service/broker"
	"carnet.dev/carnet/internal/service/gatewaykeys"
	"carnet.dev/carnet/internal/service/login"
)

// openGatewayKeys opens gateway keys and prefix grants. Of people the
// login sessions and the broker say what they hold, of machines the workloads.
func (s *state) openGatewayKeys(ctx context.Context, l *login.Service, b *broker.Broker) (*gatewaykeys.Service, error) {
	store := sqlgatewaykeys.Store{DB: s.db}
	var networks []netip.Prefix
	for _, n := range s.config.GatewayKeys.Networks {
		networks = append(networks, n.Prefix)
	}
	return gatewaykeys.Open(ctx, gatewaykeys.Config{
		Store: store, Clusters: s.clusters, Groups: s.directory, Grants: store, Sealer: s.ring, Sessions: l, Entitled: b, Machines: s.workload, STS: b.STS, Meta: s.meta, Ledger: s.withdrawal,
		Accounts: entitledAccounts(s.config), BucketAccount: bucketAccount(s.config), Networks: networks,
		Feed: s.feed, State: s.db, Trail: s.trail, Now: s.now, Logger: s.log,
	})
}

// hostGatewayKeys opens them for a command on the host, which makes keys and uses
// none.
func (s *state) hostGatewayKeys(ctx context.Context) (*gatewaykeys.Service, *login.Service, error) {
	b, err := newBroker(s, Options{}, nil)
	if err != nil {
		return nil, nil, err
	}
	l, err := newLogin(ctx, s, b)
	if err != nil {
		return nil, nil, err
	}
	keys, err := s.openGatewayKeys(ctx, l, b)
	return keys, l, err
}

// byGateway says which keys people are given as gateway keys: those of accounts, or
// buckets, at AWS that are delivered so. Keys of local accounts are good at the
// gateway alone as they are.
func byGateway(c *config.Config) func(account, bucket string) bool {
	return func(account, bucket string) bool {
		a, ok := c.Account(account)
		return ok && a.Kind == config.AccountAWS && c.DeliverFor(account, bucket) == config.DeliverGateway
	}
}
