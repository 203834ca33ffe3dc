package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"carnet.dev/carnet/internal/app/cli"
	"carnet.dev/carnet/internal/app/config"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/storeproc"
	"carnet.dev/carnet/internal/service/iam"
)

// DefaultConfig is where the host's commands look for the configuration.
const DefaultConfig = "/etc/carnet/carnet.yaml"

// host is one command of the server's host: it works on the configuration's
// database itself, so whoever may read the key file may use it.
type host struct{ config string }

// Commands gives the commands that run on the server's host.
func Commands() []*cobra.Command {
	h := &host{}
	all := []*cobra.Command{h.server(), h.sso(), h.issuer(), h.clients(), h.authority(), h.admin(), h.people(), h.provisioning(), h.federationPolicies(), h.gatewayKeys(), h.clusterCommands(), h.nodeCommands(), h.attachmentCommands(), h.prefixGrants(), h.trino(), h.revoke(), h.audit(), h.why(), h.state()}
	for _, c := range all {
		c.PersistentFlags().StringVar(&h.config, "config", DefaultConfig, "configuration file")
	}
	return append(all, storeCommand(storeproc.Main))
}

func (h *host) server() *cobra.Command {
	var check bool
	c := &cobra.Command{
		Use:     "server",
		Short:   "Run the server",
		Example: "  carnet server --config /etc/carnet/carnet.yaml --check-config",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Load(h.config)
			if err != nil {
				return err
			}
			if err := c.CheckFiles(); err != nil {
				return err
			}
			if check {
				fmt.Fprintf(cmd.OutOrStdout(), "%s is valid: %d accounts, %d upstreams, pages on %s, AWS on %s\n",
					h.config, len(c.Accounts), len(c.Upstreams), c.BaseURL, c.Listen.AWS.URL)
				if risk := bridgeRisk(c); risk != "" {
					fmt.Fprintf(cmd.OutOrStdout(), "warning: %s\n", risk)
				}
				return nil
			}
			return run(cmd.Context(), c, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	c.Flags().BoolVar(&check, "check-config", false, "check the configuration and the files it names, then end")
	return c
}

// run is `carnet server`: build, listen, say how to begin, serve.
func run(ctx context.Context, c *config.Config, out, logs io.Writer) (err error) {
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	listeners, err := Listen(c)
	if err != nil {
		return err
	}
	defer listeners.Close()
	srv, err := New(ctx, Options{Config: c, Binary: binary, Logger: slog.New(slog.NewJSONHandler(logs, nil)), Logs: logs, Now: time.Now})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, srv.Close()) }()
	if link, err := srv.SetupLink(ctx); err != nil {
		return err
	} else if link != "" {
		printSetupLink(out, link, "Nobody can sign in yet. Open this link once, within an hour, to set up the first identity provider:")
	}
	if c.IAM.Listen.Address != "" {
		fmt.Fprintf(out, "Serving IAM on %s\n", c.IAM.Listen.URL)
	}
	fmt.Fprintf(out, "Serving pages on %s and AWS on %s\n", c.BaseURL, c.Listen.AWS.URL)
	return srv.Serve(ctx, listeners)
}

func printSetupLink(out io.Writer, link, why string) {
	fmt.Fprintf(out, "%s\n\n  %s\n\n", why, link)
}

// withState opens the database for one command. What it does is recorded under
// the account of the operating system, and signed before it ends.
func (h *host) withState(cmd *cobra.Command, do func(context.Context, *state) error) (err error) {
	o := Options{Logger: warnings(cmd), Now: time.Now, Development: h.development()}
	if o.Config, err = h.load(); err != nil {
		return err
	}
	ctx := identity.WithActor(cmd.Context(), onHost())
	s, err := openState(ctx, o, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	return errors.Join(do(ctx, s), s.trail.Checkpoint(context.WithoutCancel(ctx)))
}

// load reads the configuration; that of carnet dev lies in dev's own folder.
func (h *host) load() (*config.Config, error) {
	if h.development() {
		return config.LoadDevelopment(h.config)
	}
	return config.Load(h.config)
}

// development reports whether the configuration is one of carnet dev.
func (h *host) development() bool { return IsDevelopmentFolder(filepath.Dir(h.config)) }

func warnings(cmd *cobra.Command) *slog.Logger {
	return slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// onHost is the actor of every command: whoever may read the key file.
func onHost() identity.Actor {
	u, err := user.Current()
	if err != nil {
		return identity.Actor{Host: fmt.Sprintf("uid %d", os.Getuid())}
	}
	return identity.Actor{Host: u.Username}
}

// say prints a command's result: value with --output json, else text.
func say(cmd *cobra.Command, value any, text string) error {
	if format, err := cmd.Flags().GetString("output"); err == nil && format == "json" {
		e := json.NewEncoder(cmd.OutOrStdout())
		e.SetEscapeHTML(false)
		return e.Encode(value)
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), cli.Clean(strings.TrimRight(text, "\n")))
	return err
}

func (h *host) admin() *cobra.Command {
	parent := &cobra.Command{Use: "admin", Short: "Help for administrators on the host", Args: cobra.NoArgs}
	parent.AddCommand(&cobra.Command{
		Use:   "recover",
		Short: "Make a one-use link that opens an administrator's login session",
		Long:  "For the case that the identity provider is down or was set up wrong. The link works once, within an hour; older links stop working.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return h.withState(cmd, func(ctx context.Context, s *state) error {
				link, err := s.recoveryLink(ctx)
				if err != nil {
					return err
				}
				printSetupLink(cmd.OutOrStdout(), link, "Open this link once, within an hour:")
				return nil
			})
		},
	})
	return parent
}

func (h *host) authority() *cobra.Command {
	parent := &cobra.Command{Use: "authority", Short: "Roles, providers and policies of local accounts", Args: cobra.NoArgs}
	plan := &cobra.Command{
		Use: "plan FILE", Short: "Show what applying a file would change", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return h.withState(cmd, func(ctx context.Context, s *state) error {
				p, err := s.planAuthority(ctx, args[0])
				if err != nil {
					return err
				}
				return printPlan(cmd.OutOrStdout(), p, "would be changed")
			})
		},
	}
	apply := &cobra.Command{
		Use: "apply FILE", Short: "Make the local accounts what a file says", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return h.withState(cmd, func(ctx context.Context, s *state) error {
				p, err := s.applyAuthorityFile(ctx, args[0])
				if err != nil {
					return err
				}
				return printPlan(cmd.OutOrStdout(), p, "changed")
			})
		},
	}
	export := &cobra.Command{
		Use: "export", Short: "Write what local accounts hold as a file", Args: cobra.NoArgs,
		Long: "Writes an authority file that says what is stored. Planned at once, it changes nothing. Secrets\n" +
			"(access keys, private keys of SAML providers) don't stand in it.",
		Example: "  carnet authority export > authority.yaml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return h.withState(cmd, func(ctx context.Context, s *state) error {
				text, err := s.iam.Export(ctx)
				if err != nil {
					return err
				}
				_, err = cmd.OutOrStdout().Write(text)
				return err
			})
		},
	}
	parent.AddCommand(plan, apply, export)
	return parent
}

func printPlan(out io.Writer, p *iam.Plan, done string) error {
	if p.Empty() {
		_, err := fmt.Fprintln(out, "Nothing to change.")
		return err
	}
	for _, step := range p.Steps {
		fmt.Fprintf(out, "  %s\n", step)
	}
	for _, w := range p.Warnings {
		fmt.Fprintf(out, "warning: %s\n", w)
	}
	_, err := fmt.Fprintf(out, "%d %s.\n", len(p.Steps), done)
	return err
}

// storeCommand is the embedded store's child process; people never call it. Its
// exit code tells the parent whether to start it again.
func storeCommand(main func(context.Context, io.Reader) error) *cobra.Command {
	return &cobra.Command{
		Use: "store", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := main(cmd.Context(), cmd.InOrStdin())
			return cli.WithExitCode(err, storeproc.ExitCode(err))
		},
	}
}
