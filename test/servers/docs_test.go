package servers

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestTheDocumentsCommands runs docs/operations/state.md as it stands: every
// line of every block, in order, on a real configuration. Only the places are
// the test's own.
func TestTheDocumentsCommands(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/operations/state.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(text), "```sh\n")[1:]
	if len(blocks) < 8 {
		t.Fatalf("only %d blocks", len(blocks))
	}
	var script strings.Builder
	script.WriteString(`mkdir backup
exec carnet sso add --config carnet.yaml --name Corp --metadata idp.xml --accounts 111122223333 --roles '*' --domains example.com --administrators carnet-admins
exec carnet authority apply --config carnet.yaml authority.yaml
exec carnet server --config carnet.yaml &server&
ready
signin alice@example.com
kill -INT server
wait server
`)
	lines := 0
	for _, b := range blocks {
		block, _, _ := strings.Cut(b, "```")
		for _, line := range strings.Split(strings.TrimSpace(block), "\n") {
			lines++
			script.WriteString(step(line))
		}
	}
	t.Logf("%d lines in %d blocks", lines, len(blocks))
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "document.txtar"), []byte(script.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, scripts(t, dir))
}

// step turns one line of the document into lines of a script.
func step(line string) string {
	line = strings.NewReplacer("/etc/carnet/key-encryption-key", "keys/kek", "/etc/carnet/", "keys/", "/backup/", "backup/").Replace(line)
	program, _, _ := strings.Cut(line, " ")
	if program != "carnet" {
		return "exec sh -c '" + line + "'\n"
	}
	out := "exec " + line + " --config carnet.yaml\n"
	if strings.HasPrefix(line, "carnet state restore") || strings.HasPrefix(line, "carnet state import") {
		out = "exec rm -rf data\n" + out // "name a new database, or move the old file away"
	}
	return out
}
