package servers

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestTheDocumentsCommands runs pages on operating Carnet as they stand: every
// line of every block, in order, on a real configuration. Only the places are
// the test's own.
func TestTheDocumentsCommands(t *testing.T) {
	t.Parallel()
	const enter = "exec carnet sso add --config carnet.yaml --name Corp --metadata idp.xml --accounts 111122223333 --roles '*' --domains example.com --administrators carnet-admins\n"
	const serve = "exec carnet server --config carnet.yaml &server&\nready\nsignin alice@example.com\nkill -INT server\nwait server\n"
	for _, page := range []struct {
		name          string
		blocks        int // at least
		before, after string
	}{
		{"state", 8, "mkdir backup\n" + enter + "exec carnet authority apply --config carnet.yaml authority.yaml\n" + serve, ""},
		{"clusters", 4, enter + strings.Replace(serve, "signin alice@example.com\n", "signin alice@example.com\nsignin bob@example.com\n", 1), ""},
		{"jobs", 2, enter, ""},
		{"provisioning", 4, enter + serve, ""},
		{"audit", 4, enter + serve + "exec carnet audit export --from 720h --file audit.jsonl --config carnet.yaml\n", "exec carnet audit verify --config carnet.yaml\n"},
		{"single-sign-on", 7, "", serve}, // what was set and taken back leaves a sign-in that works
	} {
		t.Run(page.name, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile("../../docs/operations/" + page.name + ".md")
			if err != nil {
				t.Fatal(err)
			}
			blocks := strings.Split(string(text), "```sh\n")[1:]
			if len(blocks) < page.blocks {
				t.Fatalf("only %d blocks", len(blocks))
			}
			var script strings.Builder
			script.WriteString(page.before)
			lines := 0
			for _, b := range blocks {
				block, _, _ := strings.Cut(b, "```")
				for _, line := range strings.Split(strings.TrimSpace(block), "\n") {
					lines++
					script.WriteString(step(line))
				}
			}
			script.WriteString(page.after)
			t.Logf("%d lines in %d blocks", lines, len(blocks))
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "document.txtar"), []byte(script.String()), 0o600); err != nil {
				t.Fatal(err)
			}
			testscript.Run(t, scripts(t, dir))
		})
	}
}

// step turns one line of the document into lines of a script.
func step(line string) string {
	if strings.Contains(line, " --oidc https://") {
		return throughOpenID(line)
	}
	line = strings.NewReplacer("/etc/carnet/key-encryption-key", "keys/kek", "/etc/carnet/", "keys/", "/backup/", "backup/", "/var/log/carnet/", "").Replace(line)
	program, _, _ := strings.Cut(line, " ")
	if strings.HasPrefix(line, "carnet setup ") { // asks no database
		return "exec " + line + "\n"
	}
	if program != "carnet" {
		return "exec sh -c '" + line + "'\n"
	}
	out := "exec " + line + " --config carnet.yaml\n"
	if strings.HasPrefix(line, "carnet state restore") || strings.HasPrefix(line, "carnet state import") {
		out = "exec rm -rf data\n" + out // "name a new database, or move the old file away"
	}
	return out
}
