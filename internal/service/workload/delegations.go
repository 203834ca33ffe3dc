package workload

import (
	"context"
	"fmt"
	"slices"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/revocation"
)

// NewDelegation is what a person says when they delegate.
type NewDelegation struct {
	// Role is one of theirs: its ARN, its name, or account/name, where that
	// names one of them alone.
	Role string
	// ServicePrincipal is who shall work as them: its id or name. Or Cluster is
	// where they may be attached while they are away: its id or name.
	ServicePrincipal string
	Cluster          string
	Label            string
	// Lifetime is DefaultDelegation where it is 0.
	Lifetime time.Duration
}

// Delegate lets a service principal work as the person of a login session in a
// role that they hold there, or lets them be attached to a cluster in it. Nobody else can delegate for them. Faults: Denied,
// Invalid, NotFound, Conflict (too many).
func (s *Service) Delegate(ctx context.Context, l login.LoginSession, n NewDelegation) (Listed, error) {
	if l.Person.ID == "" {
		return Listed{}, fault.Coded(fault.Denied, "delegation.nobody", "a login session by a set-up link is nobody's: it can't delegate").
			WithMend("sign in at an identity provider")
	}
	if n.Lifetime == 0 {
		n.Lifetime = DefaultDelegation
	}
	switch {
	case !readable(n.Label, MostLabel):
		return Listed{}, fault.Coded(fault.Invalid, "delegation.label", fmt.Sprintf("a delegation needs a label of 1 to %d bytes that can be seen", MostLabel)).
			WithMend("say what it is for")
	case n.Lifetime < time.Minute || n.Lifetime > LongestDelegation:
		return Listed{}, fault.Coded(fault.Invalid, "delegation.lifetime", "a delegation lives for a minute to 365 days")
	}
	held, err := l.Role(n.Role)
	if err != nil {
		return Listed{}, err
	}
	if held.State == login.RoleFailed {
		return Listed{}, fault.Coded(fault.Denied, "role.failed", fmt.Sprintf("your sign-in did not get role %s, so it can't be delegated", held.Role)).
			WithMend("My access says why it could not be had")
	}
	role := held.Role
	to, name, err := s.delegate(ctx, n, role)
	if err != nil {
		return Listed{}, err
	}
	epoch, err := s.Feed.Epoch()
	if err != nil {
		return Listed{}, err
	}
	now := s.now()
	d := Delegation{ID: identity.NewDelegationID(), Person: l.Person.ID, IdP: l.Person.IdP, Role: role, ServicePrincipal: to.ServicePrincipal, Cluster: to.Cluster, Label: n.Label,
		Created: now, Expires: now.Add(n.Lifetime).Truncate(time.Second), Epoch: epoch,
		Evidence: Evidence{LoginSession: l.ID, UserName: l.Person.UserName, SignedIn: l.Started.UTC().Truncate(time.Millisecond)}}
	// What would not work at its first use is refused now, with the reason.
	if err := s.takes(d.Cluster, role); err != nil {
		return Listed{}, err
	}
	if _, err := s.serves(ctx, d); err != nil {
		return Listed{}, err
	}
	e := d.event("delegation.add")
	e.LoginSession = l.ID
	if err := s.recorded(ctx, e, func(ctx context.Context) error { return s.Delegations.AddDelegation(ctx, d, MostDelegations) }); err != nil {
		return Listed{}, err
	}
	return s.listed(d, name), nil
}

// takes holds a role to its account: it takes our tokens, or on a cluster that uses
// Carnet's own AWS identity it is taken by that.
func (s *Service) takes(of identity.ClusterID, role arn.Role) error {
	if of != "" && s.Clusters != nil {
		a := s.Accounts[role.Account]
		if c, ok := s.Clusters.Cluster(of); ok && c.Meta && a.AssumeRole && a.Partition == role.Partition {
			return nil
		}
	}
	return s.takesWebIdentity(role)
}

// delegate finds whom a delegation is made to, with their name.
func (s *Service) delegate(ctx context.Context, n NewDelegation, role arn.Role) (to Principal, name string, err error) {
	if n.Cluster == "" {
		sp, err := s.findMachine(ctx, n.ServicePrincipal)
		return Principal{ServicePrincipal: sp.ID}, sp.Name, err
	}
	if n.ServicePrincipal != "" {
		return to, "", fault.Coded(fault.Invalid, "delegation.to", "a delegation is to a service principal or to a cluster, not to both")
	}
	if s.Clusters == nil {
		return to, "", fault.Coded(fault.Unsupported, "delegation.cluster", "this installation has no clusters")
	}
	c, err := s.Clusters.Find(n.Cluster)
	if err == nil && !s.Clusters.Allows(c, role) {
		err = fault.Coded(fault.Denied, "delegation.cluster", fmt.Sprintf("role %s may not be used on cluster %s", role, c.Name)).WithMend("choose another role, or ask who manages the cluster")
	}
	return Principal{Cluster: c.ID}, c.Name, err
}

// event is the record of something that is done with a delegation.
func (d Delegation) event(action string) event.Event {
	e := event.Event{Action: action, Outcome: event.Done, Target: string(d.ID), Role: d.Role.String(), Account: d.Role.Account, IdP: d.IdP,
		Detail: map[string]string{"label": d.Label, "person": string(d.Person), "user_name": d.Evidence.UserName, "expires": d.Expires.Format(time.RFC3339)}}
	if d.Cluster != "" {
		e.Detail["cluster_id"] = string(d.Cluster)
	} else {
		e.Detail["service_principal"] = string(d.ServicePrincipal)
	}
	return e
}

// findMachine finds a service principal by id, or by name, letter case aside.
func (s *Service) findMachine(ctx context.Context, text string) (directory.ServicePrincipal, error) {
	all, err := s.Directory.ServicePrincipals(ctx)
	if err != nil {
		return directory.ServicePrincipal{}, err
	}
	for _, p := range all {
		if p.Active && text != "" && (string(p.ID) == text || directory.Fold(p.Name) == directory.Fold(text)) {
			return p, nil
		}
	}
	return directory.ServicePrincipal{}, fault.Coded(fault.NotFound, "delegation.service-principal", fmt.Sprintf("no service principal is called %q", clip(text))).
		WithMend("ask an administrator for its id (spn_…)")
}

// List gives delegations, ended ones too, by time of making.
func (s *Service) List(ctx context.Context, of Of) ([]Delegation, error) {
	return s.Delegations.Delegations(ctx, of)
}

// Stands says why a delegation does not stand by itself: revoked, or over. nil: it
// does, as far as it itself says; Behind asks everything.
func (d Delegation) Stands(now time.Time) error {
	switch {
	case !d.Revoked.IsZero():
		return fault.Coded(fault.Revoked, CodeGrant, fmt.Sprintf("the delegation %s was revoked", d.ID))
	case !now.Before(d.Expires):
		return fault.Coded(fault.Expired, CodeGrant, fmt.Sprintf("the delegation %s ended at %s", d.ID, d.Expires.Format(time.RFC3339)))
	}
	return nil
}

// State is what has become of a delegation.
type State string

// The states.
const (
	Active  State = "active"
	Revoked State = "revoked"
	Ended   State = "ended"
)

// Listed is a delegation as it is shown.
type Listed struct {
	Delegation
	State State
	// MachineName is the name of its service principal, ClusterName that of its
	// cluster; empty for one that is gone.
	MachineName string
	ClusterName string
}

func (s *Service) listed(d Delegation, name string) Listed {
	l := Listed{Delegation: d, State: Active}
	if d.Cluster != "" {
		l.ClusterName = name
	} else {
		l.MachineName = name
	}
	switch err := d.Stands(s.Now()); {
	case fault.KindOf(err) == fault.Expired && err != nil:
		l.State = Ended
	case err != nil:
		l.State = Revoked
	default:
		if err := s.unrevoked(d); err != nil && fault.KindOf(err) == fault.Revoked {
			l.State = Revoked
		}
	}
	return l
}

// ListNamed is List with names.
func (s *Service) ListNamed(ctx context.Context, of Of) ([]Listed, error) {
	all, err := s.List(ctx, of)
	if err != nil {
		return nil, err
	}
	machines, err := s.Directory.ServicePrincipals(ctx)
	if err != nil {
		return nil, err
	}
	names := map[identity.ServicePrincipalID]string{}
	for _, m := range machines {
		names[m.ID] = m.Name
	}
	out := make([]Listed, len(all))
	for i, d := range all {
		name := names[d.ServicePrincipal]
		if d.Cluster != "" && s.Clusters != nil {
			c, _ := s.Clusters.Cluster(d.Cluster)
			name = c.Name
		}
		out[i] = s.listed(d, name)
	}
	return out, nil
}

// Own gives the delegations of the person of a login session.
func (s *Service) Own(ctx context.Context, l login.LoginSession) ([]Listed, error) {
	if l.Person.ID == "" {
		return nil, nil
	}
	return s.ListNamed(ctx, Of{Person: l.Person.ID})
}

// EndOwn revokes a delegation of the person of a login session, and what was issued
// by it, in one transaction. Faults: NotFound, also for one of somebody else; none
// where it was revoked before.
func (s *Service) EndOwn(ctx context.Context, l login.LoginSession, id identity.DelegationID) error {
	d, err := s.Delegations.Delegation(ctx, id)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return err
	}
	if err != nil || l.Person.ID == "" || d.Person != l.Person.ID {
		return fault.Coded(fault.NotFound, "delegation.unknown", "you have no such delegation").WithMend("list them: carnet delegation list")
	}
	return s.end(ctx, d)
}

// End revokes anybody's delegation, as EndOwn does: an administrator's word. Fault:
// NotFound.
func (s *Service) End(ctx context.Context, id identity.DelegationID) error {
	d, err := s.Delegations.Delegation(ctx, id)
	if err != nil {
		return err
	}
	return s.end(ctx, d)
}

func (s *Service) end(ctx context.Context, d Delegation) error {
	return s.recorded(ctx, d.event("delegation.revoke"), func(ctx context.Context) error {
		if _, err := s.Mark(ctx, d.ID); err != nil {
			return err
		}
		_, err := s.Feed.Revoke(ctx, revocation.Delegation, string(d.ID))
		return err
	})
}

// Delegation gives one, ended or not; NotFound.
func (s *Service) Delegation(ctx context.Context, id identity.DelegationID) (Delegation, error) {
	return s.Delegations.Delegation(ctx, id)
}

// Mark notes that a delegation was revoked, in the transaction that ctx carries;
// false when it was before. The caller tells the feed.
func (s *Service) Mark(ctx context.Context, id identity.DelegationID) (bool, error) {
	return s.Delegations.EndDelegation(ctx, id, s.now())
}

// EndAll revokes all delegations that are chosen and stand, in the transaction
// that ctx carries: with a person or an identity provider that is taken out, or
// everything. The feed's word of these reaches what was issued.
func (s *Service) EndAll(ctx context.Context, of Of) error {
	all, err := s.Delegations.Delegations(ctx, of)
	if err != nil {
		return err
	}
	for _, d := range all {
		if d.Stands(s.now()) != nil {
			continue
		}
		if err := s.endOne(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) endOne(ctx context.Context, d Delegation) error {
	if _, err := s.Delegations.EndDelegation(ctx, d.ID, s.now()); err != nil {
		return err
	}
	return s.Trail.Record(ctx, d.event("delegation.end"))
}

// Forget deletes the policies of a service principal and the delegations to it, in
// the transaction that ctx carries: it is being removed.
func (s *Service) Forget(ctx context.Context, id identity.ServicePrincipalID) error {
	return s.Policies.ForgetServicePrincipal(ctx, id)
}

// Tend marks delegations whose person was revoked, before the feed forgets that,
// and deletes those that ended long ago.
func (s *Service) Tend(ctx context.Context) error {
	all, err := s.Delegations.Delegations(ctx, Of{})
	if err != nil {
		return err
	}
	for _, d := range all {
		if d.Stands(s.now()) != nil {
			continue
		}
		err := s.unrevoked(d)
		if fault.KindOf(err) == fault.Revoked && err != nil {
			err = s.State.Atomic(ctx, func(ctx context.Context) error { return s.endOne(ctx, d) })
		}
		if err != nil {
			return err
		}
	}
	return s.Delegations.SweepDelegations(ctx, s.now().Add(-kept))
}

func (s *Service) unrevoked(d Delegation) error {
	on := [][2]string{{revocation.Person, string(d.Person)}, {revocation.Delegation, string(d.ID)}}
	if d.Cluster != "" {
		on = append(on, [2]string{revocation.Cluster, string(d.Cluster)})
	}
	return s.notRevoked(d.Epoch, on...)
}

// Behind gives a delegation that counts now: neither ended nor revoked, its person
// switched on and still entitled, its service principal switched on. Faults:
// Denied (CodeGrant) where not.
func (s *Service) Behind(ctx context.Context, id identity.DelegationID) (Delegation, directory.Person, error) {
	d, err := s.Delegations.Delegation(ctx, id)
	if err != nil {
		if fault.KindOf(err) == fault.NotFound {
			err = refused(fmt.Sprintf("there is no delegation %s", clip(string(id))))
		}
		return Delegation{}, directory.Person{}, err
	}
	if err := d.Stands(s.Now()); err != nil {
		return Delegation{}, directory.Person{}, denial(err)
	}
	if err := s.unrevoked(d); err != nil {
		return Delegation{}, directory.Person{}, denial(err)
	}
	p, err := s.serves(ctx, d)
	return d, p, err
}

// serves asks everything that a delegation rests on, but itself.
func (s *Service) serves(ctx context.Context, d Delegation) (directory.Person, error) {
	if err := s.place(ctx, d); err != nil {
		return directory.Person{}, err
	}
	p, err := s.person(ctx, d.Person, d.IdP)
	if err != nil {
		return p, err
	}
	sp, err := s.IdPs.Speaker(d.IdP)
	if err != nil {
		return p, denial(err)
	}
	if bound := sp.MayAssertRole(d.Role); bound != "" {
		return p, refused(string(bound))
	}
	if s.Entitled == nil {
		return p, refused("this installation can't ask whether a person who is away is still entitled")
	}
	return p, denial(s.Entitled.StillEntitled(ctx, d.Person, d.IdP, d.Role))
}

// place asks for whom, or where, a delegation is.
func (s *Service) place(ctx context.Context, d Delegation) error {
	if d.Cluster == "" {
		return s.machine(ctx, d.ServicePrincipal)
	}
	if s.Clusters == nil {
		return refused("this installation has no clusters")
	}
	c, ok := s.Clusters.Cluster(d.Cluster)
	if !ok {
		return refused("the cluster of the delegation is gone")
	}
	if !s.Clusters.Allows(c, d.Role) {
		return refused(fmt.Sprintf("role %s may not be used on cluster %s any more", d.Role, c.Name))
	}
	return nil
}

// denial makes every refusal one of the grant; what is away stays away.
func denial(err error) error {
	if err == nil {
		return nil
	}
	if k := fault.KindOf(err); slices.Contains([]fault.Kind{fault.Unavailable, fault.Internal}, k) {
		return err
	}
	return refused(fault.Of(err).Public).WithMend(fault.Of(err).Mend).WithCause(err)
}

// job gives the delegation under which a job asks, when the service principal that
// asks, or the cluster where it is asked for, is the one that may use it.
func (s *Service) job(ctx context.Context, who Principal) (Delegation, directory.Person, error) {
	d, p, err := s.Behind(ctx, who.Delegation)
	switch {
	case err != nil:
	case d.Cluster != "" && (d.Cluster != who.Cluster || who.ServicePrincipal != ""):
		return Delegation{}, directory.Person{}, refused("the delegation is for a cluster")
	case d.Cluster == "" && (who.ServicePrincipal == "" || d.ServicePrincipal != who.ServicePrincipal || who.Cluster != ""):
		return Delegation{}, directory.Person{}, refused("the delegation is not for this service principal")
	}
	return d, p, err
}
