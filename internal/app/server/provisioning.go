package server

import (
	"context"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/edge/scimapi"
	sqldirectory "carnet.dev/carnet/internal/edge/sql/directory"
	sqlprovisioning "carnet.dev/carnet/internal/edge/sql/provisioning"
	"carnet.dev/carnet/internal/service/federation"
	"carnet.dev/carnet/internal/service/iam"
	"carnet.dev/carnet/internal/service/provisioning"
)

// openProvisioning opens what provisioning systems may say.
func (s *state) openProvisioning(ctx context.Context) (err error) {
	store := sqlprovisioning.Store{DB: s.db}
	s.provisioning, err = provisioning.Open(ctx, provisioning.Config{
		Store: store, Credentials: store, Lists: providerLists{s.federation}, Members: sqldirectory.Store{DB: s.db}, Revocations: takesBack{s}, State: s.db, Trail: s.trail,
		Now: s.now, Logger: s.log, Base: s.config.BaseURL + scimapi.Bases[0],
	})
	return err
}

func (srv *Server) scimRoutes() []httpd.Route {
	return scimapi.Routes(scimapi.Config{Provisioning: srv.provisioning, Lists: srv.provisioning, Roles: srv.giveable, Now: srv.now})
}

// mostGiveable bounds the roles that a schema names.
const mostGiveable = 200

// giveable gives the roles of local accounts that a provider may give. Which roles
// there are in accounts at AWS is not known here.
func (s *state) giveable(idp identity.IdPID) (all []string) {
	snapshot, err := s.iam.Current()
	if err != nil {
		return nil
	}
	for _, account := range localAccounts(s.config) {
		for _, r := range snapshot.View().Roles(account.ID) {
			role := arn.Role{Partition: account.Partition, Account: r.Account, Path: r.Path, Name: r.Name}
			if len(all) < mostGiveable && (providerLists{s.federation}).Admits(context.Background(), idp, role) == nil {
				all = append(all, role.String())
			}
		}
	}
	return all
}

// providerLists holds what a provisioning system gives to the list of its identity
// provider, as assertions are.
type providerLists struct{ providers *federation.Service }

// Admits says why a role is not within the provider's list.
func (l providerLists) Admits(_ context.Context, idp identity.IdPID, role arn.Role) error {
	if role.Name == iam.AdministratorRole && role.Path == "/" {
		return fault.Coded(fault.Denied, "provisioning.administrator", "Role "+role.String()+" is Carnet's own: nobody can be given it")
	}
	p, err := l.providers.Speaker(idp)
	if err != nil {
		return err
	}
	if bound := p.MayAssertRole(role); bound != "" {
		return fault.Coded(fault.Denied, "provisioning.list", "Role "+role.String()+" can't be given: "+string(bound)).
			WithMend("an administrator may widen the list: carnet sso set")
	}
	return nil
}
