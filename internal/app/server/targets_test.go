package server_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/service/audit"
)

// exported reads JSON lines; all must be whole.
func exported(t *testing.T, text string) (all []audit.Document) {
	t.Helper()
	for line := range strings.Lines(text) {
		d := json.NewDecoder(bytes.NewReader([]byte(line)))
		d.DisallowUnknownFields()
		var one audit.Document
		if err := d.Decode(&one); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all = append(all, one)
	}
	return all
}

// TestFileTarget: what the commands and the server record stands in the file, in
// order, over a restart, once.
func TestFileTarget(t *testing.T) {
	t.Parallel()
	in := install(t, replace("buckets:", "audit: {targets: [{name: archive, kind: file, file: audit.jsonl}]}\nbuckets:"))
	in.must(t, "admin", "recover") // makes the database
	if out := in.must(t, "audit", "targets"); !strings.Contains(out, "archive  file  last taken never") || !strings.Contains(out, "fed by no server") {
		t.Errorf("before the first start: %s", out)
	}
	for range 2 {
		server := in.serve(t)
		in.must(t, "admin", "recover")
		soon(t, "the records to be in the file", func() bool {
			return strings.Contains(in.must(t, "audit", "targets"), "  0 records behind  fed by aud_")
		})
		server.stop()
	}
	if out := in.must(t, "audit", "targets"); !strings.Contains(out, "fed by no server") {
		t.Errorf("after the end: %s", out)
	}
	all := exported(t, in.read(t, "audit.jsonl"))
	ends := map[string]int64{}
	for _, d := range all {
		if ends[d.Chain.Writer]++; d.Chain.Seq != ends[d.Chain.Writer] {
			t.Errorf("record %s stands behind number %d", d.EventID, ends[d.Chain.Writer]-1)
		}
	}
	if n := len(exported(t, in.must(t, "audit", "export"))); n < len(all) || len(all) < 2 {
		t.Errorf("%d records in the file, %d in the database", len(all), n)
	}
}
