package server

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/api"
	"carnet.dev/carnet/internal/service/attachment"
)

func (h *host) attachmentCommands() *cobra.Command {
	parent := &cobra.Command{Use: "attachment", Short: "Who works on which node of a cluster", Args: cobra.NoArgs,
		Long: "Lists and ends attachments: people bound to processes of nodes. These commands work on the database itself, on the server's host."}
	list := &cobra.Command{
		Use: "list", Short: "List everybody's attachments, lately ended ones too", Args: cobra.NoArgs,
		RunE: h.onAttachments(func(ctx context.Context, cmd *cobra.Command, s *attachment.Service, _ []string) error {
			all, err := s.All(ctx)
			if err != nil {
				return err
			}
			out := api.AttachmentList{Attachments: []api.Attachment{}}
			for _, a := range all {
				out.Attachments = append(out.Attachments, api.AttachmentOf(a))
			}
			return say(cmd, out, attachmentTable(out.Attachments))
		}),
	}
	end := &cobra.Command{
		Use: "end ID", Short: "End an attachment: its node gets nothing for it from then on", Args: cobra.ExactArgs(1),
		RunE: h.onAttachments(func(ctx context.Context, cmd *cobra.Command, s *attachment.Service, args []string) error {
			if err := s.EndAny(ctx, identity.AttachmentID(args[0])); err != nil {
				return err
			}
			return say(cmd, map[string]string{"id": args[0], "done": "ended"}, "Ended "+args[0]+". Its node hears of it within seconds; keys that AWS handed out live to their end.")
		}),
	}
	parent.AddCommand(list, end)
	return parent
}

// onAttachments runs a command on attachments as they rest.
func (h *host) onAttachments(do func(context.Context, *cobra.Command, *attachment.Service, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		return h.withState(cmd, func(ctx context.Context, s *state) error {
			a, err := attachment.Open(ctx, s.attachmentConfig())
			if err != nil {
				return err
			}
			return do(ctx, cmd, a, args)
		})
	}
}

func attachmentTable(all []api.Attachment) string {
	if len(all) == 0 {
		return "Nobody is attached."
	}
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tSTATE\tPERSON\tCLUSTER\tNODE\tUID\tBY\tUNTIL")
	for _, a := range all {
		state := a.State
		if a.Why != "" {
			state += " (" + a.Why + ")"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", a.ID, state, a.UserName, a.ClusterName, a.NodeName, a.UID, a.How, a.Expires.Format(time.RFC3339))
	}
	_ = t.Flush()
	return b.String()
}
