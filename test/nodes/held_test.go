//go:build interop

package nodes

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/edge/node/localdoc"
	"carnet.dev/carnet/test/running"
)

// held opens the sockets of the agent's socket unit on the node, as its service manager
// would.
func (n *Node) held(t *testing.T) []*os.File {
	t.Helper()
	var files []*os.File
	for _, at := range []string{localdoc.Socket, "127.0.0.1:1018", "[::1]:1018", "127.0.0.1:1019", "127.0.0.1:1020"} {
		network := "tcp"
		if strings.HasPrefix(at, "/") {
			network, at = "unix", filepath.Join(n.Run, filepath.Base(at))
		}
		var lc net.ListenConfig
		lc.SetMultipathTCP(false)
		if err := n.Inside(func() error {
			l, err := lc.Listen(t.Context(), network, at)
			if err != nil {
				return err
			}
			if u, ok := l.(*net.UnixListener); ok {
				u.SetUnlinkOnClose(false)
			}
			defer l.Close()
			f, err := l.(interface{ File() (*os.File, error) }).File()
			files = append(files, f)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(n.Run, filepath.Base(localdoc.Socket)), 0o666); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, f := range files {
			_ = f.Close()
		}
	})
	return files
}

// startHeld starts the agent with sockets, whose number the shell knows first.
func (n *Node) startHeld(t *testing.T, files []*os.File) {
	t.Helper()
	a := &agent{ended: make(chan struct{})}
	cmd := n.asAgent(append([]string{"agent"}, n.arguments()...))
	cmd.Args = append([]string{"sh", "-c", `LISTEN_PID=$$ exec "$@"`, "sh", cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	// The socket is bound under the path by which the test sees it.
	cmd.Args = append(cmd.Args, "--socket", filepath.Join(n.Run, filepath.Base(localdoc.Socket)))
	cmd.Env = append(cmd.Env, fmt.Sprintf("LISTEN_FDS=%d", len(files)))
	cmd.ExtraFiles = files
	a.cmd = cmd
	cmd.Stdout, cmd.Stderr = &a.log, &a.log
	if err := n.start(cmd, n.agentGroup(t)); err != nil {
		t.Fatal(err)
	}
	go func() { a.err = cmd.Wait(); close(a.ended) }()
	n.agent = a
	t.Cleanup(func() {
		if n.agent == a {
			n.StopAgent(t)
		}
	})
}

// TestSocketsAreHeldWhileTheAgentRestarts: who connects meanwhile waits, and is answered
// by the agent and by nobody else.
func TestSocketsAreHeldWhileTheAgentRestarts(t *testing.T) {
	site := Start(t, Options{})
	node := site.Node(t, NodeOptions{Stopped: true})
	files := node.held(t)
	node.startHeld(t, files)
	alice := node.Login(t, 71001)
	alice.Attach(t, "alice")
	var roles localdoc.Roles
	alice.MustLocal(t, http.MethodGet, "/v1/roles", nil, &roles)
	alice.MustLocal(t, http.MethodPut, "/v1/role", localdoc.SetRole{Role: roles.Roles[0].ARN}, nil)
	st := alice.Status(t)
	fetch := []string{"sh", "-c", `curl --silent --show-error --fail-with-body --max-time 60 -H "Authorization: $(cat ` + st.Attachment.TokenFile + `)" ` + st.Faces.Container}
	if st.Faces.Container != "http://127.0.0.1:1018/v1/credentials" {
		t.Fatalf("faces: %+v\n%s", st.Faces, node.AgentLog())
	}
	alice.Run(t, fetch...).OK(t)
	node.KillAgent(t)
	if err := node.Inside(func() error {
		l, err := net.Listen("tcp4", "127.0.0.1:1018")
		if err == nil {
			_ = l.Close()
		}
		return err
	}); err == nil {
		t.Error("somebody else could listen while the agent was gone")
	}
	waiting := alice.Command(fetch...)
	var out, errs running.Log
	waiting.Stdout, waiting.Stderr = &out, &errs
	if err := alice.Start(waiting); err != nil {
		t.Fatal(err)
	}
	node.startHeld(t, files)
	if err := waiting.Wait(); err != nil || !strings.Contains(out.String(), "AccessKeyId") {
		t.Errorf("who waited got %v %s%s\n%s", err, out.String(), errs.String(), node.AgentLog())
	}
}
