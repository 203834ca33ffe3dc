package server

import (
	"bufio"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/auditfile"
	sqlaudit "carnet.dev/carnet/internal/edge/sql/audit"
	"carnet.dev/carnet/internal/service/audit"
)

func (h *host) audit() *cobra.Command {
	parent := &cobra.Command{Use: "audit", Short: "The trail of who did what", Args: cobra.NoArgs}
	x := audit.Expect{Unsigned: audit.MostUnsigned}
	var files, copies []string
	verify := &cobra.Command{
		Use: "verify", Short: "Prove that the trail is what was written", Args: cobra.NoArgs,
		Long: "Reads every record and compares hashes, numbers and signatures. Give --signer the id that an earlier run printed\n" +
			"and that you noted elsewhere: without it the database's own word is taken for the key. Records of a process that\n" +
			"was killed may lack their signature, at most a second's worth: they are counted, and are no failure. Give --against\n" +
			"an export that was kept elsewhere, such as the file of an audit target: what it has must be in the database.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return h.withStill(cmd, func(ctx context.Context, db still) error {
				if path := db.config.Audit.Checkpoints; path != "" {
					files = append(files, path)
				}
				outside, err := checkpointsIn(files, cmd.ErrOrStderr())
				if err != nil {
					return err
				}
				x.Outside = outside
				for _, path := range copies {
					f, err := os.Open(path)
					if err != nil {
						return fault.Wrap(err, fault.Invalid, "cannot read "+path)
					}
					defer f.Close()
					c, err := copyIn(path, f)
					if err != nil {
						return err
					}
					x.Copies = append(x.Copies, c)
				}
				store := sqlaudit.Store{DB: db.DB}
				signers, err := store.Signers(ctx, nil)
				if err != nil {
					return err
				}
				report, err := audit.Verify(ctx, store, x)
				if err != nil {
					return err
				}
				v := verdict{Whole: len(report.Problems) == 0, Report: report}
				for _, s := range signers {
					v.Signers = append(v.Signers, s.ID)
				}
				if err := say(cmd, v, v.String()); err != nil || v.Whole {
					return err
				}
				return fault.Coded(fault.Conflict, "audit.broken", "the trail is not what was written").
					WithMend("keep the database as it is, and compare it with backups and with checkpoints kept outside")
			})
		},
	}
	verify.Flags().StringSliceVar(&x.Signers, "signer", nil, "id of a signing key that is trusted")
	verify.Flags().StringSliceVar(&files, "checkpoints", nil, "file with checkpoints that was kept outside the database, besides that of audit.checkpoints")
	verify.Flags().StringSliceVar(&copies, "against", nil, "export of the trail that was kept elsewhere: JSON lines, also gzipped")
	parent.AddCommand(verify, h.auditSearch(), h.auditExport(), h.auditPrune(), h.auditTargets())
	return parent
}

// checkpointsIn reads files of checkpoints. A line that a power cut left
// unfinished is told of and left out.
func checkpointsIn(files []string, notes io.Writer) (all []audit.Checkpoint, err error) {
	for _, path := range files {
		kept, damaged, err := auditfile.Read(path)
		if err != nil {
			return nil, err
		}
		if damaged > 0 {
			fmt.Fprintf(notes, "%s: %d damaged lines were left out\n", path, damaged)
		}
		all = append(all, kept...)
	}
	return all, nil
}

// copyIn reads an export of the trail, gzipped or not.
func copyIn(path string, f io.Reader) (audit.Copy, error) {
	in := bufio.NewReader(f)
	if begin, err := in.Peek(2); err != nil || begin[0] != 0x1f || begin[1] != 0x8b {
		return audit.ReadCopy(path, in), nil // an empty one, too
	}
	z, err := gzip.NewReader(in)
	if err != nil {
		return audit.Copy{}, fault.Wrap(err, fault.Invalid, "cannot read "+path)
	}
	return audit.ReadCopy(path, z), nil
}

// verdict is a report as it is shown.
type verdict struct {
	Whole   bool     `json:"whole"`
	Signers []string `json:"signers"`
	audit.Report
}

// String tells it as text.
func (v verdict) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d records of %d processes, %d signed checkpoints, signing key %s\n",
		v.Records, v.Writers, v.Checkpoints, strings.Join(v.Signers, ", "))
	if v.Cut > 0 {
		fmt.Fprintf(&b, "%d chains were cut by the rule of retention, as the trail itself says\n", v.Cut)
	}
	if v.Unsigned > 0 {
		fmt.Fprintf(&b, "%d of them are under no signature (yet): whoever owns the database could have changed, added or removed such\n", v.Unsigned)
		for _, o := range v.Open {
			fmt.Fprintf(&b, "  open: records %d to %d of chain %s, from %s to %s\n", o.From, o.To, o.Writer, o.Since.Format(time.RFC3339), o.Until.Format(time.RFC3339))
		}
	}
	switch {
	case v.KeptUntil.IsZero():
		b.WriteString("No checkpoint is kept outside: who owns the database and the signing key could have written all of it anew\n")
	default:
		fmt.Fprintf(&b, "%d records are proven by checkpoints kept outside, the last of %s; the others by the signing key alone\n", v.Kept, v.KeptUntil.Format(time.RFC3339))
	}
	if v.Copied > 0 {
		fmt.Fprintf(&b, "%d lines of copies say what the database says\n", v.Copied)
	}
	if v.Unreadable > 0 {
		fmt.Fprintf(&b, "%d lines of copies are no records\n", v.Unreadable)
	}
	for _, p := range v.Problems {
		fmt.Fprintf(&b, "  broken: %s\n", p)
	}
	if v.Whole {
		b.WriteString("The trail is whole.\n")
	}
	return b.String()
}
