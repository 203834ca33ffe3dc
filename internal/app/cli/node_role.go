package cli

import (
	"context"
	"fmt"
	"strings"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/node/localdoc"
)

// nodeRoles are the roles of an attachment, for programs.
type nodeRoles struct {
	Current    string          `json:"current_role"`
	Attachment string          `json:"attachment"`
	Roles      []localdoc.Role `json:"roles"`
}

// nodeRoleList shows the roles that may be used in the attachment. It passes on the
// error with which attached ended.
func (r *run) nodeRoleList(ctx context.Context, n *onNode, err error) error {
	if err != nil {
		return err
	}
	roles, err := n.roles(ctx)
	if err != nil {
		return r.onAgain(err)
	}
	return r.say(nodeRoles{currentOf(roles), n.status.Attachment.ID, present(roles)}, nodeRoleTable(roles))
}

func (r *run) nodeRoleCurrent(ctx context.Context, n *onNode, err error) error {
	if err != nil {
		return err
	}
	roles, err := n.roles(ctx)
	if err != nil {
		return r.onAgain(err)
	}
	role := currentOf(roles)
	switch {
	case role != "":
	case len(roles) == 0:
		return fault.Coded(fault.Denied, "cli.no-role", "you have no role that may be used on cluster "+n.status.Cluster).
			WithMend("ask your administrator")
	default:
		f := fault.Coded(fault.Conflict, "cli.no-role-chosen",
			fmt.Sprintf("%d roles may be used here and none is chosen:\n%s", len(roles), nodeListing(roles))).
			WithMend("choose one for this login")
		return then(f, "carnet role assume NAME")
	}
	return r.say(struct {
		Role string `json:"current_role"`
	}{role}, role)
}

// nodeRoleAssume makes a role the current one of the attachment. Which one a text
// names, and whether it may be used, is the server's word.
func (r *run) nodeRoleAssume(ctx context.Context, n *onNode, err error, wanted string) error {
	if err != nil {
		return err
	}
	roles, err := n.roles(ctx)
	if err != nil {
		return r.onAgain(err)
	}
	role, err := findNodeRole(wanted, roles)
	if err != nil {
		return err
	}
	if role.Trouble != "" {
		return fault.Coded(fault.Denied, "cli.role-trouble", role.ARN+" can't be had: "+role.Trouble)
	}
	if roles, err = n.agent.SetRole(ctx, role.ARN); err != nil {
		return r.onAgain(err)
	}
	if currentOf(roles) != role.ARN {
		return fault.Coded(fault.Unavailable, "cli.role-not-set", "the agent did not make "+role.ARN+" the current role").WithMend("try again")
	}
	return r.say(struct {
		Role string `json:"current_role"`
	}{role.ARN}, "The current role of this login is "+role.ARN+".\n")
}

// findNodeRole gives the one role that a text names: an ARN, a name, or ACCOUNT/NAME.
func findNodeRole(wanted string, roles []localdoc.Role) (localdoc.Role, error) {
	var found []localdoc.Role
	for _, x := range roles {
		named, _ := arn.ParseRole(x.ARN) // checked when they came
		switch wanted {
		case x.ARN, named.Name, named.Account + "/" + named.Name:
			found = append(found, x)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return localdoc.Role{}, fault.Coded(fault.Conflict, "cli.ambiguous-role",
			fmt.Sprintf("%d of the roles here have the name %s:\n%s", len(found), wanted, nodeListing(found))).WithMend("give the ARN, or ACCOUNT/NAME")
	case len(roles) == 0:
		return localdoc.Role{}, fault.Coded(fault.NotFound, "cli.unheld-role", "no role of yours may be used here").WithMend("ask your administrator")
	}
	return localdoc.Role{}, fault.Coded(fault.NotFound, "cli.unheld-role", "you have no role "+wanted+" here; you have:\n"+nodeListing(roles)).
		WithMend("name one of these, or ask your administrator for the other")
}

func nodeListing(roles []localdoc.Role) string {
	var lines []string
	for _, x := range roles {
		lines = append(lines, "  "+x.ARN)
	}
	return strings.Join(lines, "\n")
}
