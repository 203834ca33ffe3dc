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
		if applied, err = t.advance(all); err != nil {
			return err
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

// advance takes the steps that were not taken yet.
func (t *Tx) advance(all []migration) (applied []string, err error) {
	known, err := t.appliedMigrations()
	if err != nil {
		return nil, err
	}
	for _, m := range all {
		if sum, ok := known[m.Name]; ok {
			if sum != m.checksum() {
				return nil, fault.New(fault.Misconfigured, "migration "+m.Name+" was changed after it was applied").
					WithMend("run the release that this database belongs to")
			}
			continue
		}
		if err := t.applyMigration(m); err != nil {
			return nil, err
		}
		applied = append(applied, m.Name)
	}
	return applied, nil
}

// Schema gives the steps that the database has taken, with their checksums.
func (t *Tx) Schema() (map[string]string, error) {
	known := map[string]string{}
	err := t.Each(`SELECT name, checksum FROM schema_migration`, nil, func(scan func(...any) error) error {
		var name, sum string
		err := scan(&name, &sum)
		known[name] = sum
		return err
	})
	return known, err
}

// Rebuild fills an empty database: it takes the given steps, runs load, takes
// all newer steps and runs finish, in one transaction. Steps that this release doesn't
// have, or has with another text, and a database that isn't empty are refused.
func (d *DB) Rebuild(ctx context.Context, schema map[string]string, load, finish func(*Tx) error) error {
	all, err := migrations(migrationFiles, d.postgres)
	if err != nil {
		return err
	}
	// What comes from the other engine took that engine's form of a step.
	others, err := migrations(migrationFiles, !d.postgres)
	if err != nil {
		return err
	}
	elsewhere := map[string]string{}
	for _, m := range others {
		elsewhere[m.Name] = m.checksum()
	}
	var first []migration
	for _, m := range all {
		if sum, ok := schema[m.Name]; ok && (sum == m.checksum() || sum == elsewhere[m.Name]) {
			first = append(first, m)
		}
	}
	if len(first) != len(schema) {
		return fault.New(fault.Misconfigured, "the backup has a schema that this release doesn't know").
			WithMend("restore with the release that made it, or a newer one")
	}
	return d.alone(ctx, func(t *Tx) error {
		known, err := t.appliedMigrations()
		if err != nil {
			return err
		}
		if len(known) > 0 {
			return fault.New(fault.Conflict, "the database is not empty").WithMend("name a new database; the old one is not touched")
		}
		if _, err := t.advance(first); err != nil {
			return err
		}
		if err := load(t); err != nil {
			return err
		}
		if _, err = t.advance(all); err != nil {
			return err
		}
		return finish(t)
	})
}

// Snapshot runs fn on one consistent snapshot without the time limits of Read:
// for a backup.
func (d *DB) Snapshot(ctx context.Context, fn func(*Tx) error) error {
	unbounded := func(t *Tx) error {
		if d.postgres {
			for _, q := range []string{`SET LOCAL statement_timeout = 0`, `SET LOCAL idle_in_transaction_session_timeout = 0`} {
				if _, err := t.tx.ExecContext(t.stmt, q); err != nil {
					return err
				}
			}
		}
		return fn(t)
	}
	if outer := carried(ctx, d); outer != nil {
		return unbounded(outer)
	}
	return d.look(ctx, d.read, unbounded)
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
	defer func() { t.done = true }()
	if err := errors.Join(fn(t), t.failed); err != nil {
		return d.classify(err)
	}
	if err := t.announce(); err != nil {
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
	return t.Schema()
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

// Tables gives the names of all tables, each after those that it refers to.
func (t *Tx) Tables() ([]string, error) {
	names, edges := `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name`,
		`SELECT m.name, f."table" FROM sqlite_master m, pragma_foreign_key_list(m.name) f WHERE m.type = 'table'`
	if t.db.postgres {
		names = `SELECT table_name FROM information_schema.tables
			WHERE table_schema = current_schema() AND table_type = 'BASE TABLE' ORDER BY table_name`
		edges = `SELECT c.relname, r.relname FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
			JOIN pg_class r ON r.oid = k.confrelid WHERE k.contype = 'f'`
	}
	var all []string
	if err := t.Each(names, nil, func(scan func(...any) error) error {
		var name string
		err := scan(&name)
		all = append(all, name)
		return err
	}); err != nil {
		return nil, err
	}
	refers := map[string][]string{}
	if err := t.Each(edges, nil, func(scan func(...any) error) error {
		var from, to string
		err := scan(&from, &to)
		refers[from] = append(refers[from], to)
		return err
	}); err != nil {
		return nil, err
	}
	var ordered []string
	seen := map[string]bool{}
	var visit func(string)
	visit = func(name string) {
		if seen[name] {
			return
		}
		seen[name] = true
		for _, other := range refers[name] {
			visit(other)
		}
		ordered = append(ordered, name)
	}
	for _, name := range all {
		visit(name)
	}
	return ordered, nil
}
