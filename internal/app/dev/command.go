package dev

import (
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

// DefaultPorts are where dev listens unless it is told otherwise.
func DefaultPorts() Ports {
	return Ports{Web: 8480, WebTLS: 8490, AWS: 8481, AWSTLS: 8491, IdP: 8482}
}

// Command gives `carnet dev`.
func Command() *cobra.Command {
	o := Options{Ports: DefaultPorts()}
	var free, verbose bool
	c := &cobra.Command{
		Use:   "dev",
		Short: "Run the whole world on this machine: identity provider, server, authority, gateway, store",
		Long: "Runs everything on loopback with demo accounts and demo data, walks the path from sign-in to S3, and\n" +
			"stays up. Nothing has to be set up. Data stays in the data folder until --reset.",
		Example: "  carnet dev\n  carnet dev --check",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if o.Program, err = os.Executable(); err != nil {
				return err
			}
			if o.Check || free {
				o.Ports = Ports{}
			}
			if verbose {
				o.Log = slog.LevelInfo
			} else {
				o.Log = slog.LevelError
			}
			if o.Check && !cmd.Flags().Changed("data") {
				if o.Data, err = os.MkdirTemp("", "carnet-check-"); err != nil {
					return err
				}
				defer func() { err = firstOf(err, os.RemoveAll(o.Data)) }()
			}
			return Run(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.StringVar(&o.Data, "data", defaultData(), "data folder")
	f.BoolVar(&o.Reset, "reset", false, "empty the data folder first")
	f.BoolVar(&o.Check, "check", false, "use free ports and a folder that goes, walk the path, exit 0 or 1")
	f.BoolVar(&free, "free-ports", false, "take any free ports")
	f.BoolVarP(&verbose, "verbose", "v", false, "log each request")
	f.IntVar(&o.Ports.Web, "web-port", o.Ports.Web, "port of pages and API")
	f.IntVar(&o.Ports.WebTLS, "web-tls-port", o.Ports.WebTLS, "port of pages and API over TLS")
	f.IntVar(&o.Ports.AWS, "aws-port", o.Ports.AWS, "port of STS and S3")
	f.IntVar(&o.Ports.AWSTLS, "aws-tls-port", o.Ports.AWSTLS, "port of STS and S3 over TLS")
	f.IntVar(&o.Ports.IdP, "idp-port", o.Ports.IdP, "port of the development identity provider")
	f.StringVar(&o.Authority, "authority", "", "authority file with your own providers, roles and policies, in place of the demo's")
	f.StringVar(&o.Status, "status-file", "", "write addresses and password to this file (0600) once everything is up")
	f.BoolVar(&o.StaticKeys, "static-keys", false, "let IAM users have access keys that last, for software that takes no session token")
	f.DurationVar(&o.KeyLifetime, "key-lifetime", 0, "let role keys live this short, for tests (default: as each role allows)")
	return c
}

func firstOf(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// defaultData is the data folder of this user; empty where he has no home. A
// folder for temporary files is no substitute: whoever made it first would own
// the keys and the program in it.
func defaultData() string {
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "carnet-dev")
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".local", "share", "carnet-dev")
	}
	return ""
}
