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
		cut, err := s.trail.Prune(ctx, sqlaudit.Store{DB: s.db}, s.retention(s.now().Add(-s.config.Audit.Retention)))
		switch {
		case err != nil && ctx.Err() == nil:
			s.log.Error("the audit trail can't be pruned", "error", err)
		case cut.Records > 0:
			s.log.Info("the audit trail was pruned", "records", cut.Records, "before", cut.Before)
		}
		if cut.Untaken > 0 {
			s.log.Error("records were deleted that an audit target had not taken", "records", cut.Untaken, "hold", s.config.Audit.Hold)
		}
		if cut.Held > 0 {
			s.log.Warn("old audit records stay, since an audit target has not taken them", "records", cut.Held)
		}
		next.Reset(audit.PruneEvery)
	}
}

// retention is the rule by which records before a time go: those that a target has not
// taken stay for longer.
func (s *state) retention(before time.Time) audit.Retention {
	var names []string
	for _, t := range s.config.Audit.Targets {
		names = append(names, t.Name)
	}
	if len(names) == 0 {
		return audit.Retention{Before: before}
	}
	return audit.Retention{Before: before, Bound: before.Add(-s.config.Audit.Hold), Taken: func(ctx context.Context, writer string) (int64, error) {
		return sqlaudit.Store{DB: s.db}.Taken(ctx, writer, names)
	}}
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
				cut, err := s.trail.Prune(ctx, sqlaudit.Store{DB: s.db}, s.retention(at))
				if err != nil {
					return err
				}
				text := fmt.Sprintf("%d records from before %s are deleted, in %d chains.", cut.Records, cut.Before.Format(time.RFC3339), cut.Chains)
				if cut.Untaken > 0 {
					text += fmt.Sprintf(" %d of them a target had not taken.", cut.Untaken)
				}
				if cut.Held > 0 {
					text += fmt.Sprintf(" %d stay, since a target has not taken them yet: see carnet audit targets.", cut.Held)
				}
				return say(cmd, cut, text)
			})
		},
	}
	c.Flags().StringVar(&before, "before", "", "the time before which: 2026-01-01, 2026-01-01T00:00:00Z, or 9600h for that long ago")
	_ = c.MarkFlagRequired("before")
	return c
}
