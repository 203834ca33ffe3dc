package server

import (
	"context"
	"slices"
	"strings"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/web"
	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/gatewaykeys"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/revocation"
	"carnet.dev/carnet/internal/service/withdrawal"
	"carnet.dev/carnet/internal/service/workload"
)

// peoplePages are people as pages ask for them.
type peoplePages struct {
	revoking
	srv *Server
}

// How many people one look reads, and one search looks at.
const (
	peoplePerLook = 500
	mostSearched  = 20_000
)

// Find goes through people in the order of their user names.
func (p peoplePages) Find(ctx context.Context, text, after string, most int) (found []web.PersonLine, next string, err error) {
	var from directory.Person
	if name, id, ok := strings.Cut(after, "\n"); ok {
		from.UserName, from.ID = name, identity.PersonID(id)
	}
	text = directory.Fold(text)
	for looked := 0; looked < mostSearched; looked += peoplePerLook {
		people, err := p.directory.People.People(ctx, from, peoplePerLook)
		if err != nil {
			return nil, "", err
		}
		for _, one := range people {
			from = one
			if !holdsText(one, text) {
				continue
			}
			if len(found) == most {
				return found, next, nil
			}
			found, next = append(found, p.line(one)), one.UserName+"\n"+string(one.ID)
		}
		if len(people) < peoplePerLook {
			return found, "", nil
		}
	}
	return found, from.UserName + "\n" + string(from.ID), nil
}

func holdsText(p directory.Person, text string) bool {
	for _, s := range [...]string{p.UserName, p.DisplayName, p.Mail, string(p.ID)} {
		if strings.Contains(directory.Fold(s), text) {
			return true
		}
	}
	return false
}

func (p peoplePages) line(one directory.Person) web.PersonLine {
	return web.PersonLine{ID: one.ID, UserName: one.UserName, DisplayName: one.DisplayName, Mail: one.Mail, IdP: p.idpName(one.IdP), Active: one.Active, Administrator: one.Administrator}
}

// Portrait gathers what is known of a person: what carnet people show and explain tell,
// and what is out in their name.
func (p peoplePages) Portrait(ctx context.Context, id identity.PersonID) (web.Portrait, error) {
	one, err := p.directory.People.Person(ctx, id)
	if err != nil {
		return web.Portrait{}, err
	}
	out := web.Portrait{PersonLine: p.line(one), ExternalID: one.ExternalID, Since: one.Created}
	in, err := p.directory.Lists.MemberOf(ctx, string(id))
	if err != nil {
		return out, err
	}
	for _, g := range in {
		out.MemberOf = append(out.MemberOf, g.Name)
	}
	who := aPerson(one)
	x, err := p.explanation(ctx, who)
	if err != nil {
		return out, err
	}
	out.Roles, out.Notes = portraitRoles(x), x.Notes
	if out.SignIns, err = p.signIns(ctx, who); err != nil {
		return out, err
	}
	if out.Attachments, err = p.srv.attachments.OfPerson(ctx, id); err != nil {
		return out, err
	}
	if out.Delegations, err = p.workload.ListNamed(ctx, workload.Of{Person: id}); err != nil {
		return out, err
	}
	keys, err := p.srv.gatewayKeys.List(ctx)
	if err != nil {
		return out, err
	}
	for _, k := range keys {
		if k.Owner.Person == id {
			out.GatewayKeys = append(out.GatewayKeys, k)
		}
	}
	out.Keys, err = p.withdrawal.Outstanding(ctx, withdrawal.Target{Kind: revocation.Person, ID: string(id)})
	return out, err
}

func portraitRoles(x explained) (out []web.PortraitRole) {
	for _, r := range x.Roles {
		role := web.PortraitRole{ARN: r.Role, Name: r.Role}
		if a, err := arn.ParseRole(r.Role); err == nil {
			role.Name = a.Name
		}
		for _, why := range r.Reasons {
			role.Reasons = append(role.Reasons, web.PortraitReason{Text: why.Explanation, TakenAwayBy: why.TakenAwayBy, Since: why.Since})
		}
		out = append(out, role)
	}
	return out
}

func (p peoplePages) signIns(ctx context.Context, who subject) (out []web.SignIn, err error) {
	open, err := p.openSessions(ctx, who)
	for _, l := range open {
		out = append(out, web.SignIn{ID: l.ID, IdP: l.IdP, Started: l.Started, Expires: l.Expires, Roles: l.Roles})
	}
	return out, err
}

// SetActive switches a person on or off, as carnet people activate and deactivate do.
func (p peoplePages) SetActive(ctx context.Context, id identity.PersonID, on bool) (uint64, error) {
	if on {
		return 0, p.db.Atomic(ctx, func(ctx context.Context) error { return p.setActive(ctx, id, true) })
	}
	result, err := p.withdrawal.RevokeWith(ctx, withdrawal.Target{Kind: revocation.Person, ID: string(id)}, func(ctx context.Context) error { return p.setActive(ctx, id, false) })
	return result.Epoch, err
}

// setActive does it with its record, in the transaction that ctx carries.
func (s *state) setActive(ctx context.Context, id identity.PersonID, on bool) error {
	action := "person.deactivate"
	if on {
		action = "person.activate"
	}
	if err := s.directory.SetActive(ctx, id, on); err != nil {
		return err
	}
	return s.trail.Record(ctx, event.Event{Action: action, Target: string(id)})
}

// Applied gives the live servers, and whether all have applied an epoch.
func (p peoplePages) Applied(ctx context.Context, epoch uint64) ([]revocation.View, bool, error) {
	return p.withdrawal.Applied(ctx, epoch)
}

// ownSignIns are a person's own login sessions, and the keys that work as them.
type ownSignIns struct{ peoplePages }

// Own gives the open ones, newest first.
func (o ownSignIns) Own(ctx context.Context, l login.LoginSession) ([]web.SignIn, error) {
	if l.Person.ID == "" {
		return nil, nil
	}
	one, err := o.directory.People.Person(ctx, l.Person.ID)
	if err != nil {
		return nil, err
	}
	return o.signIns(ctx, aPerson(one))
}

// OwnKeys gives the keys of AWS that are out in the person's name.
func (o ownSignIns) OwnKeys(ctx context.Context, l login.LoginSession) ([]withdrawal.Key, error) {
	if l.Person.ID == "" {
		return nil, nil
	}
	return o.withdrawal.Outstanding(ctx, withdrawal.Target{Kind: revocation.Person, ID: string(l.Person.ID)})
}

// EndOwn ends one of the person's own; of another's it says what it says of none.
func (o ownSignIns) EndOwn(ctx context.Context, l login.LoginSession, id string) error {
	own, err := o.Own(ctx, l)
	if err != nil {
		return err
	}
	for _, s := range own {
		if s.ID == id {
			_, _, err := o.Revoke(ctx, revocation.LoginSession, id)
			return err
		}
	}
	return fault.Coded(fault.NotFound, "sign-in.unknown", "You have no such sign-in any more").WithMend("load the list anew")
}

// OwnGatewayKeys gives the keys that work as the person and stand.
func (o ownSignIns) OwnGatewayKeys(_ context.Context, l login.LoginSession) ([]gatewaykeys.Listed, error) {
	return o.srv.gatewayKeys.OfPerson(l.Person.ID), nil
}

// RevokeOwnGatewayKey revokes one of the person's own; of another's it says what it
// says of none.
func (o ownSignIns) RevokeOwnGatewayKey(ctx context.Context, l login.LoginSession, id identity.GatewayKeyID) error {
	if !slices.ContainsFunc(o.srv.gatewayKeys.OfPerson(l.Person.ID), func(k gatewaykeys.Listed) bool { return k.ID == id }) {
		return fault.Coded(fault.NotFound, "gateway-key.unknown", "You have no such gateway key any more").WithMend("load the page anew")
	}
	_, _, err := o.Revoke(ctx, revocation.GatewayKey, string(id))
	return err
}

func (srv *Server) peoplePages() peoplePages { return peoplePages{revoking{srv.state}, srv} }
