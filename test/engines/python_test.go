//go:build interop

package engines

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/test/nodes"
	"carnet.dev/carnet/test/running"
)

// libraries are the rows of programs in Python. Those with a block are set up with
// what carnet configure --for prints.
var libraries = map[string]struct{ block string }{
	"pyarrow": {}, "duckdb": {block: "duckdb"}, "polars": {block: "polars"}, "deltalake": {}, "pandas": {}, "mlflow": {},
}

// library runs a library as both people at once, each under their own uid.
func library(t *testing.T, p *place, id string) string {
	t.Helper()
	p.source(t, "python/common.py")
	driver := p.source(t, "python/drive_"+id+".py")
	said := p.both(t, 3*time.Minute, func(name string, l *nodes.Login) *exec.Cmd {
		block := ""
		if b := libraries[id].block; b != "" {
			block = write(t, l, b+".block", l.Run(t, "carnet", "configure", "--for", b).OK(t)+"\n")
		}
		return l.Command(filepath.Join(python(t, id), "bin", "python"), driver, block, name, otherThan(name))
	})
	if show := shown[id]; show != nil {
		show(t, p, p.logins["alice"])
	}
	return said["alice"].Version
}

// shown run what pages print for a library besides.
var shown = map[string]func(t *testing.T, p *place, l *nodes.Login){
	"duckdb": func(t *testing.T, p *place, l *nodes.Login) {
		path := p.tools(t, map[string]string{"duckdb": "cat ~/.duckdbrc"}) // the library has no program
		if got := typed(t, l, []string{path}, block(t, "duckdb.md", "--for duckdb")); !strings.Contains(got, "CREATE OR REPLACE SECRET") {
			t.Errorf("~/.duckdbrc holds %s", got)
		}
	},
	"deltalake": func(t *testing.T, p *place, l *nodes.Login) {
		program := write(t, l, "delta.py", block(t, "data-frames.md", "write_deltalake", "s3://sales/orders-delta", "s3://"+bucketOf("alice")+"/printed"))
		typed(t, l, []string{"AWS_ALLOW_HTTP=true", p.tools(t, nil)}, block(t, "data-frames.md", "carnet attach env"), filepath.Join(python(t, "deltalake"), "bin", "python")+" "+program)
	},
}

// python is the virtual environment of a library. That of pyarrow is there for the
// tests of S3 clients already.
func python(t *testing.T, id string) string {
	t.Helper()
	if id == "pyarrow" {
		return filepath.Join(running.Need(t, "CARNET_CLIENTS"), id)
	}
	return filepath.Join(running.Need(t, "CARNET_ENGINES"), "python")
}
