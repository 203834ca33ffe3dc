//go:build interop

package engines

import (
	"testing"
)

// TestEngines runs the rows that -run picks, and keeps what came of them with -update.
func TestEngines(t *testing.T) {
	usual, short := once(t), once(t, "--key-lifetime", life.String())
	type run struct {
		where func() *place
		do    func(t *testing.T, p *place) string // gives the release of the engine
	}
	runs := map[string]run{
		"spark-local":   {usual, sparkLocal},
		"spark-cluster": {usual, sparkCluster},
		"spark-connect": {usual, sparkConnect},
		"trino":         {usual, trino},
		"spark-long":    {short, sparkLong},
		"spark-stream":  {short, sparkStream},
	}
	for id := range libraries {
		runs[id] = run{usual, func(t *testing.T, p *place) string { return library(t, p, id) }}
	}
	for _, r := range table {
		t.Run(r.id, func(t *testing.T) {
			now := result{Outcome: "fail"}
			defer func() {
				if !t.Failed() {
					now.Outcome = pass
				}
				keep(t, r.id, now)
			}()
			now.Version = runs[r.id].do(t, runs[r.id].where())
		})
	}
}

// once opens a place when the first row wants it; it goes with the whole test.
func once(t *testing.T, dev ...string) func() *place {
	var p *place
	return func() *place {
		if p == nil {
			p = open(t, dev...)
		}
		return p
	}
}
