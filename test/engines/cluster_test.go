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
// own: a master on the first, a worker on each.
func sparkCluster(t *testing.T, p *place) string {
	s := p.spark(t)
	n2, second := p.machine(t)
	connect(t, p.logins["alice"], second["alice"])
	job := p.source(t, "spark/job.py")
	masters, confs := map[string]string{}, map[string]string{}
	for i, name := range []string{"alice", "bob"} {
		port := 17000 + i
		masters[name] = fmt.Sprintf("spark://10.77.0.1:%d", port)
		secrets := []string{
			"spark.authenticate             true", "spark.authenticate.secret      " + random(),
			"spark.network.crypto.enabled   true", "spark.master.rest.enabled      false",
			"spark.ui.filters               org.apache.spark.ui.JWSFilter", "spark.org.apache.spark.ui.JWSFilter.param.secretKey  " + random(),
		}
		one, two := p.logins[name], second[name]
		confs[name] = s.settings(t, one, secrets...)
		daemon(t, s, one, p.node.Name, "10.77.0.1", "I have been elected leader", "master.Master", "--host", "10.77.0.1", "--port", fmt.Sprint(port), "--webui-port", "0", "--properties-file", confs[name])
		daemon(t, s, one, p.node.Name, "10.77.0.1", "Successfully registered with master", "worker.Worker", "--host", "10.77.0.1", "--cores", "1", "--memory", "600m", "--webui-port", "0", "--properties-file", confs[name], masters[name])
		daemon(t, s, two, n2.Name, "10.77.0.2", "Successfully registered with master", "worker.Worker", "--host", "10.77.0.2", "--cores", "1", "--memory", "600m", "--webui-port", "0", "--properties-file", s.settings(t, two, secrets...), masters[name])
	}
	at := func(cmd *exec.Cmd) *exec.Cmd {
		cmd.Env = append(cmd.Env, "SPARK_LOCAL_IP=10.77.0.1", "SPARK_LOCAL_HOSTNAME=10.77.0.1")
		return cmd
	}
	said := p.both(t, 8*time.Minute, func(name string, l *nodes.Login) *exec.Cmd {
		return at(s.submit(l, masters[name], confs[name], job, name, otherThan(name)))
	})
	for name, d := range said {
		if !slices.Equal(d.UIDs, []uint32{people[name]}) || !slices.Equal(d.Machines, []string{p.node.Name, n2.Name}) {
			t.Errorf("%s's tasks ran under %v on %v", name, d.UIDs, d.Machines)
		}
	}
	// What one person sends to the other's master, with their own secret, is refused.
	out, err := finish(p.logins["bob"], at(s.submit(p.logins["bob"], masters["alice"], confs["bob"], job, "bob", "alice")), 4*time.Minute)
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
func daemon(t *testing.T, s spark, l *nodes.Login, machine, address, works, class string, args ...string) {
	t.Helper()
	cmd := l.Command(append([]string{filepath.Join(s.home, "bin", "spark-class"), "org.apache.spark.deploy." + class}, args...)...)
	cmd.Env = append(cmd.Env, s.environment(l)...)
	cmd.Env = append(cmd.Env, "SPARK_LOCAL_IP="+address, "SPARK_LOCAL_HOSTNAME="+address, "SPARK_DAEMON_MEMORY=256m", "MACHINE="+machine,
		"SPARK_WORKER_DIR="+filepath.Join(l.Home, "work"), "SPARK_DAEMON_CLASSPATH="+s.jars)
	log := filepath.Join(l.Home, class+".log")
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
	nodes.Until(t, class+" of uid "+fmt.Sprint(l.UID)+" works", func() error {
		text, err := os.ReadFile(log)
		if err == nil && !strings.Contains(string(text), works) {
			err = fmt.Errorf("it says:\n%s", tail(string(text), 2000))
		}
		return err
	})
}
