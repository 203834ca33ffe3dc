//go:build interop

package engines

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/test/nodes"
)

// sparkCluster is two machines on which each person has a standalone cluster of their
// own, by the commands of the page: a master on the first, a worker on each.
func sparkCluster(t *testing.T, p *place) string {
	s := p.spark(t)
	n2, second := p.machine(t)
	connect(t, p.logins["alice"], second["alice"])
	const page = "spark-shared.md"
	names := map[string][]string{}
	for i, name := range []string{"alice", "bob"} {
		names[name] = []string{"node-1:17001", fmt.Sprintf("10.77.0.1:%d", 17001+i), "--port 17001", fmt.Sprintf("--port %d", 17001+i), "node-1", "10.77.0.1"}
		conf := block(t, page, "spark.authenticate.secret")
		for strings.Contains(conf, "…") {
			conf = strings.Replace(conf, "…", random(), 1)
		}
		for _, l := range []*nodes.Login{p.logins[name], second[name]} {
			write(t, l, "cluster.conf", conf)
			typed(t, l, nil, block(t, page, "cat spark-agent.conf"))
		}
		master, worker := block(t, page, "master.Master", names[name]...), block(t, page, "worker.Worker", names[name]...)
		p.daemon(t, s, p.logins[name], p.node.Name, "10.77.0.1", "master", "I have been elected leader", master)
		p.daemon(t, s, p.logins[name], p.node.Name, "10.77.0.1", "worker", "Successfully registered with master", worker)
		p.daemon(t, s, second[name], n2.Name, "10.77.0.2", "worker", "Successfully registered with master", worker)
	}
	submit := func(name, master string) *exec.Cmd {
		putJob(t, p.logins[name])
		cmd := s.typed(t, p, p.logins[name], block(t, page, "spark-submit --master spark://", names[master]...))
		cmd.Env = append(cmd.Env, "SPARK_LOCAL_IP=10.77.0.1", "SPARK_LOCAL_HOSTNAME=10.77.0.1", "ME="+name, "OTHER="+otherThan(name))
		return cmd
	}
	said := p.both(t, 8*time.Minute, func(name string, _ *nodes.Login) *exec.Cmd { return submit(name, name) })
	for name, d := range said {
		if !slices.Equal(d.UIDs, []uint32{people[name]}) || !slices.Equal(d.Machines, []string{p.node.Name, n2.Name}) {
			t.Errorf("%s's tasks ran under %v on %v", name, d.UIDs, d.Machines)
		}
	}
	// What one person sends to the other's master, with their own secret, is refused.
	out, err := finish(p.logins["bob"], submit("bob", "alice"), 4*time.Minute)
	if err == nil || !strings.Contains(out, "All masters are unresponsive") && !strings.Contains(out, "AuthenticationException") && !strings.Contains(out, "Authentication failed") {
		t.Errorf("bob's job at alice's master: %v\n%s", err, tail(out, 3000))
	}
	return said["alice"].Version
}

func random() string {
	b := make([]byte, 48)
	_, _ = rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

// connect lays a cable between two machines: 10.77.0.1 and 10.77.0.2.
func connect(t *testing.T, one, two *nodes.Login) {
	t.Helper()
	var pids []string
	for _, l := range []*nodes.Login{one, two} {
		cmd := l.Command("sleep", "infinity")
		if err := l.Start(cmd); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		pids = append(pids, fmt.Sprint(cmd.Process.Pid))
	}
	root := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	root("ip", "link", "add", "cable", "netns", pids[0], "type", "veth", "peer", "name", "cable", "netns", pids[1])
	for i, pid := range pids {
		root("nsenter", "-t", pid, "-n", "ip", "addr", "add", fmt.Sprintf("10.77.0.%d/24", i+1), "dev", "cable")
		root("nsenter", "-t", pid, "-n", "ip", "link", "set", "cable", "up")
	}
}

// daemon starts a master or a worker and waits until it says that it works.
func (p *place) daemon(t *testing.T, s spark, l *nodes.Login, machine, address, what, works, command string) {
	t.Helper()
	cmd := s.typed(t, p, l, command)
	cmd.Env = append(cmd.Env, "SPARK_LOCAL_IP="+address, "SPARK_LOCAL_HOSTNAME="+address, "SPARK_DAEMON_MEMORY=256m", "MACHINE="+machine, "SPARK_MASTER_WEBUI_PORT=0",
		"SPARK_WORKER_WEBUI_PORT=0", "SPARK_WORKER_CORES=1", "SPARK_WORKER_MEMORY=600m", "SPARK_WORKER_DIR="+filepath.Join(l.Home, "work"))
	log := filepath.Join(l.Home, what+".log")
	file, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd.Stdout, cmd.Stderr = file, file
	if err := l.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	var text []byte
	for deadline := time.Now().Add(4 * time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if text, err = os.ReadFile(log); err == nil && strings.Contains(string(text), works) {
			return
		}
	}
	t.Fatalf("the %s of uid %d does not work:\n%s", what, l.UID, tail(string(text), 3000))
}
