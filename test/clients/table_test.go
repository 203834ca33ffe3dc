// Package clients runs the S3 clients that people have against the gateway, and
// keeps what came of it: results.json, and docs/compatibility/gateway.md, which
// is written from it. The runs are started by make interop-clients; what is
// kept is compared here.
package clients

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "keep what came of the runs, and write docs/compatibility/gateway.md")

const (
	resultsFile = "results.json"
	page        = "../../docs/compatibility/gateway.md"
)

// cell is what came of one operation in one run. Outcome is pass, fail, or
// "client can't", and Says the client's own words. Lost are the odd key names
// that a client can't say, with its words for each.
type cell struct {
	Outcome string            `json:"outcome"`
	Says    string            `json:"says,omitempty"`
	Lost    map[string]string `json:"lost,omitempty"`
}

const (
	pass   = "pass"
	fail   = "fail"
	cannot = "client can't"
)

// kept is all that is known of one client.
type kept struct {
	Version string                     `json:"version"`
	Runs    map[string]map[string]cell `json:"runs"` // by "https/session", then by operation
}

// client is a row of the matrix.
type client struct {
	id    string // of the subtest
	title string
	// distribution says that its release is the distribution's, so it may differ
	// from machine to machine.
	distribution bool
	ca           string // the variable that names a CA to it; empty: its driver sets it
}

// clients are the rows in their order.
var clients = []client{
	{id: "boto3", title: "boto3"},
	{id: "aws-v1", title: "aws CLI v1"},
	{id: "aws-v2", title: "aws CLI v2"},
	{id: "aws-debian", title: "aws CLI v2 of Debian", distribution: true},
	{id: "go", title: "AWS SDK for Go v2", ca: "AWS_CA_BUNDLE"},
	{id: "javascript", title: "AWS SDK for JavaScript v3", ca: "NODE_EXTRA_CA_CERTS"},
	{id: "java", title: "AWS SDK for Java 2.x"},
	{id: "minio-go", title: "minio-go"},
	{id: "rclone", title: "rclone", distribution: true},
	{id: "s3cmd", title: "s3cmd", distribution: true},
	{id: "duckdb", title: "DuckDB httpfs"},
	{id: "pyarrow", title: "pyarrow"},
	{id: "polars", title: "polars", ca: "SSL_CERT_FILE"},
	{id: "s3fs", title: "s3fs"},
	{id: "hadoop", title: "Hadoop S3A"},
}

var (
	schemes    = []string{"http", "https"}
	keyKinds   = []string{"session", "static"}
	operations = []string{"put", "stream", "multipart", "copy", "presign", "list", "odd"}
)

var oddNames = []string{
	"with space.csv", "plus+plus.csv", "percent%.csv", "percent%41%2F.csv", "ünïcödé/日本語.csv", "hash#hash.csv", "question?mark=1.csv", "amper&sand.csv",
	"quote'quote.csv", `double"quote.csv`, "year=2025/month=01.csv", "colon:colon.csv", "~tilde~.csv", "trailing./dots..", "emoji🦊.csv", "0123 digits.csv",
	"comma,semi;at@dollar$bang!(paren).csv", "[square]{curly}<angle>|pipe^`.csv", "star*.csv", `back\slash.csv`,
	"long/" + strings.Repeat(strings.Repeat("x", 199)+"/", 4) + strings.Repeat("y", 171) + ".csv",
}

func readResults(t *testing.T) map[string]*kept {
	t.Helper()
	text, err := os.ReadFile(resultsFile)
	if err != nil {
		t.Fatal(err)
	}
	results := map[string]*kept{}
	if err := json.Unmarshal(text, &results); err != nil {
		t.Fatal(err)
	}
	return results
}

// TestPage holds the page to the results, and the results to all cells.
func TestPage(t *testing.T) {
	results := readResults(t)
	for _, c := range clients {
		for _, scheme := range schemes {
			for _, keys := range keyKinds {
				for _, op := range operations {
					if results[c.id] == nil || results[c.id].Runs[scheme+"/"+keys][op].Outcome == "" {
						t.Errorf("%s holds nothing of %s/%s/%s/%s", resultsFile, c.id, scheme, keys, op)
					}
				}
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
		t.Errorf("%s is not what %s says (%v): write it anew with go test ./test/clients -update", page, resultsFile, err)
	}
}

// writePage gives the page.
func writePage(results map[string]*kept) string {
	var b strings.Builder
	b.WriteString(head)
	n := &notes{}
	b.WriteString("| Client | Release | Put | Stream | Multipart | Copy | Presign | List 10,000 | Odd keys |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, c := range clients {
		k := results[c.id]
		if k == nil {
			k = &kept{}
		}
		fmt.Fprintf(&b, "| %s | %s |", c.title, k.Version)
		for _, op := range operations {
			fmt.Fprintf(&b, " %s |", n.cellText(c, k, op))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n" + notesHead)
	for i, text := range n.texts {
		fmt.Fprintf(&b, "%d. %s\n", i+1, text)
	}
	b.WriteString(foot)
	return b.String()
}

// notes are what stands below the table; one text has one number.
type notes struct{ texts []string }

func (n *notes) number(text string) int {
	if i := slices.Index(n.texts, text); i >= 0 {
		return i + 1
	}
	n.texts = append(n.texts, text)
	return len(n.texts)
}

// cellText speaks of the four runs of an operation: one word where they agree.
func (n *notes) cellText(c client, k *kept, op string) string {
	var order []string
	runs := map[string][]string{} // by what is said of them
	for _, scheme := range schemes {
		for _, keys := range keyKinds {
			text := n.outcome(c, k.Runs[scheme+"/"+keys][op])
			if _, known := runs[text]; !known {
				order = append(order, text)
			}
			runs[text] = append(runs[text], scheme+" with "+keys+" keys")
		}
	}
	if len(order) == 1 {
		return order[0]
	}
	var parts []string
	for _, text := range order {
		parts = append(parts, shorter(runs[text])+": "+text)
	}
	return strings.Join(parts, "; ")
}

// shorter says "http" for both kinds of keys over http.
func shorter(runs []string) string {
	text := strings.Join(runs, ", ")
	for _, scheme := range schemes {
		text = strings.ReplaceAll(text, scheme+" with session keys, "+scheme+" with static keys", scheme)
	}
	return text
}

func (n *notes) outcome(c client, one cell) string {
	switch {
	case one.Outcome == "":
		return "not run"
	case len(one.Lost) > 0:
		var marks []string
		for _, name := range oddNames {
			if says, lost := one.Lost[name]; lost {
				marks = append(marks, fmt.Sprint(n.number(code(clip(name))+" by "+c.title+": "+code(says))))
			}
		}
		return one.Outcome + " but [" + strings.Join(marks, ", ") + "]"
	case one.Says != "":
		return one.Outcome + " [" + fmt.Sprint(n.number(c.title+": "+code(one.Says))) + "]"
	}
	return one.Outcome
}

func clip(name string) string {
	if len(name) > 60 {
		return name[:60] + "…"
	}
	return name
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
