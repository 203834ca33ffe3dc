//go:build interop

package revocationbench

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// usual is how many rounds the page rests on.
const usual = 100

var (
	rounds    = flag.Int("rounds", usual, "rounds of each kind; delegations have a half, what takes everybody out a fifth")
	kindsFlag = flag.String("kinds", "", "regular expression of the kinds to measure; the page is left alone where it leaves some out")
	out       = flag.String("out", "", "file for the figures")
	update    = flag.Bool("update", false, "write docs/operations/revocation.md anew")
)

// TestBenchRevocation fails where anything is permitted for longer than the bound, or
// again after it was refused, and where a kind measured nothing.
func TestBenchRevocation(t *testing.T) {
	picked, err := regexp.Compile(*kindsFlag)
	if err != nil {
		t.Fatal(err)
	}
	w := start(t)
	w.others(t)
	var text strings.Builder
	results, all := map[string]map[string][]outcome{}, true // by kind and place
	for _, k := range kinds() {
		if !picked.MatchString(k.name) {
			all = false
			continue
		}
		began := time.Now()
		by := w.run(t, k, k.rounds(*rounds))
		results[k.name] = by
		part := fmt.Sprintf("%s: %d rounds in %s\n%s", k.name, k.rounds(*rounds), time.Since(began).Round(time.Second), figures(by))
		t.Logf("\n%s", part)
		text.WriteString(part)
		keep(t, text.String())
		if len(by) == 0 {
			t.Errorf("%s: nothing was measured", k.name)
		}
		for _, place := range places {
			if verdict(by[place]) == failed {
				t.Errorf("%s: %s fails", k.name, place)
			}
		}
	}
	if all && (*update || *rounds == usual) {
		if err := write(table(results), *update); err != nil {
			t.Error(err)
		}
	}
}

// keep writes the figures so far to the file that was asked for.
func keep(t *testing.T, text string) {
	t.Helper()
	if *out == "" {
		return
	}
	if err := os.WriteFile(*out, []byte(text), 0o644); err != nil {
		t.Error(err)
	}
}

// run measures one kind.
func (w *world) run(t *testing.T, k kind, n int) map[string][]outcome {
	t.Helper()
	by := map[string][]outcome{}
	for i := range n {
		w.administrator(t)
		r := &round{world: w, t: t, kind: k.name, number: i, at: i % len(w.Servers()), seats: map[*seat]bool{}}
		k.setUp(r)
		all, err := r.measure()
		for _, by := range w.clients {
			by.CloseIdleConnections()
		}
		w.clients = nil
		if err != nil {
			t.Errorf("%s, round %d: %v", k.name, i, err)
			continue
		}
		if r.after != nil {
			if err := r.after(); err != nil {
				t.Fatal(err)
			}
		}
		for _, o := range all {
			if o.trouble != "" {
				t.Errorf("%s, round %d: %s at %s: %s", k.name, i, o.place, o.where, o.trouble)
			}
			by[o.place] = append(by[o.place], o)
		}
	}
	return by
}
