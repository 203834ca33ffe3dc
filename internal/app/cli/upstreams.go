package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"carnet.dev/carnet/internal/edge/api/client"
)

func (r *run) upstreams() *cobra.Command {
	return &cobra.Command{
		Use:     "upstreams",
		Short:   "Show how the stores behind the gateway do; administrators only",
		Long:    "Shows each store and each of its addresses as the server that answers sees them: up, away (requests are answered at once, until it is tried again) or probing.",
		Example: "  carnet upstreams",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return r.withAPI(func(s *signedIn) error {
				all, err := s.api.Upstreams(cmd.Context())
				if err != nil {
					return err
				}
				return r.say(struct {
					Upstreams []client.Upstream `json:"upstreams"`
				}{all}, upstreamTable(all))
			})
		},
	}
}

func upstreamTable(all []client.Upstream) string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, u := range all {
		fmt.Fprintf(t, "%s\t%s\t%s\t%d under way\t%s\n", u.Name, u.Kind, u.State, u.InFlight, u.Cause)
		for _, e := range u.Endpoints {
			note := e.Cause
			if e.Until != nil {
				note += "; tried again at " + e.Until.UTC().Format(time.RFC3339)
			}
			fmt.Fprintf(t, "  %s\t\t%s\t%d failures\t%s\n", e.Endpoint, e.State, e.Failures, note)
		}
	}
	_ = t.Flush()
	return b.String()
}
