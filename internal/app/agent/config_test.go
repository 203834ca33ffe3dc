package agent

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

const sample = `server: https://carnet.example.com
ca: /etc/carnet/ca.pem
state: /var/lib/carnet-agent
run: /run/carnet
offline: refuse
fresh: 90s
engine_account: trino
listen:
  container: [127.0.0.1:1018, "[::1]:1018"]
  proxy: 127.0.0.1:1019
`

func TestConfiguration(t *testing.T) {
	t.Parallel()
	c, err := Parse([]byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	if c, err = c.complete(); err != nil {
		t.Fatal(err)
	}
	if c.Socket != "/run/carnet/agent.sock" || c.Offline != "refuse" || c.Fresh != 90*time.Second || !reflect.DeepEqual(c.Listen.Container, []string{"127.0.0.1:1018", "[::1]:1018"}) {
		t.Errorf("got %+v", c)
	}
	if c, err = (Config{}).complete(); err != nil || c.State != defaultState || len(c.Listen.Container) != 5 || c.Offline != serve {
		t.Errorf("nothing said: %+v, %v", c, err)
	}
}

func TestConfigurationsThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"an unknown key":        "sever: x",
		"an unknown inner key":  "listen: {conatiner: []}",
		"a key twice":           "server: a\nserver: b",
		"two documents":         "server: a\n---\nserver: b",
		"a list":                "- a",
		"a duration":            "fresh: soon",
		"a short one":           "fresh: 1s",
		"a word for offline":    "offline: maybe",
		"a relative folder":     "state: state",
		"a yes that is no true": "insecure_ports: [1]",
	} {
		c, err := Parse([]byte(text))
		if err == nil {
			_, err = c.complete()
		}
		if err == nil {
			t.Errorf("%s was taken: %+v", name, c)
		}
	}
}

func TestFlagsGoBeforeTheFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(path, []byte(sample), 0o600); err != nil {
		t.Fatal(err)
	}
	f := &flags{}
	p := pflag.NewFlagSet("agent", pflag.ContinueOnError)
	f.define(p)
	if err := p.Parse([]string{"--config", path, "--offline", "serve", "--listen-container", "127.0.0.1:80"}); err != nil {
		t.Fatal(err)
	}
	c, err := f.load(p)
	if err != nil || c.Offline != serve || c.Server != "https://carnet.example.com" || len(c.Listen.Container) != 1 {
		t.Errorf("got %+v, %v", c, err)
	}
	f.config = filepath.Join(t.TempDir(), "missing.yaml")
	if _, err := f.load(p); err == nil {
		t.Error("a missing file that was named was taken for an empty one")
	}
}

// TestAttackPortsThatAnybodyMayTake: an account that listens while the agent restarts
// would hand out its own keys.
func TestAttackPortsThatAnybodyMayTake(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"127.0.0.1:40000":    "any account",
		"0.0.0.0:80":         "loopback",
		"10.0.0.1:80":        "loopback",
		"[::]:80":            "loopback",
		"[::ffff:7f00:1]:80": "loopback",
		"localhost:80":       "loopback",
		"169.254.169.253:80": "loopback",
		"127.0.0.1":          "loopback",
		"":                   "loopback",
	} {
		l, err := Config{}.listen(address, nil)
		if err == nil {
			_ = l.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func FuzzConfiguration(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte("listen:\n  container: []\nfresh: 1h\n"))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse(text)
		if err != nil {
			return
		}
		if c, err = c.complete(); err == nil && (c.Offline != serve && c.Offline != refuse || !filepath.IsAbs(c.State) || !filepath.IsAbs(c.Socket)) {
			t.Errorf("%q became %+v", text, c)
		}
	})
}
