package cluster

import (
	"slices"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/ascii"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
)

// MayAttach says why a person may not work on a cluster; nil: they may. groups are
// all around them (directory.GroupsAround). On a standard cluster it is the assigned
// person alone: to manage it, to have made it or to administer Carnet gives nobody a
// place there. Ask it again whenever something is handed out: who is reassigned, or
// taken off the list, has nothing there from then on.
func (s *Service) MayAttach(c Cluster, person identity.PersonID, groups []identity.GroupID) error {
	switch {
	case person == "":
		return fault.Coded(fault.Denied, "cluster.nobody", "nobody is signed in, so nobody can work on cluster "+c.Name)
	case c.Kind == Standard && c.Assigned == "":
		return fault.Coded(fault.Denied, "cluster.unassigned", "cluster "+c.Name+" is for one person, and nobody is assigned to it").
			WithMend("who manages it assigns one: carnet cluster assign " + c.Name + " PERSON")
	case c.Kind == Standard && c.Assigned != person:
		return fault.Coded(fault.Denied, "cluster.assigned", "cluster "+c.Name+" is for one person, and that is somebody else").
			WithMend("use another cluster, or have it reassigned: carnet cluster assign " + c.Name + " PERSON")
	case c.Kind == Standard:
		return nil
	case c.Kind != HighConcurrency:
		return fault.Coded(fault.Denied, "cluster.kind", "cluster "+c.Name+" is of a kind that this release does not know")
	case len(c.People) == 0 && len(c.Groups) == 0, slices.Contains(c.People, person),
		slices.ContainsFunc(groups, func(g identity.GroupID) bool { return slices.Contains(c.Groups, g) }):
		return nil
	}
	return fault.Coded(fault.Denied, "cluster.not-listed", "cluster "+c.Name+" is not for everybody, and you are not on its list").
		WithMend("ask who manages it: carnet cluster set " + c.Name + " --people PERSON")
}

// Allows reports whether a role may be used on a cluster by those who hold it.
func (s *Service) Allows(c Cluster, role arn.Role) bool {
	if role.IsZero() {
		return false
	}
	name := role.String()
	return len(c.Roles) == 0 || slices.ContainsFunc(c.Roles, func(p string) bool { return ascii.Glob(p, name) })
}

// MayOrchestrate reports whether a service principal may attach people.
func (s *Service) MayOrchestrate(c Cluster, spn identity.ServicePrincipalID) bool {
	return spn != "" && slices.Contains(c.Orchestrators, spn)
}

// MayManage reports whether a person manages a cluster, beside administrators: they
// may reassign it, end its attachments and make join tokens.
func (s *Service) MayManage(c Cluster, person identity.PersonID) bool {
	return person != "" && slices.Contains(c.Managers, person)
}
