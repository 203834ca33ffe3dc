//go:build interop

package engines

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/test/nodes"
)

// engineUID runs shared engines. It is never attached, so the agent gives it no keys of
// its own; the mapping for Trino it may read.
const engineUID = 71009

// gatewayKey makes a gateway key for a person, as an administrator does on the server's
// host, and puts it where they alone read it.
func (p *place) gatewayKey(t *testing.T, cluster, name string) string {
	t.Helper()
	p.Host(t, "gateway-key", "cluster", "add", cluster, "--network", "127.0.0.1")
	made := p.Host(t, "gateway-key", "make", "--person", name, "--cluster", cluster, "--role", "arn:aws:iam::"+account+":role/"+role, "--output", "json")
	return write(t, p.logins[name], cluster+".json", made)
}

// sparkConnect is one Spark Connect server for both, guarded.
func sparkConnect(t *testing.T, p *place) string {
	s := p.spark(t)
	server := p.node.Login(t, engineUID)
	p.accounts(t, p.node, map[string]*nodes.Login{"alice": p.logins["alice"], "bob": p.logins["bob"], "spark": server})
	const address = "127.0.0.1:15102"
	conf := write(t, server, "spark-defaults.conf", block(t, "spark-shared.md", "spark.connect.grpc.interceptor.classes", "https://s3.example.com:8481", p.AWS)+strings.Join([]string{
		"spark.master                   local[2]", "spark.driver.memory            768m", "spark.connect.grpc.binding.port  15102", "spark.local.dir " + filepath.Join(server.Home, "local"),
	}, "\n")+"\n")
	cmd := server.Command(filepath.Join(s.home, "bin", "spark-submit"), "--class", "org.apache.spark.sql.connect.service.SparkConnectServer", "--properties-file", conf,
		"--driver-class-path", s.jars+":"+p.compile(t, s, server), "spark-internal")
	p.serve(t, server, cmd, address, append(s.environment(server), "SPARK_NO_DAEMONIZE=1")...)
	client := p.source(t, "spark/connect.py")
	keys := map[string]string{"alice": p.gatewayKey(t, "connect", "alice"), "bob": p.gatewayKey(t, "connect", "bob")}
	said := p.both(t, 8*time.Minute, func(name string, l *nodes.Login) *exec.Cmd {
		cmd := l.Command(s.python, client, address, name, otherThan(name))
		// Nothing but the gateway key: what the agent gives stays out.
		cmd.Env = append(slices.DeleteFunc(cmd.Env, func(v string) bool { return strings.HasPrefix(v, "AWS_") }), "KEYS="+keys[name])
		return cmd
	})
	for name, d := range said {
		if len(d.Through)+len(d.Unclear) > 0 || slices.Contains(d.EveryDay, false) || len(d.EveryDay) == 0 || d.Attacks < 30 {
			t.Errorf("%s: of %d attacks there came through %v; not refused in our words were %v; every day's work: %v", name, d.Attacks, d.Through, d.Unclear, d.EveryDay)
		}
	}
	p.asPrinted(t, s, address)
	return said["alice"].Version
}

// compile makes the guard by the commands of the page, and gives its jar.
func (p *place) compile(t *testing.T, s spark, l *nodes.Login) string {
	t.Helper()
	sources, err := filepath.Glob("../../contrib/spark-connect/*.java")
	if err != nil || len(sources) == 0 {
		t.Fatalf("there is no guard: %v", err)
	}
	makeFolder(t, l, filepath.Join(l.Home, "contrib"))
	makeFolder(t, l, filepath.Join(l.Home, "contrib", "spark-connect"))
	for _, source := range sources {
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		write(t, l, filepath.Join("contrib", "spark-connect", filepath.Base(source)), string(text))
	}
	typed(t, l, []string{"SPARK_HOME=" + s.home}, block(t, "spark-shared.md", "jar cf guard.jar"))
	return filepath.Join(l.Home, "guard.jar")
}

// asPrinted runs what the page shows for one person: making a key on the server's host,
// and reading with it.
func (p *place) asPrinted(t *testing.T, s spark, address string) {
	t.Helper()
	host := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c",
		`carnet() { "`+p.Binary+`" "$@" --output json --config "`+filepath.Join(p.Data, "carnet.yaml")+`"; }`+"\n"+block(t, "spark-shared.md", "gateway-key make", "10.4.0.20", "127.0.0.1"))
	out, err := host.Output()
	var made struct {
		Key struct {
			ID string `json:"access_key_id"`
		} `json:"gateway_key"`
		Secret string `json:"secret_access_key"`
	}
	if err == nil {
		err = json.Unmarshal([]byte(lastLine(string(out))), &made)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	l := p.logins["alice"]
	program := "from pyspark.sql import SparkSession\n" + block(t, "spark-shared.md", "fs.s3a.access.key", "spark.example.com:15002", address, ";use_ssl=true", "", "GWKA…", made.Key.ID, `"…"`, `"`+made.Secret+`"`)
	if got := l.Run(t, s.python, "-c", program).OK(t); !strings.Contains(got, "only showing top 20 rows") {
		t.Errorf("alice reads the orders: %s", got)
	}
}

// serve starts a shared engine and waits until it listens.
func (p *place) serve(t *testing.T, l *nodes.Login, cmd *exec.Cmd, address string, env ...string) {
	t.Helper()
	cmd.Env = append(slices.DeleteFunc(cmd.Env, func(v string) bool { return strings.HasPrefix(v, "AWS_") }), env...)
	log := filepath.Join(l.Home, "server.log")
	file, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd.Stdout, cmd.Stderr = file, file
	if err := l.Start(cmd); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	for range 4 {
		if p.listens(t, address, ended, log) {
			return
		}
	}
	text, _ := os.ReadFile(log)
	t.Fatalf("nothing listens at %s:\n%s", address, tail(string(text), 4000))
}

// listens waits up to a minute for a port of the node.
func (p *place) listens(t *testing.T, address string, ended chan error, log string) bool {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		var c net.Conn
		err := p.node.Inside(func() (err error) { c, err = net.Dial("tcp", address); return err })
		if err == nil {
			_ = c.Close()
			return true
		}
		select {
		case err := <-ended:
			text, _ := os.ReadFile(log)
			t.Fatalf("the server ended: %v\n%s", err, tail(string(text), 4000))
		default:
		}
	}
	return false
}

// trino is one Trino server for both, which asks the agent for the mapping.
func trino(t *testing.T, p *place) string {
	server := p.node.Login(t, engineUID)
	home := filepath.Join(p.folder, "trino")
	java, err := exec.Command("../../.ci/need", "java-for-trino").Output()
	if err != nil {
		t.Fatal(err)
	}
	etc := server.Home
	local := filepath.Join(etc, "local")
	for _, folder := range []string{"catalog", "local", "local/own-alice", "local/own-bob", "local/copy-alice", "local/copy-bob"} {
		makeFolder(t, server, filepath.Join(etc, folder))
	}
	write(t, server, "node.properties", "node.environment=test\nnode.data-dir="+etc+"\n")
	write(t, server, "jvm.config", "-Xmx1g\n-XX:+ExitOnOutOfMemoryError\n")
	write(t, server, "config.properties", strings.Join([]string{
		"coordinator=true", "node-scheduler.include-coordinator=true", "http-server.http.port=18080", "discovery.uri=http://127.0.0.1:18080",
		"http-server.process-forwarded=true", "http-server.authentication.type=PASSWORD", "http-server.authentication.allow-insecure-over-http=false",
		"internal-communication.shared-secret=" + random(), "catalog.management=static", "",
	}, "\n"))
	passwords, file := passwordFile(t)
	write(t, server, "password-authenticator.properties", "password-authenticator.name=file\nfile.password-file="+write(t, server, "passwords", file)+"\n")
	write(t, server, "catalog/lake.properties", block(t, "trino.md", "s3.security-mapping.config-uri", "https://s3.example.com:8481", p.AWS,
		"fs.s3.enabled", "fs.native-s3.enabled")+
		"connector.name=hive\nhive.metastore=file\nhive.metastore.catalog.dir=local:///metastore\nfs.native-local.enabled=true\nlocal.location="+local+"\nhive.non-managed-table-writes-enabled=true\n")
	cmd := server.Command(filepath.Join(home, "bin", "launcher"), "run", "--etc-dir", etc)
	javaHome := strings.TrimSpace(string(java))
	const address = "127.0.0.1:18080"
	p.serve(t, server, cmd, address, "JAVA_HOME="+javaHome, "PATH="+filepath.Join(javaHome, "bin")+":"+os.Getenv("PATH"))
	a := asker{place: p, script: p.source(t, "trino/drive.py"), passwords: passwords, log: filepath.Join(server.Home, "server.log")}
	a.wait(t)
	a.tables(t, local)
	a.both(t)
	return a.version(t)
}

func makeFolder(t *testing.T, l *nodes.Login, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, int(l.UID), int(l.UID)); err != nil {
		t.Fatal(err)
	}
}

// asker asks Trino as people.
type asker struct {
	*place
	script    string
	passwords map[string]string
	log       string // of the server
}

// ask runs SQL as a person and gives what each line came to.
func (a asker) ask(t *testing.T, who, password, as string, lines ...string) []string {
	t.Helper()
	l := a.logins[who]
	cmd := l.Command("/usr/bin/python3", a.script, "http://127.0.0.1:18080", who, password, as)
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	out, err := finish(l, cmd, 3*time.Minute)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return strings.Split(strings.TrimSpace(out), "\n")
}

// wait waits until Trino has loaded what it begins with, which takes minutes where
// others want the processor, too.
func (a asker) wait(t *testing.T) {
	t.Helper()
	got := ""
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); time.Sleep(time.Second) {
		if got = a.ask(t, "alice", a.passwords["alice"], "alice", "SELECT current_user")[0]; got == `[["alice"]]` {
			return
		}
	}
	text, _ := os.ReadFile(a.log)
	t.Fatalf("Trino has not started after 5 minutes: %s\n%s", got, tail(string(text), 3000))
}

func (a asker) version(t *testing.T) string {
	t.Helper()
	var rows [][]string
	if err := json.Unmarshal([]byte(a.ask(t, "alice", a.passwords["alice"], "alice", "SELECT node_version FROM system.runtime.nodes")[0]), &rows); err != nil {
		t.Fatal(err)
	}
	return rows[0][0]
}
