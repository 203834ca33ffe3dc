package s3conformance

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

const (
	pagePath   = "../../docs/compatibility/s3-conformance.md"
	resultPath = "result.json"
)

// result is what the last kept run came to, by client.
type result map[string]clientResult

type clientResult struct {
	Version string     `json:"version"`
	Groups  []groupRow `json:"groups"`
}

// groupRow counts one group of cases: how many there are, and how many pass in
// each lane. A lane that did not run the group is absent.
type groupRow struct {
	Name  string         `json:"name"`
	Cases int            `json:"cases"`
	Pass  map[string]int `json:"pass"`
}

// TestPageIsGenerated holds the page equal to the kept result and the list.
func TestPageIsGenerated(t *testing.T) {
	want := page(t)
	if got, err := os.ReadFile(pagePath); err != nil || string(got) != want {
		t.Errorf("docs/compatibility/s3-conformance.md is not what result.json and allowed.tsv give (%v): make conformance-s3 S3_FLAGS=-update writes it", err)
	}
}

// page writes the page.
func page(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(resultPath)
	if err != nil {
		t.Fatal(err)
	}
	var all result
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	list, err := parseAllowed(allowedText)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString(pageHead)
	table(&b, "versitygw's test client", all["versitygw"], []string{"straight", "static", "session", "embedded", "versions"})
	table(&b, "minio-go's functional tests", all["minio-go"], []string{"straight", "minio", "minio-session"})
	b.WriteString("\n## What may fail\n\nEach case below passes straight at the store and does not through the gateway, for the reason given. A case that passes here although it is listed fails the run.\n")
	var reasons []string
	for _, e := range list {
		if !slices.Contains(reasons, e.reason) {
			reasons = append(reasons, e.reason)
		}
	}
	slices.Sort(reasons)
	for _, reason := range reasons {
		fmt.Fprintf(&b, "\n**%s**\n\n", reason)
		var names []string
		for _, e := range list {
			if e.reason != reason {
				continue
			}
			name := "`" + e.name + "`"
			if where := e.lanes; len(where) > 0 {
				name += " (" + strings.Join(where, ", ") + ")"
			}
			if e.flaky {
				name += " (now and then)"
			}
			names = append(names, name)
		}
		b.WriteString(strings.Join(names, ", ") + "\n")
	}
	return b.String()
}

func table(b *strings.Builder, title string, r clientResult, columns []string) {
	fmt.Fprintf(b, "\n## %s, %s\n\n| Group | Cases | %s |\n|---|---:|%s\n", title, r.Version, strings.Join(columns, " | "), strings.Repeat("---:|", len(columns)))
	total, sums := 0, map[string]int{}
	row := func(name string, cases int, pass map[string]int) {
		fmt.Fprintf(b, "| %s | %d |", name, cases)
		for _, c := range columns {
			if n, ok := pass[c]; ok {
				fmt.Fprintf(b, " %d |", n)
			} else {
				b.WriteString(" |")
			}
		}
		b.WriteString("\n")
	}
	for _, g := range r.Groups {
		row(g.Name, g.Cases, g.Pass)
		total += g.Cases
		for lane, n := range g.Pass {
			sums[lane] += n
		}
	}
	row("**all**", total, sums)
}

const pageHead = `# S3 conformance

Made by ` + "`make conformance-s3 S3_FLAGS=-update`" + `. Two test clients that others wrote run straight at a store and through the gateway in front of the same kind of store; what passes straight has to pass through the gateway. The store is versitygw on a
folder. The numbers are cases that pass.

| Column | Is |
|---|---|
| straight | the store itself |
| static, minio | the gateway in front of that store, with an IAM user's access key |
| session, minio-session | the same with a role's temporary keys. The clients have no field for a session token: a small proxy of the test adds it and signs again. The groups about signatures themselves are not run so |
| embedded | the gateway in front of its own embedded store, with an IAM user's access key |
| versions | the gateway in front of a store that keeps versions; straight is that store |
`
