//go:build interop

package engines

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"carnet.dev/carnet/test/nodes"
)

// spark is where pyspark, S3A's jars and the guard are.
type spark struct{ folder, home, python, jars string }

func (p *place) spark(t *testing.T) spark {
	t.Helper()
	s := spark{folder: filepath.Join(p.folder, "spark")}
	homes, err := filepath.Glob(filepath.Join(s.folder, "lib", "python3*", "site-packages", "pyspark"))
	if err != nil || len(homes) != 1 {
		t.Fatalf("pyspark is not in %s: %v %v", s.folder, homes, err)
	}
	s.home, s.python, s.jars = homes[0], filepath.Join(s.folder, "bin", "python"), filepath.Join(s.folder, "s3a", "*")
	return s
}

// accounts gives the people of a node names in its password file, as Java wants them.
func (p *place) accounts(t *testing.T, n *nodes.Node, logins map[string]*nodes.Login) {
	t.Helper()
	text, err := os.ReadFile("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	for name, l := range logins {
		text = fmt.Appendf(text, "%s:x:%d:%d::%s:/bin/sh\n", name, l.UID, l.UID, l.Home)
	}
	file := filepath.Join(n.Folder, "passwd")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := n.Inside(func() error { return unix.Mount(file, "/etc/passwd", "", unix.MS_BIND, "") }); err != nil {
		t.Fatal(err)
	}
}

// settings writes spark-defaults.conf: what carnet configure --for spark prints, and
// what the page adds for shared machines.
func (s spark) settings(t *testing.T, l *nodes.Login, more ...string) string {
	t.Helper()
	lines := []string{
		l.Run(t, "carnet", "configure", "--for", "spark").OK(t),
		"spark.driver.extraClassPath    " + s.jars, "spark.executor.extraClassPath  " + s.jars,
		"spark.ui.enabled               false", "spark.driver.memory            512m", "spark.executor.memory          512m",
		"spark.pyspark.python           " + s.python, "spark.sql.shuffle.partitions   4",
	}
	return write(t, l, "spark-defaults.conf", strings.Join(append(lines, more...), "\n")+"\n")
}

// environment is what Spark's own scripts want to know.
func (s spark) environment(l *nodes.Login) []string {
	return []string{"SPARK_HOME=" + s.home, "SPARK_LOCAL_DIRS=" + filepath.Join(l.Home, "local"), "PYSPARK_PYTHON=" + s.python, "SPARK_LOCAL_HOSTNAME=localhost", "SPARK_LOCAL_IP=127.0.0.1"}
}

// submit prepares a job.
func (s spark) submit(l *nodes.Login, master, conf, job string, args ...string) *exec.Cmd {
	cmd := l.Command(append([]string{filepath.Join(s.home, "bin", "spark-submit"), "--master", master, "--properties-file", conf, job}, args...)...)
	cmd.Env = append(cmd.Env, s.environment(l)...)
	return cmd
}

// typed prepares blocks of the page to be typed, with Spark's programs on the path.
// What differs from machine to machine is said beside the settings of the page.
func (s spark) typed(t *testing.T, p *place, l *nodes.Login, blocks ...string) *exec.Cmd {
	t.Helper()
	path := p.tools(t, map[string]string{
		"spark-class": `exec "$SPARK_HOME/bin/spark-class" "$@"`,
		"spark-submit": `exec "$SPARK_HOME/bin/spark-submit" --conf "spark.driver.extraClassPath=` + s.jars + `" --conf "spark.executor.extraClassPath=` + s.jars +
			`" --conf spark.ui.enabled=false --conf spark.driver.memory=512m --conf spark.executor.memory=512m --conf spark.sql.shuffle.partitions=4 "$@"`,
	})
	cmd := l.Command("bash", "-euo", "pipefail", "-c", strings.Join(blocks, "\n"))
	cmd.Env = append(append(cmd.Env, s.environment(l)...), path)
	return cmd
}

// job puts the person's job where the page supposes it.
func putJob(t *testing.T, l *nodes.Login) {
	t.Helper()
	text, err := os.ReadFile("spark/job.py")
	if err != nil {
		t.Fatal(err)
	}
	write(t, l, "job.py", string(text))
}

// sparkLocal is a Spark of one process for each person, by the commands of the page.
func sparkLocal(t *testing.T, p *place) string {
	s := p.spark(t)
	said := p.both(t, 8*time.Minute, func(name string, l *nodes.Login) *exec.Cmd {
		putJob(t, l)
		cmd := s.typed(t, p, l, block(t, "spark-shared.md", "carnet attach env"), block(t, "spark-shared.md", "local[2]"))
		cmd.Env = append(cmd.Env, "ME="+name, "OTHER="+otherThan(name))
		return cmd
	})
	for name, d := range said {
		if len(d.UIDs) != 1 || d.UIDs[0] != people[name] || len(d.EveryDay) == 0 || slices.Contains(d.EveryDay, false) {
			t.Errorf("%s's tasks ran under %v; what else Spark does: %v", name, d.UIDs, d.EveryDay)
		}
	}
	return said["alice"].Version
}
