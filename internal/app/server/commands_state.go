package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"carnet.dev/carnet/internal/app/config"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	sqlaudit "carnet.dev/carnet/internal/edge/sql/audit"
	sqlbroker "carnet.dev/carnet/internal/edge/sql/broker"
	sqlkeyring "carnet.dev/carnet/internal/edge/sql/keyring"
	sqllogin "carnet.dev/carnet/internal/edge/sql/login"
	sqlrevocation "carnet.dev/carnet/internal/edge/sql/revocation"
	sqlstate "carnet.dev/carnet/internal/edge/sql/state"
	"carnet.dev/carnet/internal/service/audit"
	"carnet.dev/carnet/internal/service/keyring"
)

func (h *host) state() *cobra.Command {
	parent := &cobra.Command{Use: "state", Short: "The database and its key", Args: cobra.NoArgs}
	parent.AddCommand(h.migrate(), newKey(), h.backup(), h.restore(), h.export(), h.importState(), h.rotate(), h.rewrap())
	return parent
}

func (h *host) migrate() *cobra.Command {
	var dry bool
	c := &cobra.Command{
		Use: "migrate", Short: "Bring the database to the schema of this release", Args: cobra.NoArgs,
		Long: "Brings the database forward in one transaction. Back it up first (carnet state backup); there is no way back.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := h.load()
			if err != nil {
				return err
			}
			db, err := openDatabase(cmd.Context(), c, slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			steps, err := db.Migrate(cmd.Context(), dry)
			if err = errors.Join(err, db.Close()); err != nil {
				return err
			}
			return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]any{"dry_run": dry, "steps": append([]string{}, steps...)})
		},
	}
	c.Flags().BoolVar(&dry, "dry-run", false, "take the steps and roll them back")
	return c
}

// still is a database that a command reads as it is: one that waits for a
// migration can be backed up too.
type still struct {
	*sql.DB
	config *config.Config
	keks   keyring.KEKs
}

// withStill opens an existing database under the key-encryption key that it
// was sealed with. It changes nothing.
func (h *host) withStill(cmd *cobra.Command, do func(context.Context, still) error) (err error) {
	c, err := h.load()
	if err != nil {
		return err
	}
	keks, err := keyEncryptionKeys(c, h.development(), false)
	if err != nil {
		return err
	}
	if path := c.Database.SQLite; path != "" {
		if _, err := os.Stat(path); err != nil {
			return fault.Wrap(err, fault.NotFound, "there is no database").WithMend("look at data and database.sqlite in the configuration")
		}
	}
	db, err := openDatabase(cmd.Context(), c, warnings(cmd))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := keyring.Check(cmd.Context(), sqlkeyring.Store{DB: db}, keks); err != nil {
		return err
	}
	return do(cmd.Context(), still{db, c, keks})
}

func (h *host) backup() *cobra.Command {
	return &cobra.Command{
		Use: "backup FILE", Short: "Write a sealed backup, also while servers run", Args: cobra.ExactArgs(1),
		Long: "Writes one consistent snapshot of the database, sealed under the key-encryption key. Who has the file and not\n" +
			"the key has nothing; who loses the key has nothing either. Objects in stores are not in it.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return h.withStill(cmd, func(ctx context.Context, db still) error {
				err := sqlstate.WriteFile(args[0], func(w io.Writer) error { return sqlstate.Backup(ctx, db.DB, db.keks, time.Now(), w) })
				if err != nil {
					return err
				}
				if _, err := verifyBackup(args[0], db.keks); err != nil {
					return err
				}
				return say(cmd, map[string]string{"file": args[0], "key_encryption_key": db.keks[0].ID()}, fmt.Sprintf(
					"Wrote %s, and read it back to its end. It opens with key-encryption key %s alone: keep that key for as long as the backup.", args[0], db.keks[0].ID()))
			})
		},
	}
}

func (h *host) export() *cobra.Command {
	return &cobra.Command{
		Use: "export FILE", Short: "Write the database as readable text, also while servers run", Args: cobra.ExactArgs(1),
		Long: "Writes one JSON line per row, for inspection or for another engine. Names and mail addresses are readable in it;\n" +
			"secrets are as the database has them, sealed.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return h.withStill(cmd, func(ctx context.Context, db still) error {
				err := sqlstate.WriteFile(args[0], func(w io.Writer) error { return sqlstate.Export(ctx, db.DB, time.Now(), w) })
				if err != nil {
					return err
				}
				return say(cmd, map[string]string{"file": args[0]}, "Wrote "+args[0]+".")
			})
		},
	}
}

func verifyBackup(path string, keks keyring.KEKs) (created time.Time, err error) {
	err = readFile(path, func(r io.Reader) error {
		created, err = sqlstate.Verify(keks, r)
		return err
	})
	return created, err
}

func readFile(path string, read func(io.Reader) error) error {
	f, err := os.Open(path)
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "the file can't be read")
	}
	defer f.Close()
	return read(f)
}

func (h *host) restore() *cobra.Command {
	return &cobra.Command{
		Use: "restore FILE", Short: "Put a sealed backup into a new, empty database", Args: cobra.ExactArgs(1),
		Long: "Stop all servers first, and name a new database in the configuration (or move the old one away). The key file must\n" +
			"hold the key that the backup was sealed under. Everybody has to sign in again: what was revoked after the backup\n" +
			"is not in it, so all keys and login sessions from before are refused.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return h.rebuild(cmd, args[0], func(keks keyring.KEKs) (time.Time, error) { return verifyBackup(args[0], keks) },
				func(ctx context.Context, db still, finish func(context.Context) error) error {
					return readFile(args[0], func(r io.Reader) error { return sqlstate.Restore(ctx, db.DB, db.keks, r, finish) })
				})
		},
	}
}

func (h *host) importState() *cobra.Command {
	return &cobra.Command{
		Use: "import FILE", Short: "Put an export into a new, empty database", Args: cobra.ExactArgs(1),
		Long: "As restore, from an export: to move from SQLite to PostgreSQL, for instance. An export is not sealed: take one only\n" +
			"from a place that nobody else could write to.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return h.rebuild(cmd, args[0], func(keyring.KEKs) (time.Time, error) { return time.Time{}, nil },
				func(ctx context.Context, db still, finish func(context.Context) error) error {
					return readFile(args[0], func(r io.Reader) error { return sqlstate.Import(ctx, db.DB, r, finish) })
				})
		},
	}
}

// rebuild fills a new database from a file. check proves the file before
// anything is touched.
func (h *host) rebuild(cmd *cobra.Command, file string, check func(keyring.KEKs) (time.Time, error),
	fill func(context.Context, still, func(context.Context) error) error) (err error) {
	c, err := config.Load(h.config)
	if err != nil {
		return err
	}
	keks, err := keyEncryptionKeys(c, false, false)
	if err != nil {
		return err
	}
	created, err := check(keks)
	if err != nil {
		return err
	}
	if err := checkData(c, false); err != nil {
		return err
	}
	db, err := openDatabase(cmd.Context(), c, warnings(cmd))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	into := still{db, c, keks}
	ctx := identity.WithActor(cmd.Context(), onHost())
	var trail *audit.Writer
	if err := fill(ctx, into, func(ctx context.Context) (err error) {
		trail, err = into.finish(ctx, cmd.CommandPath())
		return err
	}); err != nil {
		return err
	}
	text := "The database holds what " + file + " says"
	if !created.IsZero() {
		text += " (made " + created.Format(time.RFC3339) + ")"
	}
	return errors.Join(trail.Checkpoint(context.WithoutCancel(ctx)), say(cmd, map[string]string{"file": file},
		text+". Start the servers. Everybody has to sign in again."))
}

// finish ends a restore within its transaction: the key ring has to open, what
// was issued is refused, what waited to be redeemed is gone, and the trail
// knows of it.
func (db still) finish(ctx context.Context, command string) (*audit.Writer, error) {
	now := time.Now()
	ring, err := keyring.Open(ctx, keyring.Config{Store: sqlkeyring.Store{DB: db.DB}, KEKs: db.keks, Now: time.Now})
	if err != nil {
		return nil, err
	}
	if err := (sqlrevocation.Store{DB: db.DB}).Restored(ctx, now); err != nil {
		return nil, err
	}
	if err := (sqllogin.Store{DB: db.DB}).Forget(ctx); err != nil {
		return nil, err
	}
	if err := (sqlbroker.Store{DB: db.DB}).Restored(ctx); err != nil {
		return nil, err
	}
	trail, err := audit.Open(ctx, audit.Config{Store: sqlaudit.Store{DB: db.DB}, Sealer: ring, Now: time.Now})
	if err != nil {
		return nil, err
	}
	return trail, trail.Record(ctx, event.Event{Action: "state.restore", Detail: map[string]string{"command": command}})
}
