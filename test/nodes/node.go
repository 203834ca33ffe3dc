//go:build interop

package nodes

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"carnet.dev/carnet/internal/edge/node/localdoc"
	"carnet.dev/carnet/test/running"
)

// AgentUID is the account that agents run under, with the two capabilities that
// their unit gives them.
const AgentUID = 70001

// NodeOptions of a node. The zero value is a node of the first cluster.
type NodeOptions struct {
	Cluster string   // id; empty: the first one
	Flags   []string // further flags of carnet agent
	// Stopped leaves the agent unstarted, but joined.
	Stopped bool
	// Addresses stand on loopback beside 127.0.0.1 and ::1; nil: those of container
	// credentials.
	Addresses []string
	// To gives the host:port of ours to which the node's connections to an address of
	// the server go; nil: those of the address itself. It is asked anew each time.
	To func(address string) string
}

// Node is one machine: namespaces of its own, and an agent.
type Node struct {
	*Space
	Site *Site
	Name string
	// Folder holds what the machine has: its agent's state and run folder, homes.
	Folder string
	// State and Run are the agent's folders, as seen from outside; on the node Run is
	// /run/carnet, its usual place.
	State, Run string
	// Group is the folder of the machine's control groups.
	Group string

	flags   []string
	passage *passage
	agent   *agent
}

// agent is one running process of carnet agent.
type agent struct {
	cmd   *exec.Cmd
	log   running.Log
	ended chan struct{}
	err   error
}

// Node makes a node, joins it to its cluster and starts its agent.
func (s *Site) Node(t testing.TB, o NodeOptions) *Node {
	t.Helper()
	s.mu.Lock()
	s.nodes++
	name := fmt.Sprintf("node-%d", s.nodes)
	s.mu.Unlock()
	n := &Node{Site: s, Name: name, Folder: filepath.Join(s.Folder, name), flags: o.Flags}
	n.State, n.Run = filepath.Join(n.Folder, "state"), filepath.Join(n.Folder, "run")
	n.Group = s.groups.folder(t, name)
	if o.Addresses == nil {
		o.Addresses = []string{"169.254.170.2", "169.254.170.23"}
	}
	n.furnish(t, o.Addresses)
	n.passage = n.pass(t, o.To, s.Web, s.WebTLS, s.AWS, s.AWSTLS, s.IdP)
	cluster := o.Cluster
	if cluster == "" {
		cluster = s.Cluster
	}
	n.Join(t, s.JoinToken(t, cluster)).OK(t)
	if !o.Stopped {
		n.StartAgent(t)
	}
	return n
}

// furnish makes the node's folders and its namespaces.
func (n *Node) furnish(t testing.TB, addresses []string) {
	t.Helper()
	for folder, owner := range map[string]int{n.Folder: 0, filepath.Join(n.Folder, "user"): 0, n.State: AgentUID, n.Run: AgentUID} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(folder, owner, owner); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(n.State, 0o700); err != nil {
		t.Fatal(err)
	}
	n.Space = NewSpace(t, addresses...)
	for place, folder := range map[string]string{"/run/carnet": n.Run, "/run/user": filepath.Join(n.Folder, "user")} {
		if err := n.Inside(func() error {
			if err := os.Mkdir(place, 0o755); err != nil {
				return err
			}
			return unix.Mount(folder, place, "", unix.MS_BIND, "")
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// Offline cuts the node off the server, or connects it again.
func (n *Node) Offline(cut bool) { n.passage.set(cut) }

// Asked gives the requests of this node that reached the server's ports, in their order.
func (n *Node) Asked() []Asked {
	n.passage.mu.Lock()
	defer n.passage.mu.Unlock()
	return slices.Clone(n.passage.asked)
}

// arguments are the flags that an agent on this node always has.
func (n *Node) arguments() []string {
	args := []string{"--server", n.Site.Web, "--state", n.State}
	if n.Site.groups.own {
		args = append(args, "--cgroup", n.Site.groups.mount)
	}
	return args
}

// Join runs carnet agent join under the agent's account.
func (n *Node) Join(t testing.TB, joinToken string) Output {
	t.Helper()
	cmd := n.asAgent(append([]string{"agent", "join", "--name", n.Name}, n.arguments()...))
	cmd.Stdin = strings.NewReader(joinToken)
	return n.finish(t, cmd)
}

// asAgent prepares a run of the binary under the agent's account and in its own
// control group.
func (n *Node) asAgent(args []string) *exec.Cmd {
	cmd := exec.Command(n.Site.Carnet, args...)
	cmd.Dir, cmd.Env = n.Folder, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + n.State}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: AgentUID, Gid: AgentUID},
		AmbientCaps: []uintptr{unix.CAP_CHOWN, unix.CAP_NET_BIND_SERVICE},
		Setsid:      true,
	}
	return cmd
}

// start starts a process in the node's network and in a control group of it.
func (n *Node) start(cmd *exec.Cmd, group string) error {
	fd, err := unix.Open(group, unix.O_DIRECTORY|unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, fd
	return n.Inside(cmd.Start)
}

func (n *Node) finish(t testing.TB, cmd *exec.Cmd) Output {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := n.start(cmd, n.agentGroup(t)); err != nil {
		t.Fatal(err)
	}
	return ended(t, cmd, &out, &errs)
}

func (n *Node) agentGroup(t testing.TB) string {
	return n.Site.groups.folder(t, n.Name+"/system.slice/carnet-agent.service")
}

// StartAgent starts the agent and waits until its socket answers.
func (n *Node) StartAgent(t testing.TB) {
	t.Helper()
	a := &agent{ended: make(chan struct{})}
	a.cmd = n.asAgent(append(append([]string{"agent"}, n.arguments()...), n.flags...))
	a.cmd.Stdout, a.cmd.Stderr = &a.log, &a.log
	if err := n.start(a.cmd, n.agentGroup(t)); err != nil {
		t.Fatal(err)
	}
	go func() { a.err = a.cmd.Wait(); close(a.ended) }()
	n.agent = a
	t.Cleanup(func() {
		if n.agent == a {
			n.StopAgent(t)
		}
	})
	Until(t, "the agent of "+n.Name+" answers", func() error {
		select {
		case <-a.ended:
			t.Fatalf("carnet agent ended: %v\n%s", a.err, a.log.String())
		default:
		}
		c, err := net.Dial("unix", filepath.Join(n.Run, filepath.Base(localdoc.Socket)))
		if err != nil {
			return fmt.Errorf("%w\n%s", err, a.log.String())
		}
		return c.Close()
	})
}

// StopAgent ends the agent with a signal that lets it tidy up, and fails the test
// where it does not end.
func (n *Node) StopAgent(t testing.TB) {
	t.Helper()
	a := n.agent
	if a == nil {
		return
	}
	n.agent = nil
	_ = a.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-a.ended:
		if a.err != nil {
			t.Errorf("carnet agent did not end cleanly: %v\n%s", a.err, a.log.String())
		}
	case <-time.After(15 * time.Second):
		_ = a.cmd.Process.Kill()
		t.Errorf("carnet agent did not end within 15 s\n%s", a.log.String())
	}
}

// KillAgent ends the agent as a crash does.
func (n *Node) KillAgent(t testing.TB) {
	t.Helper()
	if a := n.agent; a != nil {
		n.agent = nil
		_ = a.cmd.Process.Kill()
		<-a.ended
	}
}

// AgentPID is the number of the agent's process as we see it; Number gives the one
// on the node.
func (n *Node) AgentPID() int { return n.agent.cmd.Process.Pid }

// Number gives the number that a process of ours has on its node.
func Number(t testing.TB, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if all, ok := strings.CutPrefix(line, "NSpid:"); ok {
			fields := strings.Fields(all)
			inner, err := strconv.Atoi(fields[len(fields)-1])
			if err != nil {
				t.Fatal(err)
			}
			return inner
		}
	}
	t.Fatalf("process %d has no number", pid)
	return 0
}

// AgentLog is what the agent printed.
func (n *Node) AgentLog() string { return n.agent.log.String() }

// Client speaks HTTP inside the node's network as root, who gets nothing there; with
// a unix socket, name the address in the context of the dial instead.
func (n *Node) Client() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(_ context.Context, network, address string) (c net.Conn, err error) {
		err = n.Inside(func() error { c, err = net.Dial(network, address); return err })
		return c, err
	}}}
}

// Until waits for a condition, at most a minute.
func Until(t testing.TB, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited a minute until %s: %v", what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Agent runs the agent with further flags and gives how it ended: for flags and places
// that it refuses. One that goes on fails the test.
func (n *Node) Agent(t testing.TB, flags ...string) Output {
	t.Helper()
	cmd := n.asAgent(append(append([]string{"agent"}, n.arguments()...), flags...))
	ends := time.AfterFunc(10*time.Second, func() {
		t.Errorf("carnet agent %v goes on", flags)
		_ = cmd.Process.Kill()
	})
	defer ends.Stop()
	return n.finish(t, cmd)
}
