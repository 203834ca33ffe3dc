//go:build interop

package nodes

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"carnet.dev/carnet/internal/edge/node/localdoc"
)

// Login is a sign-in of a uid to a node: a control group that holds its processes,
// with a process that leads it.
type Login struct {
	Node    *Node
	UID     uint32
	Scope   string // the path of its group, as /proc/PID/cgroup has it
	Group   string // the folder of its group
	Home    string
	Runtime string // XDG_RUNTIME_DIR
	// Env is the environment of its processes.
	Env []string

	leader *exec.Cmd
	shared bool // its group is not its own
}

// Login signs a uid in to the node, with an own scope. Two of the same uid share
// home and runtime folder, as they do on a real machine.
func (n *Node) Login(t testing.TB, uid uint32) *Login {
	t.Helper()
	return n.LoginIn(t, uid, fmt.Sprintf("user.slice/user-%d.slice/session-%s.scope", uid, n.Site.groups.next()))
}

// LoginIn is Login with a group of another name, below the node's.
func (n *Node) LoginIn(t testing.TB, uid uint32, group string) *Login {
	t.Helper()
	return n.begin(t, &Login{Node: n, UID: uid, Group: n.Site.groups.folder(t, n.Name+"/"+group)})
}

// LoginAtRoot is Login on a machine that makes no groups: all processes are in the root
// group, and stay there until their node ends.
func (n *Node) LoginAtRoot(t testing.TB, uid uint32) *Login {
	t.Helper()
	return n.begin(t, &Login{Node: n, UID: uid, Group: n.Site.groups.mount, shared: true})
}

// begin makes the places of a sign-in and starts its leader.
func (n *Node) begin(t testing.TB, l *Login) *Login {
	t.Helper()
	uid := l.UID
	l.Scope = "/" + strings.TrimPrefix(n.Site.groups.pathOf(l.Group), "/")
	l.Home, l.Runtime = filepath.Join(n.Folder, "home", fmt.Sprint(uid)), fmt.Sprintf("/run/user/%d", uid)
	for _, folder := range []string{l.Home, filepath.Join(n.Folder, "user", fmt.Sprint(uid))} {
		if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(folder, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
		if err := os.Chown(folder, int(uid), int(uid)); err != nil {
			t.Fatal(err)
		}
	}
	l.Env = []string{"HOME=" + l.Home, "XDG_RUNTIME_DIR=" + l.Runtime, "PATH=" + n.Site.Folder + ":" + os.Getenv("PATH")}
	l.leader = l.Command("sleep", "infinity")
	if err := l.Start(l.leader); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.End(t) })
	return l
}

// Command prepares a process of the sign-in: uid, environment, home. Start it with
// Start.
func (l *Login) Command(args ...string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Path = l.lookUp(args[0])
	cmd.Err = nil
	cmd.Dir, cmd.Env = l.Home, append([]string(nil), l.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: l.UID, Gid: l.UID}, Setsid: true}
	return cmd
}

func (l *Login) lookUp(name string) string {
	if name == "carnet" {
		return l.Node.Site.Carnet
	}
	if p, err := exec.LookPath(name); err == nil {
		return p
	}
	return name
}

// Start starts a process in the sign-in's group and the node's network.
func (l *Login) Start(cmd *exec.Cmd) error { return l.Node.start(cmd, l.Group) }

// Run runs a program to its end; "carnet" is the binary under test.
func (l *Login) Run(t testing.TB, args ...string) Output {
	t.Helper()
	return l.Finish(t, l.Command(args...))
}

// Finish starts a prepared process and waits for its end.
func (l *Login) Finish(t testing.TB, cmd *exec.Cmd) Output {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := l.Start(cmd); err != nil {
		t.Fatal(err)
	}
	return ended(t, cmd, &out, &errs)
}

func ended(t testing.TB, cmd *exec.Cmd, out, errs *bytes.Buffer) Output {
	t.Helper()
	end := make(chan error, 1)
	go func() { end <- cmd.Wait() }()
	select {
	case <-end:
	case <-time.After(5 * time.Minute):
		_ = cmd.Process.Kill()
		<-end
		t.Errorf("%v did not end within 5 minutes", cmd.Args)
	}
	return Output{Code: cmd.ProcessState.ExitCode(), Out: out.String(), Err: errs.String()}
}

// Local asks the agent over its unix socket from a process of the sign-in and gives
// status and body. Paths are those of localdoc.
func (l *Login) Local(t testing.TB, method, path string, in any) (int, []byte) {
	t.Helper()
	args := []string{"curl", "--silent", "--show-error", "--max-time", "60", "--unix-socket", localdoc.Socket, "-X", method, "-w", "\n%{http_code}", "http://localhost" + path}
	if in != nil {
		body, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		args = append(args, "-H", "Content-Type: application/json", "--data-raw", string(body))
	}
	o := l.Run(t, args...)
	at := strings.LastIndexByte(o.Out, '\n')
	if o.Code != 0 || at < 0 {
		t.Fatalf("%s %s over %s: %s", method, path, localdoc.Socket, o)
	}
	status := 0
	if _, err := fmt.Sscan(o.Out[at+1:], &status); err != nil {
		t.Fatal(err)
	}
	return status, []byte(o.Out[:at])
}

// MustLocal is Local that has to succeed.
func (l *Login) MustLocal(t testing.TB, method, path string, in, out any) {
	t.Helper()
	status, body := l.Local(t, method, path, in)
	if status/100 != 2 {
		t.Fatalf("%s %s as uid %d: %d\n%s\nThe agent says:\n%s", method, path, l.UID, status, body, l.Node.AgentLog())
	}
	if out != nil {
		if err := json.Unmarshal(body, out); err != nil {
			t.Fatalf("%s %s: %v\n%s", method, path, err, body)
		}
	}
}

// Begin asks to be attached and gives the code that a person has to approve.
func (l *Login) Begin(t testing.TB) localdoc.Begun {
	t.Helper()
	var begun localdoc.Begun
	l.MustLocal(t, http.MethodPost, "/v1/attach", localdoc.Attach{}, &begun)
	return begun
}

// Attach goes the whole way: the sign-in asks, the person (who has signed in at the
// server elsewhere) approves the code, and the sign-in learns of it.
func (l *Login) Attach(t testing.TB, person string) localdoc.Attachment {
	t.Helper()
	begun := l.Begin(t)
	l.Node.Site.Must(t, person, http.MethodPost, "attachments/approve", map[string]string{"user_code": begun.UserCode}, nil)
	var polled localdoc.Polled
	Until(t, person+" is attached", func() error {
		l.MustLocal(t, http.MethodPost, "/v1/attach/poll", localdoc.Poll{Request: begun.Request}, &polled)
		if polled.State == "pending" {
			return errors.New("pending")
		}
		return nil
	})
	if polled.State != "attached" || polled.Attachment == nil {
		t.Fatalf("attaching uid %d as %s came to %q", l.UID, person, polled.State)
	}
	return *polled.Attachment
}

// Status is what the agent says of the sign-in.
func (l *Login) Status(t testing.TB) localdoc.Status {
	t.Helper()
	var s localdoc.Status
	l.MustLocal(t, http.MethodGet, "/v1/status", nil, &s)
	return s
}

// Faces gives the variables with which the SDKs of AWS find the container endpoint,
// besides those of every process of the sign-in.
func (l *Login) Faces(t testing.TB) []string {
	t.Helper()
	s := l.Status(t)
	if s.Attachment == nil {
		t.Fatalf("uid %d is not attached", l.UID)
	}
	return []string{"AWS_CONTAINER_CREDENTIALS_FULL_URI=" + s.Faces.Container, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=" + s.Attachment.TokenFile,
		"AWS_ENDPOINT_URL_S3=" + l.Node.Site.AWS, "AWS_ENDPOINT_URL_STS=" + l.Node.Site.AWS, "AWS_REGION=us-east-1", "AWS_DEFAULT_REGION=us-east-1"}
}

// End ends the sign-in: its processes and its group.
func (l *Login) End(t testing.TB) {
	t.Helper()
	if l.leader == nil {
		return
	}
	_ = l.leader.Process.Kill()
	_ = l.leader.Wait()
	l.leader = nil
	if !l.shared {
		endGroup(t, l.Group)
	}
}
