// Package sqltest opens migrated databases for tests.
//
// Plain tests get SQLite; with the build tag interop, Each runs on a real
// PostgreSQL as well, which it starts from the system's package. It serves
// tests only and must never be imported by the program.
package sqltest

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"carnet.dev/carnet/internal/edge/sql"
)

// Open gives a migrated SQLite database that ends with the test.
func Open(t testing.TB) *sql.DB {
	t.Helper()
	return OpenWith(t, sql.Config{SQLite: filepath.Join(t.TempDir(), "carnet.db")})
}

// OpenWith opens and migrates the database of c; it is closed with the test. A new
// SQLite database begins as a copy of one that was migrated once for all tests of
// the process.
func OpenWith(t testing.TB, c sql.Config) *sql.DB {
	t.Helper()
	if err := begin(c.SQLite); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := db.Migrate(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	return db
}

// begin writes the template where no database is yet.
func begin(path string) error {
	if _, err := os.Stat(path); path == "" || !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	migrated, err := template()
	if err != nil {
		return err
	}
	return os.WriteFile(path, migrated, 0o600)
}

// template is the content of a migrated database.
var template = sync.OnceValues(func() (_ []byte, err error) {
	dir, err := os.MkdirTemp("", "carnet-sqltest-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "carnet.db")
	db, err := sql.Open(context.Background(), sql.Config{SQLite: path})
	if err != nil {
		return nil, err
	}
	_, err = db.Migrate(context.Background(), false)
	if err = errors.Join(err, db.Close()); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

// Each runs fn as a subtest on every engine of this build. fn gets the
// configuration of a new, empty database: it may open it several times, as
// several servers would.
func Each(t *testing.T, fn func(t *testing.T, c sql.Config)) {
	t.Helper()
	for _, e := range engines() {
		t.Run(e.name, func(t *testing.T) { fn(t, e.fresh(t)) })
	}
}

type engine struct {
	name  string
	fresh func(t testing.TB) sql.Config
}

func sqlite() engine {
	return engine{"sqlite", func(t testing.TB) sql.Config {
		return sql.Config{SQLite: filepath.Join(t.TempDir(), "carnet.db")}
	}}
}
