package server

import (
	"context"
	"os"
	"strings"

	"carnet.dev/carnet/internal/app/config"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/egress"
)

// identityMetadata reads an identity provider's metadata from a file or, by the
// guarded client, from an address that an administrator has typed.
func identityMetadata(ctx context.Context, c *config.Config, place string) ([]byte, error) {
	if !isAddress(place) {
		xml, err := os.ReadFile(place)
		if err != nil {
			return nil, fault.Wrap(err, fault.Invalid, "cannot read the metadata file "+place).WithMend("name a file or an https address with --metadata")
		}
		return xml, nil
	}
	client, err := guarded(c)
	if err != nil {
		return nil, err
	}
	return client.Get(ctx, place)
}

// guarded makes the client for addresses that people configure. more is what it
// may reach beyond egress.allow.
func guarded(c *config.Config, more ...string) (*egress.Client, error) {
	allow, err := allowed(c, more...)
	if err != nil {
		return nil, err
	}
	return egress.New(egress.Config{Allow: allow}), nil
}

// allowed reads egress.allow.
func allowed(c *config.Config, more ...string) (egress.Allow, error) {
	entries := more
	for _, n := range c.Egress.Allow {
		entries = append(entries, n.String())
	}
	return egress.ParseAllow(entries)
}

// isAddress reports whether a text names a place on the web, not a file.
func isAddress(text string) bool {
	return strings.HasPrefix(text, "https://") || strings.HasPrefix(text, "http://")
}
