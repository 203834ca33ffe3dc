//go:build interop

package clients

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/test/running"
)

// pages are those that people of a client follow. What stands in a section of
// another client of the same page is left to that client's test.
var pages = map[string]struct{ file, section string }{
	"duckdb": {"duckdb.md", ""}, "polars": {"data-frames.md", "## polars"}, "pyarrow": {"data-frames.md", "## pyarrow"}, "s3fs": {"data-frames.md", "## s3fs"},
	"rclone": {"rclone-s3cmd.md", "## rclone"}, "s3cmd": {"rclone-s3cmd.md", "## s3cmd"}, "hadoop": {"spark.md", ""},
}

// TestPages runs every block of those pages as bob, who signed in, over https.
// Names of hosts and of the CA's file are put in the place of those of the
// pages, and DuckDB is told of the CA wherever it starts; nothing else is
// changed.
func TestPages(t *testing.T) {
	w := &world{World: running.Dev(t)}
	for _, c := range clients {
		page, ok := pages[c.id]
		if !ok {
			continue
		}
		t.Run(c.id, func(t *testing.T) {
			r := &reader{world: w, Person: w.Login(t, "bob"), client: c}
			r.Carnet(t, "configure")
			r.follow(t, page.file, page.section)
		})
	}
}

type reader struct {
	*world
	*running.Person
	client client
}

func (r *reader) follow(t *testing.T, file, section string) {
	text, err := os.ReadFile(filepath.Join("../../docs/use", file))
	if err != nil {
		t.Fatal(err)
	}
	body := string(text)
	if section != "" {
		_, after, found := strings.Cut(body, section)
		if !found {
			t.Fatalf("%s has no section %s", file, section)
		}
		body, _, _ = strings.Cut(after, "\n## ")
	}
	trust := "SET ca_cert_file = '" + r.CA + "'"
	body = strings.NewReplacer("LOAD httpfs;", "LOAD httpfs;\n"+trust+";", `db.execute("LOAD httpfs")`, `db.execute("LOAD httpfs; `+trust+`")`, "s3.example.com:8481", strings.TrimPrefix(r.AWSTLS, "https://"), "/etc/ssl/carnet-ca.pem", r.CA).Replace(body)
	blocks := 0
	for _, part := range strings.Split(body, "\n```")[1:] {
		language, block, _ := strings.Cut(part, "\n")
		switch language {
		case "ini":
			r.put(t, map[string]string{"rclone": ".config/rclone/rclone.conf", "s3cmd": ".s3cfg"}[r.client.id], block)
		case "properties":
			r.put(t, "conf/core-site.xml", coreSite(block))
		case "sh":
			r.shell(t, block)
		case "python":
			r.python(t, block)
		case "sql":
			r.python(t, "import duckdb\nfor statement in '''"+block+"'''.split(';'):\n    print(duckdb.sql(statement))\n")
		default:
			continue
		}
		blocks++
	}
	if blocks < 1 {
		t.Errorf("%s holds nothing for %s", file, r.client.id)
	}
}

func (r *reader) put(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(r.Home, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// coreSite writes the lines of spark-defaults.conf as Hadoop reads them.
func coreSite(properties string) string {
	var b strings.Builder
	b.WriteString("<configuration>\n")
	for _, line := range strings.Split(strings.TrimSpace(properties), "\n") {
		name, value, _ := strings.Cut(line, " ")
		b.WriteString("<property><name>" + strings.TrimPrefix(name, "spark.hadoop.") + "</name><value>" + strings.TrimSpace(value) + "</value></property>\n")
	}
	return b.String() + "</configuration>\n"
}

// shell runs a block. Signing in needs a browser: Login has done it with the
// same command.
func (r *reader) shell(t *testing.T, block string) {
	t.Helper()
	lines := slices.DeleteFunc(strings.Split(block, "\n"), func(line string) bool {
		return strings.HasPrefix(line, "carnet login --server https://carnet.example.com")
	})
	r.run(t, "bash", "-euo", "pipefail", "-c", strings.Join(lines, "\n"))
}

func (r *reader) python(t *testing.T, block string) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "block.py")
	if err := os.WriteFile(program, []byte(block), 0o600); err != nil {
		t.Fatal(err)
	}
	python := filepath.Join(running.Need(t, "CARNET_CLIENTS"), r.client.id, "bin", "python")
	if strings.Contains(block, "import duckdb\nfor ") {
		// As if the statements were typed into DuckDB.
		r.run(t, r.Binary, "exec", "--role", "engineer", "--", python, program)
		return
	}
	r.run(t, python, program)
}

// run starts a program as bob, with the tools that a page supposes: hadoop and
// duckdb stand for what is not there under that name.
func (r *reader) run(t *testing.T, argv ...string) {
	t.Helper()
	bin := filepath.Join(r.Home, "bin")
	hadoop := filepath.Join(os.Getenv("CARNET_CLIENTS"), "hadoop", "jars", "*")
	tools := map[string]string{"duckdb": "exit 0"}
	if r.client.id == "hadoop" {
		trust := java(t, r.world, "")[2:4]
		tools["hadoop"] = `[ "$1" = fs ] && shift && exec java ` + strings.Join(trust, " ") + ` -cp "$HOME/conf:` + hadoop + `" org.apache.hadoop.fs.FsShell "$@"`
	}
	for name, body := range tools {
		r.put(t, "bin/"+name, "#!/bin/sh\n"+body+"\n")
		if err := os.Chmod(filepath.Join(bin, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = r.Home
	cmd.Env = []string{
		"HOME=" + r.Home, "XDG_RUNTIME_DIR=" + r.Home, "PATH=" + bin + ":" + filepath.Dir(r.Binary) + ":" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "AWS_EC2_METADATA_DISABLED=true",
		"SSL_CERT_FILE=" + r.CA, "RCLONE_CA_CERT=" + r.CA, "PYTHONPATH=" + r.extension(t),
	}
	if r.client.id == "pyarrow" {
		cmd.Env = append(cmd.Env, "AWS_CA_BUNDLE="+r.CA)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %v\n%s", argv, err, out)
	}
}

// extension gives a folder from which Python, when it starts, puts DuckDB's
// extension where INSTALL httpfs would have put it.
func (r *reader) extension(t *testing.T) string {
	t.Helper()
	if r.client.id != "duckdb" {
		return ""
	}
	r.put(t, "site/sitecustomize.py", `import glob, os, shutil
import duckdb, duckdb_extension_httpfs
folder = os.path.expanduser("~/.duckdb/extensions/v%s/%s" % (duckdb.__version__, duckdb.sql("PRAGMA platform").fetchone()[0]))
os.makedirs(folder, exist_ok=True)
for path in glob.glob(os.path.join(duckdb_extension_httpfs.__path__[0], "extensions", "*", "httpfs.duckdb_extension*")):
    shutil.copy(path, folder)
`)
	return filepath.Join(r.Home, "site")
}
