package server

import (
	"context"

	"carnet.dev/carnet/internal/app/config"
	sqldevice "carnet.dev/carnet/internal/edge/sql/device"
	sqloauth "carnet.dev/carnet/internal/edge/sql/oauth"
	"carnet.dev/carnet/internal/service/device"
	"carnet.dev/carnet/internal/service/oauth"
)

// openOAuth opens the authorization server. logins, devices and roles are nil for
// the host's own commands, which administer clients and give nobody tokens.
func (s *state) openOAuth(ctx context.Context, logins oauth.Logins, devices oauth.Devices, roles oauth.RoleTokens) (*oauth.Service, error) {
	store := sqloauth.Store{DB: s.db}
	return oauth.Open(ctx, oauth.Config{
		Workloads: s.workload, RoleTokens: roles,
		Clients: store, Credentials: store, Codes: store, Grants: store, Issuer: s.issuer, Logins: logins,
		Principals: s.directory.ServicePrincipals, People: s.directory.People, Once: s.once, Sealer: s.ring,
		Feed: s.feed, State: s.db, Trail: s.trail, Now: s.now, Logger: s.log, Devices: devices,
	})
}

// openDevices opens the device authorization grant. Switched off, it says so.
func (s *state) openDevices() *device.Service {
	store := sqldevice.Store{DB: s.db}
	return device.New(device.Config{Grants: store, Decisions: store, State: s.db, Trail: s.trail, Now: s.now,
		Page: s.config.BaseURL + "/device", Off: s.config.OIDC.DeviceFlow == config.Refuse})
}
