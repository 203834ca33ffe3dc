package agent

import (
	"embed"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"carnet.dev/carnet/internal/core/fault"
)

//go:embed units
var unitFiles embed.FS

// units prints the files by which systemd runs the agent.
func units() *cobra.Command {
	var unit, binary string
	var rule bool
	c := &cobra.Command{
		Use:   "systemd",
		Short: "Print the unit files by which systemd runs the agent",
		Long: "Prints one file: the service, the socket that holds the agent's addresses while it restarts, or the account\n" +
			"(sysusers.d) under which it runs.",
		Example: "  carnet agent systemd --unit service >/etc/systemd/system/carnet-agent.service\n" +
			"  carnet agent systemd --unit socket >/etc/systemd/system/carnet-agent.socket\n" +
			"  carnet agent systemd --unit account >/etc/sysusers.d/carnet-agent.conf",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := unitText(unit, binary, rule)
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), text)
			return err
		},
	}
	c.Flags().StringVar(&unit, "unit", "service", "which file: service, socket or account")
	c.Flags().StringVar(&binary, "binary", "/usr/local/bin/carnet", "where the program is")
	c.Flags().BoolVar(&rule, "metadata-rule", false, "have the service install the rule about instance metadata at each start (needs nft)")
	return c
}

// unitText gives one unit file.
func unitText(unit, binary string, rule bool) (string, error) {
	name := map[string]string{"service": "carnet-agent.service", "socket": "carnet-agent.socket", "account": "carnet-agent.conf"}[unit]
	if name == "" {
		return "", fault.New(fault.Invalid, "--unit "+unit+": want service, socket or account")
	}
	if !filepath.IsAbs(binary) || strings.ContainsAny(binary, " \t\n\"'\\%$") {
		return "", fault.New(fault.Invalid, "--binary "+binary+": want an absolute path without blanks and quotes")
	}
	text, err := unitFiles.ReadFile("units/" + name)
	if err != nil {
		return "", err
	}
	before := ""
	if rule {
		before = "# As root (+), before the agent: people are kept away from this machine's own identity.\nExecStartPre=+" + binary + " agent metadata-rule --install\n"
	}
	return strings.NewReplacer("@BINARY@", binary, "@BEFORE@\n", before).Replace(string(text)), nil
}
