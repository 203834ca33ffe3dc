// Package engines runs engines and libraries with people's keys, two people on the same
// machines at the same time, and keeps what came of it: results.json, and
// docs/compatibility/engines.md, which is written from it. The runs are started by make
// engines; what is kept is compared here.
package engines

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "keep what came of the runs, and write docs/compatibility/engines.md")

const (
	resultsFile = "results.json"
	page        = "../../docs/compatibility/engines.md"
	pass        = "pass"
)

// result is what came of a row: pass or fail.
type result struct {
	Outcome string `json:"outcome"`
	Version string `json:"version"`
}

// row is a line of the table.
type row struct {
	id       string // of the subtest
	title    string
	boundary string
	what     string
}

const (
	process = "process per person"
	shared  = "shared engine"
)

// table are the rows in their order.
var table = []row{
	{"spark-local", "Spark, local", process, "S3A by `ContainerCredentialsProvider` and by `IAMInstanceCredentialsProvider`: each person reads and writes their own, at the same time; old calls (`hadoopFile`, `hadoopRDD`, `textFile`), files and jars from S3 sent to executors, files of the machine"},
	{"spark-cluster", "Spark, standalone cluster of two workers", process, "two machines; driver, workers and executors of each person under their uid, both people's jobs at the same time; a stranger's job is refused by master and worker"},
	{"spark-long", "Spark, a job longer than its keys", process, "one write job goes on past the end of the keys with which it began, which are then refused"},
	{"spark-stream", "Spark, Structured Streaming", process, "a stream with its checkpoints in S3 goes on past the end of several keys, and loses nothing"},
	{"spark-connect", "Spark Connect, one shared server", shared, "each connection with its person's gateway key; clients' code, files of the server and data kept for others are refused"},
	{"trino", "Trino, one shared server", shared, "the security mapping comes from the agent of the machine, with a gateway key for each who is attached there; sign-in by password"},
	{"duckdb", "DuckDB", process, "SQL over CSV and Parquet with the block of `carnet configure --for duckdb`"},
	{"pyarrow", "pyarrow", process, "CSV, Parquet and a dataset"},
	{"polars", "polars", process, "a scan and a write with the block of `carnet configure --for polars`"},
	{"deltalake", "delta-rs", process, "a Delta table: written, appended, read at a version"},
	{"pandas", "pandas", process, "CSV and Parquet by s3fs"},
	{"mlflow", "MLflow", process, "artifacts of a run in S3: logged and downloaded"},
}

func readResults(t *testing.T) map[string]result {
	t.Helper()
	text, err := os.ReadFile(resultsFile)
	if err != nil {
		t.Fatal(err)
	}
	results := map[string]result{}
	if err := json.Unmarshal(text, &results); err != nil {
		t.Fatal(err)
	}
	return results
}

// keep stores what came of a row, where asked to.
func keep(t *testing.T, id string, r result) {
	t.Helper()
	if !*update {
		return
	}
	results := readResults(t)
	results[id] = r
	text, err := json.MarshalIndent(results, "", "\t")
	if err == nil {
		err = os.WriteFile(resultsFile, append(text, '\n'), 0o644)
	}
	if err == nil {
		err = os.WriteFile(page, []byte(writePage(results)), 0o644)
	}
	if err != nil {
		t.Error(err)
	}
}

// TestPage holds the page to the results, and the results to all rows.
func TestPage(t *testing.T) {
	results := readResults(t)
	if *update {
		if err := os.WriteFile(page, []byte(writePage(results)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range table {
		if results[r.id].Outcome != pass {
			t.Errorf("%s: %s is %q", resultsFile, r.id, results[r.id].Outcome)
		}
	}
	text, err := os.ReadFile(page)
	if want := writePage(results); err != nil || string(text) != want {
		t.Errorf("%s is not what %s says (%v): write it anew with make engines ENGINE_FLAGS=-update", page, resultsFile, err)
	}
}

// writePage gives the page.
func writePage(results map[string]result) string {
	var b strings.Builder
	b.WriteString(head)
	b.WriteString("| Engine | Release | Boundary | What was run | Result |\n|---|---|---|---|---|\n")
	for _, r := range table {
		k := results[r.id]
		if k.Outcome == "" {
			k.Outcome, k.Version = "not run", ""
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", r.title, k.Version, r.boundary, r.what, k.Outcome)
	}
	b.WriteString(foot)
	return b.String()
}

const head = `# Engines

Made by ` + "`make engines ENGINE_FLAGS=-update`" + `. In every row two people, alice and bob, work on the same machines at the same time. **pass**: each read all of
their own data, wrote and read it back, and was refused what belongs to the other, in the engine's own words; and what else the row says.

`

const foot = `
What the two boundaries promise, and what they don't: [engines](../use/engines.md). The programs stand in [test/engines](../../test/engines). S3 is Carnet's gateway before
its own store, the keys are role keys by the agent of the machine or, in shared engines, gateway keys. Spark runs with the modules of AWS's SDK that S3A needs, of the release
that its Hadoop was built with. Trino's tables are known to a metastore in a local folder.
`
