// Package cli is the carnet command: it parses flags, calls the server's HTTP
// API or a program of the server, and prints.
//
// Each file holds one command and every text that it shows. Results go to
// standard output; progress and errors go to standard error, an error with
// what to do next. Keys are printed only by the commands made for it
// (credentials, env, token). This package decides nothing about rights: the server
// does, at every call.
package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// Process is what a run gets from the outside.
type Process struct {
	Args           []string // without the program's name
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Environ        []string // as of os.Environ
	Now            func() time.Time
}

// System gives the process that the program runs in.
func System() Process {
	return Process{
		Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Environ: os.Environ(), Now: time.Now,
	}
}

// Getenv gives the last value of a variable, as exec does; "" when unset.
func (p Process) Getenv(name string) string {
	for i := len(p.Environ) - 1; i >= 0; i-- {
		if value, ok := strings.CutPrefix(p.Environ[i], name+"="); ok {
			return value
		}
	}
	return ""
}

// The exit codes; docs/cli.md lists them.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitSignIn      = 3 // not signed in, or no longer
	exitRefused     = 4 // signed in, but not permitted, not held, or not chosen
	exitUnavailable = 5 // no answer from a part that is needed
	exitInterrupted = 130
)

// run is one run of the program: its process and the flags of every command.
type run struct {
	Process
	server  string
	profile string
	output  string
	ca      string
	// started is set when a command's own code began: errors before that are
	// about how the command was written.
	started bool
}

// Run runs the command line and gives the exit code. Extra commands (those of
// the server's host) are wired by the program.
func Run(ctx context.Context, p Process, extra ...*cobra.Command) int {
	r := &run{Process: p}
	root := r.root(extra)
	if asksJSON(p.Args) {
		r.output = "json" // also for errors that end before the flags are read
	}
	root.SetArgs(p.Args)
	err := root.ExecuteContext(r.carried(ctx))
	if err == nil {
		return exitOK
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = errInterrupted
	}
	return r.report(err)
}

// asksJSON reports whether --output json stands before a possible "--".
func asksJSON(args []string) bool {
	for i, a := range args {
		switch {
		case a == "--":
			return false
		case a == "--output=json", a == "-o=json", a == "-ojson":
			return true
		case (a == "--output" || a == "-o") && i+1 < len(args) && args[i+1] == "json":
			return true
		}
	}
	return false
}

// New gives the root command without running it, for documentation and tests.
func New(p Process, extra ...*cobra.Command) *cobra.Command {
	return (&run{Process: p}).root(extra)
}

const groupPerson, groupHost = "person", "host"

func (r *run) root(extra []*cobra.Command) *cobra.Command {
	root := &cobra.Command{
		Use:           "carnet",
		Short:         "Reach S3 as yourself, with keys that expire",
		Long:          "Carnet trades your company sign-in for temporary S3 keys.\n\nStart with: carnet login --server https://carnet.example.com",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(r.Stdin)
	root.SetOut(r.Stdout)
	root.SetErr(r.Stderr)
	f := root.PersistentFlags()
	f.StringVar(&r.server, "server", "", "address of the Carnet server (or CARNET_SERVER)")
	f.StringVar(&r.profile, "profile", "", "CLI profile: one sign-in with its current role (or CARNET_PROFILE; else \"default\")")
	f.StringVarP(&r.output, "output", "o", "text", "text or json; errors too")
	f.StringVar(&r.ca, "ca", "", "PEM file of an authority to trust besides the system's; login remembers it")
	root.AddGroup(&cobra.Group{ID: groupPerson, Title: "Your access:"}, &cobra.Group{ID: groupHost, Title: "On the server's host:"})
	for _, c := range []*cobra.Command{
		r.login(), r.logout(), r.whoami(), r.role(), r.credentials(), r.env(), r.exec(), r.configure(), r.attach(), r.detach(), r.token(), r.delegation(), r.upstreams(), r.setup(),
	} {
		c.GroupID = groupPerson
		root.AddCommand(c)
	}
	for _, c := range extra {
		c.GroupID = groupHost
		root.AddCommand(c)
		onHost(c)
	}
	root.AddCommand(r.version())
	r.follow(root)
	return root
}

// follow notes when a command's own code begins, and checks --output first.
func (r *run) follow(c *cobra.Command) {
	for _, sub := range c.Commands() {
		r.follow(sub)
	}
	own := c.RunE
	if own == nil {
		return
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if r.output != "text" && r.output != "json" {
			bad := r.output
			r.output = "text"
			return usage("--output is %q: want text or json", bad)
		}
		r.started = true
		return own(cmd, args)
	}
}

// onHost makes the flags of a person's sign-in an error on a command of the
// server's host, which would ignore them.
func onHost(c *cobra.Command) {
	for _, sub := range c.Commands() {
		onHost(sub)
	}
	own := c.RunE
	if own == nil {
		return
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		for _, name := range []string{"server", "profile", "ca"} {
			if cmd.Annotations[AlsoAtServer] != "" {
				break
			}
			// A command's own flag of that name is another.
			if f := cmd.InheritedFlags().Lookup(name); f != nil && f.Changed && f == cmd.Root().PersistentFlags().Lookup(name) {
				return usage("--%s has no meaning for %s, which works on this host", name, cmd.CommandPath())
			}
		}
		return own(cmd, args)
	}
}
