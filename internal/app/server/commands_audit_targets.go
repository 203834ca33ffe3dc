package server

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"carnet.dev/carnet/internal/app/config"
	sqlaudit "carnet.dev/carnet/internal/edge/sql/audit"
	"carnet.dev/carnet/internal/service/audit"
)

// targetLine is a target as `carnet audit targets` shows it.
type targetLine struct {
	Name       string            `json:"name"`
	Kind       config.TargetKind `json:"kind"`
	Server     string            `json:"server,omitempty"` // that feeds it: the name of its chain
	LastTaken  *time.Time        `json:"lastTaken,omitempty"`
	LagRecords int64             `json:"lagRecords"`
	LagSeconds int64             `json:"lagSeconds"`
	Trouble    string            `json:"trouble,omitempty"`
	Since      *time.Time        `json:"troubleSince,omitempty"`
}

func (h *host) auditTargets() *cobra.Command {
	return &cobra.Command{
		Use: "targets", Short: "Where the trail is brought to, and how far each place has come", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return h.withStill(cmd, func(ctx context.Context, db still) error {
				lines, err := targetLines(ctx, sqlaudit.Store{DB: db.DB}, db.config.Audit.Targets, time.Now())
				if err != nil {
					return err
				}
				return say(cmd, map[string]any{"targets": lines}, targetText(lines))
			})
		},
	}
}

func targetLines(ctx context.Context, store sqlaudit.Store, targets []config.AuditTarget, now time.Time) ([]targetLine, error) {
	lines := []targetLine{}
	known, err := store.Targets(ctx)
	if err != nil {
		return nil, err
	}
	states := map[string]audit.TargetState{}
	for _, s := range known {
		states[s.Name] = s
	}
	for _, t := range targets {
		s := states[t.Name]
		l := targetLine{Name: t.Name, Kind: t.Kind, Trouble: s.Trouble, LastTaken: optional(s.Taken), Since: optional(s.Since)}
		if s.Until.After(now) {
			l.Server = s.Holder
		}
		behind, err := store.Behind(ctx, t.Name)
		if err != nil {
			return nil, err
		}
		for _, u := range behind {
			l.LagRecords += u.Head - u.Taken
			if !u.Oldest.IsZero() {
				l.LagSeconds = max(l.LagSeconds, int64(now.Sub(u.Oldest)/time.Second))
			}
		}
		lines = append(lines, l)
	}
	return lines, nil
}

func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func targetText(lines []targetLine) string {
	if len(lines) == 0 {
		return "No audit target is configured: audit.targets of carnet.yaml names them."
	}
	var b strings.Builder
	for _, l := range lines {
		last := "never"
		if l.LastTaken != nil {
			last = l.LastTaken.Format(time.RFC3339)
		}
		fmt.Fprintf(&b, "%s  %s  last taken %s  %d records behind", l.Name, l.Kind, last, l.LagRecords)
		if l.LagRecords > 0 {
			fmt.Fprintf(&b, ", %s", time.Duration(l.LagSeconds)*time.Second)
		}
		fmt.Fprintf(&b, "  fed by %s\n", cmp.Or(l.Server, "no server"))
		if l.Trouble != "" {
			fmt.Fprintf(&b, "  in trouble since %s: %s\n", l.Since.Format(time.RFC3339), l.Trouble)
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}
