//go:build interop

package s3conformance

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"testing"
)

// keepFor keeps the counts of a client's run, with -update, and writes the page.
func (l *lanesRun) keepFor(t *testing.T, client, module string, groups []group) {
	t.Helper()
	if !*update {
		return
	}
	all := result{}
	if text, err := os.ReadFile(resultPath); err == nil {
		if err := json.Unmarshal(text, &all); err != nil {
			t.Fatal(err)
		}
	}
	_, version := sourceOf(t, module)
	r := clientResult{Version: version}
	if groups == nil {
		groups = []group{{name: "full mode", together: slices.Sorted(maps.Keys(l.results["minio"]))}}
	}
	for _, g := range groups {
		row := groupRow{Name: g.name, Pass: map[string]int{}}
		for lane, outcomes := range l.results {
			cases, passed := 0, 0
			for _, name := range g.cases() {
				if o, ok := outcomes[name]; ok {
					cases++
					if o.Status == "pass" {
						passed++
					}
				}
			}
			if cases > 0 {
				row.Cases = max(row.Cases, cases)
				row.Pass[columnOf(lane)] = passed
			}
		}
		if row.Cases > 0 {
			r.Groups = append(r.Groups, row)
		}
	}
	all[client] = r
	text, err := json.MarshalIndent(all, "", " ")
	if err == nil {
		err = os.WriteFile(resultPath, append(text, '\n'), 0o644)
	}
	if err == nil {
		err = os.WriteFile(pagePath, []byte(page(t)), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// columnOf is the page's column of a lane.
func columnOf(lane string) string {
	switch lane {
	case "straight, versions", "minio, straight":
		return "straight"
	}
	return lane
}
