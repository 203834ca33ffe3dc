// Package agents runs the S3 clients that people have on a node, as a person who
// is attached there, and keeps what came of it: results.json, and
// docs/compatibility/agent.md, which is written from it. The runs are started by
// make interop-agent; what is kept is compared here. The drivers are those of
// test/clients.
package agents

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "keep what came of the runs, and write docs/compatibility/agent.md")

const (
	resultsFile = "results.json"
	page        = "../../docs/compatibility/agent.md"
)

// cell is what came of one client by one way. Outcome is pass, fail, or "client
// can't", Says the client's own words, and Why what is known of it.
type cell struct {
	Outcome string `json:"outcome"`
	Says    string `json:"says,omitempty"`
	Why     string `json:"why,omitempty"`
}

const (
	pass   = "pass"
	fail   = "fail"
	cannot = "client can't"
)

// kept is all that is known of one client.
type kept struct {
	Version string          `json:"version"`
	Ways    map[string]cell `json:"ways"`
}

// client is a row of the matrix.
type client struct{ id, title string }

// clients are the rows in their order.
var clients = []client{
	{"boto3", "boto3"},
	{"aws-v1", "aws CLI v1"},
	{"aws-v2", "aws CLI v2"},
	{"go", "AWS SDK for Go v2"},
	{"javascript", "AWS SDK for JavaScript v3"},
	{"java", "AWS SDK for Java 2.x"},
	{"polars", "polars"},
	{"polars-boto3", "polars beside boto3"},
	{"pyarrow", "pyarrow"},
	{"hadoop", "Hadoop S3A"},
	{"duckdb", "DuckDB"},
}

// way is a column: how keys, or signatures, come to the client.
type way struct{ id, title string }

var ways = []way{
	{"container", "Container endpoint"},
	{"imds", "IMDSv2"},
	{"process", "`credential_process`"},
	{"web-identity", "Token file"},
	{"proxy", "Signing proxy"},
}

func readResults(t *testing.T) map[string]*kept {
	t.Helper()
	text, err := os.ReadFile(resultsFile)
	if err != nil {
		t.Fatal(err)
	}
	var results map[string]*kept
	if err := json.Unmarshal(text, &results); err != nil {
		t.Fatal(err)
	}
	return results
}

// TestPage holds the page to what is kept, and what is kept to the table.
func TestPage(t *testing.T) {
	results := readResults(t)
	for _, c := range clients {
		k := results[c.id]
		if k == nil {
			t.Errorf("%s holds nothing of %s", resultsFile, c.id)
			continue
		}
		for _, w := range ways {
			if got := k.Ways[w.id]; got.Outcome == "" {
				t.Errorf("%s holds nothing of %s/%s", resultsFile, c.id, w.id)
			} else if got.Outcome == fail {
				t.Errorf("%s by %s fails: %s", c.title, w.title, got.Says)
			}
		}
	}
	if *update {
		if err := os.WriteFile(page, []byte(writePage(results)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(page)
	if want := writePage(results); err != nil || string(text) != want {
		t.Errorf("%s is not what %s says (%v): write it anew with go test ./test/agents -update", page, resultsFile, err)
	}
}

// writePage gives the page.
func writePage(results map[string]*kept) string {
	var b strings.Builder
	b.WriteString(head)
	var notes []string
	b.WriteString("| Client | Release |")
	for _, w := range ways {
		fmt.Fprintf(&b, " %s |", w.title)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(ways)) + "\n")
	for _, c := range clients {
		k := results[c.id]
		if k == nil {
			k = &kept{}
		}
		fmt.Fprintf(&b, "| %s | %s |", c.title, k.Version)
		for _, w := range ways {
			one := k.Ways[w.id]
			switch {
			case one.Outcome == "":
				b.WriteString(" not run |")
			case one.Says == "":
				fmt.Fprintf(&b, " %s |", one.Outcome)
			default:
				fmt.Fprintf(&b, " %s [%d] |", one.Outcome, number(&notes, c.title+": "+code(one.Says)+". "+one.Why))
			}
		}
		b.WriteString("\n")
	}
	if len(notes) > 0 {
		b.WriteString("\nIn the clients' own words:\n\n")
	}
	for i, text := range notes {
		fmt.Fprintf(&b, "%d. %s\n", i+1, text)
	}
	b.WriteString(foot)
	return b.String()
}

// number gives a note's number; one text has one.
func number(notes *[]string, text string) int {
	if i := slices.Index(*notes, text); i >= 0 {
		return i + 1
	}
	*notes = append(*notes, text)
	return len(*notes)
}

// code shows words as they are: between more backticks than they hold.
func code(text string) string {
	fence := "`"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	if fence == "`" {
		return fence + text + fence
	}
	return fence + " " + text + " " + fence
}
