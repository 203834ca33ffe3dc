package server

import (
	"context"
	"slices"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/federation"
	"carnet.dev/carnet/internal/service/login"
)

// mapped are the roles that the directory has for people: by provisioning, by
// administrators and, where role sync is on, by their last sign-in.
type mapped struct{ *state }

// MappedRoles gives those that count for a person who signs in by a provider. Another
// provider's word does not; nor does that of sign-ins once role sync is off, since
// then nothing takes it back.
func (m mapped) MappedRoles(ctx context.Context, person identity.PersonID, idp identity.IdPID) (roles []arn.Role, err error) {
	switches, err := m.federation.Switches()
	if err != nil {
		return nil, err
	}
	held, err := m.directory.EffectiveRoles(ctx, string(person))
	for _, h := range held {
		if slices.ContainsFunc(h.Sources, func(s directory.HeldMapping) bool {
			switch s.Origin {
			case directory.FromAdmin:
				return true
			case directory.FromSCIM:
				return s.IdP == idp
			case directory.FromSAML, directory.FromOIDC:
				return s.IdP == idp && switches.RoleSync
			}
			return false
		}) {
			roles = append(roles, h.Role)
		}
	}
	return roles, err
}

// Replace makes the roles of a sign-in the person's mapped ones, where role sync is on.
func (m mapped) Replace(ctx context.Context, said login.Said) (out login.Replaced, err error) {
	switches, err := m.federation.Switches()
	if err != nil || !switches.RoleSync {
		return out, err
	}
	speaker, err := m.federation.Speaker(said.IdP)
	if err != nil {
		return out, err
	}
	origin := directory.FromSAML
	if speaker.IdP.Protocol == federation.OIDC {
		origin = directory.FromOIDC
	}
	c, err := m.directory.SyncRoles(ctx, directory.Sync{Person: said.Person, IdP: said.IdP, Subject: said.NameID, Issued: said.Issued, Roles: said.Roles,
		Within: func(r arn.Role) bool { return speaker.MayAssertRole(r) == "" }, Origin: origin})
	return login.Replaced{On: true, Stale: c.Stale, Added: c.Added, Removed: c.Removed, None: len(said.Roles) == 0 && len(c.Removed) > 0}, err
}
