package agent

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAgentHoldsNoServer walks everything that the agent imports of ours: no SQL, no
// IAM, no STS, and of the services binding alone.
func TestAgentHoldsNoServer(t *testing.T) {
	t.Parallel()
	const module = "carnet.dev/carnet/"
	root := filepath.Join("..", "..", "..")
	via := map[string]string{}
	var walk func(pkg, from string)
	walk = func(pkg, from string) {
		if _, ok := via[pkg]; ok {
			return
		}
		via[pkg] = from
		rest, ours := strings.CutPrefix(pkg, module)
		if !ours {
			return
		}
		files, err := os.ReadDir(filepath.Join(root, filepath.FromSlash(rest)))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
				continue
			}
			tree, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, filepath.FromSlash(rest), f.Name()), nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, im := range tree.Imports {
				walk(strings.Trim(im.Path.Value, `"`), pkg)
			}
		}
	}
	walk(module+"internal/app/agent", "")
	if len(via) < 30 {
		t.Fatalf("only %d packages were seen: the rule holds nothing", len(via))
	}
	for pkg, from := range via {
		rest, ours := strings.CutPrefix(pkg, module+"internal/")
		switch {
		case strings.HasPrefix(pkg, "database/sql"), strings.HasPrefix(pkg, "modernc.org/"), strings.HasPrefix(pkg, "github.com/jackc/"):
			t.Errorf("%s imports %s: the agent keeps nothing in a database", from, pkg)
		case ours && strings.HasPrefix(rest, "edge/sql"):
			t.Errorf("%s imports %s: the agent keeps nothing in a database", from, pkg)
		case ours && strings.HasPrefix(rest, "service/") && rest != "service/binding":
			t.Errorf("%s imports %s: what a node may have is decided at the server", from, pkg)
		case ours && (strings.HasPrefix(rest, "edge/awsapi") || strings.HasPrefix(rest, "edge/iamapi") || strings.HasPrefix(rest, "edge/upstream/stsclient") || rest == "app/server"):
			t.Errorf("%s imports %s: the agent holds no IAM and no STS", from, pkg)
		}
	}
}
