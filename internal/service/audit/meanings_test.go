package audit_test

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/service/audit"
)

// named collects the names of events from the source of one folder: what Action is
// set to, and what is given for a parameter that is called action.
type named struct {
	files []*ast.File
	set   *token.FileSet
	takes map[string]int // functions of the folder with such a parameter, and its place
	found map[string]string
	odd   []string // what can't be followed
}

const action = "action"

func (n *named) collect() {
	for _, f := range n.files {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				at := 0
				for _, p := range fn.Type.Params.List {
					for _, name := range p.Names {
						if name.Name == action {
							n.takes[fn.Name.Name] = at
						}
						at++
					}
				}
			}
		}
	}
	for _, f := range n.files {
		ast.Inspect(f, func(x ast.Node) bool {
			switch x := x.(type) {
			case *ast.CompositeLit:
				if isEvent(x.Type) {
					for _, e := range x.Elts {
						if kv, ok := e.(*ast.KeyValueExpr); ok && isName(kv.Key, "Action") {
							n.value(kv.Value, true)
						}
					}
				}
			case *ast.CallExpr:
				if at, ok := n.takes[callee(x)]; ok && at < len(x.Args) {
					n.value(x.Args[at], false)
				}
			case *ast.ValueSpec:
				for i, name := range x.Names {
					if strings.HasPrefix(name.Name, "Action") && i < len(x.Values) {
						n.value(x.Values[i], false)
					}
				}
			case *ast.AssignStmt:
				for i, left := range x.Lhs {
					sel, ok := left.(*ast.SelectorExpr)
					if i < len(x.Rhs) && (isName(left, action) || ok && sel.Sel.Name == "Action" && (isName(sel.X, "e") || isName(sel.X, "record"))) {
						n.value(x.Rhs[i], !isName(left, action))
					}
				}
			}
			return true
		})
	}
}

func isEvent(t ast.Expr) bool {
	if sel, ok := t.(*ast.SelectorExpr); ok {
		return isName(sel.X, "event") && sel.Sel.Name == "Event"
	}
	return isName(t, "Event")
}

func isName(x ast.Expr, name string) bool {
	id, ok := x.(*ast.Ident)
	return ok && id.Name == name
}

func callee(c *ast.CallExpr) string {
	switch f := c.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}

// value notes a name, or the beginning of names; must says that it has to be one.
func (n *named) value(x ast.Expr, must bool) {
	at := n.set.Position(x.Pos()).String()
	switch x := x.(type) {
	case *ast.BasicLit:
		if text, err := strconv.Unquote(x.Value); err == nil {
			n.found[text] = at
		}
		return
	case *ast.BinaryExpr:
		if left, ok := x.X.(*ast.BasicLit); ok {
			text, _ := strconv.Unquote(left.Value)
			n.found[text+"*"] = at
			return
		}
	case *ast.Ident:
		if x.Name == action || strings.HasPrefix(x.Name, "Action") {
			return // its own value is followed; the constants stand in the table by name
		}
	}
	if must {
		n.odd = append(n.odd, at)
	}
}

// namesInSource walks the whole program.
func namesInSource(t *testing.T) (found map[string]string, odd []string) {
	t.Helper()
	folders := map[string][]string{}
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
			folders[filepath.Dir(path)] = append(folders[filepath.Dir(path)], path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	found = map[string]string{}
	for _, folder := range slices.Sorted(maps.Keys(folders)) {
		n := named{set: token.NewFileSet(), takes: map[string]int{}, found: found}
		uses := false
		for _, path := range folders[folder] {
			f, err := parser.ParseFile(n.set, path, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			n.files = append(n.files, f)
			for _, i := range f.Imports {
				uses = uses || strings.HasSuffix(i.Path.Value, `core/event"`)
			}
		}
		if uses {
			n.collect()
			odd = append(odd, n.odd...)
		}
	}
	return found, odd
}

// TestEveryEventHasAMeaning: the list of names is closed. A new event needs a row in
// Meanings, and a row whose event is gone has to go.
func TestEveryEventHasAMeaning(t *testing.T) {
	t.Parallel()
	found, odd := namesInSource(t)
	used := map[string]bool{}
	for name, at := range found {
		if name == "" || strings.Contains(name, ":") {
			continue // none, or an action of a policy, in a parameter of the same name
		}
		m := audit.MeaningOf(name)
		if m.Name == "" {
			t.Errorf("%s: events are called %q, which stands not in Meanings (internal/service/audit/meanings.go): add a row, and run go test ./internal/service/audit -update", at, name)
		}
		used[m.Name] = true
	}
	for _, at := range odd {
		t.Errorf("%s: the name of this event can't be found out by reading", at)
	}
	seen := map[string]bool{}
	for _, m := range audit.Meanings() {
		if seen[m.Name] {
			t.Errorf("%s stands twice in Meanings", m.Name)
		}
		seen[m.Name] = true
		if !used[m.Name] {
			t.Errorf("nothing writes events called %s", m.Name)
		}
		if m.Means == "" {
			t.Errorf("%s has no meaning", m.Name)
		}
	}
}

var update = flag.Bool("update", false, "write the generated part of docs/operations/audit.md")

// TestMeaningsAreDocumented: the table of docs/operations/audit.md is this list.
func TestMeaningsAreDocumented(t *testing.T) {
	t.Parallel()
	const path, begin, end = "../../../docs/operations/audit.md", "-update` -->\n", "<!-- end of events -->"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), begin)
	_, after, also := strings.Cut(rest, end)
	if !ok || !also {
		t.Fatal("the marks of the table are gone")
	}
	var table strings.Builder
	table.WriteString("\n| Event | What happened | It has | CloudTrail |\n|---|---|---|---|\n")
	for _, m := range audit.Meanings() {
		table.WriteString("| `" + m.Name + "` | " + m.Means + " | " + m.Has + " | " + m.AWS + " |\n")
	}
	table.WriteString("\n")
	want := before + begin + table.String() + end + after
	if want == string(b) {
		return
	}
	if !*update {
		t.Fatal("docs/operations/audit.md has another table: go test ./internal/service/audit -run Meaning -update")
	}
	if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}
