package agent

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"carnet.dev/carnet/internal/edge/node/localdoc"
)

// TestTheDocumentsCommands runs docs/operations/agent.md as it stands, every line of
// every block in order, and reads its agent.yaml. Only the places are the test's own.
func TestTheDocumentsCommands(t *testing.T) {
	text, err := os.ReadFile("../../../docs/operations/agent.md")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.stop()
	w.mu.Lock()
	clear(w.used) // as if the server had made another join token
	w.mu.Unlock()
	root := t.TempDir()
	config := filepath.Join(root, "agent.yaml")
	if err := os.WriteFile(config, []byte("state: "+filepath.Join(root, "state")+"\nrun: "+w.c.Run+"\ninsecure_ports: true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]os.FileMode{"state": 0o700, "sysusers.d": 0o755, "systemd": 0o755} {
		if err := os.Mkdir(filepath.Join(root, path), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "join-token"), []byte("carnet-join-once\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	places := strings.NewReplacer("https://carnet.example.com", w.http.URL, "/etc/carnet/join-token", filepath.Join(root, "join-token"),
		"/etc/sysusers.d/", filepath.Join(root, "sysusers.d")+"/", "/etc/systemd/system/", filepath.Join(root, "systemd")+"/")
	lines := 0
	for _, b := range strings.Split(string(text), "```sh\n")[1:] {
		block, _, _ := strings.Cut(b, "```")
		for line := range strings.SplitSeq(strings.TrimSpace(block), "\n") {
			lines++
			if line == "carnet agent status" {
				w.c.State = filepath.Join(root, "state") // what was joined by the page
				w.start()
			}
			out := documented(t, places.Replace(line), config)
			if line == "carnet agent status" && !strings.Contains(out, w.cluster()) {
				t.Errorf("%s: %s", line, out)
			}
		}
	}
	if lines < 8 {
		t.Errorf("only %d lines were run", lines)
	}
	_, b, _ := strings.Cut(string(text), "```yaml\n")
	yaml, _, _ := strings.Cut(b, "```")
	c, err := Parse([]byte(yaml))
	if err == nil {
		c, err = c.complete()
	}
	if err != nil || c.Server != "https://carnet.example.com" || !slices.Equal(c.Listen.Container, defaultContainer()) || c.WebIdentity != "on" {
		t.Errorf("agent.yaml: %+v %v", c, err)
	}
	for _, unit := range []string{"sysusers.d/carnet-agent.conf", "systemd/carnet-agent.socket", "systemd/carnet-agent.service"} {
		if info, err := os.Stat(filepath.Join(root, unit)); err != nil || info.Size() == 0 {
			t.Errorf("%s was not written: %v", unit, err)
		}
	}
}

// cluster is the name that the test's server gives its cluster.
func (w *world) cluster() string { return "lab" }

// documented runs one line: carnet agent, with or without a file that it writes.
func documented(t *testing.T, line, config string) string {
	t.Helper()
	line, file, writes := strings.Cut(line, " >")
	args, ok := strings.CutPrefix(line, "carnet agent ")
	if !ok {
		t.Fatalf("%s: this test runs carnet agent alone", line)
	}
	var out bytes.Buffer
	root := &cobra.Command{Use: "carnet", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(Command())
	root.SetArgs(append([]string{"agent", "--config", config}, strings.Fields(args)...))
	root.SetOut(&out)
	root.SetErr(io.Discard)
	if err := root.ExecuteContext(context.Background()); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	if writes {
		if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}

func TestStatusInWords(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	err := sayStatus(&b, localdoc.Status{Node: "n", Cluster: "lab", Kind: "standard", Fresh: true,
		Faces: localdoc.Faces{Container: "http://127.0.0.1:1018/v1/credentials", Missing: map[string]string{"proxy": "switched off on this cluster"}}, Attachment: &localdoc.Attachment{Name: "ann", Scope: "/s"}})
	want := []string{"lab (standard)", "in touch", "http://127.0.0.1:1018", "proxy      not offered: switched off", "ann in /s"}
	for _, part := range want {
		if !strings.Contains(b.String(), part) {
			t.Errorf("no %q in\n%s", part, b.String())
		}
	}
	b.Reset()
	if err2 := sayStatus(&b, localdoc.Status{Node: "n"}); err != nil || err2 != nil || !strings.Contains(b.String(), "not known yet") || !strings.Contains(b.String(), "nothing new") {
		t.Errorf("%s %v %v", b.String(), err, err2)
	}
}
