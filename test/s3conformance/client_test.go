//go:build interop

package s3conformance

import (
	"bufio"
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"carnet.dev/carnet/test/running"
)

// run is one run of versitygw's client.
type run struct {
	url      string
	keys     keys
	versions bool
	groups   []group
	excused  map[string]bool // may fail, so that it isn't run twice
}

type plan struct {
	Endpoint  string   `json:"endpoint"`
	Access    string   `json:"access"`
	Secret    string   `json:"secret"`
	Region    string   `json:"region"`
	Versions  bool     `json:"versions"`
	Parallel  int      `json:"parallel"`
	Seconds   int      `json:"seconds"`
	Together  []string `json:"together"`
	OneByOne  []string `json:"one_by_one"`
	Workplace string   `json:"workplace"`
}

const (
	atOnce  = 8
	seconds = 90 // bound of one case; the client waits for 30 at most in each call
)

// do runs all cases and gives what each came to. One that fails without an excuse
// runs once more, alone.
func (r run) do(t *testing.T) map[string]outcome {
	t.Helper()
	p := plan{
		Endpoint: r.url, Access: r.keys.id, Secret: r.keys.secret, Region: region, Versions: r.versions,
		Parallel: atOnce, Seconds: seconds, Workplace: running.Need(t, "CARNET_S3_CLIENTS"),
	}
	for _, g := range r.groups {
		p.Together, p.OneByOne = append(p.Together, g.together...), append(p.OneByOne, g.alone...)
	}
	results := p.all(t)
	again := p
	again.Together, again.OneByOne = nil, nil
	for name, o := range results {
		if o.Status != "pass" && !r.excused[name] {
			again.OneByOne = append(again.OneByOne, name)
		}
	}
	if len(again.OneByOne) > 0 && len(again.OneByOne) < len(results)/4 {
		// Some cases hang on the tick of a clock, and on a machine that is busy.
		for name, o := range again.all(t) {
			if o.Status == "pass" {
				t.Logf("%s passes only the second time, alone: %s", name, results[name].Message)
				results[name] = o
			}
		}
	}
	return results
}

// all runs the cases of a plan. Where the client itself dies, those without a
// result run again, one by one, so that one case can't take others with it.
func (p plan) all(t *testing.T) map[string]outcome {
	t.Helper()
	results := map[string]outcome{}
	for len(p.Together)+len(p.OneByOne) > 0 {
		running, died := start(t, p, results)
		lost := func(name string) bool { return results[name].Status == "" }
		if !died && slices.ContainsFunc(append(p.Together, p.OneByOne...), lost) {
			t.Fatal("the client ended well without a result for each case")
		}
		if p.Parallel == 1 && died {
			for _, name := range running {
				results[name] = outcome{Status: "lost", Message: "the client died in this case"}
			}
		}
		keep := slices.DeleteFunc(append(p.Together, p.OneByOne...), func(name string) bool { return !lost(name) })
		p.Together, p.OneByOne, p.Parallel = nil, keep, 1
	}
	// Some are in a group and can't be called by name.
	maps.DeleteFunc(results, func(_ string, o outcome) bool { return o.Status == "unknown" })
	return results
}

// start runs the client once; running are the cases that had begun when it ended.
func start(t *testing.T, p plan, results map[string]outcome) (running []string, died bool) {
	t.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	cmd := exec.Command(filepath.Join(p.Workplace, "client"))
	var said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = bytes.NewReader(text), &said, &said, []*os.File{writer}
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + t.TempDir()}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	begun := map[string]bool{}
	lines := bufio.NewScanner(reader)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var v struct {
			Case, Status, Message string
			Milliseconds          int64 `json:"ms"`
		}
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			t.Fatalf("the client says %q: %v", lines.Text(), err)
		}
		if v.Status == "started" {
			begun[v.Case] = true
			continue
		}
		delete(begun, v.Case)
		results[v.Case] = outcome{v.Status, v.Message, v.Milliseconds}
	}
	died = cmd.Wait() != nil
	if died {
		t.Logf("the client died: %s", tail(said.String(), 2000))
	}
	for name := range begun {
		running = append(running, name)
	}
	return running, died
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }
