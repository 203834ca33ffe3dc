package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// edit is one insertion into a source file.
type edit struct {
	at   int
	text string
}

// change makes a file of the overlay from one of the source. Each must find what it
// looks for, else a later version of the source would go unwatched.
type change struct {
	file   string // beneath the module, or beneath GOROOT/src with std set
	std    bool
	append string
	edits  func(f *ast.File, at func(token.Pos) int) []edit
	least  int // edits
}

const module = "carnet.dev/carnet/"

var changes = []change{
	{file: "internal/core/secret/secret.go", append: noting, least: 2, edits: makers},
	{file: "internal/protocol/saml/verify.go", least: 2, edits: func(f *ast.File, at func(token.Pos) int) []edit {
		return append(inside("Verify", `_ = secretnote.New(string(raw));`)(f, at), imported(f, at, `secretnote "`+module+`internal/core/secret"`))
	}},
	{file: "internal/core/fault/fault.go", append: fmt.Sprintf(tee, "FAULTS"), least: 6, edits: func(f *ast.File, at func(token.Pos) int) []edit {
		all := []edit{imported(f, at, `secretos "os"`)}
		for name, of := range map[string]string{"New": "public", "Coded": "public", "Wrap": "public", "WithMend": "mend", "With": "value"} {
			all = append(all, inside(name, `written(`+of+`);`)(f, at)...)
		}
		return all
	}},
	{file: "internal/edge/telemetry/telemetry.go", append: watching, least: 2, edits: func(f *ast.File, at func(token.Pos) int) []edit {
		return append(inside("Handler", `watched(m);`)(f, at), imported(f, at, `secretos "os"`))
	}},
	// Every request is traced, whatever its share is.
	{file: "internal/edge/telemetry/traces.go", append: fmt.Sprintf(tee, "TRACES"), least: 3, edits: func(f *ast.File, at func(token.Pos) int) []edit {
		return slices.Concat(inside("NewTraces", `c.Sample = 1;`)(f, at), inside("end", `written(d.Name + " " + d.Failed); for _, a := range d.Attributes { written(a.Name + " " + a.Text) };`)(f, at),
			[]edit{imported(f, at, `secretos "os"`)})
	}},
	{file: "internal/edge/sql/sqltest/server.go", append: dumping, least: 1, edits: func(f *ast.File, at func(token.Pos) int) []edit {
		return assigned(f, at, "Database", "name", `dumped(p, t, name)`)
	}},
	{file: "log/slog/handler.go", std: true, append: fmt.Sprintf(tee, "LOG"), least: 2, edits: func(f *ast.File, at func(token.Pos) int) []edit {
		all := []edit{imported(f, at, `secretos "os"`)}
		ast.Inspect(f, func(n ast.Node) bool {
			a, ok := n.(*ast.AssignStmt)
			if !ok || len(a.Rhs) != 1 {
				return true
			}
			if call, ok := a.Rhs[0].(*ast.CallExpr); ok {
				if fn, ok := call.Fun.(*ast.SelectorExpr); ok && fn.Sel.Name == "Write" {
					all = append(all, edit{at(a.Pos()), "written(string(*state.buf)); "})
				}
			}
			return true
		})
		return all
	}},
	{file: "testing/testing.go", std: true, least: 1, edits: func(f *ast.File, at func(token.Pos) int) []edit {
		return inside("removeAll", `if os.Getenv("CARNET_SECRET_WRITTEN") != "" { return nil };`)(f, at)
	}},
}

// instrument writes the overlay and gives its path.
func instrument(folder string) (string, error) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	root, replace := strings.TrimSpace(string(out)), map[string]string{}
	if err := os.MkdirAll(filepath.Join(folder, "overlay"), 0o700); err != nil {
		return "", err
	}
	for i, c := range changes {
		path := c.file
		if c.std {
			path = filepath.Join(root, "src", c.file)
		}
		if path, err = filepath.Abs(path); err != nil {
			return "", err
		}
		text, err := c.apply(path)
		if err != nil {
			return "", fmt.Errorf("%s: %w", c.file, err)
		}
		to := filepath.Join(folder, "overlay", fmt.Sprintf("%d_%s.overlay", i, filepath.Base(path)))
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[path] = to
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(folder, "overlay.json")
	return path, os.WriteFile(path, b, 0o600)
}

func (c change) apply(path string) (string, error) {
	source, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, path, source, parser.SkipObjectResolution)
	if err != nil {
		return "", err
	}
	edits := c.edits(f, func(p token.Pos) int { return set.Position(p).Offset })
	if len(edits) < c.least {
		return "", errors.New("what is to be watched is not there any more")
	}
	slices.SortFunc(edits, func(a, b edit) int { return b.at - a.at }) // from the end, so places stay
	text := string(source)
	for _, e := range edits {
		text = text[:e.at] + e.text + text[e.at:]
	}
	return text + c.append, nil
}

// inside puts statements at the beginning of a function.
func inside(name, text string) func(*ast.File, func(token.Pos) int) []edit {
	return func(f *ast.File, at func(token.Pos) int) (all []edit) {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Name.Name == name && fn.Body != nil {
				all = append(all, edit{at(fn.Body.Lbrace) + 1, " " + text})
			}
		}
		return all
	}
}

// assigned puts a statement behind those of a function that give a variable its value.
func assigned(f *ast.File, at func(token.Pos) int, name, variable, text string) (all []edit) {
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Name.Name != name || fn.Body == nil {
			continue
		}
		for _, statement := range fn.Body.List {
			a, ok := statement.(*ast.AssignStmt)
			if !ok {
				continue
			}
			if to, ok := a.Lhs[0].(*ast.Ident); ok && to.Name == variable {
				all = append(all, edit{at(a.End()), "; " + text})
			}
		}
	}
	return all
}

func imported(f *ast.File, at func(token.Pos) int, what string) edit {
	return edit{at(f.Name.End()), "\nimport " + what + "\n"}
}

// makers wraps what every function of core/secret returns that makes a Text.
func makers(f *ast.File, at func(token.Pos) int) (all []edit) {
	all = append(all, imported(f, at, `secretos "os"`))
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Body == nil || fn.Type.Results == nil || len(fn.Type.Results.List) != 1 {
			continue
		}
		if result, ok := fn.Type.Results.List[0].Type.(*ast.Ident); !ok || result.Name != "Text" {
			continue
		}
		ast.Inspect(fn.Body, func(n ast.Node) bool {
			if r, ok := n.(*ast.ReturnStmt); ok && len(r.Results) == 1 {
				all = append(all, edit{at(r.Results[0].Pos()), "noted("}, edit{at(r.Results[0].End()), ")"})
			}
			return true
		})
	}
	return all
}

// noting is what core/secret gets: each secret goes to the ledger, as base64.
const noting = `
func noted(t Text) Text {
	path := secretos.Getenv("CARNET_SECRET_LEDGER")
	if len(t.s) < 12 || path == "" {
		return t
	}
	f, err := secretos.OpenFile(path, secretos.O_APPEND|secretos.O_CREATE|secretos.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.Write([]byte(base64.StdEncoding.EncodeToString([]byte(t.s)) + "\n"))
		_ = f.Close()
	}
	if err != nil {
		panic(err)
	}
	return t
}
`

// tee writes to a file of this process beside the tests' own.
const tee = `
func written(text string) {
	path := secretos.Getenv("CARNET_SECRET_WRITTEN")
	if path == "" {
		return
	}
	f, err := secretos.OpenFile(path+"/%s", secretos.O_APPEND|secretos.O_CREATE|secretos.O_WRONLY, 0o600)
	if err != nil {
		return // its folder is gone with the run
	}
	_, _ = f.Write([]byte(text + "\n"))
	_ = f.Close()
}
`

// watching writes all metrics of a process to a file of its own, over and over, from
// when they can be read.
const watching = `
func watched(m *Metrics) {
	folder := secretos.Getenv("CARNET_SECRET_WRITTEN")
	f, err := secretos.CreateTemp(folder, "METRICS")
	if folder == "" || err != nil {
		return
	}
	go func() {
		for ; ; time.Sleep(300 * time.Millisecond) {
			var text string
			families, _ := m.registry.Gather() // an error leaves out what it is about
			for _, family := range families {
				text += family.String() + "\n"
			}
			_, _ = f.WriteAt([]byte(text), 0)
		}
	}()
}
`

// dumping writes a database of PostgreSQL down when its test ends.
const dumping = `
func dumped(p *Server, t testing.TB, name string) {
	folder := os.Getenv("CARNET_SECRET_WRITTEN")
	if folder == "" {
		return
	}
	t.Cleanup(func() {
		text, err := p.command("pg_dump", "-h", p.dir, name).Output()
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, filepath.Base(p.dir)+"-"+name+".sql"), text, 0o600)
		}
		if err != nil {
			t.Errorf("no dump of %s: %v", name, err)
		}
	})
}
`
