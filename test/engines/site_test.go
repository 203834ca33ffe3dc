//go:build interop

package engines

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/edge/node/localdoc"
	"carnet.dev/carnet/test/nodes"
	"carnet.dev/carnet/test/running"
)

// people are the two who are on each node at the same time, by their uids there.
var people = map[string]uint32{"alice": 71001, "bob": 71002}

func otherThan(name string) string {
	if name == "alice" {
		return "bob"
	}
	return "alice"
}

// place is one shared machine with both people attached.
type place struct {
	*nodes.Site
	node   *nodes.Node
	logins map[string]*nodes.Login
	folder string // of the programs under test, as every account of the node reaches it
}

// open starts a server and a node, on which both people sign in and are attached.
func open(t *testing.T, dev ...string) *place {
	t.Helper()
	p := &place{Site: nodes.Start(t, nodes.Options{Dev: dev, Cluster: map[string]any{"networks": []string{"127.0.0.1/32", "::1/128"}}}), folder: running.Need(t, "CARNET_ENGINES")}
	prepare(t, p.World, "alice", "bob")
	p.node, p.logins = p.machine(t)
	return p
}

// machine makes one more node with both people.
func (p *place) machine(t *testing.T) (*nodes.Node, map[string]*nodes.Login) {
	t.Helper()
	n := p.Node(t, nodes.NodeOptions{Flags: []string{"--engine-account", fmt.Sprint(engineUID)}})
	var reach []string
	for _, folder := range []string{p.folder, running.Need(t, "CARNET_CLIENTS")} {
		pythons, err := filepath.Glob(filepath.Join(folder, "*", "bin", "python"))
		if err != nil {
			t.Fatal(err)
		}
		reach = append(reach, pythons...)
	}
	n.Reach(t, reach...)
	logins := map[string]*nodes.Login{}
	for name, uid := range people {
		l := n.Login(t, uid)
		l.Attach(t, name)
		l.MustLocal(t, http.MethodPut, "/v1/role", localdoc.SetRole{Role: "arn:aws:iam::" + account + ":role/" + role}, nil)
		var set map[string]string
		if err := json.Unmarshal([]byte(l.Run(t, "carnet", "attach", "env", "--output", "json").OK(t)), &set); err != nil {
			t.Fatal(err)
		}
		for variable, value := range set {
			l.Env = append(l.Env, variable+"="+value)
		}
		l.Env = append(l.Env, "LC_ALL=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1", "OMP_NUM_THREADS=1")
		logins[name] = l
	}
	p.accounts(t, n, logins)
	return n, logins
}

// write puts a file into a person's home.
func write(t *testing.T, l *nodes.Login, name, text string) string {
	t.Helper()
	path := filepath.Join(l.Home, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, int(l.UID), int(l.UID)); err != nil {
		t.Fatal(err)
	}
	return path
}

// source copies a file of this folder to where the people of the node can read it.
func (p *place) source(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(p.Folder, "sources", path)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return to
}

// told is what a driver prints.
type told struct {
	Version string   `json:"version"`
	Owners  []string `json:"owners"`
	Rows    int      `json:"rows"`
	Written int      `json:"written"`
	Leaked  string   `json:"leaked"`
	Refused string   `json:"refused"`
	// Of Spark's tasks: whose account they had, and on which machines they ran.
	UIDs     []uint32 `json:"uids"`
	Machines []string `json:"machines"`
	// Of Spark: whether each usual thing worked. Of a shared one: attacks that were not
	// refused, and those that were refused in other words than the guard's.
	Through  []string `json:"through"`
	Unclear  []string `json:"unclear"`
	EveryDay []bool   `json:"every_day"`
	Attacks  int      `json:"attacks"`
}

// check holds what a person's program says to what has to be: all of their own, and
// nothing of the other's.
func (d told) check(t *testing.T, name string) {
	t.Helper()
	if d.Rows != rows || len(d.Owners) != 1 || d.Owners[0] != name || d.Written != rows {
		t.Errorf("%s read %d rows of %v and wrote %d, want %d of their own", name, d.Rows, d.Owners, d.Written, rows)
	}
	denied := false
	for _, word := range []string{"403", "AccessDenied", "ACCESS_DENIED", "Forbidden", "not authorized", "PermissionError", "Access Denied"} {
		denied = denied || strings.Contains(d.Refused, word)
	}
	if d.Leaked != "" || !denied {
		t.Errorf("%s asked for what is %s's and got %q, refused with %q", name, otherThan(name), d.Leaked, d.Refused)
	}
}

// both runs a program for each person at the same time and gives what each printed
// last.
func (p *place) both(t *testing.T, limit time.Duration, command func(name string, l *nodes.Login) *exec.Cmd) map[string]told {
	t.Helper()
	meeting := filepath.Join(t.TempDir(), "meeting")
	if err := os.Mkdir(meeting, 0o755); err != nil {
		t.Fatal(err)
	}
	for dir := meeting; len(dir) > len(os.TempDir()); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(meeting, 0o1777); err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	var mu sync.Mutex
	all := map[string]told{}
	for name, l := range p.logins {
		cmd := command(name, l)
		cmd.Env = append(cmd.Env, "MEETING="+meeting)
		wait.Go(func() {
			out, err := finish(l, cmd, limit)
			var d told
			if err == nil {
				err = json.Unmarshal([]byte(lastLine(out)), &d)
			}
			if err != nil {
				t.Errorf("%s: %v\n%s", name, err, tail(out, 6000))
				return
			}
			mu.Lock()
			defer mu.Unlock()
			all[name] = d
		})
	}
	wait.Wait()
	for name, d := range all {
		d.check(t, name)
	}
	return all
}

// finish runs a prepared program to its end and gives what it printed; what it said of
// errors too, where it failed.
func finish(l *nodes.Login, cmd *exec.Cmd, limit time.Duration) (string, error) {
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := l.Start(cmd); err != nil {
		return "", err
	}
	end := make(chan error, 1)
	go func() { end <- cmd.Wait() }()
	select {
	case err := <-end:
		if err != nil {
			return errs.String() + out.String(), err
		}
		return out.String(), nil
	case <-time.After(limit):
		_ = cmd.Process.Kill()
		<-end
		return errs.String() + out.String(), fmt.Errorf("did not end within %v", limit)
	}
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

func tail(text string, n int) string {
	if len(text) > n {
		return "…" + text[len(text)-n:]
	}
	return text
}
