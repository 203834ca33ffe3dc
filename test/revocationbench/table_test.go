//go:build interop

package revocationbench

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
)

// percentile of outcomes, 1 to 100: the time within which so many of them were refused.
// What went wrong took for ever.
func percentile(all []outcome, p int) time.Duration {
	var d []time.Duration
	for _, o := range all {
		if o.trouble != "" {
			o.took = time.Hour
		}
		d = append(d, o.took)
	}
	slices.Sort(d)
	return d[max(0, (len(d)*p+99)/100-1)]
}

// verdict is the word of the table.
func verdict(all []outcome) string {
	switch {
	case len(all) == 0:
		return ""
	case percentile(all, 99) < bound && !slices.ContainsFunc(all, func(o outcome) bool { return o.trouble != "" }):
		return "pass"
	}
	return failed
}

const failed = "**fail**"

// figures tells of each place how long refusals took.
func figures(by map[string][]outcome) string {
	var b strings.Builder
	for _, place := range append([]string{answered}, places...) {
		all := by[place]
		if len(all) == 0 {
			continue
		}
		fmt.Fprintf(&b, "  %-28s %5d times  p50 %5d ms  p99 %5d ms  max %5d ms  %s\n", place, len(all),
			percentile(all, 50).Milliseconds(), percentile(all, 99).Milliseconds(), percentile(all, 100).Milliseconds(), verdict(all))
	}
	return b.String()
}

// table is what the page shows: no times, which differ from machine to machine.
func table(results map[string]map[string][]outcome) string {
	var b strings.Builder
	b.WriteString("| What is taken back | Rounds | " + strings.Join(places, " | ") + " |\n|---|---|" + strings.Repeat("---|", len(places)) + "\n")
	for _, k := range kinds() {
		fmt.Fprintf(&b, "| %s | %d |", k.name, k.rounds(*rounds))
		for _, place := range places {
			fmt.Fprintf(&b, " %s |", verdict(results[k.name][place]))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// The place of the table in the page.
const (
	page  = "../../docs/operations/revocation.md"
	begin = "<!-- measured -->\n"
	end   = "<!-- end -->\n"
)

// write puts the table into the page, or only compares it.
func write(table string, update bool) error {
	text, err := os.ReadFile(page)
	if errors.Is(err, fs.ErrNotExist) {
		text = []byte("# Revocation\n\n" + begin + end)
	} else if err != nil {
		return err
	}
	head, rest, ok := strings.Cut(string(text), begin)
	old, tail, closed := strings.Cut(rest, end)
	switch {
	case !ok || !closed:
		return fmt.Errorf("%s has no place for the table: want lines %s and %s", page, strings.TrimSpace(begin), strings.TrimSpace(end))
	case update:
		return os.WriteFile(page, []byte(head+begin+table+end+tail), 0o644)
	case old != table:
		return fmt.Errorf("%s says otherwise; where that is meant to be, run make bench-revocation BENCH_FLAGS=-update", page)
	}
	return nil
}
