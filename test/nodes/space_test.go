//go:build interop

package nodes

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestNodesAreMachines holds the ground of every test that uses this package: what a
// node has is its own, and a sign-in is what it says.
func TestNodesAreMachines(t *testing.T) {
	folder := openFolder(t)
	s := &Site{Folder: folder, Carnet: "/nowhere", groups: openGroups(t, folder)}
	var machines []*Node
	for _, name := range []string{"a", "b"} {
		n := &Node{Site: s, Name: name, Folder: filepath.Join(folder, name), State: filepath.Join(folder, name, "state"), Run: filepath.Join(folder, name, "run")}
		n.furnish(t, []string{"169.254.170.2"})
		machines = append(machines, n)
		if err := n.Inside(func() error {
			l, err := net.Listen("tcp", "169.254.170.2:80")
			if err == nil {
				t.Cleanup(func() { _ = l.Close() })
			}
			return err
		}); err != nil {
			t.Errorf("port 80 of machine %s: %v", name, err)
		}
	}
	l := machines[0].Login(t, 71001)
	o := l.Run(t, "sh", "-c", "id -u; grep ^0:: /proc/self/cgroup; ls -x /run; touch $XDG_RUNTIME_DIR/mine; pwd")
	lines := strings.Fields(o.OK(t))
	if len(lines) != 5 || lines[2]+lines[3] != "carnetuser" || lines[0] != "71001" || lines[1] != "0::"+l.Scope || !strings.HasSuffix(l.Scope, ".scope") || lines[4] != l.Home {
		t.Errorf("scope %s, home %s: %s", l.Scope, l.Home, o)
	}
	if n := Number(t, l.leader.Process.Pid); n >= 100 {
		t.Errorf("the leader has number %d on its machine", n)
	}
	l.End(t)
	if _, err := os.Stat(l.Group); err == nil {
		t.Error("the group outlives its sign-in")
	}
	if out, err := exec.Command("ls", "/run").Output(); err != nil || len(out) == 0 {
		t.Errorf("our own /run: %s %v", out, err)
	}
}
