package agent

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/nodeclient"
)

// Command gives carnet agent.
func Command() *cobra.Command {
	f := &flags{}
	c := &cobra.Command{
		Use:   "agent",
		Short: "Run the agent of a node: it gives the people who are attached here their keys",
		Long: "The agent answers processes of this machine over a unix socket and on loopback. Who is calling is the\n" +
			"kernel's word. Run it under an account of its own that holds the capabilities CAP_NET_BIND_SERVICE and\n" +
			"CAP_CHOWN, after the node has joined its cluster (carnet agent join).",
		Example: "  carnet agent --config /etc/carnet/agent.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.load(cmd.Flags())
			if err != nil {
				return err
			}
			if c.handed, err = takeHanded(); err != nil {
				return err
			}
			return run(cmd.Context(), c, version(), cmd.ErrOrStderr())
		},
	}
	f.define(c.PersistentFlags())
	c.AddCommand(join(f), agentStatus(f), metadataRule(), units())
	return c
}

// flags are the settings as the command line gives them: they go before the file's.
type flags struct {
	config string
	given  Config
}

func (f *flags) define(p *pflag.FlagSet) {
	p.StringVar(&f.config, "config", DefaultConfig, "configuration file")
	p.StringVar(&f.given.Server, "server", "", "address of the server's pages (default: where the node joined)")
	p.StringVar(&f.given.CA, "ca", "", "PEM file of an authority that is trusted beside the system's")
	p.StringVar(&f.given.State, "state", defaultState, "folder of the node's key, for the agent's account alone")
	p.StringVar(&f.given.Run, "run", defaultRun, "folder of the socket and of people's files")
	p.StringVar(&f.given.Socket, "socket", "", "unix socket (default: agent.sock in --run)")
	p.StringSliceVar(&f.given.Listen.Container, "listen-container", defaultContainer(), "addresses of the container credentials endpoint")
	p.StringVar(&f.given.Listen.Proxy, "listen-proxy", "127.0.0.1:1019", "address of the signing proxy, or off")
	p.StringVar(&f.given.Listen.Metadata, "listen-metadata", "127.0.0.1:1020", "address of the instance metadata endpoint, or off")
	p.StringVar(&f.given.Listen.Metrics, "listen-metrics", "", "address of metrics, on loopback (default: off)")
	p.StringVar(&f.given.WebIdentity, "web-identity", "on", "keep web identity tokens in people's files: on or off")
	p.StringVar(&f.given.Offline, "offline", serve, "while the server is away: serve what was given before, or refuse")
	p.DurationVar(&f.given.Fresh, "fresh", time.Minute, "how long the server's last word counts")
	p.StringVar(&f.given.EngineAccount, "engine-account", "", "account that may read the mapping for Trino")
	p.StringVar(&f.given.Cgroup, "cgroup", "", "mount of control groups of version 2 (default: looked up)")
	p.BoolVar(&f.given.InsecurePorts, "insecure-ports", false, "admit ports that any account may listen at: for tests")
}

// load reads the file, and puts over it what the command line says.
func (f *flags) load(p *pflag.FlagSet) (Config, error) {
	c, err := Load(f.config)
	if err != nil {
		return c, err
	}
	over := func(name string, put func()) {
		if p.Changed(name) {
			put()
		}
	}
	over("server", func() { c.Server = f.given.Server })
	over("ca", func() { c.CA = f.given.CA })
	over("state", func() { c.State = f.given.State })
	over("run", func() { c.Run = f.given.Run })
	over("socket", func() { c.Socket = f.given.Socket })
	over("listen-container", func() { c.Listen.Container = f.given.Listen.Container })
	over("listen-proxy", func() { c.Listen.Proxy = f.given.Listen.Proxy })
	over("listen-metadata", func() { c.Listen.Metadata = f.given.Listen.Metadata })
	over("listen-metrics", func() { c.Listen.Metrics = f.given.Listen.Metrics })
	over("web-identity", func() { c.WebIdentity = f.given.WebIdentity })
	over("offline", func() { c.Offline = f.given.Offline })
	over("fresh", func() { c.Fresh = f.given.Fresh })
	over("engine-account", func() { c.EngineAccount = f.given.EngineAccount })
	over("cgroup", func() { c.Cgroup = f.given.Cgroup })
	over("insecure-ports", func() { c.InsecurePorts = f.given.InsecurePorts })
	return c.complete()
}

// join is carnet agent join.
func join(f *flags) *cobra.Command {
	var name, file string
	c := &cobra.Command{
		Use:   "join",
		Short: "Join this node to a cluster, by a join token",
		Long: "Makes a key in the state folder and trades the join token, which works once, for an identity of this node.\n" +
			"Run it under the agent's account.",
		Example: "  carnet agent join --server https://carnet.example.com --join-token-file token",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.load(cmd.Flags())
			if err != nil {
				return err
			}
			if name == "" {
				if name, err = os.Hostname(); err != nil {
					return fault.Wrap(err, fault.Invalid, "this machine has no name").WithMend("give one with --name")
				}
			}
			token, err := readToken(file, cmd.InOrStdin())
			if err != nil {
				return err
			}
			joined, err := nodeclient.Join(cmd.Context(), nodeclient.Config{
				Folder: nodeclient.Folder{Path: c.State}, Server: c.Server, CA: c.CA, Now: time.Now, Version: version(),
			}, token, name)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "This node is %s of the cluster %s (%s). Start the agent: carnet agent\n", joined.Node, joined.Cluster.Name, joined.Cluster.Kind)
			return err
		},
	}
	c.Flags().StringVar(&name, "name", "", "name of the node in its cluster (default: the machine's)")
	c.Flags().StringVar(&file, "join-token-file", "-", "file of the join token; - is standard input")
	return c
}

// readToken reads a join token; it is not a flag, since others see those.
func readToken(file string, in io.Reader) (secret.Text, error) {
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return secret.Text{}, fault.Wrap(err, fault.Invalid, "the join token can't be read").WithMend("name its file with --join-token-file")
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, 4096))
	token := strings.TrimSpace(string(text))
	if err != nil || token == "" {
		return secret.Text{}, fault.Wrap(err, fault.Invalid, "there is no join token").WithMend("have one made: carnet cluster join-token CLUSTER")
	}
	return secret.New(token), nil
}

// version is that of the build.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "unknown"
}
