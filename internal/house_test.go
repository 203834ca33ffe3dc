// Package internal_test holds the rules of the house (design section 6), so
// that nobody has to remember them: floors, import lattice, banned imports,
// package comments, file lengths, no init functions, no package state. Loosen
// no rule here to make a change build: move the code instead.
package internal_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
)

const module = "carnet.dev/carnet/"

var floors = []string{"core", "protocol", "service", "edge", "app"}

// serviceOrder is the import order of the service floor: a cell imports only
// cells of an earlier row, or earlier in its own row where siblings says so.
var serviceOrder = [][]string{
	{"keyring", "revocation", "audit", "onceonly", "denial"},
	{"withdrawal"}, // says to the feed what is taken back, and knows what AWS honours longer
	{"directory", "iam", "federation", "spkeys"},
	{"provisioning"}, // takes back what a change took away
	{"entitlement", "issuer", "cluster"},
	{"access"}, // before sts, whose signed operations ask it
	{"sts", "broker"},
	{"meta"}, // takes roles for who holds them, as the broker's calls do
	{"login"},
	{"workload", "device"},   // delegations are made in a login session
	{"holder"},               // who holds roles: a login session, a delegation or a service principal
	{"oauth", "gatewaykeys"}, // ask both: a gateway key rests on a login session, a delegation or a service principal
	{"attachment"},           // rests on the same, and delivers gateway keys where an account wants it
	{"jdbc"},                 // connections to an engine are served as attachments are
	{"binding"},              // the agent's side: what a caller on a node gets
	{"diagnose", "generate", "administrator"},
}

// siblings lists the imports allowed between cells of one floor, with the
// reason. Services follow serviceOrder instead.
var siblings = map[string]string{
	"core/credential -> core/arn":                  "a role session names its role",
	"core/credential -> core/secret":               "keys are secrets",
	"core/event -> core/identity":                  "an event says who acted",
	"protocol/s3 -> protocol/sigv4":                "S3 reads the target and the body that SigV4 verified",
	"edge/storeproc/storetest -> edge/storeproc":   "a package of its own parent",
	"protocol/saml -> protocol/xmlsafe":            "SAML is read only behind the pre-scan",
	"protocol/openid -> protocol/oidc":             "a relying party reads what oidc verified",
	"edge/web -> edge/httpd":                       "design section 6",
	"edge/api -> edge/httpd":                       "design section 6",
	"edge/awsapi -> edge/httpd":                    "design section 6",
	"edge/issuerapi -> edge/httpd":                 "design section 6",
	"edge/gateway -> edge/httpd":                   "design section 6",
	"edge/gateway -> edge/telemetry":               "design section 6",
	"edge/gateway/accesslog -> edge/gateway":       "a package of its own parent",
	"edge/gateway/trail -> edge/gateway":           "a package of its own parent",
	"edge/upstream/s3client -> edge/egress":        "design section 6",
	"edge/upstream/s3client -> edge/upstream/wire": "requests to a store go over connections that it keeps",
	"edge/upstream/stsclient -> edge/egress":       "design section 6",
	"edge/upstream/jwks -> edge/egress":            "design section 6",
	"edge/upstream/jwks -> edge/upstream/kept":     "what is fetched is kept by one rule",
	"edge/upstream/openid -> edge/egress":          "design section 6",
	"edge/upstream/openid -> edge/upstream/kept":   "what is fetched is kept by one rule",
	"edge/scimapi -> edge/httpd":                   "design section 6",
	"edge/iamapi -> edge/httpd":                    "design section 6",
	"edge/sql/provisioning -> edge/sql/directory":  "it writes the directory's rows by the directory's own statements",
	"edge/nodeapi -> edge/httpd":                   "design section 6",
	"edge/nodeapi -> edge/nodeapi/nodedoc":         "a package of its own",
	"edge/nodeclient -> edge/nodeapi/nodedoc":      "the agent speaks the documents of the server",
	"edge/node -> edge/attest":                     "who is calling",
	"edge/node -> edge/node/localhttp":             "what each face asks of a request first",
	"edge/node/s3proxy -> edge/node/localhttp":     "what each face asks of a request first",
	"edge/node/imds -> edge/node/localhttp":        "what each face asks of a request first",
	"edge/node -> edge/node/localdoc":              "a package of its own",
	"edge/node -> edge/node/peer":                  "who is at the other end of each connection",
	"edge/node -> edge/nodeapi/nodedoc":            "where a caller asks to be attached goes on to the server",
	"edge/node/peer -> edge/attest":                "who is calling",
	"edge/node/localclient -> edge/node/localdoc":  "the client speaks the documents of the agent",
	"edge/devidp/forge -> edge/devidp":             "a package of its own parent",
	"edge/api/client -> edge/api":                  "the client speaks the documents of the API",
	"edge/api -> edge/api/ssodoc":                  "a package of its own",
	"edge/api -> edge/api/clusterdoc":              "a package of its own",
	"edge/api/client -> edge/api/clusterdoc":       "the client speaks the documents of the API",
	"edge/api/client -> edge/api/ssodoc":           "the client speaks the documents of the API",
	"app/cli -> app/config":                        "the command line names configuration files",
	"app/cli -> app/cli/profile":                   "a package of its own parent",
	"app/cli -> app/cli/awsconfig":                 "a package of its own parent",
	"app/cli -> app/cli/engines":                   "a package of its own parent",
	"app/cli -> app/cli/tokenfile":                 "a package of its own parent",
	"app/dev -> app/dev/dataset":                   "a package of its own parent",
	"app/dev -> app/visitor":                       "dev walks its own path as a person would",
	"app/server -> app/config":                     "composition",
	"app/server -> app/cli":                        "composition",
	"app/dev -> app/config":                        "composition",
	"app/dev -> app/server":                        "dev is the server wired for loopback",
	"app/dev -> app/cli":                           "composition",
}

// homes says where alone a foreign module may be imported, and why. A prefix
// of an import path maps to the folders under internal.
var homes = []struct {
	prefix string
	only   []string
	why    string
}{
	{"modernc.org/sqlite", []string{"edge/sql"}, "SQL drivers live behind edge/sql"},
	{"github.com/jackc/pgx", []string{"edge/sql"}, "SQL drivers live behind edge/sql"},
	{"github.com/aws/", []string{"edge/upstream"}, "the AWS SDK lives behind edge/upstream"},
	{"github.com/versity/", []string{"edge/storeproc"}, "one edge package knows the embedded store"},
	{"github.com/russellhaering/", []string{"protocol/saml", "edge/devidp"}, "XML signatures"},
	{"github.com/beevik/etree", []string{"protocol/saml", "protocol/xmlsafe", "edge/devidp"}, "XML trees"},
	{"github.com/go-jose/", []string{"protocol/oidc", "protocol/openid", "edge/upstream/jwks"}, "JWKs, strict JSON; signatures are the standard library's"},
	{"github.com/cespare/xxhash", []string{"protocol/sigv4"}, "a checksum of S3"},
	{"github.com/zeebo/xxh3", []string{"protocol/sigv4"}, "a checksum of S3"},
	{"github.com/mattermost/", []string{"protocol/xmlsafe"}, "the round-trip check belongs to the pre-scan"},
	{"github.com/spf13/", []string{"app"}, "flags are the business of programs"},
	{"go.yaml.in/", []string{"app/config", "app/agent", "service/iam", "edge/api"}, "files that people write"},
	{"database/sql", []string{"edge/sql"}, "SQL lives behind edge/sql"},
	{"github.com/prometheus/", []string{"edge/telemetry"}, "one edge package knows how metrics are kept"},
	{"go.opentelemetry.io/", []string{"edge/telemetry"}, "and how spans are exported"},
}

// impure lists what floors 1 and 2 never import: they turn bytes and time into
// facts. log/slog is open to core/secret, which has to mask itself in it.
var impure = []string{"net", "net/http", "os", "os/exec", "log", "log/slog", "syscall", "path/filepath", "io/ioutil"}

// forbidden folder names say nothing about what they hold.
var forbidden = []string{"util", "utils", "common", "helpers", "pkg", "models", "manager", "types", "misc"}

type file struct {
	path string // slash path below internal
	cell string // folder below internal
	test bool
	tree *ast.File
	fset *token.FileSet
	src  string
}

func sources(t *testing.T) []file {
	t.Helper()
	var out []file
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && d.Name() == "testdata" {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(p, ".go") {
			return nil
		}
		src, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		fset := token.NewFileSet()
		tree, err := parser.ParseFile(fset, p, src, parser.ParseComments)
		if err != nil {
			return err
		}
		slash := filepath.ToSlash(p)
		cell := filepath.ToSlash(filepath.Dir(p))
		out = append(out, file{path: slash, cell: cell, test: strings.HasSuffix(p, "_test.go"), tree: tree, fset: fset, src: string(src)})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 20 {
		t.Fatalf("read only %d Go files: the rules would hold nothing", len(out))
	}
	return out
}

func floorOf(cell string) int {
	name, _, _ := strings.Cut(cell, "/")
	return slices.Index(floors, name)
}

// within reports whether cell is folder or lies below it.
func within(cell, folder string) bool {
	return cell == folder || strings.HasPrefix(cell, folder+"/")
}

func serviceRow(cell string) int {
	name := strings.Split(cell, "/")[1]
	for i, row := range serviceOrder {
		if slices.Contains(row, name) {
			return i
		}
	}
	return -1
}

func imports(f file) []string {
	var out []string
	for _, im := range f.tree.Imports {
		out = append(out, strings.Trim(im.Path.Value, `"`))
	}
	return out
}

func TestImportsPointDown(t *testing.T) {
	for _, f := range sources(t) {
		if f.test || f.cell == "." {
			continue
		}
		from := floorOf(f.cell)
		if from < 0 {
			t.Errorf("%s: %q is not one of the five floors %v", f.path, f.cell, floors)
			continue
		}
		for _, im := range imports(f) {
			rest, ours := strings.CutPrefix(im, module+"internal/")
			if !ours {
				continue
			}
			to := floorOf(rest)
			if to > from {
				t.Errorf("%s imports %s: imports point down", f.path, rest)
			}
			if to == from && rest != f.cell && !siblingAllowed(f.cell, rest) {
				t.Errorf("%s imports %s: cells of one floor do not import each other; if the design says so, add it to siblings with the reason", f.path, rest)
			}
		}
	}
}

func siblingAllowed(from, to string) bool {
	if _, ok := siblings[from+" -> "+to]; ok {
		return true
	}
	if strings.HasPrefix(from, "edge/sql/") && to == "edge/sql" {
		return true // each owner stands on the one database
	}
	if strings.HasPrefix(from, "service/") && strings.HasPrefix(to, "service/") {
		a, b := serviceRow(from), serviceRow(to)
		return a >= 0 && b >= 0 && b < a
	}
	return false
}

func TestEveryServiceHasItsPlace(t *testing.T) {
	for _, f := range sources(t) {
		if strings.HasPrefix(f.cell, "service/") && serviceRow(f.cell) < 0 {
			t.Errorf("%s: give %s its place in serviceOrder", f.path, f.cell)
		}
	}
}

func TestPureFloors(t *testing.T) {
	for _, f := range sources(t) {
		if f.test || floorOf(f.cell) > 1 || f.cell == "." {
			continue
		}
		for _, im := range imports(f) {
			if im == "log/slog" && f.cell == "core/secret" {
				continue
			}
			if slices.Contains(impure, im) {
				t.Errorf("%s imports %s: floors 1 and 2 take bytes and time in and give facts out", f.path, im)
			}
			if floorOf(f.cell) == 0 && strings.Contains(strings.SplitN(im, "/", 2)[0], ".") && !strings.HasPrefix(im, module) {
				t.Errorf("%s imports %s: core stands on the standard library alone", f.path, im)
			}
		}
		ast.Inspect(f.tree, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s starts a goroutine: floors 1 and 2 do not", f.fset.Position(n.Pos()))
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && (n.Sel.Name == "Now" || n.Sel.Name == "Since" || n.Sel.Name == "Sleep") {
					t.Errorf("%s reads the wall clock: floors 1 and 2 take now as an argument", f.fset.Position(n.Pos()))
				}
			}
			return true
		})
	}
}

func TestForeignModulesStayInTheirHomes(t *testing.T) {
	for _, f := range sources(t) {
		if f.test {
			continue
		}
		for _, im := range imports(f) {
			for _, h := range homes {
				if !strings.HasPrefix(im, h.prefix) {
					continue
				}
				if !slices.ContainsFunc(h.only, func(folder string) bool { return within(f.cell, folder) }) {
					t.Errorf("%s imports %s, which belongs to %v: %s", f.path, im, h.only, h.why)
				}
			}
		}
	}
}

func TestPackageComments(t *testing.T) {
	comments := map[string][]string{}
	cells := map[string]bool{}
	for _, f := range sources(t) {
		if f.test || f.cell == "." {
			continue
		}
		cells[f.cell] = true
		if f.tree.Doc != nil {
			comments[f.cell] = append(comments[f.cell], f.path)
			if !strings.HasPrefix(f.tree.Doc.Text(), "Package "+f.tree.Name.Name+" ") {
				t.Errorf("%s: the package comment begins with \"Package %s \"", f.path, f.tree.Name.Name)
			}
		}
	}
	for cell := range cells {
		if n := len(comments[cell]); n != 1 {
			t.Errorf("%s has %d package comments %v: want exactly one", cell, n, comments[cell])
		}
		for _, part := range strings.Split(cell, "/") {
			if slices.Contains(forbidden, part) {
				t.Errorf("%s: the name %q says nothing", cell, part)
			}
		}
	}
}

// The measures of style: files can be read in one sitting, functions fit a screen.
const (
	mostFileLines = 600
	p90FuncLines  = 45
)

func TestFilesAndFunctionsStaySmall(t *testing.T) {
	var lengths []int
	for _, f := range sources(t) {
		if f.test {
			continue
		}
		if n := strings.Count(f.src, "\n"); n > mostFileLines {
			t.Errorf("%s has %d lines: more than %d is more than one idea", f.path, n, mostFileLines)
		}
		for _, d := range f.tree.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
				lengths = append(lengths, f.fset.Position(fn.End()).Line-f.fset.Position(fn.Pos()).Line+1)
			}
		}
	}
	sort.Ints(lengths)
	if p90 := lengths[len(lengths)*9/10]; p90 > p90FuncLines {
		t.Errorf("the 90th percentile of function length is %d lines: want at most %d", p90, p90FuncLines)
	}
}

func TestNoInitAndNoPackageState(t *testing.T) {
	type pkg struct {
		vars  map[string]bool
		files []file
	}
	pkgs := map[string]*pkg{}
	for _, f := range sources(t) {
		if f.test {
			continue
		}
		p := pkgs[f.cell]
		if p == nil {
			p = &pkg{vars: map[string]bool{}}
			pkgs[f.cell] = p
		}
		p.files = append(p.files, f)
		for _, d := range f.tree.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.Name == "init" && d.Recv == nil {
					t.Errorf("%s: no init functions", f.fset.Position(d.Pos()))
				}
			case *ast.GenDecl:
				if d.Tok == token.VAR {
					for _, s := range d.Specs {
						for _, n := range s.(*ast.ValueSpec).Names {
							p.vars[n.Name] = true
						}
					}
				}
			}
		}
	}
	for _, p := range pkgs {
		for _, f := range p.files {
			unresolved := map[*ast.Ident]bool{}
			for _, id := range f.tree.Unresolved {
				unresolved[id] = true
			}
			changed := func(e ast.Expr) {
				for {
					switch x := e.(type) {
					case *ast.IndexExpr:
						e = x.X
						continue
					case *ast.ParenExpr:
						e = x.X
						continue
					}
					break
				}
				id, ok := e.(*ast.Ident)
				if !ok || !p.vars[id.Name] {
					return
				}
				if unresolved[id] || (id.Obj != nil && f.tree.Scope.Lookup(id.Name) == id.Obj) { //nolint:staticcheck // syntactic scope is enough here
					t.Errorf("%s: %s is changed: no package state", f.fset.Position(id.Pos()), id.Name)
				}
			}
			ast.Inspect(f.tree, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.AssignStmt:
					if n.Tok != token.DEFINE {
						for _, l := range n.Lhs {
							changed(l)
						}
					}
				case *ast.IncDecStmt:
					changed(n.X)
				}
				return true
			})
		}
	}
}

// TestInterfacesStaySmall: the consumer declares what it needs, at most five
// methods (an http.Handler-like wide interface hides who may do what).
func TestInterfacesStaySmall(t *testing.T) {
	for _, f := range sources(t) {
		if f.test {
			continue
		}
		ast.Inspect(f.tree, func(n ast.Node) bool {
			if it, ok := n.(*ast.InterfaceType); ok && it.Methods.NumFields() > 5 {
				t.Errorf("%s: an interface of %d methods: want at most 5", f.fset.Position(it.Pos()), it.Methods.NumFields())
			}
			return true
		})
	}
}

// TestVerificationCoreCanBeReadInADay holds the reviewed core under 5,000 lines
// of code (design section 6): all that stands between outside bytes and a yes.
// Comments and blank lines are not counted. Of saml, oidc and policy the readers
// of what only administrators and providers write (metadata, key sets, policy
// documents) are not part of it, nor is what writes messages, tokens and metadata of our
// own, nor the names of the checks, nor what explains a decision.
func TestVerificationCoreCanBeReadInADay(t *testing.T) {
	core := []string{"protocol/xmlsafe", "protocol/saml", "protocol/oidc", "protocol/sigv4", "protocol/policy", "protocol/sessiontoken", "core/secret"}
	apart := []string{
		"protocol/saml/metadata.go", "protocol/saml/spmetadata.go", "protocol/saml/checks.go",
		"protocol/saml/message.go", "protocol/saml/request.go", "protocol/saml/logout.go",
		"protocol/oidc/keyset.go", "protocol/oidc/mint.go", "protocol/oidc/publish.go", "protocol/oidc/signingkey.go",
		"protocol/policy/parse.go", "protocol/policy/parsecondition.go", "protocol/policy/parseprincipal.go", "protocol/policy/parsepattern.go", "protocol/policy/parseindex.go", "protocol/policy/json.go", "protocol/policy/policy.go", "protocol/policy/explain.go", "protocol/policy/simulate.go", "protocol/policy/lint.go", "protocol/policy/keys.go",
	}
	total := 0
	for _, f := range sources(t) {
		if f.test || !slices.Contains(core, f.cell) || slices.Contains(apart, f.path) {
			continue
		}
		for _, line := range strings.Split(f.src, "\n") {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
				total++
			}
		}
	}
	t.Logf("verification core: %d lines of code", total)
	if total > 5000 {
		t.Errorf("the verification core has %d lines of code: want at most 5000", total)
	}
	if total < 1000 {
		t.Errorf("only %d lines were counted: the rule holds nothing", total)
	}
}
