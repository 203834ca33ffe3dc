package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/api/client"
)

// AlsoAtServer marks, as an annotation, a command of the server's host that an
// administrator can run from their own machine too.
const AlsoAtServer = "also-at-server"

type runKey struct{}

// AtServer reports whether such a command is to ask a server: where --server,
// --profile or --ca is given, or where this machine has no configuration at path and
// none was named.
func AtServer(cmd *cobra.Command, path string) bool {
	for _, name := range []string{"server", "profile", "ca"} {
		if cmd.Flags().Changed(name) {
			return true
		}
	}
	if cmd.Flags().Changed("config") {
		return false
	}
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// WithServer calls the API in the sign-in of this run's profile.
func WithServer(cmd *cobra.Command, do func(*client.Client) error) error {
	r, ok := cmd.Context().Value(runKey{}).(*run)
	if !ok {
		return fault.New(fault.Internal, "the command runs outside the program")
	}
	if cmd.Flags().Changed("config") {
		return usage("--config is for this host, --server, --profile and --ca for a server elsewhere: give one of them")
	}
	return r.withAPI(func(s *signedIn) error { return do(s.api) })
}

func (r *run) carried(ctx context.Context) context.Context {
	return context.WithValue(ctx, runKey{}, r)
}
