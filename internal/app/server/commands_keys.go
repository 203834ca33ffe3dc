package server

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/edge/keyfile"
	"carnet.dev/carnet/internal/service/keyring"
)

func newKey() *cobra.Command {
	return &cobra.Command{
		Use: "new-key FILE", Short: "Make a key-encryption key", Args: cobra.ExactArgs(1),
		Long: "Makes a key-encryption key, to replace the one in use (carnet state rewrap). The first one the server makes by\n" +
			"itself, at its first start on a new database.",
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			if err := keyfile.Create(path, keyfile.Rules{}); err != nil {
				return err
			}
			return say(cmd, map[string]string{"file": path},
				"Made "+path+". Keep a copy in a safe place, apart from the backups of the database.")
		},
	}
}

// ringNames are the rings that rotate, as people name them.
func ringNames() []string { return []string{keyring.Rest, keyring.SessionToken} }

func (h *host) rotate() *cobra.Command {
	var patience time.Duration
	c := &cobra.Command{
		Use: "rotate [" + strings.Join(ringNames(), "|") + "]", Short: "Bring new data keys into use, while servers run",
		Long: "Publishes a new key and waits until every live server has loaded it; then it is used. Older keys go on opening\n" +
			"what they sealed, so nobody is signed out. rest seals what lies in the database, session-token the keys of local\n" +
			"accounts. Without an argument: both.",
		Args: cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs), ValidArgs: ringNames(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = ringNames()
			}
			return h.withState(cmd, func(ctx context.Context, s *state) error {
				if err := s.rotate(ctx, args); err != nil {
					return err
				}
				late, err := s.inUse(ctx, args, patience)
				if err != nil {
					return err
				}
				return say(cmd, map[string]any{"rings": args, "in_use": len(late) == 0, "waiting_for": late}, rotated(args, late))
			})
		},
	}
	c.Flags().DurationVar(&patience, "wait", 20*time.Second, "how long to wait until the new keys are in use")
	return c
}

func rotated(rings, late []string) string {
	names := strings.Join(rings, " and ")
	if len(late) == 0 {
		return "New keys are in use: " + names + "."
	}
	return fmt.Sprintf("New keys are published: %s. They come into use by themselves once these servers have loaded them, or %v after one was last heard of: %s",
		names, keyring.ServerStale, strings.Join(late, ", "))
}

// rotate publishes a new key of each ring, with its record.
func (s *state) rotate(ctx context.Context, rings []string) error {
	return s.db.Atomic(ctx, func(ctx context.Context) error {
		for _, ring := range rings {
			if err := s.ring.Rotate(ctx, ring); err != nil {
				return err
			}
			if err := s.trail.Record(ctx, event.Event{Action: "key-ring.rotate", Target: ring}); err != nil {
				return err
			}
		}
		return nil
	})
}

// inUse waits until the published keys are used, and gives the servers that
// have not loaded them in the end.
func (s *state) inUse(ctx context.Context, rings []string, patience time.Duration) (late []string, err error) {
	err = poll(ctx, patience, func() (bool, error) {
		err := s.ring.Tend(ctx)
		late = []string{}
		if !slices.ContainsFunc(rings, s.ring.OnItsWay) {
			return true, err
		}
		for _, v := range s.ring.Waiting() {
			late = append(late, v.Server)
		}
		return false, err
	})
	return late, err
}

// poll asks again and again until done, an error, or the end of patience.
func poll(ctx context.Context, patience time.Duration, ask func() (bool, error)) error {
	end := time.Now().Add(patience)
	for {
		done, err := ask()
		if done || err != nil || time.Now().After(end) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (h *host) rewrap() *cobra.Command {
	var patience time.Duration
	c := &cobra.Command{
		Use: "rewrap", Short: "Replace the key-encryption key, while servers run", Args: cobra.NoArgs,
		Long: "The key file holds the new key in its first line and the old one in its second, on every server. Rewrap wraps all\n" +
			"data keys under the first. Running servers read the file again by themselves (a systemd credential is read at a\n" +
			"start only: restart them before). Afterwards take the old line out of the files; keep it for as long as backups\n" +
			"that were sealed under it.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return h.withState(cmd, func(ctx context.Context, s *state) error {
				keks, err := keyEncryptionKeys(s.config, false, false)
				if err != nil {
					return err
				}
				id := keks[0].ID()
				if s.ring.WrappedUnder(id) {
					return say(cmd, map[string]any{"key_encryption_key": id, "changed": false},
						"Nothing to do: everything is wrapped under "+id+", the first key of the file.")
				}
				late, err := s.rewrap(ctx, keks, patience)
				if err != nil {
					return err
				}
				text := "Everything is wrapped under " + id + ", and every running server uses it."
				if len(late) > 0 {
					text = fmt.Sprintf("Everything is wrapped under %s. These servers have not read it yet: %s. Look at their key files and logs.", id, strings.Join(late, ", "))
				}
				return say(cmd, map[string]any{"key_encryption_key": id, "changed": true, "waiting_for": late}, text)
			})
		},
	}
	c.Flags().DurationVar(&patience, "wait", 15*time.Second, "how long to wait until running servers use the new key")
	return c
}

// rewrap moves all data keys under the first of keks, and gives the servers
// that were not heard of again after that: tending the ring needs the new key.
func (s *state) rewrap(ctx context.Context, keks keyring.KEKs, patience time.Duration) (late []string, err error) {
	err = s.db.Atomic(ctx, func(ctx context.Context) error {
		if err := s.ring.Rewrap(ctx, keks); err != nil {
			return err
		}
		return s.trail.Record(ctx, event.Event{Action: "key-encryption-key.replace", Target: keks[0].ID()})
	})
	if err != nil {
		return nil, err
	}
	before := map[string]time.Time{}
	for _, v := range s.ring.Servers() {
		before[v.Server] = v.Seen
	}
	err = poll(ctx, patience, func() (bool, error) {
		err := s.ring.Reload(ctx)
		late = []string{}
		for _, v := range s.ring.Servers() {
			if seen, ok := before[v.Server]; ok && seen.Equal(v.Seen) {
				late = append(late, v.Server)
			}
		}
		return len(late) == 0, err
	})
	return late, err
}
