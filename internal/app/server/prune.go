package server

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"carnet.dev/carnet/internal/core/fault"
	sqlaudit "carnet.dev/carnet/internal/edge/sql/audit"
	"carnet.dev/carnet/internal/service/audit"
)

// pruneTrail deletes what is older than audit.retention, once a day until ctx ends.
func (s *state) pruneTrail(ctx context.Context) {
	next := time.NewTimer(time.Minute) // not while the server starts
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		cut, err := s.trail.Prune(ctx, sqlaudit.Store{DB: s.db}, s.now().Add(-s.config.Audit.Retention))
		switch {
		case err != nil && ctx.Err() == nil:
			s.log.Error("the audit trail can't be pruned", "error", err)
		case cut.Records > 0:
			s.log.Info("the audit trail was pruned", "records", cut.Records, "before", cut.Before)
		}
		next.Reset(audit.PruneEvery)
	}
}

func (h *host) auditPrune() *cobra.Command {
	var before string
	c := &cobra.Command{
		Use: "prune", Short: "Delete old records, up to signed checkpoints", Args: cobra.NoArgs,
		Long: "Deletes records that are older than a time, and records that it did. Each chain is cut at a signed checkpoint, so\n" +
			"what stays is proven as before. Export what you still need first.",
		Example: "  carnet audit export --to 2026-01-01 --file before-2026.jsonl\n  carnet audit prune --before 2026-01-01",
		RunE: func(cmd *cobra.Command, _ []string) error {
			at, err := audit.ParseTime(before, time.Now())
			if err != nil {
				return err
			}
			if time.Since(at) < 24*time.Hour {
				return fault.New(fault.Invalid, "the records of the last day stay").WithMend("choose an earlier time for --before")
			}
			return h.withState(cmd, func(ctx context.Context, s *state) error {
				cut, err := s.trail.Prune(ctx, sqlaudit.Store{DB: s.db}, at)
				if err != nil {
					return err
				}
				return say(cmd, cut, fmt.Sprintf("%d records from before %s are deleted, in %d chains.", cut.Records, cut.Before.Format(time.RFC3339), cut.Chains))
			})
		},
	}
	c.Flags().StringVar(&before, "before", "", "the time before which: 2026-01-01, 2026-01-01T00:00:00Z, or 9600h for that long ago")
	_ = c.MarkFlagRequired("before")
	return c
}
