// Package limits holds docs/limits.md: what the system that Carnet succeeds could
// not do, and what became of it here. The rows are data (limits.json). A row that is
// lifted or kept names the tests that hold it; a kept one has the error that people
// see, which has to stand in the program, and in the package of a named test.
package limits

import (
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/limits.md")

const (
	root = "../../"
	page = root + "docs/limits.md"
)

const head = `# Limits of the old system, and of this one

Databricks' credential passthrough had limits: those of its page, and those that people met. Each has a row. Generated from [limits.json](../test/limits/limits.json) by ` + "`go test ./test/limits -update`" + `,
which also sees to it that each test exists and that each error is the program's.

- **lifted**: it works here. The tests show it.
- **kept**: it holds here too, for the reason given; you see this error.
- **not applicable**: there is nothing here that it could be about.
`

// group is one table.
type group struct {
	Group string `json:"group"`
	Rows  []row  `json:"rows"`
}

// row is one limit of the old system.
type row struct {
	Limit string   `json:"limit"`
	State string   `json:"state"` // lifted, kept, not applicable
	Here  string   `json:"here"`
	Error string   `json:"error"` // of kept: what people see
	Tests []string `json:"tests"` // folder and name
}

// TestPageIsGenerated holds the rows to the program and the page to the rows.
func TestPageIsGenerated(t *testing.T) {
	groups := read(t)
	said, tests := sources(t)
	for _, g := range groups {
		for _, r := range g.Rows {
			check(t, r, said, tests)
		}
	}
	text := write(groups)
	if *update {
		if err := os.WriteFile(page, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if kept, err := os.ReadFile(page); err != nil || string(kept) != text {
		t.Errorf("docs/limits.md is not what limits.json says (%v): run go test ./test/limits -update", err)
	}
}

func read(t *testing.T) []group {
	t.Helper()
	f, err := os.Open("limits.json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dec := json.NewDecoder(f)
	dec.DisallowUnknownFields()
	var groups []group
	if err := dec.Decode(&groups); err != nil {
		t.Fatal(err)
	}
	return groups
}

// check holds one row to its state's rules.
func check(t *testing.T, r row, said map[string]bool, tests map[string]string) {
	t.Helper()
	switch {
	case r.Limit == "" || r.Here == "":
		t.Errorf("%+v: say what the limit is, and what is here", r)
	case r.State == "not applicable" && (len(r.Tests) > 0 || r.Error != ""),
		r.State == "lifted" && (len(r.Tests) == 0 || r.Error != ""),
		r.State == "kept" && (len(r.Tests) == 0 || r.Error == ""):
		t.Errorf("%s: a limit that is lifted has tests, a kept one tests and its error, another one neither", r.Limit)
	case r.State != "lifted" && r.State != "kept" && r.State != "not applicable":
		t.Errorf("%s: %q is no state", r.Limit, r.State)
	}
	tested := false
	for _, name := range r.Tests {
		folder, test, _ := strings.Cut(name, " ")
		test, part, _ := strings.Cut(test, "/") // a row of a table
		text, known := tests[folder+" "+test]
		if !known || !strings.Contains(text, part) {
			t.Errorf("%s: there is no test %s", r.Limit, name)
		}
		tested = tested || strings.Contains(text, r.Error)
	}
	if r.Error == "" {
		return
	}
	if !tested {
		t.Errorf("%s: none of its tests' packages holds the error %q", r.Limit, r.Error)
	}
	for literal := range said {
		if strings.Contains(literal, r.Error) {
			return
		}
	}
	t.Errorf("%s: the program never says %q", r.Limit, r.Error)
}

// sources gives every string that the program holds, and for each test (folder and
// name) the sources and data of its folder.
func sources(t *testing.T) (said map[string]bool, tests map[string]string) {
	t.Helper()
	said, tests = map[string]bool{}, map[string]string{}
	texts, named := map[string]string{}, map[string][]string{}
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (path == "build" || path == ".git" || path == "bench"):
			return fs.SkipDir
		case d.IsDir():
			return nil
		}
		folder := filepath.Dir(path)
		if before, _, found := strings.Cut(path, "/testdata/"); found {
			folder = before
		}
		switch ext := filepath.Ext(path); {
		case strings.HasSuffix(path, "_test.go"):
			text, names := testsOf(t, path)
			texts[folder] += text
			named[folder] = append(named[folder], names...)
		case ext == ".go" && !strings.Contains(path, "/testdata/"):
			literals(t, path, said)
		case ext == ".txtar", ext == ".txt", ext == ".py", ext == ".java":
			if ext == ".java" && !strings.HasPrefix(path, "test/") { // what runs inside an engine
				said[readFile(t, path)] = true
			}
			if parts := strings.Split(path, "/"); parts[0] == "test" {
				folder = strings.Join(parts[:2], "/") // programs of a test lie below it
			}
			texts[folder] += readFile(t, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for folder, names := range named {
		for _, name := range names {
			tests[folder+" "+name] = texts[folder]
		}
	}
	return said, tests
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(root + path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func parse(t *testing.T, path string) *ast.File {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), root+path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// testsOf gives a file's strings, and the names of the tests that it holds.
func testsOf(t *testing.T, path string) (text string, names []string) {
	f := parse(t, path)
	var b strings.Builder
	eachString(f, func(s string) { b.WriteString(s + "\n") })
	for _, decl := range f.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Test") {
			names = append(names, fn.Name.Name)
		}
	}
	return b.String(), names
}

func literals(t *testing.T, path string, into map[string]bool) {
	eachString(parse(t, path), func(s string) { into[s] = true })
}

func eachString(f *ast.File, do func(string)) {
	ast.Inspect(f, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if s, err := strconv.Unquote(lit.Value); err == nil {
				do(s)
			}
		}
		return true
	})
}

// write gives the page.
func write(groups []group) string {
	var b strings.Builder
	b.WriteString(head)
	counts := map[string]int{}
	for _, g := range groups {
		for _, r := range g.Rows {
			counts[r.State]++
		}
	}
	fmt.Fprintf(&b, "\n%d are lifted, %d kept, %d not applicable.\n", counts["lifted"], counts["kept"], counts["not applicable"])
	for _, g := range groups {
		fmt.Fprintf(&b, "\n## %s\n\n| There | Here | How | Tests |\n|---|---|---|---|\n", g.Group)
		for _, r := range g.Rows {
			how := r.Here
			if r.Error != "" {
				how += " Error: `" + strings.TrimSpace(r.Error) + "`"
			}
			var tests []string
			for _, name := range r.Tests {
				folder, test, _ := strings.Cut(name, " ")
				tests = append(tests, "`"+folder+"` "+test)
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", cell(r.Limit), r.State, cell(how), strings.Join(tests, ", "))
		}
	}
	return b.String()
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
