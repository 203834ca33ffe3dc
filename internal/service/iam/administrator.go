package iam

import (
	"context"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/identity"
)

// The policies of AdministratorRole. Nobody is trusted to assume it: its keys
// are issued by Carnet itself, to administrators.
const (
	administratorTrust  = `{"Version":"2012-10-17","Statement":[{"Sid":"IssuedByCarnetAlone","Effect":"Deny","Principal":"*","Action":["sts:AssumeRole","sts:AssumeRoleWithSAML","sts:AssumeRoleWithWebIdentity"]}]}`
	administratorPolicy = `{"Version":"2012-10-17","Statement":[{"Sid":"Everything","Effect":"Allow","Action":"*","Resource":"*"}]}`
)

// EnsureAdministratorRoles makes AdministratorRole in every configured account
// that lacks it. A role of that name that somebody else made gives way: it has
// another id then, so that what it was trusted with ends.
func (s *Service) EnsureAdministratorRoles(ctx context.Context) error {
	current, err := s.Current()
	if err != nil {
		return err
	}
	for _, a := range s.Accounts {
		if administers(current.View(), a.ID) {
			continue
		}
		e := event.Event{Action: "authority.administrator-role", Account: a.ID, Target: "arn:" + a.partition() + ":iam::" + a.ID + ":role/" + AdministratorRole}
		err := s.Edit(ctx, e, func(d *Draft) error {
			if administers(&d.View, a.ID) { // another server was quicker
				return nil
			}
			d.own = true
			d.Put(&RoleRecord{
				ID: identity.NewRoleID(), Account: a.ID, Path: "/", Name: AdministratorRole,
				Description: "Administers this account's IAM. Carnet makes it and issues its keys to administrators.",
				Trust:       Policy{Name: "trust", Document: administratorTrust},
				Policies:    []Policy{{Name: "AdministratorAccess", Document: administratorPolicy}},
				MaxSession:  time.Hour, Created: d.Now(),
			})
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// administers reports whether the account has the role as Carnet makes it.
func administers(v *View, account string) bool {
	r, ok := v.Role(account, AdministratorRole)
	return ok && r.Path == "/" && r.Trust.Document == administratorTrust && len(r.Attached) == 0 && r.Boundary == nil &&
		len(r.Policies) == 1 && r.Policies[0].Document == administratorPolicy && len(r.Trust.Pins) == 0
}
