package server

import (
	"context"

	sqloauth "carnet.dev/carnet/internal/edge/sql/oauth"
	"carnet.dev/carnet/internal/service/oauth"
)

// openOAuth opens the authorization server. logins is nil for the host's own
// commands, which administer clients and give nobody tokens.
func (s *state) openOAuth(ctx context.Context, logins oauth.Logins) (*oauth.Service, error) {
	store := sqloauth.Store{DB: s.db}
	return oauth.Open(ctx, oauth.Config{
		Clients: store, Credentials: store, Codes: store, Grants: store, Issuer: s.issuer, Logins: logins,
		Principals: s.directory.ServicePrincipals, People: s.directory.People, Once: s.once, Sealer: s.ring,
		Feed: s.feed, State: s.db, Trail: s.trail, Now: s.now, Logger: s.log,
	})
}
