package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/api/client"
)

func (r *run) delegation() *cobra.Command {
	c := &cobra.Command{
		Use:   "delegation",
		Short: "Let a job work as you while you are away",
		Long: "A delegation lets one service principal work as you, in one of your roles, until it ends or you remove it. The job runs under your name. " +
			"Each use asks again whether you are active and still have the role.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usage("delegation needs one of add, list, remove")
		},
	}
	c.AddCommand(r.delegationAdd(), r.delegationList(), r.delegationRemove())
	return c
}

func (r *run) delegationAdd() *cobra.Command {
	var n client.NewDelegation
	var life time.Duration
	c := &cobra.Command{
		Use:   "add ROLE",
		Short: "Let a service principal, or a cluster, work as you in a role",
		Long:  "ROLE is the ARN of a role that you hold, its name where only one of your roles has it, or ACCOUNT/NAME. The role's account must take web identity.",
		Example: "  carnet delegation add analyst --to nightly-export --label 'nightly report' --lifetime 720h\n" +
			"  carnet delegation add analyst --cluster notebooks --label 'long training' --lifetime 72h",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if life < 0 || life%time.Second != 0 {
				return usage("--lifetime is %s: want whole seconds, such as 720h", life)
			}
			n.Role, n.LifetimeSeconds = args[0], int(life/time.Second)
			return r.withAPI(func(s *signedIn) error {
				d, err := s.api.Delegate(cmd.Context(), n)
				if err != nil {
					return err
				}
				if d.Cluster != "" {
					return r.say(d, fmt.Sprintf("%s\nYou may be attached to cluster %s in %s while you are away, until %s.\n", d.ID, named(d), d.Role, d.Expires.Format(time.RFC3339)))
				}
				return r.say(d, fmt.Sprintf("%s\n%s may work as you in %s until %s.\nThe job asks with: carnet token --client-id %s --delegation %s\n",
					d.ID, named(d), d.Role, d.Expires.Format(time.RFC3339), d.ServicePrincipal, d.ID))
			})
		},
	}
	c.Flags().StringVar(&n.ServicePrincipal, "to", "", "service principal that shall work as you: its name or id (spn_…)")
	c.Flags().StringVar(&n.Label, "label", "", "what it is for")
	c.Flags().DurationVar(&life, "lifetime", 0, "how long it lives, at most 8760h (default 720h)")
	c.Flags().StringVar(&n.Cluster, "cluster", "", "cluster where you may be attached while you are away, instead of --to: its name or id (cls_…)")
	c.MarkFlagsOneRequired("to", "cluster")
	c.MarkFlagsMutuallyExclusive("to", "cluster")
	_ = c.MarkFlagRequired("label")
	return c
}

func (r *run) delegationList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List your delegations, ended ones included",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return r.withAPI(func(s *signedIn) error {
				all, err := s.api.Delegations(cmd.Context())
				if err != nil {
					return err
				}
				return r.say(struct {
					Delegations []client.Delegation `json:"delegations"`
				}{present(all)}, delegationTable(all))
			})
		},
	}
}

func (r *run) delegationRemove() *cobra.Command {
	return &cobra.Command{
		Use:   "remove ID",
		Short: "Revoke a delegation",
		Long:  "Revokes a delegation. It holds at once, wherever Carnet decides; keys that AWS handed out under it live to their end.",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.withAPI(func(s *signedIn) error {
				if err := s.api.EndDelegation(cmd.Context(), args[0]); err != nil {
					return err
				}
				return r.say(map[string]string{"revoked": args[0]}, "Revoked "+args[0]+". Keys that AWS handed out under it live to their end.\n")
			})
		},
	}
}

// withAPI calls do with the live profile.
func (r *run) withAPI(do func(*signedIn) error) error {
	s, err := r.signedIn()
	if err != nil {
		return err
	}
	defer s.close()
	err = do(s)
	if err != nil && strings.HasPrefix(fault.Of(err).Code, "delegation.") {
		return then(err, r.command("delegation list"))
	}
	if err != nil {
		return r.again(s, err)
	}
	return nil
}

func named(d client.Delegation) string {
	switch {
	case d.ClusterName != "":
		return d.ClusterName
	case d.Cluster != "":
		return d.Cluster
	}
	if d.ServicePrincipalName != "" {
		return d.ServicePrincipalName
	}
	return d.ServicePrincipal
}

func delegationTable(all []client.Delegation) string {
	if len(all) == 0 {
		return "You have delegated nothing.\n"
	}
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tSTATE\tTO\tROLE\tUNTIL\tLABEL")
	for _, d := range all {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", d.ID, d.State, named(d), d.Role, d.Expires.Format(time.DateOnly), d.Label)
	}
	_ = t.Flush()
	return b.String()
}
