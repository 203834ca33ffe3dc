package agent

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"carnet.dev/carnet/internal/edge/node/localclient"
	"carnet.dev/carnet/internal/edge/node/localdoc"
)

// agentStatus is carnet agent status.
func agentStatus(f *flags) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Say how the agent of this node is",
		Long:  "Asks the agent at its socket. It says what the node is and which faces answer, and why others don't; of people\nonly what the caller's own login has.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.load(cmd.Flags())
			if err != nil {
				return err
			}
			st, err := localclient.New(c.Socket).Status(cmd.Context())
			if err != nil {
				return err
			}
			if output, _ := cmd.Flags().GetString("output"); output == "json" {
				b, err := json.MarshalIndent(st, "", "  ")
				if err == nil {
					_, err = fmt.Fprintln(cmd.OutOrStdout(), string(b))
				}
				return err
			}
			return sayStatus(cmd.OutOrStdout(), st)
		},
	}
}

func sayStatus(w io.Writer, st localdoc.Status) error {
	lines := [][2]string{{"node", st.Node}, {"cluster", st.Cluster + " (" + st.Kind + ")"}, {"server", st.Server}}
	if st.Cluster == "" {
		lines[1][1] = "not known yet: the server has not been reached"
	}
	if !st.Fresh {
		lines = append(lines, [2]string{"state", "the server has not been reached for a while: nothing new is given out"})
	} else {
		lines = append(lines, [2]string{"state", "in touch with the server"})
	}
	for _, face := range [][2]string{{"container", st.Faces.Container}, {"proxy", st.Faces.Proxy}, {"metadata", st.Faces.Metadata}} {
		if face[1] != "" {
			lines = append(lines, face)
		}
	}
	var missing []string
	for name := range st.Faces.Missing {
		missing = append(missing, name)
	}
	slices.Sort(missing)
	for _, name := range missing {
		lines = append(lines, [2]string{name, "not offered: " + st.Faces.Missing[name]})
	}
	if a := st.Attachment; a != nil {
		lines = append(lines, [2]string{"attached", a.Name + " in " + a.Scope})
	}
	for _, l := range lines {
		if _, err := fmt.Fprintf(w, "%-10s %s\n", l[0], l[1]); err != nil {
			return err
		}
	}
	return nil
}
