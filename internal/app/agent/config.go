package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.yaml.in/yaml/v3"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/service/binding"
)

// DefaultConfig is where the agent looks for its configuration, if there is one.
const DefaultConfig = "/etc/carnet/agent.yaml"

// Config is what agent.yaml and the flags say. The zero value of a field means its
// default.
type Config struct {
	// Server is the address of the server's pages; empty: where the node joined.
	Server string `yaml:"server"`
	// CA is a PEM file of authorities that are trusted beside the system's.
	CA string `yaml:"ca"`
	// State is the folder of the node's key.
	State string `yaml:"state"`
	// Run is the folder of the socket and of people's files.
	Run string `yaml:"run"`
	// Socket is the unix socket; empty: agent.sock in Run.
	Socket string `yaml:"socket"`
	Listen Listen `yaml:"listen"`
	// Offline says what is given while the server is away: "serve" what was given
	// before, or "refuse" everything.
	Offline string `yaml:"offline"`
	// Fresh is how long the server's last word counts.
	Fresh time.Duration `yaml:"fresh"`
	// WebIdentity "off" keeps no web identity tokens in people's files.
	WebIdentity string `yaml:"web_identity"`
	// EngineAccount is the account, by name or number, that may read Trino's mapping.
	EngineAccount string `yaml:"engine_account"`
	// Cgroup is where control groups of version 2 are mounted; empty: it is looked up.
	Cgroup string `yaml:"cgroup"`
	// InsecurePorts admits ports that any account may take: for tests.
	InsecurePorts bool `yaml:"insecure_ports"`

	handed *handed // sockets that the service manager holds; nil: none
}

// Listen are the addresses of the loopback faces; of those that stand here by default
// each is offered where it can be bound. Proxy and Metadata may be "off".
type Listen struct {
	Container []string `yaml:"container"`
	Proxy     string   `yaml:"proxy"`
	Metadata  string   `yaml:"metadata"`
	Metrics   string   `yaml:"metrics"` // empty: off
}

// Defaults.
const (
	defaultState = "/var/lib/carnet-agent"
	defaultRun   = "/run/carnet"
	serve        = "serve"
	refuse       = "refuse"
)

func defaultContainer() []string {
	return []string{"127.0.0.1:1018", "[::1]:1018", "169.254.170.2:80", "169.254.170.23:80", "[fd00:ec2::23]:80"}
}

// maxFile bounds agent.yaml.
const maxFile = 64 << 10

// Load reads a configuration file; a missing one at the usual place is empty.
func Load(path string) (Config, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) && path == DefaultConfig {
		return Config{}, nil
	}
	if err != nil {
		return Config{}, unusable(path, err)
	}
	defer func() { _ = f.Close() }() // only read
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil || len(text) > maxFile {
		return Config{}, unusable(path, errors.Join(err, errors.New("it can't be read, or is too long")))
	}
	c, err := Parse(text)
	if err != nil {
		return Config{}, unusable(path, err)
	}
	return c, nil
}

func unusable(path string, err error) error {
	return fault.Coded(fault.Misconfigured, "agent.config", path+" can't be used: "+err.Error()).WithMend("mend it, or name another file with --config")
}

// Parse reads one strict YAML document: what is not known here is an error.
func Parse(text []byte) (Config, error) {
	var c Config
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&c); errors.Is(err, io.EOF) {
		return c, nil
	} else if err != nil {
		return Config{}, err
	}
	var second yaml.Node
	if err := d.Decode(&second); !errors.Is(err, io.EOF) {
		return Config{}, errors.New("the file holds more than one YAML document")
	}
	return c, nil
}

// complete fills in defaults and refuses what can't be.
func (c Config) complete() (Config, error) {
	for field, standard := range map[*string]string{&c.State: defaultState, &c.Run: defaultRun, &c.Offline: serve} {
		if *field == "" {
			*field = standard
		}
	}
	if c.Listen.Container == nil {
		c.Listen.Container = defaultContainer()
	}
	if c.Listen.Proxy == "" {
		c.Listen.Proxy = "127.0.0.1:1019"
	}
	if c.Listen.Metadata == "" {
		c.Listen.Metadata = "127.0.0.1:1020"
	}
	if c.Socket == "" {
		c.Socket = filepath.Join(c.Run, "agent.sock")
	}
	if c.Fresh == 0 {
		c.Fresh = binding.DefaultFresh
	}
	switch {
	case c.Offline != serve && c.Offline != refuse:
		return c, misconfigured("offline", fmt.Sprintf("%q: want serve or refuse", c.Offline))
	case c.WebIdentity != "" && c.WebIdentity != "on" && c.WebIdentity != off:
		return c, misconfigured("web_identity", fmt.Sprintf("%q: want on or off", c.WebIdentity))
	case c.Fresh < 30*time.Second || c.Fresh > time.Hour:
		return c, misconfigured("fresh", fmt.Sprintf("%s: want 30s to 1h", c.Fresh))
	}
	for name, path := range map[string]string{"state": c.State, "run": c.Run, "socket": c.Socket} {
		if !filepath.IsAbs(path) {
			return c, misconfigured(name, fmt.Sprintf("%q: want an absolute path", path))
		}
	}
	return c, nil
}

func misconfigured(key, what string) error {
	return fault.Coded(fault.Misconfigured, "agent.config", key+": "+what)
}
