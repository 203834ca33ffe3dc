//go:build interop

package isolation

import (
	"fmt"
	"os/exec"
	"syscall"
	"testing"
)

// contained starts a process as a container with the host's network is: as root does
// it, who then takes the uid.
func contained(c *exec.Cmd) { inNamespaces(c) }

// separate is contained with a network of its own.
func separate(c *exec.Cmd) { inNamespaces(c, "--net") }

func inNamespaces(c *exec.Cmd, more ...string) {
	uid := fmt.Sprint(c.SysProcAttr.Credential.Uid)
	args := append([]string{"unshare", "--mount", "--pid", "--fork", "--kill-child", "--ipc", "--uts", "--cgroup"}, more...)
	c.Args = append(args, "setpriv", "--reuid", uid, "--regid", uid, "--clear-groups", c.Path)
	c.Path = "/usr/bin/unshare"
	c.SysProcAttr.Credential = &syscall.Credential{}
	c.Dir = "/"
}

// TestAttackContainerToHostLoopback: uid 1000 of a container that shares the node's
// network has the number of somebody who is attached on the node. Its control group
// tells them apart, also when it calls itself the root of its own view.
func TestAttackContainerToHostLoopback(t *testing.T) {
	alice := attached(t, "alice")
	asAlice := newPuppet(t, alice.Login, nil)
	pod := alice.Node.LoginIn(t, alice.UID, fmt.Sprintf("kubepods.slice/kubepods-pod%d.slice/cri-containerd-1.scope", alice.UID))
	shared := newPuppet(t, pod, contained)
	for _, f := range faces() {
		t.Run(f.name, func(t *testing.T) {
			gets(t, "alice", f.ask(asAlice, alice.Bearer))
			nothing(t, "the same uid number in a container", f.ask(shared, alice.Bearer))
		})
	}
	// What alice starts as a container inside her own login scope is hers.
	below := newPuppet(t, alice.Login, contained)
	gets(t, "a container in alice's own scope", tcp().ask(below, alice.Bearer))
}

// TestAttackContainerWithItsOwnNetwork: from another network namespace the loopback
// addresses lead nowhere, and a socket that is mounted into it tells who is asking.
func TestAttackContainerWithItsOwnNetwork(t *testing.T) {
	alice := attached(t, "alice")
	asAlice := newPuppet(t, alice.Login, nil)
	pod := alice.Node.LoginIn(t, alice.UID, fmt.Sprintf("kubepods.slice/kubepods-pod%d.slice/cri-containerd-2.scope", alice.UID))
	apart := newPuppet(t, pod, separate)
	for _, f := range faces() {
		t.Run(f.name, func(t *testing.T) {
			gets(t, "alice", f.ask(asAlice, alice.Bearer))
			a := f.ask(apart, alice.Bearer)
			nothing(t, "the same uid number in another network", a)
			if f.network == "tcp" && a.Err == "" {
				t.Errorf("something answers at %s in another network: %d %s", f.address, a.Status, a.Body)
			}
		})
	}
}
