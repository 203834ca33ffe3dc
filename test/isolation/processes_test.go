//go:build interop

package isolation

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"carnet.dev/carnet/internal/edge/node/localdoc"
	"carnet.dev/carnet/test/nodes"
)

// local is the unix socket, tcp a container endpoint.
func local() face { return faces()[5] }
func tcp() face   { return faces()[0] }

// dialed opens a connection that stays.
func (p *puppet) dialed(f face) int {
	p.t.Helper()
	return p.do(order{Do: "dial", Network: f.network, Address: f.address}).On
}

// asks asks on a connection that is open.
func (p *puppet) asks(on int, f face, bearer string) answer {
	p.t.Helper()
	return p.try(order{Do: "ask", On: on, Lines: f.lines(bearer)})
}

// stop halts the agent, so that what connects stands in its queue, until the function
// that is given back is called.
func stop(t testing.TB, n *nodes.Node) func() {
	t.Helper()
	if err := syscall.Kill(n.AgentPID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	going := false
	goOn := func() {
		if !going {
			going = true
			_ = syscall.Kill(n.AgentPID(), syscall.SIGCONT)
		}
	}
	t.Cleanup(goOn)
	return goOn
}

// TestAttackPIDReuse: alice's own uid, outside her login scope, connects to the socket,
// hands the connection on and ends; then a process of her login scope gets the very
// same number before the agent looks.
func TestAttackPIDReuse(t *testing.T) {
	alice := attached(t, "alice")
	outside := alice.Node.Login(t, alice.UID)
	accomplice := newPuppet(t, outside, nil)
	gets(t, "alice", local().ask(newPuppet(t, alice.Login, nil), ""))
	nothing(t, "the accomplice by itself", local().ask(accomplice, ""))

	goOn := stop(t, alice.Node)
	first := newPuppet(t, outside, nil)
	number := nodes.Number(t, first.cmd.Process.Pid)
	on := first.dialed(local())
	meeting := filepath.Join(outside.Home, "meeting")
	first.begin(order{Do: "give", On: on, Address: meeting})
	stolen := accomplice.do(order{Do: "take", Address: meeting}).On
	first.finish()
	first.end()
	victim := withNumber(t, alice, number)
	goOn()
	nothing(t, "a connection of a process whose number alice's has now", accomplice.asks(stolen, local(), ""))
	gets(t, "alice's process with that number", local().ask(victim, ""))
}

// withNumber starts a process of a sign-in under a number that is free.
func withNumber(t testing.TB, o *owner, number int) *puppet {
	t.Helper()
	for range 20 {
		if err := o.Node.Inside(func() error {
			return exec.Command("sh", "-c", "echo $1 > /proc/sys/kernel/ns_last_pid", "sh", strconv.Itoa(number-1)).Run()
		}); err != nil {
			t.Fatal(err)
		}
		p := newPuppet(t, o.Login, nil)
		got := nodes.Number(t, p.cmd.Process.Pid)
		if got == number {
			return p
		}
		p.end()
	}
	t.Fatalf("no process of %s got number %d", o.Name, number)
	return nil
}

// TestAttackUIDReuse: an account is removed and its number given to somebody else; or
// alice's login scope ends, and a new one of the same name begins. Neither a new process
// nor a connection that was kept open gets anything.
func TestAttackUIDReuse(t *testing.T) {
	alice := attached(t, "alice")
	keeper := newPuppet(t, stranger(t), nil)
	p := newPuppet(t, alice.Login, nil)
	var kept []int
	for i, f := range []face{local(), tcp()} {
		on := p.dialed(f)
		gets(t, "alice", p.asks(on, f, alice.Bearer))
		meeting := filepath.Join("/tmp", fmt.Sprintf("carnet-meeting-%d-%d", alice.UID, i))
		t.Cleanup(func() { _ = os.Remove(meeting) })
		p.begin(order{Do: "give", On: on, Address: meeting})
		kept = append(kept, keeper.do(order{Do: "take", Address: meeting}).On)
		p.finish()
	}
	p.end()
	group := strings.TrimPrefix(alice.Scope, "/")
	_, below, _ := strings.Cut(group, "/"+alice.Node.Name+"/")
	before := alice.Node.Login(t, alice.UID) // keeps nothing alive: another scope
	alice.End(t)
	next := alice.Node.LoginIn(t, alice.UID, below)
	if next.Scope != alice.Scope {
		t.Fatalf("the new scope is %s, not %s", next.Scope, alice.Scope)
	}
	asNext, asBefore := newPuppet(t, next, nil), newPuppet(t, before, nil)
	for i, f := range []face{local(), tcp()} {
		nothing(t, f.name+": the same uid in a new scope of the same name", f.ask(asNext, alice.Bearer))
		nothing(t, f.name+": the same uid in another scope", f.ask(asBefore, alice.Bearer))
		// It ends as soon as the agent has learned that the group is gone.
		nodes.Until(t, "a connection from before is refused", func() error {
			if a := keeper.asks(kept[i], f, alice.Bearer); a.Status/100 == 2 {
				return errors.New("answered")
			}
			return nil
		})
		nothing(t, f.name+": a connection from before", keeper.asks(kept[i], f, alice.Bearer))
	}
	// The attachment has ended at the server, too, and the place is free.
	nodes.Until(t, "the server knows", func() error {
		var own struct {
			Attachments []struct{ ID, State string }
		}
		alice.Node.Site.Must(t, "alice", "GET", "attachments", nil, &own)
		for _, a := range own.Attachments {
			if a.ID == alice.ID && a.State != "ended" {
				return errors.New(a.State)
			}
		}
		return nil
	})
	attach(t, next, "bob")
	gets(t, "who is attached there now", local().ask(asNext, ""))
}

// TestAttackForkBetweenConnectAndAnswer: what a process forks holds its connections.
// A child under another account gets nothing of its own by it: what it reads is what
// the owner's socket may have.
func TestAttackForkBetweenConnectAndAnswer(t *testing.T) {
	alice, mallory := attached(t, "alice"), stranger(t)
	for _, f := range []face{local(), tcp()} {
		p := newPuppet(t, alice.Login, nil)
		on := p.dialed(f)
		gets(t, f.name+": alice", p.asks(on, f, alice.Bearer))
		// A child of her own, with the same uid in the same scope: hers.
		a := p.do(order{Do: "child", On: on, Then: []order{{Do: "ask", On: 3, Lines: f.lines(alice.Bearer)}}})
		gets(t, f.name+": her child", a.All[0])
		// A child that connects itself under another account.
		q := newPuppet(t, alice.Login, asRoot)
		a = q.do(order{Do: "child", UID: int(mallory.UID), Then: []order{
			{Do: "dial", Network: f.network, Address: f.address}, {Do: "ask", On: last, Lines: f.lines(alice.Bearer)}}})
		nothing(t, f.name+": a child under another account in alice's scope", a.All[1])
	}
}

// asRoot starts a process of a login scope under root, as su, sudo and sshd have one.
func asRoot(c *exec.Cmd) {
	c.SysProcAttr.Credential = &syscall.Credential{}
	c.Dir = "/"
}

// TestAttackSetuidBetweenConnectAndAnswer: a process connects under one account and
// goes on under another, as su and sudo do.
func TestAttackSetuidBetweenConnectAndAnswer(t *testing.T) {
	alice, mallory := attached(t, "alice"), stranger(t)
	for _, f := range []face{local(), tcp()} {
		gets(t, f.name+": alice", f.ask(newPuppet(t, alice.Login, nil), alice.Bearer))

		p := newPuppet(t, alice.Login, asRoot)
		on := p.dialed(f)
		p.do(order{Do: "become", UID: int(alice.UID)})
		nothing(t, f.name+": connected as root, then alice", p.asks(on, f, alice.Bearer))

		// The other way: a connection that waits in the queue while the account changes.
		goOn := stop(t, alice.Node)
		q := newPuppet(t, alice.Login, func(c *exec.Cmd) { asRoot(c) })
		a := q.dialed(f)
		q.do(order{Do: "become", UID: int(mallory.UID)})
		goOn()
		nothing(t, f.name+": connected as root, then somebody else", q.asks(a, f, alice.Bearer))
	}
}

// TestAttackExecBetweenConnectAndAnswer: a process connects and becomes another
// program. Under its own account it is still alice; a program with the bit of another
// account is not.
func TestAttackExecBetweenConnectAndAnswer(t *testing.T) {
	alice := attached(t, "alice")
	other := filepath.Join(alice.Node.Site.Folder, "set-uid")
	copySelf(t, other)
	if err := os.Chown(other, nodes.AgentUID+1, 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(other, 0o755|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	for _, f := range []face{local(), tcp()} {
		p := newPuppet(t, alice.Login, nil)
		on := p.dialed(f)
		p.exec("")
		gets(t, f.name+": her own program", p.asks(on, f, alice.Bearer))
	}
	goOn := stop(t, alice.Node)
	p := newPuppet(t, alice.Login, nil)
	on := p.dialed(local())
	p.exec(other)
	goOn()
	nothing(t, "a program of another account, on a connection that was hers", p.asks(on, local(), ""))
	nothing(t, "the same program on one of its own", local().ask(p, ""))
}

// exec has the puppet become a program, and waits until it is.
func (p *puppet) exec(path string) {
	p.t.Helper()
	p.do(order{Do: "exec", Address: path})
}

// TestAttackPassedDescriptors: connections go from process to process. The word of the
// kernel is about who made them: whoever passes one on gives what it could have given
// anyway, and whoever takes one gets nothing of his own over it.
func TestAttackPassedDescriptors(t *testing.T) {
	alice, mallory := attached(t, "alice"), stranger(t)
	meeting := func(name string) string {
		p := filepath.Join("/tmp", fmt.Sprintf("carnet-meeting-%d-%s", alice.UID, name))
		t.Cleanup(func() { _ = os.Remove(p) })
		return p
	}
	for i, f := range []face{local(), tcp()} {
		asAlice, asMallory := newPuppet(t, alice.Login, nil), newPuppet(t, mallory, nil)
		gets(t, f.name+": alice", f.ask(asAlice, alice.Bearer))

		// Mallory's connection, in alice's hands: a deputy who does not see whose it is.
		on := asMallory.dialed(f)
		at := meeting(fmt.Sprint("a", i))
		asMallory.begin(order{Do: "give", On: on, Address: at})
		taken := asAlice.do(order{Do: "take", Address: at}).On
		asMallory.finish()
		nothing(t, f.name+": alice asks on mallory's connection", asAlice.asks(taken, f, alice.Bearer))

		// Alice's connection, in mallory's hands: by her own act, and only by it. Over TCP
		// he needs the second factor too.
		on = asAlice.dialed(f)
		at = meeting(fmt.Sprint("b", i))
		asAlice.begin(order{Do: "give", On: on, Address: at})
		taken = asMallory.do(order{Do: "take", Address: at}).On
		asAlice.finish()
		if f.network == "tcp" {
			nothing(t, f.name+": mallory asks on alice's connection, without her second factor", asMallory.asks(taken, f, ""))
		} else {
			gets(t, f.name+": what alice passed on by herself", asMallory.asks(taken, f, ""))
		}
		// It ends with her process over the socket.
		if f.network == "unix" {
			asAlice.end()
			nothing(t, f.name+": alice's connection after her process", asMallory.asks(taken, f, ""))
		}
	}
	// A socket that mallory made and alice connects is mallory's over TCP.
	asAlice, asMallory := newPuppet(t, alice.Login, nil), newPuppet(t, mallory, nil)
	on := asMallory.do(order{Do: "socket", Network: "tcp", Address: tcp().address}).On
	at := meeting("c")
	asMallory.begin(order{Do: "give", On: on, Address: at})
	taken := asAlice.do(order{Do: "take", Address: at}).On
	asMallory.finish()
	asAlice.do(order{Do: "connect", On: taken, Network: "tcp", Address: tcp().address})
	nothing(t, "a socket that mallory made and alice connected", asMallory.asks(on, tcp(), alice.Bearer))
}

// TestAttackUserNamespaceRoot: root of a user namespace of one's own is one's own
// account outside.
func TestAttackUserNamespaceRoot(t *testing.T) {
	alice, mallory := attached(t, "alice"), stranger(t)
	asAlice, asMallory := newPuppet(t, alice.Login, nil), newPuppet(t, mallory, nil)
	for _, f := range []face{local(), tcp()} {
		gets(t, f.name+": alice", f.ask(asAlice, alice.Bearer))
		a := asMallory.do(order{Do: "child", Root: true, Then: []order{{Do: "dial", Network: f.network, Address: f.address}, {Do: "become", UID: int(alice.UID)}}})
		if a.All[0].Err != "" || a.All[1].Err == "" {
			t.Errorf("%s: in a namespace of his own: %+v", f.name, a.All)
		}
		asks := []order{{Do: "dial", Network: f.network, Address: f.address}, {Do: "ask", On: last, Lines: f.lines(alice.Bearer)}}
		nothing(t, f.name+": mallory as root of a namespace", asMallory.do(order{Do: "child", Root: true, Then: asks}).All[1])
		gets(t, f.name+": alice as root of a namespace is alice", asAlice.do(order{Do: "child", Root: true, Then: asks}).All[1])
	}
	// A socket belongs to who made it, and is given away as little as a file is.
	give := []order{{Do: "dial", Network: "tcp", Address: tcp().address}, {Do: "chown", On: last, UID: int(alice.UID)}}
	for _, root := range []bool{false, true} {
		if a := asMallory.do(order{Do: "child", Root: root, Then: give}); a.All[1].Err == "" {
			t.Error("mallory gave his socket to alice")
		}
	}
	// Its rights end at the namespace: files and processes of others stay closed.
	agent := nodes.Number(t, alice.Node.AgentPID())
	a := asMallory.do(order{Do: "child", Root: true, Then: []order{
		{Do: "file", Address: alice.Status(t).Attachment.TokenFile}, {Do: "ptrace", PID: agent}, {Do: "memory", PID: agent}, {Do: "listen", Network: "tcp", Address: "127.0.0.1:1017"}}})
	for i, what := range []string{"alice's second factor", "tracing the agent", "the agent's memory", "a port below 1024"} {
		if a.All[i].Err == "" {
			t.Errorf("root of a namespace reached %s: %s", what, a.All[i].Body)
		}
	}
}

// TestAttackProcAndPtrace: others read neither the agent's memory nor another's.
func TestAttackProcAndPtrace(t *testing.T) {
	alice, bob, mallory := attached(t, "alice"), attached(t, "bob"), stranger(t)
	hers := newPuppet(t, alice.Login, func(c *exec.Cmd) { c.Env = append(c.Env, "SECRET="+alice.Bearer) })
	if a := hers.do(order{Do: "file", Address: "/proc/self/environ"}); !strings.Contains(a.Body, alice.Bearer) {
		t.Fatal("alice can't read her own environment")
	}
	for _, l := range []*nodes.Login{bob.Login, mallory} {
		p := newPuppet(t, l, nil)
		for what, pid := range map[string]int{"the agent": nodes.Number(t, alice.Node.AgentPID()), "alice": nodes.Number(t, hers.cmd.Process.Pid)} {
			for _, file := range []string{"environ", "mem", "maps", "auxv", "stack", "syscall", "fdinfo/0", "fd/0", "root/etc/passwd", "cwd/x", "map_files"} {
				if a := p.try(order{Do: "file", Address: fmt.Sprintf("/proc/%d/%s", pid, file)}); a.Err == "" {
					t.Errorf("uid %d reads %s of %s", l.UID, file, what)
				}
			}
			for _, do := range []string{"ptrace", "memory"} {
				if a := p.try(order{Do: do, PID: pid}); a.Err != unix.EPERM.Error() {
					t.Errorf("uid %d: %s of %s: %q", l.UID, do, what, a.Err)
				}
			}
		}
	}
	// A program of the agent's own account has none of its rights, and sees nothing either.
	same := newPuppet(t, alice.Node.LoginIn(t, nodes.AgentUID, "system.slice/other.service"), nil)
	agent := nodes.Number(t, alice.Node.AgentPID())
	for _, do := range []order{{Do: "file", Address: fmt.Sprintf("/proc/%d/environ", agent)}, {Do: "file", Address: fmt.Sprintf("/proc/%d/maps", agent)}, {Do: "ptrace", PID: agent}, {Do: "memory", PID: agent}} {
		if a := same.try(do); a.Err == "" {
			t.Errorf("a program of the agent's account: %s %s: done", do.Do, do.Address)
		}
	}
}

// TestAttackRootGroup: on a machine that gives sign-ins no group of their own, an
// attachment holds for the root group alone, and ends with the process that leads the
// sign-in.
func TestAttackRootGroup(t *testing.T) {
	site, n := start(t)
	l := n.LoginAtRoot(t, world.uid.Add(1))
	first, second := newPuppet(t, l, nil), newPuppet(t, l, nil)
	f := local()
	post := func(path, body string) answer {
		c := first.do(order{Do: "dial", Network: f.network, Address: f.address}).On
		return first.do(order{Do: "ask", On: c, Lines: []string{"POST " + path + " HTTP/1.1", "Host: localhost", fmt.Sprintf("Content-Length: %d", len(body)), "", body}})
	}
	var begun localdoc.Begun
	if err := json.Unmarshal([]byte(post("/v1/attach", "{}").Body), &begun); err != nil || begun.UserCode == "" {
		t.Fatalf("%v: %+v", err, begun)
	}
	site.Must(t, "alice", "POST", "attachments/approve", map[string]string{"user_code": begun.UserCode}, nil)
	nodes.Until(t, "alice is attached", func() error {
		if a := post("/v1/attach/poll", fmt.Sprintf(`{"request":%q}`, begun.Request)); !strings.Contains(a.Body, `"attached"`) {
			return errors.New(a.Body)
		}
		return nil
	})
	gets(t, "alice", f.ask(first, ""))
	gets(t, "the same uid in the same group", f.ask(second, ""))
	var b localdoc.Bearer
	l.MustLocal(t, "GET", "/v1/bearer", nil, &b)
	gets(t, "alice over loopback", tcp().ask(second, b.Token))
	for what, other := range map[string]*nodes.Login{"a sign-in with a group of its own": n.Login(t, l.UID), "a container": n.LoginIn(t, l.UID, fmt.Sprintf("docker/%d.scope", l.UID)), "another uid in the root group": n.LoginAtRoot(t, world.uid.Add(1))} {
		p := newPuppet(t, other, nil)
		nothing(t, what, f.ask(p, ""))
		nothing(t, what+" over loopback", tcp().ask(p, b.Token))
	}
	first.end()
	nodes.Until(t, "it ends with the leader", func() error {
		if a := f.ask(second, ""); a.Status/100 == 2 {
			return errors.New("answered")
		}
		return nil
	})
	nothing(t, "after the leader ended", f.ask(second, ""))
	nothing(t, "after the leader ended, over loopback", tcp().ask(second, b.Token))
	nothing(t, "who signs in later under the uid", f.ask(newPuppet(t, n.LoginAtRoot(t, l.UID), nil), ""))
}

// TestAttackAllConnections: one account opens as many connections as it can, and keeps
// them. Others are served on.
func TestAttackAllConnections(t *testing.T) {
	alice, mallory := attached(t, "alice"), stranger(t)
	p := newPuppet(t, mallory, nil)
	for _, f := range []face{local(), tcp()} {
		opened := 0
		for range 1500 {
			if a := p.try(order{Do: "dial", Network: f.network, Address: f.address}); a.Err != "" {
				break
			}
			opened++
		}
		if opened < 600 {
			t.Errorf("%s: only %d connections could be opened", f.name, opened)
		}
		q := newPuppet(t, alice.Login, nil)
		gets(t, f.name+": alice, while mallory holds all that he can", f.ask(q, alice.Bearer))
		nothing(t, f.name+": mallory", f.ask(p, ""))
	}
}

// TestAttackEnvironment: what everybody may see of the agent holds no secret: neither
// its command line nor its environment, nor its log.
func TestAttackEnvironment(t *testing.T) {
	site, n := start(t)
	alice := attached(t, "alice")
	p := newPuppet(t, alice.Login, nil)
	got := local().ask(p, "")
	gets(t, "alice", got)
	key := keyOf(t, got)
	secrets := []string{alice.Bearer, "carnet-join-", "carnet-node-", key, site.Bearer(t, "alice")}
	for _, file := range []string{"cmdline", "environ"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", n.AgentPID(), file))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range secrets {
			if strings.Contains(string(text), s) {
				t.Errorf("the agent's %s holds a secret", file)
			}
		}
	}
	for _, s := range secrets {
		if s != key && strings.Contains(n.AgentLog(), s) {
			t.Error("the agent's log holds a secret")
		}
	}
}

// TestAttackMachineStartedAnew: after the machine was started anew the kernel counts
// groups from the beginning, and somebody else may have the uid. (That it was started
// anew the agent reads from what it noted before.)
func TestAttackMachineStartedAnew(t *testing.T) {
	site, _ := start(t)
	n := site.Node(t, nodes.NodeOptions{})
	l := n.Login(t, world.uid.Add(1))
	alice := attach(t, l, "alice")
	p := newPuppet(t, l, nil)
	gets(t, "alice", local().ask(p, ""))
	n.StopAgent(t)
	n.StartAgent(t)
	nodes.Until(t, "alice gets her keys after a restart of the agent", func() error {
		if a := local().ask(p, ""); a.Status != 200 {
			return errors.New(a.Body)
		}
		return nil
	})
	n.StopAgent(t)
	if err := os.WriteFile(filepath.Join(n.State, "boot"), []byte("another\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.StartAgent(t)
	for _, f := range []face{local(), tcp()} {
		nodes.Until(t, "the agent knows who is attached", func() error {
			if a := f.ask(p, alice.Bearer); a.Status/100 == 5 {
				return errors.New(a.Body)
			}
			return nil
		})
		nothing(t, f.name+": the same uid in a group of the same number", f.ask(p, alice.Bearer))
	}
	attach(t, l, "alice")
	gets(t, "alice, attached anew", local().ask(p, ""))
}
