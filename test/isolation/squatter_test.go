//go:build interop

package isolation

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"carnet.dev/carnet/test/nodes"
)

// TestAttackPortSquatting: while the agent is away somebody tries to stand in its
// place, to hand out his own keys and receive what others upload with them.
func TestAttackPortSquatting(t *testing.T) {
	site, _ := start(t)
	n := site.Node(t, nodes.NodeOptions{})
	alice := attach(t, n.Login(t, world.uid.Add(1)), "alice")
	mallory := n.Login(t, world.uid.Add(1))
	asAlice, asMallory := newPuppet(t, alice.Login, nil), newPuppet(t, mallory, nil)
	for _, f := range faces() {
		gets(t, f.name, f.ask(asAlice, alice.Bearer))
	}
	takes := func(when string) {
		for _, f := range faces() {
			if a := asMallory.try(order{Do: "listen", Network: f.network, Address: f.address}); a.Err == "" {
				t.Errorf("%s: mallory listens at %s", when, f.address)
			}
		}
		for _, address := range []string{"0.0.0.0:1018", "[::]:1018", "0.0.0.0:80", "[::]:80", "[::ffff:127.0.0.1]:1018", "127.0.0.2:1018"} {
			if a := asMallory.try(order{Do: "listen", Network: "tcp", Address: address}); a.Err == "" {
				t.Errorf("%s: mallory listens at %s", when, address)
			}
			child := asMallory.do(order{Do: "child", Root: true, Then: []order{{Do: "listen", Network: "tcp", Address: address}}})
			if child.All[0].Err == "" {
				t.Errorf("%s: mallory, as root of a namespace, listens at %s", when, address)
			}
		}
		// He can listen elsewhere: it is the ports that are out of his reach.
		if a := asMallory.try(order{Do: "listen", Network: "tcp", Address: "127.0.0.1:11018"}); a.Err != "" {
			t.Errorf("%s: a port above: %s", when, a.Err)
		}
	}
	takes("while the agent runs")
	n.StopAgent(t)
	takes("after it ended")
	n.StartAgent(t)
	n.KillAgent(t)
	takes("after it crashed")
	n.StartAgent(t)
	nodes.Until(t, "alice gets her keys again", func() error {
		a := tcp().ask(asAlice, alice.Bearer)
		if a.Err == "" && a.Status == 200 {
			return nil
		}
		return os.ErrNotExist
	})
}

// TestAttackHighPorts: the agent offers nothing at a port that anybody may take.
func TestAttackHighPorts(t *testing.T) {
	site, _ := start(t)
	n := site.Node(t, nodes.NodeOptions{Stopped: true})
	for _, c := range []struct{ flag, address, says string }{
		{"--listen-container", "127.0.0.1:11018", "could stand in for the agent"},
		{"--listen-proxy", "127.0.0.1:11019", "could stand in for the agent"},
		{"--listen-metadata", "127.0.0.1:11020", "could stand in for the agent"},
		{"--listen-container", "0.0.0.0:1018", "0.0.0.0:1018"},
		{"--listen-proxy", "192.0.2.1:1019", "192.0.2.1:1019"},
	} {
		if o := n.Agent(t, c.flag, c.address); o.Code == 0 || !strings.Contains(o.Err, c.says) {
			t.Errorf("%s %s: %s", c.flag, c.address, o)
		}
	}
	// Where the system lets everybody have low ports, these are no better.
	if err := n.Inside(func() error {
		return exec.Command("sh", "-c", "echo 80 > /proc/sys/net/ipv4/ip_unprivileged_port_start").Run()
	}); err != nil {
		t.Fatal(err)
	}
	if o := n.Agent(t); o.Code == 0 || !strings.Contains(o.Err, "want one below 80") {
		t.Errorf("low ports that are anybody's: %s", o)
	}
}
