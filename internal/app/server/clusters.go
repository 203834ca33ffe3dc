package server

import (
	"context"

	"carnet.dev/carnet/internal/core/identity"
	sqlcluster "carnet.dev/carnet/internal/edge/sql/cluster"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/directory"
)

// openClusters opens clusters and their nodes.
func (s *state) openClusters(ctx context.Context) (err error) {
	store := sqlcluster.Store{DB: s.db}
	s.clusters, err = cluster.Open(ctx, cluster.Config{
		Clusters: store, Nodes: store, Healths: store, JoinTokens: store, Directory: members{s.directory}, Providers: s.federation,
		Once: s.once, Sealer: s.ring, Feed: s.feed, State: s.db, Trail: s.trail, Now: s.now, Logger: s.log,
	})
	return err
}

// members is the directory as clusters ask it.
type members struct{ *directory.Directory }

// Person gives one person.
func (m members) Person(ctx context.Context, id identity.PersonID) (directory.Person, error) {
	return m.People.Person(ctx, id)
}

// Group gives one.
func (m members) Group(ctx context.Context, id identity.GroupID) (directory.Group, error) {
	return m.Lists.Group(ctx, id)
}

// ServicePrincipal gives one.
func (m members) ServicePrincipal(ctx context.Context, id identity.ServicePrincipalID) (directory.ServicePrincipal, error) {
	return m.Directory.ServicePrincipals.ServicePrincipal(ctx, id)
}
