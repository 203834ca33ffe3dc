//go:build interop && linux

package metadata

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain also plays parts: this binary is started in the namespaces of a test.
func TestMain(m *testing.M) {
	part := strings.Fields(os.Getenv("METADATA_PART"))
	if len(part) == 0 {
		os.Exit(m.Run())
	}
	if err := play(part); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func play(part []string) error {
	switch part[0] {
	case "serve": // the instance metadata service of a cloud
		for _, a := range Addresses() {
			l, err := net.Listen("tcp", a.String())
			if err != nil {
				return err
			}
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					_ = c.Close()
				}
			}()
		}
		fmt.Println("serving")
		_, _ = bufio.NewReader(os.Stdin).ReadByte()
		return nil
	case "reach": // what the agent asks
		uid, err := strconv.ParseUint(part[1], 10, 32)
		if err != nil {
			return err
		}
		fmt.Println((&Prober{}).Reachable(uint32(uid)))
		return nil
	case "connect": // what a program does; both addresses have to answer alike
		var said []string
		for _, a := range Addresses() {
			c, err := net.DialTimeout("tcp", a.String(), 3*time.Second)
			if err == nil {
				_ = c.Close()
			}
			said = append(said, strconv.FormatBool(err == nil))
		}
		fmt.Println(strings.Join(said, " "))
		return nil
	case "install":
		r := Rule{}
		for _, a := range part[1:] {
			uid, err := strconv.ParseUint(a, 10, 32)
			if err != nil {
				return err
			}
			r.Allow = append(r.Allow, uint32(uid))
		}
		return r.Install(context.Background())
	}
	return fmt.Errorf("no part %q", part)
}

// machine is a network namespace that stands for a node; the service of its cloud
// answers in another one, behind a wire.
type machine struct{ node, cloud, binary string }

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func newMachine(t *testing.T) machine {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("this test makes network namespaces: run it as root")
	}
	for _, need := range []string{"nft", "iptables", "ip6tables", "ip", "setpriv", "unshare"} {
		if _, err := exec.LookPath(need); err != nil {
			t.Fatal(err)
		}
	}
	m := machine{fmt.Sprintf("carnet-node-%d", os.Getpid()), fmt.Sprintf("carnet-cloud-%d", os.Getpid()), open(t)}
	for _, n := range []string{m.node, m.cloud} {
		run(t, "ip", "netns", "add", n)
		t.Cleanup(func() { run(t, "ip", "netns", "del", n) })
		run(t, "ip", "-n", n, "link", "set", "lo", "up")
	}
	run(t, "ip", "-n", m.node, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", m.cloud)
	for n, addresses := range map[string][]string{m.node: {"10.99.0.2/24", "fd99::2/64"}, m.cloud: {"10.99.0.1/24", "fd99::1/64", "169.254.169.254/32", "fd00:ec2::254/128"}} {
		for _, a := range addresses {
			args := []string{"-n", n, "addr", "add", a, "dev", "eth0"}
			if strings.Contains(a, ":") {
				args = append(args, "nodad")
			}
			run(t, "ip", args...)
		}
		run(t, "ip", "-n", n, "link", "set", "eth0", "up")
	}
	run(t, "ip", "-n", m.node, "route", "add", "169.254.169.254", "dev", "eth0")
	run(t, "ip", "-n", m.node, "route", "add", "fd00:ec2::254", "dev", "eth0")
	m.serve(t)
	return m
}

// command runs this binary in a namespace, under the words in front of it.
func (m machine) command(in, part string, before ...string) *exec.Cmd {
	args := append([]string{"netns", "exec", in}, before...)
	c := exec.Command("ip", append(args, m.binary)...)
	c.Env = append(os.Environ(), "METADATA_PART="+part)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return c
}

// open gives a copy of this binary that every account may run.
func open(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "carnet-metadata-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(own)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "part")
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{folder, path} {
		if err := os.Chmod(p, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func (m machine) serve(t *testing.T) {
	t.Helper()
	c := m.command(m.cloud, "serve")
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = c.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "serving\n" {
		t.Fatalf("the service of the cloud: %q %v", line, err)
	}
}

func (m machine) says(t *testing.T, part string, before ...string) string {
	t.Helper()
	out, err := m.command(m.node, part, before...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", part, err, out)
	}
	return strings.TrimSpace(string(out))
}

func as(uid string) []string {
	return []string{"setpriv", "--reuid", uid, "--regid", uid, "--clear-groups"}
}

// TestAttackNodeIdentity: without the rule everybody on a node reaches the identity of
// the node itself, and the agent sees it; with the rule root alone does, whatever form
// it has.
func TestAttackNodeIdentity(t *testing.T) {
	for _, form := range []string{"nft", "iptables"} {
		t.Run(form, func(t *testing.T) {
			m := newMachine(t)
			person, other := "71001", "71002"
			for what, got := range map[string]string{
				"a person": m.says(t, "connect", as(person)...), "root": m.says(t, "connect"),
			} {
				if got != "true true" {
					t.Fatalf("the ground of this test: %s reaches the service: %s", what, got)
				}
			}
			if got := m.says(t, "reach "+person); got != "true" {
				t.Errorf("the agent does not see that it is reached: %s", got)
			}
			if got := m.says(t, "reach "+person, as("70001")...); got != "true" {
				t.Errorf("an agent without rights does not see that it is reached: %s", got)
			}
			install := func(allow ...string) {
				t.Helper()
				if form == "nft" {
					m.says(t, strings.Join(append([]string{"install"}, allow...), " "))
					return
				}
				r := Rule{}
				for _, a := range allow {
					uid, err := strconv.ParseUint(a, 10, 32)
					if err != nil {
						t.Fatal(err)
					}
					r.Allow = append(r.Allow, uint32(uid))
				}
				run(t, "ip", "netns", "exec", m.node, "sh", "-c", r.IPTables())
			}
			install()
			install() // again changes nothing
			namespace := append(as(person), "unshare", "--user", "--map-root-user")
			for what, c := range map[string]struct{ got, want string }{
				"a person":                  {m.says(t, "connect", as(person)...), "false false"},
				"another":                   {m.says(t, "connect", as(other)...), "false false"},
				"root of a user namespace":  {m.says(t, "connect", namespace...), "false false"},
				"an account of a container": {m.says(t, "connect", as("165536")...), "false false"},
				"root":                      {m.says(t, "connect"), "true true"},
				"the agent of a person":     {m.says(t, "reach "+person), "false"},
				"an agent without rights":   {m.says(t, "reach "+person, as("70001")...), "false"},
				"the agent, of root":        {m.says(t, "reach 0"), "true"},
			} {
				if c.got != c.want {
					t.Errorf("%s: %s, want %s", what, c.got, c.want)
				}
			}
			install(other)
			if got := m.says(t, "connect", as(other)...); got != "true true" {
				t.Errorf("an allowed account: %s", got)
			}
			if got := m.says(t, "connect", as(person)...); got != "false false" {
				t.Errorf("a person beside an allowed account: %s", got)
			}
		})
	}
}

// TestOurOwnAddressPasses: where the agent answers at the service's address, on this
// machine, the rule is not in the way.
func TestOurOwnAddressPasses(t *testing.T) {
	m := newMachine(t)
	m.says(t, "install")
	run(t, "ip", "-n", m.node, "route", "del", "169.254.169.254", "dev", "eth0")
	run(t, "ip", "-n", m.node, "route", "del", "fd00:ec2::254", "dev", "eth0")
	run(t, "ip", "-n", m.node, "addr", "add", "169.254.169.254/32", "dev", "lo")
	run(t, "ip", "-n", m.node, "addr", "add", "fd00:ec2::254/128", "dev", "lo")
	here := m
	here.cloud = m.node
	here.serve(t)
	if got := m.says(t, "connect", as("71001")...); got != "true true" {
		t.Errorf("a person: %s", got)
	}
}
