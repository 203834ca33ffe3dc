package server

import (
	"carnet.dev/carnet/internal/app/config"
	"carnet.dev/carnet/internal/service/administrator"
)

// newAdministrator issues the keys of carnet-admin in the local accounts.
func (srv *Server) newAdministrator() *administrator.Service {
	c := administrator.Config{
		IAM: srv.iam, LoginSessions: srv.login, Keys: srv.ring.SessionTokenKeys(), Revocations: srv.feed, Trail: srv.trail, Now: srv.now,
	}
	for _, a := range srv.config.Accounts {
		if a.Kind == config.AccountLocal {
			c.Accounts = append(c.Accounts, administrator.Account{ID: a.ID, Name: a.Name, Partition: a.Partition})
		}
	}
	return administrator.New(c)
}
