// Command mintgen writes the program that runs one of minio-go's functional
// tests. They are a program themselves, which runs all of them and ends at the
// first that fails: this one is the same source with another main, which runs
// those that it is told by name. The source is taken from the module at each
// build; nothing of it is kept here.
//
// Usage: mintgen FUNCTIONAL_TESTS.GO OUT.GO
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
)

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "mintgen:", err)
		os.Exit(1)
	}
}

func run(in, out string) error {
	source, err := os.ReadFile(in)
	if err != nil {
		return err
	}
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, in, source, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Recv != nil || f.Name.Name != "main" {
			continue
		}
		names := plain(f.Body)
		if len(names) == 0 {
			return fmt.Errorf("%s runs no tests that are known", in)
		}
		begin, end := files.Position(f.Pos()).Offset, files.Position(f.End()).Offset
		return os.WriteFile(out, []byte(string(source[:begin])+newMain(names)+string(source[end:])), 0o600)
	}
	return fmt.Errorf("%s has no main", in)
}

// plain are the tests of the full mode that need neither TLS nor a key service.
func plain(body *ast.BlockStmt) (names []string) {
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.IfStmt:
			condition, ok := n.Cond.(*ast.Ident)
			if ok && (condition.Name == "tls" || condition.Name == "kms") {
				return false
			}
			names = append(names, plain(n.Body)...)
			return false // not its else: the short mode
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.Ident); ok && strings.HasPrefix(f.Name, "test") {
				names = append(names, f.Name)
			}
		}
		return true
	})
	return names
}

func newMain(names []string) string {
	var b strings.Builder
	b.WriteString(`func main() {
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stdout, nil)))
	cases := []struct {
		name string
		run  func()
	}{
`)
	for _, name := range names {
		fmt.Fprintf(&b, "\t\t{%q, %s},\n", name, name)
	}
	b.WriteString(`	}
	for _, c := range cases {
		if len(os.Args) == 1 {
			fmt.Println(c.name)
		} else if os.Args[1] == c.name {
			c.run()
		}
	}
}
`)
	return b.String()
}
