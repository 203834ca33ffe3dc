package attachment

import (
	"context"
	"fmt"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/workload"
)

// ByLoginName attaches the person whose user name, at the identity provider that the
// cluster trusts for that, equals the account's name, letter for letter. They have to
// be signed in, or to have delegated to the cluster. Errors: Denied
// "attachment.login-names", "attachment.ground" and those of Begin.
func (s *Service) ByLoginName(ctx context.Context, n cluster.Node, p Place, metadataReachable bool) (Attachment, error) {
	epoch, err := s.Feed.Epoch()
	if err != nil {
		return Attachment{}, err
	}
	c, err := s.clusterOf(n)
	if err != nil {
		return Attachment{}, err
	}
	p.Node = n.ID
	if err := admits(c, p, metadataReachable); err != nil {
		return Attachment{}, err
	}
	if c.LoginNames == "" || p.Account == "" {
		return Attachment{}, fault.Coded(fault.Denied, "attachment.login-names", "on cluster "+c.Name+" the name of an account proves nobody").WithMend("attach with a code: carnet attach")
	}
	person, err := s.People.ByUserName(ctx, c.LoginNames, p.Account)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return Attachment{}, err
	}
	if err != nil || person.UserName != p.Account || !person.Active {
		return Attachment{}, fault.Coded(fault.Denied, "attachment.login-names", fmt.Sprintf("nobody who may sign in is called %q at the identity provider that the cluster trusts", fault.Clip(p.Account))).
			WithMend("attach with a code: carnet attach")
	}
	a := Attachment{Cluster: c.ID, Place: p, How: LoginNamed, Epoch: epoch}
	return s.attachAway(ctx, c, a, person, "", 0)
}

// attachAway attaches a person who is not here to say yes: their login session says
// it, or their delegation to the cluster.
func (s *Service) attachAway(ctx context.Context, c cluster.Cluster, a Attachment, person directory.Person, role string, life time.Duration) (Attachment, error) {
	a.ID, a.Person, a.IdP, a.Name = identity.NewAttachmentID(), person.ID, person.IdP, person.UserName
	l, err := s.Sessions.Latest(ctx, person.ID)
	switch {
	case err == nil:
		a.LoginSession, a.IdP, a.Name = l.ID, l.Person.IdP, l.Person.UserName
	case fault.KindOf(err) != fault.Unauthenticated:
		return Attachment{}, err
	}
	ends := l.Expires
	if err != nil {
		d, err := s.delegated(ctx, c, person, role)
		if err != nil {
			return Attachment{}, err
		}
		a.Delegation, a.IdP, ends = d.ID, d.IdP, d.Expires
	}
	if role != "" {
		st, err := s.usable(ctx, &a, c)
		if err != nil {
			return Attachment{}, err
		}
		if a.Role, err = s.choose(&a, st.Held, role); err != nil {
			return Attachment{}, err
		}
	}
	return s.attach(ctx, c, a, life, ends, nil)
}

// delegated finds a delegation of the person to the cluster that counts now: of the
// role that is named, or the one that ends last.
func (s *Service) delegated(ctx context.Context, c cluster.Cluster, person directory.Person, role string) (best workload.Delegation, err error) {
	all, err := s.Delegations.ListNamed(ctx, workload.Of{Person: person.ID})
	if err != nil {
		return best, err
	}
	for _, d := range all {
		if d.Cluster != c.ID || d.State != workload.Active || !s.Rules.Allows(c, d.Role) || role != "" && !s.names(role, d.Role) || !d.Expires.After(best.Expires) {
			continue
		}
		_, _, err := s.Delegations.Behind(ctx, d.ID)
		if k := fault.KindOf(err); err != nil && (k == fault.Unavailable || k == fault.Internal) {
			return best, err
		}
		if err == nil {
			best = d.Delegation
		}
	}
	if best.ID == "" {
		return best, fault.Coded(fault.Denied, CodeGround, person.UserName+" is not signed in, and has no delegation to cluster "+c.Name).
			WithMend("they sign in, or delegate: carnet delegation add ROLE --cluster " + c.Name + " --label TEXT")
	}
	return best, nil
}

// OnBehalf attaches a person at the word of an orchestrator that the cluster admits.
// The person has to be signed in, or to have delegated to the cluster. Errors: Denied
// "attachment.orchestrator", "attachment.ground", "attachment.metadata"; NotFound;
// Conflict "attachment.uid".
func (s *Service) OnBehalf(ctx context.Context, by identity.ServicePrincipalID, of string, n NewOnBehalf) (Attachment, error) {
	epoch, err := s.Feed.Epoch()
	if err != nil {
		return Attachment{}, err
	}
	c, err := s.Clusters.Find(of)
	if err == nil && !s.Rules.MayOrchestrate(c, by) || fault.KindOf(err) == fault.NotFound && err != nil {
		// Whoever may not is not told what clusters there are.
		return Attachment{}, fault.Coded(fault.Denied, "attachment.orchestrator", "this service principal attaches nobody on such a cluster").
			WithMend("who manages the cluster admits it: carnet cluster set CLUSTER --orchestrators NAME")
	}
	if err != nil {
		return Attachment{}, err
	}
	node, err := s.Clusters.FindNode(c.ID, n.Node)
	if err != nil {
		return Attachment{}, err
	}
	p := Place{Node: node.ID, UID: n.UID, Scope: n.Scope, ScopeID: n.ScopeID, Account: n.Account}
	reachable, err := s.metadataReachable(ctx, node)
	if err != nil {
		return Attachment{}, err
	}
	if err := admits(c, p, reachable); err != nil {
		return Attachment{}, err
	}
	person, err := s.find(ctx, n.Person)
	if err != nil {
		return Attachment{}, err
	}
	if n.Lifetime != 0 && n.Lifetime < time.Minute {
		return Attachment{}, fault.Coded(fault.Invalid, "attachment.lifetime", "an attachment lives for a minute at least")
	}
	return s.attachAway(ctx, c, Attachment{Cluster: c.ID, Place: p, How: OnBehalf, By: by, Epoch: epoch}, person, n.Role, n.Lifetime)
}

// metadataReachable is the node's last word; one whose agent has not said yet how it
// is may reach it.
func (s *Service) metadataReachable(ctx context.Context, n cluster.Node) (bool, error) {
	all, err := s.Rules.ListNodes(ctx, n.Cluster)
	if err != nil {
		return true, err
	}
	for _, x := range all {
		if x.ID == n.ID {
			return len(x.Health.Report.Faces) == 0 || x.Health.Report.MetadataReachable, nil
		}
	}
	return true, nil
}

// find gives the person of an id, or of a user name that one person alone has.
func (s *Service) find(ctx context.Context, text string) (directory.Person, error) {
	unknown := fault.Coded(fault.NotFound, "person.unknown", fmt.Sprintf("nobody is called %q", fault.Clip(text))).WithMend("give the user name, as carnet whoami shows it, or the person's id")
	if strings.HasPrefix(text, "psn_") {
		p, err := s.People.Person(ctx, identity.PersonID(text))
		if fault.KindOf(err) == fault.NotFound && err != nil || err == nil && !p.Active {
			return p, unknown
		}
		return p, err
	}
	all, err := s.People.Named(ctx, text)
	if err != nil {
		return directory.Person{}, err
	}
	var found []directory.Person
	for _, p := range all {
		if p.Active {
			found = append(found, p)
		}
	}
	switch len(found) {
	case 0:
		return directory.Person{}, unknown
	case 1:
		return found[0], nil
	}
	return directory.Person{}, fault.Coded(fault.Conflict, "person.ambiguous", fmt.Sprintf("%d people are called %q, at several identity providers", len(found), fault.Clip(text))).
		WithMend("give the person's id: psn_…")
}
