package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/api"
	"carnet.dev/carnet/internal/service/gatewaykeys"
	"carnet.dev/carnet/internal/service/login"
)

func (h *host) prefixGrants() *cobra.Command {
	parent := &cobra.Command{Use: "prefix-grant", Short: "Which role of a gateway key serves which part of a bucket", Args: cobra.NoArgs,
		Long: "A prefix grant picks the role of each request by a gateway key, among those that its owner holds: it gives nobody a role.\n" +
			"The longest prefix that covers the key wins. Prefixes are compared byte by byte: s3://lake/hr covers hr-old/x too, so\n" +
			"write s3://lake/hr/ where a folder is meant. A listing is covered where its own prefix is."}
	add := &cobra.Command{
		Use: "add PLACE ROLE", Short: "Let a role serve a place: s3://bucket or s3://bucket/prefix", Args: cobra.ExactArgs(2),
		Example: "  carnet prefix-grant add s3://lake/hr/ arn:aws:iam::111122223333:role/hr",
		RunE: func(cmd *cobra.Command, args []string) error {
			return h.withGatewayKeys(cmd, func(ctx context.Context, _ *state, keys *gatewaykeys.Service, _ *login.Service) error {
				role, err := arn.ParseRole(args[1])
				if err != nil {
					return err
				}
				g, err := keys.AddGrant(ctx, args[0], role)
				if err != nil {
					return err
				}
				return say(cmd, api.PrefixGrantOf(g), fmt.Sprintf("%s: %s serves %s for gateway keys whose owner holds it.", g.ID, g.Role, g.Place()))
			})
		},
	}
	list := &cobra.Command{
		Use: "list", Short: "List the prefix grants", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return h.withGatewayKeys(cmd, func(ctx context.Context, _ *state, keys *gatewaykeys.Service, _ *login.Service) error {
				all, err := keys.ListGrants(ctx)
				if err != nil {
					return err
				}
				lines, text := []api.PrefixGrant{}, strings.Builder{}
				for _, g := range all {
					lines = append(lines, api.PrefixGrantOf(g))
					fmt.Fprintf(&text, "%s  %s  %s\n", g.ID, g.Place(), g.Role)
				}
				if len(lines) == 0 {
					text.WriteString("There is none.")
				}
				return say(cmd, map[string]any{"prefix_grants": lines}, text.String())
			})
		},
	}
	remove := &cobra.Command{
		Use: "remove ID", Short: "Take a prefix grant out", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return h.withGatewayKeys(cmd, func(ctx context.Context, _ *state, keys *gatewaykeys.Service, _ *login.Service) error {
				if err := keys.RemoveGrant(ctx, identity.PrefixGrantID(args[0])); err != nil {
					return err
				}
				return say(cmd, map[string]string{"id": args[0], "done": "removed"}, "Removed "+args[0]+".")
			})
		},
	}
	parent.AddCommand(add, list, remove)
	return parent
}

func (h *host) trino() *cobra.Command {
	parent := &cobra.Command{Use: "trino", Short: "Trino with each user's own rights in S3", Args: cobra.NoArgs}
	var cluster string
	var roll, overlap time.Duration
	mapping := &cobra.Command{
		Use: "mapping", Short: "Print the security mapping of a cluster, with each user's gateway key", Args: cobra.NoArgs,
		Long: "Prints the document that s3.security-mapping.config-file or .config-uri of Trino reads: a rule for everyone who has a\n" +
			"gateway key for the cluster. It holds their secrets: give it to Trino's own account alone. Keys older than --roll are\n" +
			"rolled first, and the old ones live on for --overlap, until Trino has read the new ones.",
		Example: "  carnet trino mapping --cluster trino > /etc/trino/s3-mapping.json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return h.withGatewayKeys(cmd, func(ctx context.Context, s *state, keys *gatewaykeys.Service, _ *login.Service) error {
				rules, err := keys.TrinoRules(ctx, cluster, roll, overlap)
				if err != nil {
					return err
				}
				for _, note := range rules.Notes {
					fmt.Fprintln(cmd.ErrOrStderr(), "note: "+note)
				}
				text, err := json.MarshalIndent(rules.Document(s.config.Listen.AWS.URL, s.config.Region), "", "  ")
				if err != nil {
					return err
				}
				_, err = cmd.OutOrStdout().Write(append(bytes.TrimSpace(text), '\n'))
				return err
			})
		},
	}
	mapping.Flags().StringVar(&cluster, "cluster", "", "the cluster (carnet gateway-key cluster list)")
	mapping.Flags().DurationVar(&roll, "roll", gatewaykeys.DefaultTrinoRoll, "how old keys may get, up to 12h: Trino keeps a client for each key that it has seen")
	mapping.Flags().DurationVar(&overlap, "overlap", gatewaykeys.DefaultOverlap, "how long rolled keys live on: longer than Trino's refresh period, and its longest query")
	_ = mapping.MarkFlagRequired("cluster")
	parent.AddCommand(mapping)
	return parent
}
