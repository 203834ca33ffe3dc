//go:build interop

package s3conformance

import (
	"cmp"
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// group is one of versitygw's groups of cases.
type group struct {
	name     string
	together []string // may run beside each other
	alone    []string // need the server for themselves
}

func (g group) cases() []string { return append(append([]string{}, g.together...), g.alone...) }

// sourceOf gives the folder of a module that the client's own module names.
func sourceOf(t *testing.T, module string) (dir, version string) {
	t.Helper()
	cmd := exec.Command("go", "list", "-m", "-f", "{{.Dir}} {{.Version}}", module)
	cmd.Dir = "client"
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
	dir, version, _ = strings.Cut(strings.TrimSpace(string(out)), " ")
	return dir, version
}

// groups reads which cases versitygw's client has: the groups of its full flow
// as its source lists them, and those beside it that a plain server passes.
// Cases that only other modes of that server run are left out by it too.
func groups(t *testing.T) []group {
	t.Helper()
	dir, _ := sourceOf(t, "github.com/versity/versitygw")
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, "tests", "integration", "group-tests.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	bodies := map[string]*ast.FuncDecl{}
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && strings.HasPrefix(f.Name.Name, "Test") {
			bodies[f.Name.Name] = f
		}
	}
	var all []group
	seen := map[string]bool{}
	var read func(name string)
	read = func(name string) {
		if seen[name] || bodies[name] == nil {
			return
		}
		seen[name] = true
		g := group{name: strings.TrimPrefix(name, "Test")}
		ast.Inspect(bodies[name], func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			switch f := call.Fun.(type) {
			case *ast.Ident: // another group
				read(f.Name)
			case *ast.SelectorExpr: // ts.Run(Case), ts.Sync(Case)
				one, ok := call.Args[0].(*ast.Ident)
				if !ok || seen[one.Name] {
					return true
				}
				seen[one.Name] = true
				if f.Sel.Name == "Run" {
					g.together = append(g.together, one.Name)
				} else {
					g.alone = append(g.alone, one.Name)
				}
			}
			return true
		})
		// The one that expects no bucket at all comes before those that may leave some.
		slices.SortStableFunc(g.alone, func(a, b string) int { return cmp.Compare(late(a), late(b)) })
		if len(g.cases()) > 0 {
			all = append(all, g)
		}
	}
	for _, name := range []string{"TestFullFlow", "TestPosix", "TestNotImplementedActions", "TestGetBucketPolicyStatus"} {
		read(name)
	}
	if len(all) == 0 {
		t.Fatal("no case of versitygw's client was found in its source")
	}
	return all
}

func late(name string) int {
	if strings.Contains(name, "empty") {
		return 0
	}
	return 1
}

// versionGroup needs a server that keeps versions.
const versionGroup = "Versioning"

// bySignature are the groups about signatures themselves: they make keys, dates
// and chunks of their own, so they run with static keys, never by way of the
// proxy that signs again.
var bySignature = map[string]bool{
	"Authentication": true, "PresignedAuthentication": true, "UnsignedStreaminPayloadTrailer": true, "SignedStreaminPayload": true,
	"SignedStreaminPayloadTrailer": true, "PostObject": true, "PublicBuckets": true,
}

// short are the groups of the short run, beside those above.
var short = map[string]bool{
	"PutObject": true, "GetObject": true, "HeadObject": true, "CopyObject": true, "DeleteObject": true, "DeleteObjects": true, "ListObjects": true, "ListObjectsV2": true,
	"CreateMultipartUpload": true, "UploadPart": true, "UploadPartCopy": true, "ListParts": true, "CompleteMultipartUpload": true, "AbortMultipartUpload": true,
	"CreateBucket": true, "HeadBucket": true, "ListBuckets": true, "DeleteBucket": true,
}
