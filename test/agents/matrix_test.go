//go:build interop

package agents

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"carnet.dev/carnet/test/nodes"
	"carnet.dev/carnet/test/running"
)

// program gives how a client's driver is started. Every account has to be able to
// read them.
func program(t *testing.T, id string) []string {
	t.Helper()
	from := func(folder string) string { return filepath.Join(running.Need(t, "CARNET_CLIENTS"), folder) }
	here := func(path string) string {
		path, err := filepath.Abs(filepath.Join("../clients", path))
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	java := func(dir string, settings ...string) []string {
		return append(append([]string{"java", "-Xmx1g"}, settings...), "-cp", filepath.Join(dir, "jars", "*")+":"+filepath.Join(dir, "classes"), "Drive")
	}
	switch id {
	case "boto3":
		return []string{filepath.Join(running.Need(t, "CARNET_VENV"), "bin", "python"), here("python/drive_boto3.py")}
	case "polars", "polars-boto3":
		return []string{from("polars/bin/python"), here("python/drive_polars.py")}
	case "duckdb", "pyarrow":
		return []string{from(id + "/bin/python"), here("python/drive_" + id + ".py")}
	case "aws-v1":
		return []string{here("shell/aws.sh"), filepath.Join(running.Need(t, "CARNET_VENV"), "bin", "aws")}
	case "aws-v2":
		return []string{here("shell/aws.sh"), from("aws-v2/bin/aws")}
	case "go":
		return []string{from("go/drive")}
	case "javascript":
		return []string{"node", from("node/drive.mjs")}
	case "java", "hadoop":
		return java(from(id))
	}
	t.Fatalf("nothing is known of the client %s", id)
	return nil
}

// TestAgent runs the rows: client, way. Each puts an object as the attached person
// and reads it back.
func TestAgent(t *testing.T) {
	w := start(t)
	results := map[string]*kept{}
	for _, c := range clients {
		t.Run(c.id, func(t *testing.T) {
			argv := program(t, c.id)
			results[c.id] = &kept{Ways: map[string]cell{}}
			for _, way := range ways {
				t.Run(way.id, func(t *testing.T) {
					r := &run{world: w, client: c.id, way: way.id}
					cell := r.do(t, argv)
					if cell.Outcome == fail {
						t.Errorf("%s\nThe agent says:\n%s", cell.Says, w.node.AgentLog())
					}
					results[c.id].Version, results[c.id].Ways[way.id] = r.version, cell
				})
			}
		})
	}
	if *update {
		keepResults(t, results)
		return
	}
	compare(t, results)
}

// run is one client by one way.
type run struct {
	*world
	client, way string
	out         string // what it reads back goes here
	version     string
}

func (r *run) prefix() string { return "agent/" + r.client + "-" + r.way + "/" }

func (r *run) do(t *testing.T, argv []string) cell {
	l := r.bob
	r.makeOut(t, l)
	// Some clients ask on and on where nobody answers.
	cmd := l.Command(append(append([]string{"timeout", "--kill-after=1", "40"}, argv...), "put")...)
	cmd.Env = append(cmd.Env, r.environment(t, l)...)
	o := l.Finish(t, cmd)
	return r.judge(t, r.said(t, o), o)
}

// makeOut makes the folder of what is read back.
func (r *run) makeOut(t *testing.T, l *nodes.Login) {
	t.Helper()
	r.out = filepath.Join(l.Home, r.client+"-"+r.way)
	if err := os.Mkdir(r.out, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(r.out, int(l.UID), int(l.UID)); err != nil {
		t.Fatal(err)
	}
}

// said is the error that a driver printed; empty: none.
func (r *run) said(t *testing.T, o nodes.Output) string {
	said := strings.TrimSpace(o.Err)
	if said == "" {
		said = "the driver says nothing: " + o.String()
	}
	for lines := bufio.NewScanner(strings.NewReader(o.Out)); lines.Scan(); {
		var line struct{ Op, Version, Error string }
		switch err := json.Unmarshal(lines.Bytes(), &line); {
		case err != nil:
			// of a library that prints
		case line.Op == "version":
			r.version = line.Version
		default:
			said = line.Error
		}
	}
	return said
}

// judge looks at the effect by itself; what the driver says of it counts only
// against it.
func (r *run) judge(t *testing.T, said string, o nodes.Output) cell {
	t.Helper()
	if said == "" {
		stored, err := os.ReadFile(filepath.Join(r.site.Data, "store", "objects", bucket, filepath.FromSlash(r.prefix()), "put.csv"))
		if err != nil || !bytes.Equal(stored, r.content) {
			return cell{Outcome: fail, Says: fmt.Sprintf("the store holds %d bytes, want %d others (%v)", len(stored), len(r.content), err)}
		}
		back, err := os.ReadFile(filepath.Join(r.out, "put.csv"))
		if err != nil || !bytes.Equal(back, r.content) {
			return cell{Outcome: fail, Says: fmt.Sprintf("the client read back %d bytes, want %d others (%v)", len(back), len(r.content), err)}
		}
		return cell{Outcome: pass}
	}
	for _, l := range limits {
		if l.client == r.client && l.way == r.way {
			if words := l.says.FindString(said + "\n" + o.Err + o.Out); words != "" {
				if l.shown != "" {
					words = l.shown
				}
				return cell{cannot, words, l.why}
			}
		}
	}
	return cell{Outcome: fail, Says: said}
}

// compare holds the runs to what is kept of them.
func compare(t *testing.T, results map[string]*kept) {
	known := readResults(t)
	for id, got := range results {
		want := known[id]
		if want == nil {
			t.Errorf("%s is not in %s", id, resultsFile)
			continue
		}
		if got.Version != "" && got.Version != want.Version {
			t.Errorf("%s is release %s, %s says %s", id, got.Version, resultsFile, want.Version)
		}
		for name, cell := range got.Ways {
			if !reflect.DeepEqual(cell, want.Ways[name]) {
				t.Errorf("%s/%s: got %+v\n%s says %+v", id, name, cell, resultsFile, want.Ways[name])
			}
		}
	}
	if t.Failed() {
		t.Log("where that is right, keep it: make interop-agent AGENT_FLAGS=-update")
	}
}

// keepResults writes what came of the runs over what was kept of them.
func keepResults(t *testing.T, results map[string]*kept) {
	all := map[string]*kept{}
	if text, err := os.ReadFile(resultsFile); err == nil {
		if err := json.Unmarshal(text, &all); err != nil {
			t.Fatal(err)
		}
	}
	for id, got := range results {
		if all[id] == nil {
			all[id] = &kept{Ways: map[string]cell{}}
		}
		if got.Version != "" {
			all[id].Version = got.Version
		}
		for name, cell := range got.Ways {
			all[id].Ways[name] = cell
		}
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(all); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(resultsFile, text.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(page, []byte(writePage(all)), 0o644); err != nil {
		t.Fatal(err)
	}
}
