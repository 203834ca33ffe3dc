package sql_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
)

// counter makes a table with one row to fight over.
func counter(t *testing.T, db *sql.DB) {
	t.Helper()
	write(t, db, `CREATE TABLE n (id BIGINT PRIMARY KEY, v BIGINT NOT NULL, ok BOOLEAN)`)
	write(t, db, `INSERT INTO n (id, v) VALUES (1, 0)`)
}

func write(t *testing.T, db *sql.DB, q string, args ...any) {
	t.Helper()
	if err := db.Write(t.Context(), func(tx *sql.Tx) error { _, err := tx.Exec(q, args...); return err }); err != nil {
		t.Fatalf("%s: %v", q, err)
	}
}

func value(t *testing.T, db *sql.DB) (v int64) {
	t.Helper()
	err := db.Read(t.Context(), func(tx *sql.Tx) error {
		return tx.QueryRow(`SELECT v FROM n WHERE id = 1`).Scan(&v)
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// increment reads, then writes: correct only if transactions are serializable.
func increment(ctx context.Context, db *sql.DB) error {
	return db.Write(ctx, func(tx *sql.Tx) error {
		var v int64
		if err := tx.QueryRow(`SELECT v FROM n WHERE id = 1`).Scan(&v); err != nil {
			return err
		}
		_, err := tx.Exec(`UPDATE n SET v = $1 WHERE id = 1`, v+1)
		return err
	})
}

func TestWritesAreSerializable(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		servers := []*sql.DB{sqltest.OpenWith(t, c), sqltest.OpenWith(t, c), sqltest.OpenWith(t, c)}
		counter(t, servers[0])
		const each = 20
		var wg sync.WaitGroup
		for _, db := range servers {
			for range 4 {
				wg.Go(func() {
					for range each {
						if err := increment(t.Context(), db); err != nil {
							t.Error(err)
						}
					}
				})
			}
		}
		wg.Wait()
		if got := value(t, servers[2]); got != 3*4*each {
			t.Errorf("%d increments became %d", 3*4*each, got)
		}
	})
}

// TestAWriteSeesWhatWasAnsweredElsewhere: a write that begins after another server has
// answered one sees it, also where it waited behind a transaction that is older.
func TestAWriteSeesWhatWasAnsweredElsewhere(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		here := sqltest.OpenWith(t, c)
		counter(t, here)
		there := here
		if here.Engine() == "postgresql" { // two servers; SQLite serves one
			there = sqltest.OpenWith(t, c)
		}
		read := func(after func()) (v int64) {
			err := here.Write(t.Context(), func(tx *sql.Tx) error {
				if err := tx.QueryRow(`SELECT v FROM n WHERE id = 1`).Scan(&v); err != nil {
					return err
				}
				after()
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			return v
		}
		looked, further := make(chan struct{}), make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() { read(func() { close(looked); <-further }) })
		<-looked
		if there != here {
			if err := increment(t.Context(), there); err != nil {
				t.Fatal(err)
			}
		}
		want := value(t, there)
		for range 8 {
			wg.Go(func() {
				if got := read(func() {}); got != want {
					t.Errorf("a write sees %d, and %d was answered before it began", got, want)
				}
			})
		}
		time.Sleep(50 * time.Millisecond) // most wait behind the first by now
		close(further)
		wg.Wait()
	})
}

// TestServersDoNotMeet: servers that write each their own rows of a small table have
// nothing to do with each other, and nothing is run again.
func TestServersDoNotMeet(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		servers := []*sql.DB{sqltest.OpenWith(t, c), sqltest.OpenWith(t, c), sqltest.OpenWith(t, c)}
		write(t, servers[0], `CREATE TABLE own (server BIGINT PRIMARY KEY, v BIGINT NOT NULL)`)
		for n := range servers {
			write(t, servers[0], `INSERT INTO own (server, v) VALUES ($1, 0)`, n)
		}
		write(t, servers[0], `ANALYZE own`) // the engine knows by now how small it is
		const each = 20
		var runs atomic.Int64
		var wg sync.WaitGroup
		for n, db := range servers {
			for range 2 {
				wg.Go(func() {
					for range each {
						err := db.Write(t.Context(), func(tx *sql.Tx) error {
							runs.Add(1)
							var v int64
							if err := tx.QueryRow(`SELECT v FROM own WHERE server = $1`, n).Scan(&v); err != nil {
								return err
							}
							time.Sleep(2 * time.Millisecond) // as long as some statements more
							_, err := tx.Exec(`UPDATE own SET v = $2 WHERE server = $1`, n, v+1)
							return err
						})
						if err != nil {
							t.Error(err)
						}
					}
				})
			}
		}
		wg.Wait()
		writes := int64(len(servers) * 2 * each)
		t.Logf("%d writes in %d runs", writes, runs.Load())
		if again := runs.Load() - writes; again > writes/10 {
			t.Errorf("%d of %d writes were run again", again, writes)
		}
	})
}

// TestScansAreNotCompiled: a write that can't go by an index is not made to wait for
// the engine's compiler.
func TestScansAreNotCompiled(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		db := sqltest.OpenWith(t, c)
		counter(t, db)
		if db.Engine() != "postgresql" {
			return // nothing compiles there
		}
		var compiles string
		err := db.Write(t.Context(), func(tx *sql.Tx) error { return tx.QueryRow(`SHOW jit`).Scan(&compiles) })
		if err != nil || compiles != "off" {
			t.Errorf("jit is %q, %v", compiles, err)
		}
	})
}

// TestOneFailureTakesNobodyAlong has good and failing writers share commits.
func TestOneFailureTakesNobodyAlong(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		db := sqltest.OpenWith(t, c)
		counter(t, db)
		wrong := errors.New("changed my mind")
		var wg sync.WaitGroup
		for i := range 60 {
			wg.Go(func() {
				err := db.Write(t.Context(), func(tx *sql.Tx) error {
					if _, err := tx.Exec(`UPDATE n SET v = v + 1 WHERE id = 1`); err != nil {
						return err
					}
					switch i % 3 {
					case 1:
						return wrong
					case 2: // a broken statement: PostgreSQL gives up the transaction
						_, err := tx.Exec(`INSERT INTO n (id, v) VALUES (1, 1)`)
						return err
					}
					return nil
				})
				switch i % 3 {
				case 0:
					if err != nil {
						t.Error(err)
					}
				case 1:
					if !errors.Is(err, wrong) {
						t.Errorf("want the function's own error, got %v", err)
					}
				case 2:
					if !sql.IsDuplicate(err) {
						t.Errorf("want a duplicate, got %v", err)
					}
				}
			})
		}
		wg.Wait()
		if got := value(t, db); got != 20 {
			t.Errorf("20 good writes became %d", got)
		}
	})
}

func TestPanicReleasesTheStream(t *testing.T) {
	db := sqltest.Open(t)
	counter(t, db)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = db.Write(t.Context(), func(tx *sql.Tx) error {
			if _, err := tx.Exec(`UPDATE n SET v = 99 WHERE id = 1`); err != nil {
				t.Error(err)
			}
			panic("bug")
		})
	}()
	if got := value(t, db); got != 0 {
		t.Errorf("a panicking write left %d", got)
	}
	if err := increment(t.Context(), db); err != nil {
		t.Error(err)
	}
}

func TestAtomicJoinsStores(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		db := sqltest.OpenWith(t, c)
		counter(t, db)
		var committed atomic.Int64
		step := func(ctx context.Context) error {
			return db.Write(ctx, func(tx *sql.Tx) error {
				tx.AfterCommit(func() { committed.Add(1) })
				_, err := tx.Exec(`UPDATE n SET v = v + 1 WHERE id = 1`)
				return err
			})
		}
		wrong := errors.New("no")
		err := db.Atomic(t.Context(), func(ctx context.Context) error {
			if err := step(ctx); err != nil {
				return err
			}
			var v int64
			if err := db.Read(ctx, func(tx *sql.Tx) error { return tx.QueryRow(`SELECT v FROM n`).Scan(&v) }); err != nil {
				return err
			}
			if v != 1 {
				t.Errorf("the joined read saw %d", v)
			}
			// An inner error fails the whole, even if it is swallowed.
			_ = db.Write(ctx, func(*sql.Tx) error { return wrong })
			return nil
		})
		if !errors.Is(err, wrong) || value(t, db) != 0 || committed.Load() != 0 {
			t.Errorf("err %v, value %d, hooks %d: want the inner error and nothing done", err, value(t, db), committed.Load())
		}
		if err := db.Atomic(t.Context(), func(ctx context.Context) error { return errors.Join(step(ctx), step(ctx)) }); err != nil {
			t.Fatal(err)
		}
		if value(t, db) != 2 || committed.Load() != 2 {
			t.Errorf("value %d, hooks %d: want 2 and 2", value(t, db), committed.Load())
		}
	})
}

func TestReadsDoNotWrite(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		db := sqltest.OpenWith(t, c)
		counter(t, db)
		err := db.Read(t.Context(), func(tx *sql.Tx) error {
			if err := db.Write(tx.Context(), func(*sql.Tx) error { return nil }); err == nil {
				t.Error("a write inside a read was taken")
			}
			_, err := tx.Exec(`UPDATE n SET v = 5`)
			return err
		})
		if err == nil || value(t, db) != 0 {
			t.Errorf("a read wrote: %v", err)
		}
		err = db.Read(t.Context(), func(tx *sql.Tx) error {
			return tx.QueryRow(`UPDATE n SET v = 5 RETURNING v`).Scan(new(int64))
		})
		if err == nil || value(t, db) != 0 {
			t.Errorf("a read wrote through RETURNING: %v", err)
		}
	})
}

func TestWatchSeesEveryServersCommits(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		here, there := sqltest.OpenWith(t, c), sqltest.OpenWith(t, c)
		calls := make(chan string, 100)
		for name, db := range map[string]*sql.DB{"here": here, "there": there} {
			if err := db.Watch(t.Context(), "people", func() { calls <- name }); err != nil {
				t.Fatal(err)
			}
		}
		touch := func(topic string, fail error) {
			_ = here.Write(t.Context(), func(tx *sql.Tx) error { tx.Changed(topic); return fail })
		}
		touch("other", nil)
		touch("people", errors.New("rolled back"))
		select {
		case name := <-calls:
			t.Errorf("%s was called for nothing", name)
		case <-time.After(600 * time.Millisecond):
		}
		start := time.Now()
		touch("people", nil)
		seen := map[string]bool{}
		for len(seen) < 2 {
			select {
			case name := <-calls:
				seen[name] = true
			case <-time.After(15 * time.Second):
				t.Fatalf("only %v heard of the change", seen)
			}
		}
		t.Logf("the change was heard of after %v", time.Since(start)) // bench-directory holds it to 1 s
	})
}

func TestMigrateIsForwardOnlyAndChecked(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		db, err := sql.Open(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		would, err := db.Migrate(t.Context(), true)
		if err != nil || len(would) == 0 {
			t.Fatalf("dry run: %v, %v", would, err)
		}
		did, err := db.Migrate(t.Context(), false)
		if err != nil || fmt.Sprint(did) != fmt.Sprint(would) {
			t.Fatalf("the dry run promised %v, done is %v: %v", would, did, err)
		}
		if again, err := db.Pending(t.Context()); err != nil || len(again) != 0 {
			t.Errorf("pending after all was applied: %v, %v", again, err)
		}
		write(t, db, `UPDATE schema_migration SET checksum = 'x' WHERE name = '0001_root'`)
		if _, err := db.Migrate(t.Context(), false); !errors.Is(err, fault.New(fault.Misconfigured, "")) {
			t.Errorf("a changed step was taken: %v", err)
		}
	})
}

func TestServersMigrateTogether(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		var wg sync.WaitGroup
		for range 3 {
			db, err := sql.Open(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() })
			wg.Go(func() {
				if _, err := db.Migrate(t.Context(), false); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	loose := filepath.Join(dir, "loose.db")
	if err := os.WriteFile(loose, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]sql.Config{
		"nothing":         {},
		"no such folder":  {SQLite: filepath.Join(dir, "none", "x.db")},
		"others can read": {SQLite: loose},
		"not a database":  {SQLite: dir},
	} {
		if _, err := sql.Open(t.Context(), c); !errors.Is(err, fault.New(fault.Misconfigured, "")) {
			t.Errorf("%s: %v, want a misconfigured fault", name, err)
		}
	}
}

func TestFileIsPrivateAndSynced(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a b?#%.db") // a path is a path, not a URL
	db := sqltest.OpenWith(t, sql.Config{SQLite: path})
	counter(t, db)
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", e.Name(), info.Mode().Perm())
		}
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the file isn't where it was asked for: %v", err)
	}
	for pragma, want := range map[string]string{"synchronous": "2", "journal_mode": "wal", "foreign_keys": "1"} {
		var got string
		err := db.Write(t.Context(), func(tx *sql.Tx) error { return tx.QueryRow(`PRAGMA ` + pragma).Scan(&got) })
		if err != nil || got != want {
			t.Errorf("%s is %q, want %q (%v)", pragma, got, want, err)
		}
	}
}
