package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"carnet.dev/carnet/internal/app/cli"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/api/client"
	sqlaudit "carnet.dev/carnet/internal/edge/sql/audit"
	"carnet.dev/carnet/internal/service/audit"
)

// auditQuery are the flags that say what is looked for.
type auditQuery struct {
	audit.Query
	from, to string
}

func (q *auditQuery) flags(f *pflag.FlagSet) {
	f.StringVar(&q.from, "from", "", "the first time: 2026-05-01, 2026-05-01T10:00:00Z, or 24h for that long ago")
	f.StringVar(&q.to, "to", "", "the time before which, in the same forms")
	f.StringVar(&q.Event, "event", "", "an event's name, or the beginning of names with a * at its end: sign-in, s3.*")
	f.StringVar(&q.Who, "who", "", "person (id or user name), service principal, ARN, access key id or login session")
	f.StringVar(&q.Outcome, "outcome", "", "done, denied or failed")
	f.StringVar(&q.Account, "account", "", "AWS account")
	f.StringVar(&q.Role, "role", "", "ARN of a role")
	f.StringVar(&q.Cluster, "cluster", "", "cluster")
	f.StringVar(&q.Node, "node", "", "id of a node")
	f.StringVar(&q.Target, "target", "", "what was acted on")
	f.StringVar(&q.RequestID, "request", "", "request id, as the client got it")
	f.StringVar(&q.Source, "source", "", "address, or network such as 10.0.0.0/8")
}

const atServerToo = "On the server's host the database is read, also while no server runs. Elsewhere, or with --server or --profile,\n" +
	"the server is asked: sign in as an administrator with carnet login. That is recorded in the trail."

// check reads the flags of times, and refuses what can't be looked for.
func (q *auditQuery) check() error {
	if err := q.times(time.Now()); err != nil {
		return err
	}
	return q.Query.Check()
}

// searchTrail searches until there is as much as was asked for, or no more.
func (h *host) searchTrail(cmd *cobra.Command, q audit.Query) (all audit.Found, err error) {
	if cli.AtServer(cmd, h.config) {
		err = cli.WithServer(cmd, func(c *client.Client) error {
			all, err = searchOn(q, func(q audit.Query) (page audit.Found, err error) {
				return page, c.SearchAudit(cmd.Context(), q.Values(), &page)
			})
			return err
		})
		return all, err
	}
	err = h.withStill(cmd, func(ctx context.Context, db still) error {
		all, err = searchOn(q, func(q audit.Query) (audit.Found, error) { return audit.Search(ctx, sqlaudit.Store{DB: db.DB}, q) })
		return err
	})
	return all, err
}

// searchOn goes on behind pages that ended at the bound of one search.
func searchOn(q audit.Query, search func(audit.Query) (audit.Found, error)) (all audit.Found, err error) {
	if q.Most < 1 || q.Most > audit.MostFound {
		q.Most = audit.MostFound
	}
	all.Documents = []audit.Document{}
	for most := q.Most; ; {
		page, err := search(q)
		if err != nil {
			return all, err
		}
		all.Documents = append(all.Documents, page.Documents...)
		all.Next, all.Reached = page.Next, page.Reached
		if q.After, q.Most = page.Next, most-len(all.Documents); q.After == "" || q.Most <= 0 {
			return all, nil
		}
	}
}

// exportTrail writes all that is found, and gives how many events that is.
func (h *host) exportTrail(cmd *cobra.Command, q audit.Query, w io.Writer) (n int, err error) {
	if cli.AtServer(cmd, h.config) {
		lines := &lineCount{to: w}
		err = cli.WithServer(cmd, func(c *client.Client) error {
			_, err := c.ExportAudit(cmd.Context(), q.Values(), lines)
			return err
		})
		return lines.n, err
	}
	q.Oldest = true
	err = h.withStill(cmd, func(ctx context.Context, db still) error {
		n, err = exportEvents(ctx, sqlaudit.Store{DB: db.DB}, q, w)
		return err
	})
	return n, err
}

// lineCount counts the lines that go through it.
type lineCount struct {
	to io.Writer
	n  int
}

func (l *lineCount) Write(b []byte) (int, error) {
	l.n += bytes.Count(b, []byte("\n"))
	return l.to.Write(b)
}

// times reads the flags of times.
func (q *auditQuery) times(now time.Time) (err error) {
	for _, f := range [...]struct {
		text string
		into *time.Time
	}{{q.from, &q.From}, {q.to, &q.To}} {
		if f.text != "" && err == nil {
			*f.into, err = audit.ParseTime(f.text, now)
		}
	}
	return err
}

func (h *host) auditSearch() *cobra.Command {
	var q auditQuery
	c := &cobra.Command{
		Use: "search", Short: "Look for events in the trail, newest first", Args: cobra.NoArgs,
		Example: "  carnet audit search --who alice --from 24h\n  carnet audit search --event 's3.*' --outcome denied --most 20",
		Long:    atServerToo,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := q.check(); err != nil {
				return err
			}
			found, err := h.searchTrail(cmd, q.Query)
			if err != nil {
				return err
			}
			return say(cmd, found, auditLines(found))
		},
		Annotations: map[string]string{cli.AlsoAtServer: "true"},
	}
	q.flags(c.Flags())
	c.Flags().IntVar(&q.Most, "most", 100, "how many, up to 1000")
	c.Flags().BoolVar(&q.Oldest, "oldest", false, "oldest first")
	c.Flags().StringVar(&q.After, "after", "", "go on behind a page, by its \"next\"")
	return c
}

// auditLines gives a page as text: a line for each event.
func auditLines(found audit.Found) string {
	var b strings.Builder
	for _, d := range found.Documents {
		line := []string{d.EventTime.Format(time.RFC3339), word(string(d.Outcome)), word(d.EventName), word(d.Who())}
		for _, x := range [...][2]string{{"", d.ErrorCode}, {"role ", d.UserIdentity.Role}, {"on ", d.Target}, {"from ", d.SourceIP}, {"request ", d.RequestID}} {
			if x[1] != "" {
				line = append(line, x[0]+word(x[1]))
			}
		}
		fmt.Fprintln(&b, strings.Join(line, "  "))
	}
	switch {
	case found.Next != "":
		fmt.Fprintf(&b, "There is more: --after %s", word(found.Next))
	case len(found.Documents) == 0:
		b.WriteString("Nothing was found.")
	}
	return b.String()
}

// word gives a text that an attacker may have chosen as one word of a line: what
// would drive a terminal, turn the writing around or look like another word is
// escaped.
func word(text string) string {
	for _, c := range text {
		if c <= ' ' || c == '"' || c == '\\' || !strconv.IsPrint(c) {
			return strconv.Quote(text)
		}
	}
	return text
}

func (h *host) auditExport() *cobra.Command {
	var q auditQuery
	var path string
	c := &cobra.Command{
		Use: "export", Short: "Write events as JSON lines, oldest first", Args: cobra.NoArgs,
		Long: "Writes one event a line, in the form of docs/operations/audit.md. A file is written beside its name and put in\n" +
			"place when it is whole; it is readable to its owner alone.\n\n" + atServerToo,
		Example: "  carnet audit export --from 2026-05-01 --to 2026-06-01 --file may.jsonl",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := q.check(); err != nil {
				return err
			}
			export := func(w io.Writer) (int, error) { return h.exportTrail(cmd, q.Query, w) }
			if path == "" || path == "-" {
				_, err := export(cmd.OutOrStdout())
				return err
			}
			n, err := wholeFile(path, export)
			if err != nil {
				return err
			}
			return say(cmd, map[string]any{"file": path, "events": n}, fmt.Sprintf("%d events are in %s.", n, path))
		},
		Annotations: map[string]string{cli.AlsoAtServer: "true"},
	}
	q.flags(c.Flags())
	c.Flags().StringVar(&path, "file", "-", "file to write; - for standard output")
	return c
}

// exportEvents writes all that is found, a page at a time.
func exportEvents(ctx context.Context, t audit.Searched, q audit.Query, w io.Writer) (n int, err error) {
	out := bufio.NewWriter(w)
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	for {
		found, err := audit.Search(ctx, t, q)
		if err != nil {
			return n, err
		}
		for _, d := range found.Documents {
			if err := lines.Encode(d); err != nil {
				return n, err
			}
			n++
		}
		if q.After = found.Next; q.After == "" {
			return n, out.Flush()
		}
	}
}

// wholeFile has a file written beside its name, and puts it in place when it is
// whole and on the disk.
func wholeFile(path string, write func(io.Writer) (int, error)) (n int, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".carnet-export-*") // 0600
	if err != nil {
		return 0, fault.Wrap(err, fault.Invalid, "cannot write "+path).WithMend("choose a folder that you may write to")
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	n, err = write(f)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return n, err
	}
	return n, os.Rename(f.Name(), path)
}
