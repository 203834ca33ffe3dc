package agent

import (
	"fmt"

	"github.com/spf13/cobra"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/node/metadata"
)

// metadataRule is carnet agent metadata-rule.
func metadataRule() *cobra.Command {
	var install bool
	var form string
	var allow []string
	rule := metadata.Rule{}
	c := &cobra.Command{
		Use:   "metadata-rule",
		Short: "Print or install the rule that keeps people away from this machine's own identity",
		Long: "The instance metadata service of a cloud gives the machine's own keys to whoever reaches it. The rule lets root\n" +
			"reach it, and the accounts that you allow, and nobody else. It lasts until the machine is started anew: have the\n" +
			"agent's unit install it (carnet agent systemd --metadata-rule), or keep it with your other rules.",
		Example: "  carnet agent metadata-rule --install\n  carnet agent metadata-rule --form iptables | sh",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, name := range allow {
				uid, err := account(name)
				if err != nil {
					return fault.New(fault.Invalid, "--allow "+name+": want the name or the number of an account; root is allowed already")
				}
				rule.Allow = append(rule.Allow, uid)
			}
			text := rule.NFTables()
			switch {
			case form != "nft" && form != "iptables":
				return fault.New(fault.Invalid, "--form "+form+": want nft or iptables")
			case form == "iptables" && install:
				return fault.New(fault.Invalid, "--install works with nft alone").WithMend("run: carnet agent metadata-rule --form iptables | sh")
			case form == "iptables":
				text = rule.IPTables()
			}
			if !install {
				_, err := fmt.Fprint(cmd.OutOrStdout(), text)
				return err
			}
			if err := rule.Install(cmd.Context()); err != nil {
				return err
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "The rule is installed. See it with: nft list table inet carnet_metadata")
			return err
		},
	}
	c.Flags().BoolVar(&install, "install", false, "have nft take the rule, as root")
	c.Flags().StringVar(&form, "form", "nft", "nft or iptables")
	c.Flags().StringSliceVar(&allow, "allow", nil, "accounts beside root that may ask the machine's metadata service")
	c.Flags().BoolVar(&rule.Forwarded, "forwarded", false, "keep containers with a network of their own away, too")
	return c
}
