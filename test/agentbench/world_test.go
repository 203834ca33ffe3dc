//go:build interop

// Package agentbench measures the node agent as people run it: the real binary on a
// node, against a server of the test's own that answers as Carnet's does, so that each
// upstream call is counted and takes the time that it is told to. It is started by
// make bench-agent; without what it needs it fails, it does not skip.
//
// What fetches, and the server that fetches are compared with, are this test binary in
// other roles, on the same node. All take turns, in rounds; ratios are taken round by
// round.
package agentbench

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"carnet.dev/carnet/internal/edge/nodeapi/nodedoc"
	"carnet.dev/carnet/internal/edge/nodeclient"
	"carnet.dev/carnet/test/nodes"
)

const roleVariable = "CARNET_BENCH_ROLE"

// TestMain lets this binary be the load and the canned server too.
func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(roleVariable) {
	case "load":
		err = serveLoad()
	case "canned":
		err = serveCanned()
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// cannedAddress is where the canned server answers on its node.
const cannedAddress = "127.0.0.1:1918"

// serveCanned gives the same keys to everybody by net/http, without a look at who
// asks: the most that a server in Go does with them.
func serveCanned() error {
	l, err := net.Listen("tcp", cannedAddress)
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	body := []byte(`{"AccessKeyId":"ASIA0000000000000001","SecretAccessKey":"` + strings.Repeat("s", 40) + `","Token":"` + strings.Repeat("t", 709) +
		`","Expiration":"2030-01-02T03:04:05Z","AccountId":"111122223333","RoleArn":"` + role + `"}`)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // the parent holds the other end
		os.Exit(0)
	}()
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = []string{"application/json"}
		_, _ = w.Write(body)
	}))
}

// world is one node with its agent, and what asks there.
type world struct {
	server *server
	node   *nodes.Node
	person *nodes.Login // uid 71001, attached
	root   *nodes.Login // the scope of attachments of other uids
	load   *roleProcess // as the person
	many   *roleProcess // as root, with sockets of others
	canned *roleProcess
}

const personUID = 71001

func start(t *testing.T, upstream time.Duration) *world {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{server: newServer(t, l, upstream)}
	site := nodes.Bare(t, w.server.url)
	w.node = site.Node(t, nodes.NodeOptions{})
	w.person, w.root = w.node.Login(t, personUID), w.node.Login(t, 0)
	self := filepath.Join(site.Folder, "bench")
	copySelf(t, self)
	w.load, w.many, w.canned = startRole(t, w.person, self, "load"), startRole(t, w.root, self, "load"), startRole(t, w.root, self, "canned")
	if line, err := w.canned.out.ReadString('\n'); err != nil || line != cannedAddress+"\n" {
		t.Fatalf("the canned server does not start: %s %v", line, err)
	}
	return w
}

// copySelf puts this binary where every account may run it.
func copySelf(t *testing.T, to string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o755); err != nil {
		t.Fatal(err)
	}
}

// roleProcess is this binary in another role, in a sign-in.
type roleProcess struct {
	in  io.WriteCloser
	out *bufio.Reader
	pid int
}

func startRole(t *testing.T, l *nodes.Login, self, role string) *roleProcess {
	t.Helper()
	cmd := l.Command(self)
	cmd.Env = append(cmd.Env, roleVariable+"="+role)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Process.Signal(syscall.SIGKILL); _ = waitFor(cmd) })
	return &roleProcess{in, bufio.NewReader(out), cmd.Process.Pid}
}

func waitFor(cmd *exec.Cmd) error { return cmd.Wait() }

// do has the process do a job.
func (p *roleProcess) do(t *testing.T, j job) sample {
	t.Helper()
	if err := json.NewEncoder(p.in).Encode(j); err != nil {
		t.Fatal(err)
	}
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		t.Fatalf("the load ended: %v", err)
	}
	var s sample
	if err := json.Unmarshal(line, &s); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	return s
}

// endpoint is where the agent's container endpoint answers.
const endpoint = "127.0.0.1:1018"

// attachment is one of a uid in a sign-in's scope.
func attachment(t *testing.T, l *nodes.Login, id string, uid uint32) nodedoc.Attachment {
	return nodedoc.Attachment{ID: id, UID: uid, Scope: l.Scope, ScopeID: l.ScopeID(t), Name: id, Role: role, Expires: time.Now().Add(12 * time.Hour)}
}

// bearer is the second factor of an attachment, as the agent makes it.
func (w *world) bearer(t *testing.T, a nodedoc.Attachment) string {
	t.Helper()
	key, err := (nodeclient.Folder{Path: w.node.State}).LocalKey()
	if err != nil {
		t.Fatal(err)
	}
	m := hmac.New(sha256.New, key[:])
	m.Write([]byte("carnet attachment " + a.ID))
	return "carnet-local-" + base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// resident is the memory of a process in KiB.
func resident(t *testing.T, pid int) float64 { return memoryOf(t, pid, "VmRSS:") }

// memoryOf is one sort of memory of a process in KiB (proc_pid_status(5)).
func memoryOf(t *testing.T, pid int, sort string) (kib float64) {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == sort {
			if _, err := fmt.Sscan(f[1], &kib); err != nil {
				t.Fatal(err)
			}
		}
	}
	return kib
}

// processorTime is what a process has used, user and system, in steps of 10 ms.
func processorTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	var user, system int
	if _, err := fmt.Sscan(f[11]+" "+f[12], &user, &system); err != nil {
		t.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}
