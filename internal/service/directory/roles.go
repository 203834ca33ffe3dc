package directory

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
)

// HeldMapping is a mapping and the groups that lead to it, innermost first;
// empty for a subject's own.
type HeldMapping struct {
	Mapping
	Through []Group
}

// Held is one role that a subject holds, with every reason for it.
type Held struct {
	Role    arn.Role
	Sources []HeldMapping
}

// EffectiveRoles gives what a person or service principal holds, ordered by
// ARN: their own roles and those of every group around them. A subject that
// is unknown or switched off holds nothing.
func (d *Directory) EffectiveRoles(ctx context.Context, subject string) ([]Held, error) {
	mappings, err := d.Mappings.Held(ctx, subject)
	if err != nil {
		return nil, err
	}
	byRole := map[arn.Role]*Held{}
	var held []*Held
	for _, m := range mappings {
		h := byRole[m.Role]
		if h == nil {
			h = &Held{Role: m.Role}
			byRole[m.Role], held = h, append(held, h)
		}
		h.Sources = append(h.Sources, m)
	}
	slices.SortFunc(held, func(a, b *Held) int { return strings.Compare(a.Role.String(), b.Role.String()) })
	out := make([]Held, len(held))
	for i, h := range held {
		out[i] = *h
	}
	return out, nil
}

// Explain says where the right comes from, in one sentence.
func (h HeldMapping) Explain() string {
	var who string
	switch h.Origin {
	case FromSAML:
		who = "the last SAML sign-in through " + string(h.IdP)
	case FromOIDC:
		who = "the last OpenID Connect sign-in through " + string(h.IdP)
	case FromSCIM:
		who = "provisioning (SCIM) by " + string(h.IdP)
	default:
		who = "an administrator"
	}
	if len(h.Through) == 0 {
		return "given by " + who
	}
	return fmt.Sprintf("through %s, given by %s", path(h.Through), who)
}

// TakenAwayBy says what would end this reason.
func (h HeldMapping) TakenAwayBy() string {
	var ends string
	switch h.Origin {
	case FromSAML, FromOIDC:
		ends = "a sign-in through " + string(h.IdP) + " that doesn't bring the role"
	case FromSCIM:
		ends = "the provisioning system of " + string(h.IdP) + " taking it away"
	default:
		ends = "an administrator taking it away"
	}
	if len(h.Through) == 0 {
		return ends
	}
	return "leaving " + path(h.Through) + ", or " + ends
}

func path(groups []Group) string {
	names := make([]string, len(groups))
	for i, g := range groups {
		names[i] = g.Name
	}
	if len(names) == 1 {
		return "group " + names[0]
	}
	return "groups " + strings.Join(names, " in ")
}

// SyncRoles lets one assertion replace a person's own roles, within what the
// identity provider may say (design 4.3). Absent roles are no roles.
func (d *Directory) SyncRoles(ctx context.Context, s Sync) (Change, error) {
	if s.Within == nil || s.Origin != FromSAML && s.Origin != FromOIDC {
		return Change{}, fault.New(fault.Internal, "a role sync without its bounds")
	}
	s.Now = d.Now()
	s.Roles = slices.DeleteFunc(slices.Clone(s.Roles), func(r arn.Role) bool { return r.IsZero() || !s.Within(r) })
	return d.Mappings.Sync(ctx, s)
}

// MapRole gives a subject a role on an administrator's or provisioning
// system's word.
func (d *Directory) MapRole(ctx context.Context, subject string, role arn.Role, origin Origin, idp identity.IdPID) error {
	if role.IsZero() || (origin == FromAdmin) != (idp == "") || origin != FromAdmin && origin != FromSCIM {
		return fault.New(fault.Invalid, "a role mapping needs a role, and an identity provider exactly when it isn't an administrator's")
	}
	return d.Mappings.Map(ctx, Mapping{Subject: subject, Role: role, Origin: origin, IdP: idp, Set: d.Now()})
}

// NewGroup makes a group. Conflict when the name is taken, letter case aside.
func (d *Directory) NewGroup(ctx context.Context, name, externalID string) (Group, error) {
	g := Group{ID: identity.NewGroupID(), Name: name, ExternalID: externalID, Created: d.Now()}
	if err := checkName("group name", name); err != nil {
		return Group{}, err
	}
	return g, d.Groups.PutGroup(ctx, g)
}

// NewServicePrincipal makes a machine identity. Conflict when the name is taken.
func (d *Directory) NewServicePrincipal(ctx context.Context, name, externalID string) (ServicePrincipal, error) {
	s := ServicePrincipal{ID: identity.NewServicePrincipalID(), Name: name, ExternalID: externalID, Active: true, Created: d.Now()}
	if err := checkName("service principal name", name); err != nil {
		return ServicePrincipal{}, err
	}
	return s, d.ServicePrincipals.PutServicePrincipal(ctx, s)
}

// SetActive switches a person on or off. Who is off can't sign in and holds
// nothing; the caller also revokes what is out.
func (d *Directory) SetActive(ctx context.Context, id identity.PersonID, active bool) error {
	return d.People.Change(ctx, id, func(p *Person) error { p.Active = active; return nil })
}

// SetServicePrincipalActive switches a machine identity on or off. One that is
// off proves nothing and holds nothing; the caller also revokes what is out.
func (d *Directory) SetServicePrincipalActive(ctx context.Context, id identity.ServicePrincipalID, active bool) error {
	return d.ServicePrincipals.ChangeServicePrincipal(ctx, id, func(p *ServicePrincipal) { p.Active = active })
}

// SetAdministrator makes or unmakes an administrator: on another
// administrator's word alone.
func (d *Directory) SetAdministrator(ctx context.Context, id identity.PersonID, administrator bool) error {
	return d.People.Change(ctx, id, func(p *Person) error { p.Administrator = administrator; return nil })
}

// SetExternalID records the provisioning system's id for a person.
func (d *Directory) SetExternalID(ctx context.Context, id identity.PersonID, externalID string) error {
	return d.People.Change(ctx, id, func(p *Person) error { p.ExternalID = externalID; return nil })
}

// mostAround bounds the groups around one subject.
const mostAround = 10_000

// GroupsAround gives every group that a subject is in, through others too.
func (d *Directory) GroupsAround(ctx context.Context, subject string) ([]identity.GroupID, error) {
	var around []identity.GroupID
	for next := []string{subject}; len(next) > 0; {
		groups, err := d.Lists.MemberOf(ctx, next[0])
		if err != nil {
			return nil, err
		}
		next = next[1:]
		for _, g := range groups {
			if !slices.Contains(around, g.ID) && len(around) < mostAround {
				around, next = append(around, g.ID), append(next, string(g.ID))
			}
		}
	}
	return around, nil
}
