//go:build interop

package engines

import (
	"os/exec"
	"path/filepath"
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
	return said["alice"].Version
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
