package sql

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migration is one forward step. Its name orders it and never changes; its
// text never changes once released.
type migration struct {
	Name string // NNNN_owner
	Text string
}

func (m migration) checksum() string {
	sum := sha256.Sum256([]byte(m.Text))
	return hex.EncodeToString(sum[:])
}

var blob = regexp.MustCompile(`\bBLOB\b`)

// migrations gives the steps for one engine, in order. NNNN_owner.sql serves
// both; NNNN_owner.postgres.sql and NNNN_owner.sqlite.sql serve one.
func migrations(files fs.FS, postgres bool) ([]migration, error) {
	names, err := fs.Glob(files, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	var all []migration
	for _, path := range names {
		text, err := fs.ReadFile(files, path)
		if err != nil {
			return nil, err
		}
		name := strings.TrimSuffix(strings.TrimPrefix(path, "migrations/"), ".sql")
		name, engine, _ := strings.Cut(name, ".")
		if engine == "sqlite" && postgres || engine == "postgres" && !postgres {
			continue
		}
		all = append(all, migration{Name: name, Text: string(text)})
	}
	slices.SortFunc(all, func(a, b migration) int { return strings.Compare(a.Name, b.Name) })
	for i := 1; i < len(all); i++ {
		if all[i].Name == all[i-1].Name {
			return nil, fmt.Errorf("two migrations are named %s", all[i].Name)
		}
	}
	return all, nil
}

var errDryRun = errors.New("sql: dry run")

// Migrate brings the schema forward in one transaction and gives the names of
// the steps it took; with dryRun it takes them, rolls back, and gives what it
// would have done. Steps that only the database knows are left alone: a schema
// serves the release before it too. A step whose text changed after it was
// applied is an error.
func (d *DB) Migrate(ctx context.Context, dryRun bool) ([]string, error) {
	return d.migrate(ctx, migrationFiles, dryRun)
}

func (d *DB) migrate(ctx context.Context, files fs.FS, dryRun bool) (applied []string, err error) {
	all, err := migrations(files, d.postgres)
	if err != nil {
		return nil, err
	}
	err = d.alone(ctx, func(t *Tx) error {
		known, err := t.appliedMigrations()
		if err != nil {
			return err
		}
		for _, m := range all {
			if sum, ok := known[m.Name]; ok {
				if sum != m.checksum() {
					return fault.New(fault.Misconfigured, "migration "+m.Name+" was changed after it was applied").
						WithMend("run the release that this database belongs to")
				}
				continue
			}
			if err := t.applyMigration(m); err != nil {
				return err
			}
			applied = append(applied, m.Name)
		}
		if dryRun {
			return errDryRun
		}
		return nil
	})
	if errors.Is(err, errDryRun) {
		err = nil
	}
	return applied, err
}

// alone runs fn in one transaction while no other server migrates, without the
// time limits of ordinary writes. It is read committed on PostgreSQL: the
// snapshot must be younger than the wait for the lock.
func (d *DB) alone(ctx context.Context, fn func(*Tx) error) error {
	tx, err := d.write.BeginTx(ctx, nil)
	if err != nil {
		return d.classify(err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	t := &Tx{db: d, tx: tx, stmt: ctx}
	t.ctx = context.WithValue(ctx, txKey{}, t)
	if d.postgres {
		for _, q := range []string{
			`SET LOCAL statement_timeout = 0`, `SET LOCAL idle_in_transaction_session_timeout = 0`,
			`SELECT pg_advisory_xact_lock(4711208)`,
		} {
			if _, err := t.Exec(q); err != nil {
				return d.classify(err)
			}
		}
	}
	if err := fn(t); err != nil {
		return d.classify(err)
	}
	return d.classify(tx.Commit())
}

// Pending gives the steps that this release has and the database has not.
func (d *DB) Pending(ctx context.Context) ([]string, error) { return d.Migrate(ctx, true) }

func (t *Tx) appliedMigrations() (map[string]string, error) {
	if _, err := t.Exec(`CREATE TABLE IF NOT EXISTS schema_migration (
		name TEXT PRIMARY KEY, checksum TEXT NOT NULL, applied BIGINT NOT NULL)`); err != nil {
		return nil, err
	}
	known := map[string]string{}
	err := t.Each(`SELECT name, checksum FROM schema_migration`, nil, func(scan func(...any) error) error {
		var name, sum string
		err := scan(&name, &sum)
		known[name] = sum
		return err
	})
	return known, err
}

func (t *Tx) applyMigration(m migration) error {
	text := m.Text
	if t.db.postgres {
		text = blob.ReplaceAllString(text, "BYTEA")
	}
	if _, err := t.Exec(text); err != nil {
		return fmt.Errorf("migration %s: %w", m.Name, err)
	}
	_, err := t.Exec(`INSERT INTO schema_migration (name, checksum, applied) VALUES ($1, $2, $3)`,
		m.Name, m.checksum(), time.Now().UnixMilli())
	return err
}
