package server_test

import (
	"os"
	"strings"
	"testing"
)

// commandsOf gives the commands of a page's sh blocks, one a line, without "carnet".
func commandsOf(t *testing.T, page string) (all [][]string) {
	t.Helper()
	text, err := os.ReadFile("../../../docs/" + page)
	if err != nil {
		t.Fatal(err)
	}
	inside := false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "```") {
			inside = line == "```sh"
			continue
		}
		if words := strings.Fields(line); inside && len(words) > 1 && words[0] == "carnet" {
			all = append(all, words[1:])
		}
	}
	return all
}

// TestThePageOfAttachments runs the commands of docs/operations/attachments.md.
func TestThePageOfAttachments(t *testing.T) {
	t.Parallel()
	w := newMachineWorld(t)
	all := commandsOf(t, "operations/attachments.md")
	if len(all) < 5 {
		t.Fatalf("the page has %d commands", len(all))
	}
	for _, args := range all {
		w.must(t, args...)
	}
}
