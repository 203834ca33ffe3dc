//go:build interop

package engines

import (
	"testing"
)

// TestEngines runs the rows that -run picks, and keeps what came of them with -update.
func TestEngines(t *testing.T) {
	var shared *place
	here := func(t *testing.T) *place {
		t.Helper()
		return shared
	}
	runs := map[string]func(t *testing.T, p *place) string{}
	for id := range libraries {
		runs[id] = func(t *testing.T, p *place) string { return library(t, p, id) }
	}
	shared = open(t)
	for _, r := range table {
		run, ok := runs[r.id]
		if !ok {
			continue
		}
		t.Run(r.id, func(t *testing.T) {
			outcome := "fail"
			version := ""
			defer func() {
				if !t.Failed() {
					outcome = pass
				}
				keep(t, r.id, result{Outcome: outcome, Version: version})
			}()
			version = run(t, here(t))
		})
	}
}
