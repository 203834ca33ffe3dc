//go:build interop

package faults

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of the page anew")

const (
	pageFile = "../../docs/operations/faults.md"
	from     = "<!-- faults: begin -->\n"
	to       = "<!-- faults: end -->\n"
)

// onThePage writes the table, or holds it to what was found.
func onThePage(t *testing.T, verdicts []verdict) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "| What breaks | %s |\n|---|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
	for _, v := range verdicts {
		fmt.Fprintf(&b, "| %s |", v.says)
		for _, c := range columns {
			cell := "pass"
			if len(v.wrong[c]) > 0 {
				cell = "**fail**"
			}
			fmt.Fprintf(&b, " %s |", cell)
		}
		b.WriteString("\n")
	}
	text, err := os.ReadFile(pageFile)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), from)
	old, tail, ok2 := strings.Cut(rest, to)
	if !ok || !ok2 {
		t.Fatalf("%s lacks the marks of the table", pageFile)
	}
	if old == b.String() {
		return
	}
	if !*update {
		t.Errorf("%s says otherwise; make faults FAULTS_FLAGS=-update writes it anew:\n%s", pageFile, &b)
		return
	}
	if err := os.WriteFile(pageFile, []byte(head+from+b.String()+to+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}
