//go:build interop

package interop

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCommandsOfTheDocs runs every sh and python block of the pages that people
// follow, as bob, who holds the roles that they name; what is
// for administrators, as carol. Names of hosts are put in
// the place of those of the pages; nothing else is changed.
func TestCommandsOfTheDocs(t *testing.T) {
	w := start(t)
	bob, carol := w.arrive(t, "bob"), w.arrive(t, "carol")
	report := filepath.Join(bob.home, "report.py")
	if err := os.WriteFile(report, []byte("import boto3, os\nprint(os.environ['AWS_SESSION_TOKEN'][:1])\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, page := range []string{"cli.md", "use/aws-cli.md", "use/python.md", "use/bridge.md", "use/browser-uploads.md"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "docs", page))
		if err != nil {
			t.Fatal(err)
		}
		blocks := 0
		for _, part := range strings.Split(string(text), "\n```")[1:] {
			language, body, _ := strings.Cut(part, "\n")
			body = strings.ReplaceAll(body, "https://s3.example.com:8481", w.AWS)
			var o outcome
			switch language {
			case "sh":
				who := bob
				if strings.Contains(body, "--administrator ") {
					who = carol
				}
				o = who.run(nil, "bash", "-euc", signedInAlready(t, w, body))
			case "python":
				o = bob.run(map[string]string{"AWS_ENDPOINT_URL_S3": w.AWS, "AWS_PROFILE": "analytics-analyst"}, "python", "-c", body)
			default:
				continue
			}
			blocks++
			if o.code != 0 {
				t.Errorf("docs/%s: exit %d for\n%s\n%s%s", page, o.code, body, o.out, o.err)
			}
		}
		if blocks == 0 {
			t.Errorf("docs/%s holds no block to run", page)
		}
	}
}

// signedInAlready takes the login line out: signing in needs the browser, and
// arrive has done it with the same command.
func signedInAlready(t *testing.T, w *world, body string) string {
	t.Helper()
	var lines []string
	for _, line := range strings.Split(body, "\n") {
		if line == "carnet login --server https://carnet.example.com" {
			continue
		}
		if strings.Contains(line, "example.com") && !strings.Contains(line, " --issuer https://carnet.example.com/oidc ") {
			t.Fatalf("%q names a host that this test can't replace", line)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}
