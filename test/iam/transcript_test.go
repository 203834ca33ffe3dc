//go:build interop

package iam

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the transcripts anew from what the commands say now")

// transcript runs the commands of testdata/NAME.txt, lines that begin with "$ ",
// in one shell, and holds what they print equal to the lines below them. What
// differs from run to run is masked.
func (w *world) transcript(name, dir string, env map[string]string, masks ...string) {
	w.t.Helper()
	path := filepath.Join("testdata", name+".txt")
	src, err := os.ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	sh := w.shell(dir, env)
	defer sh.end()
	mask := newMask(append([]string{w.AWS, "http://AWS", w.Web, "http://WEB", w.IdP, "http://IDP", dir, "DIR"}, masks...)...)
	var out strings.Builder
	for _, step := range steps(string(src)) {
		if step.command == "" {
			out.WriteString(step.text)
			continue
		}
		got := step.text + mask.hide(sh.say(step.command))
		out.WriteString(got + "\n")
		if want := step.text + step.want; !*update && strings.TrimSpace(got) != strings.TrimSpace(want) {
			w.t.Errorf("%s: want\n%s\ngot\n%s", path, want, got)
		}
	}
	if *update {
		if err := os.WriteFile(path, []byte(strings.TrimRight(out.String(), "\n")+"\n"), 0o644); err != nil {
			w.t.Fatal(err)
		}
	}
}

// step is a comment, which stands after a blank line, or one command with what
// it is to print.
type step struct {
	text    string // as it stands in the file
	command string
	want    string
}

func steps(src string) []step {
	var out []step
	lines := strings.SplitAfter(src, "\n")
	for i := 0; i < len(lines); {
		line := lines[i]
		begins := i == 0 || strings.TrimSpace(lines[i-1]) == "" || len(out) > 0 && out[len(out)-1].command == "" && out[len(out)-1].want == ""
		i++
		command, ok := strings.CutPrefix(line, "$ ")
		if !ok {
			if begins && strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" && (len(out) == 0 || out[len(out)-1].command == "") {
				out = append(out, step{text: line})
			} else if len(out) > 0 && out[len(out)-1].command != "" {
				out[len(out)-1].want += line
			}
			continue
		}
		for strings.HasSuffix(strings.TrimRight(line, "\n"), `\`) && i < len(lines) {
			line, command = line+lines[i], command+lines[i]
			i++
		}
		out = append(out, step{text: strings.TrimRight(line, "\n") + "\n", command: command})
	}
	return out
}

// shell is one bash that keeps variables from command to command.
type shell struct {
	w   *world
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// as runs a command with the keys that an STS answer in a file holds.
const as = `as() { local k f=$1; shift; k=$(python3 -c 'import json,sys; c=json.load(open(sys.argv[1])); c=c.get("Credentials",c); print("AWS_ACCESS_KEY_ID="+c["AccessKeyId"],"AWS_SECRET_ACCESS_KEY="+c["SecretAccessKey"],"AWS_SESSION_TOKEN="+c["SessionToken"])' "$f" 2>/dev/null) && env $k "$@"; }` + "\n"

func (w *world) shell(dir string, env map[string]string) *shell {
	w.t.Helper()
	cmd := exec.Command("bash", "--noprofile", "--norc")
	cmd.Env, cmd.Dir = w.env(env), dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	s := &shell{w: w, cmd: cmd, in: in, out: bufio.NewReader(out)}
	if _, err := io.WriteString(in, "exec 2>&1\n"+as); err != nil {
		w.t.Fatal(err)
	}
	return s
}

// say runs one command and gives what it printed, with a line for an exit
// other than 0.
func (s *shell) say(command string) string {
	s.w.t.Helper()
	const mark = "=== end of command"
	timer := time.AfterFunc(2*time.Minute, func() { _ = s.cmd.Process.Kill() })
	defer timer.Stop()
	if _, err := fmt.Fprintf(s.in, "{ %s\n} </dev/null; code=$?; echo; echo '%s' $code\n", strings.TrimSpace(command), mark); err != nil {
		s.w.t.Fatal(err)
	}
	var out bytes.Buffer
	for {
		line, err := s.out.ReadString('\n')
		if err != nil {
			s.w.t.Fatalf("the shell ended at %s: %v\n%s", command, err, out.String())
		}
		if rest, ok := strings.CutPrefix(line, mark); ok {
			text := strings.Trim(out.String(), "\n")
			if text != "" {
				text += "\n"
			}
			if code := strings.TrimSpace(rest); code != "0" {
				text += "[exit " + code + "]\n"
			}
			return text
		}
		out.WriteString(line)
	}
}

func (s *shell) end() {
	_ = s.in.Close()
	_ = s.cmd.Wait()
}

// mask hides what differs from run to run.
type mask struct{ replace *strings.Replacer }

func newMask(pairs ...string) mask { return mask{strings.NewReplacer(pairs...)} }

var masks = []struct {
	pattern *regexp.Regexp
	by      string
}{
	{regexp.MustCompile(`"(SecretAccessKey|SessionToken|SAMLMetadataDocument|NameQualifier|SAMLProviderUUID)": "[^"\\]*(?:\\.[^"\\]*)*"`), `"$1": "(masked)"`},
	{regexp.MustCompile(`\bspn_[a-z0-9]{26}`), `spn_(masked)`},
	{regexp.MustCompile(`\b(AROA|AIDA|AGPA|ANPA|AIPA|ASIA|AKIA)[A-Z0-9]{12,}`), `$1(masked)`},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)`), `(time)`},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`), `(time)`},
	{regexp.MustCompile(`date/time \d{10}`), `date/time (epoch)`},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), `HOST`},
}

func (m mask) hide(s string) string {
	s = m.replace.Replace(s)
	for _, x := range masks {
		s = x.pattern.ReplaceAllString(s, x.by)
	}
	return s
}

// folder makes a folder with files that commands read.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
