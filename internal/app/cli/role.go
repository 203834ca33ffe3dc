package cli

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/api/client"
)

func (r *run) role() *cobra.Command {
	c := &cobra.Command{
		Use:   "role",
		Short: "List your roles and choose the current one",
		Long:  "In a login that is attached (carnet attach) the roles are those that may be used there, and the current one belongs to the attachment. Elsewhere, and with --profile, they are those of the CLI profile.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usage("role needs one of list, current, assume")
		},
	}
	c.AddCommand(r.roleList(), r.roleCurrent(), r.roleAssume())
	return c
}

// withRoles calls do with the live profile and the person's roles.
func (r *run) withRoles(ctx context.Context, do func(*signedIn, []client.Role) error) error {
	s, err := r.signedIn()
	if err != nil {
		return err
	}
	defer s.close()
	roles, err := s.api.Roles(ctx)
	if err != nil {
		return r.again(s, err)
	}
	return do(s, roles)
}

func (r *run) roleList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List your roles, those that can't be had included",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if n, err := r.attached(cmd.Context()); n != nil || err != nil {
				return r.nodeRoleList(cmd.Context(), n, err)
			}
			return r.withRoles(cmd.Context(), func(s *signedIn, roles []client.Role) error {
				text := r.table(s.profile.Role, roles)
				if len(roles) == 0 {
					text = r.noRole(cmd.Context(), s)
				}
				return r.say(struct {
					Current string        `json:"current_role"`
					Roles   []client.Role `json:"roles"`
				}{s.profile.Role, present(roles)}, text)
			})
		},
	}
}

func (r *run) roleCurrent() *cobra.Command {
	return &cobra.Command{
		Use:   "current",
		Short: "Show the role that commands use when none is named",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if n, err := r.attached(cmd.Context()); n != nil || err != nil {
				return r.nodeRoleCurrent(cmd.Context(), n, err)
			}
			return r.withRoles(cmd.Context(), func(s *signedIn, roles []client.Role) error {
				role, err := r.current(s, roles)
				if err != nil {
					return err
				}
				return r.say(struct {
					Role string `json:"current_role"`
				}{role}, role)
			})
		},
	}
}

func (r *run) roleAssume() *cobra.Command {
	return &cobra.Command{
		Use:     "assume ROLE",
		Short:   "Make a role the current one of this attachment, or of this CLI profile",
		Long:    "ROLE is the ARN of a role that you hold, its name where only one of your roles has it, or ACCOUNT/NAME.",
		Example: "  carnet role assume analyst",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if n, err := r.attached(cmd.Context()); n != nil || err != nil {
				return r.nodeRoleAssume(cmd.Context(), n, err, args[0])
			}
			return r.withRoles(cmd.Context(), func(s *signedIn, roles []client.Role) error {
				role, err := r.find(args[0], roles)
				if err != nil {
					return err
				}
				if !role.CanBeHad() {
					return r.notReady(s, role)
				}
				s.profile.Role = role.ARN
				if err := s.save(); err != nil {
					return err
				}
				return r.say(struct {
					Role string `json:"current_role"`
				}{role.ARN}, "Your current role is "+role.ARN+".\n")
			})
		},
	}
}

// current gives the ARN of the role to use when none is named: the chosen one,
// else the only one. Several and none chosen is an error that lists them.
func (r *run) current(s *signedIn, roles []client.Role) (string, error) {
	switch {
	case s.profile.Role != "" && holds(roles, s.profile.Role):
		return s.profile.Role, nil
	case s.profile.Role != "":
		return "", then(r.unheld("your current role "+s.profile.Role+" is no longer yours", roles), r.command("role assume NAME"))
	case len(roles) == 0:
		return "", fault.Coded(fault.Denied, "cli.no-role", "you hold no role").
			WithMend("ask your administrator: your identity provider names none that this server accepts")
	case len(roles) == 1:
		return roles[0].ARN, nil
	}
	f := fault.Coded(fault.Conflict, "cli.no-role-chosen", fmt.Sprintf("you hold %d roles and none is chosen:\n%s", len(roles), listing(roles))).
		WithMend("choose one for this CLI profile, or name one with --role")
	return "", then(f, r.command("role assume NAME"))
}

// find gives the one role that a text names, as the server reads names: an
// ARN, a name, or account/name.
func (r *run) find(wanted string, roles []client.Role) (client.Role, error) {
	var found []client.Role
	for _, x := range roles {
		name := roleName(x.ARN)
		switch wanted {
		case x.ARN, name, x.Account + "/" + name, x.AccountName + "/" + name:
			found = append(found, x)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return client.Role{}, r.unheld("you hold no role "+wanted, roles)
	}
	return client.Role{}, fault.Coded(fault.Conflict, "cli.ambiguous-role",
		fmt.Sprintf("%d of your roles have the name %s:\n%s", len(found), wanted, listing(found))).WithMend("give the ARN, or ACCOUNT/NAME")
}

func (r *run) unheld(what string, roles []client.Role) error {
	if len(roles) == 0 {
		return fault.Coded(fault.NotFound, "cli.unheld-role", what+"; you hold none at all").
			WithMend("ask your administrator: your identity provider names none that this server accepts")
	}
	return fault.Coded(fault.NotFound, "cli.unheld-role", what+"; you hold:\n"+listing(roles)).
		WithMend("name one of these, or ask your administrator for the other")
}

// notReady says why a held role can't be used now.
func (r *run) notReady(s *signedIn, role client.Role) error {
	if role.State == client.Expired || role.Error == nil {
		return then(fault.Coded(fault.Expired, "cli.role-expired", "the keys of "+role.ARN+" ended"), r.loginCommand(s.name, s.profile.Server))
	}
	return fault.Coded(fault.Denied, role.Error.Code,
		fmt.Sprintf("%s can't be had: %s: %s", role.ARN, role.Error.Code, role.Error.Message)).WithMend(role.Error.Mend)
}

// table lists roles for a person; * marks the current one.
func (r *run) table(current string, roles []client.Role) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\tROLE\tACCOUNT\tSTATE\tARN")
	for _, x := range roles {
		mark := ""
		if x.ARN == current || current == "" && len(roles) == 1 {
			mark = "*"
		}
		fmt.Fprintf(w, "%s\t%s\t%s (%s)\t%s\t%s\n", mark, roleName(x.ARN), x.AccountName, x.Account, r.state(x), x.ARN)
	}
	w.Flush()
	for _, x := range roles {
		if x.Warning != nil {
			fmt.Fprintf(&b, "%s: %s\n", roleName(x.ARN), x.Warning.Message)
			if x.Warning.Command != "" {
				fmt.Fprintf(&b, "  an administrator of account %s mends it: %s\n", x.Account, x.Warning.Command)
			}
		}
		if x.Error != nil {
			fmt.Fprintf(&b, "%s can't be had: %s: %s\n", roleName(x.ARN), x.Error.Code, x.Error.Message)
			if x.Error.Mend != "" {
				fmt.Fprintf(&b, "  hint: %s\n", x.Error.Mend)
			}
		}
	}
	return b.String()
}

func (r *run) state(x client.Role) string {
	switch {
	case x.CanBeHad() && x.Renewable && x.NeededBy != nil:
		return "ready, renewed for " + r.left(*x.NeededBy)
	case x.State == client.Available:
		return "ready"
	case x.State == client.Ready && x.Expiration != nil:
		return "ready, " + r.left(*x.Expiration) + " left"
	}
	return x.State
}

func listing(roles []client.Role) string {
	var lines []string
	for _, x := range roles {
		lines = append(lines, "  "+x.ARN+" in "+x.AccountName)
	}
	return strings.Join(lines, "\n")
}

func holds(roles []client.Role, role string) bool {
	for _, x := range roles {
		if x.ARN == role {
			return true
		}
	}
	return false
}

// roleName gives the name in a role's ARN; the text itself when it is none.
func roleName(s string) string {
	role, err := arn.ParseRole(s)
	if err != nil {
		return s
	}
	return role.Name
}

// present makes an absent list an empty one, as JSON readers expect.
func present[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
