package sql

import (
	"context"
	stdsql "database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
)

// openSQLite opens one write connection and some that can only read.
func (d *DB) openSQLite(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fault.Wrap(err, fault.Misconfigured, "the database file can't be opened")
	}
	info, err := f.Stat()
	if err := errors.Join(err, f.Close()); err != nil {
		return fault.Wrap(err, fault.Misconfigured, "the database file can't be opened")
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return fault.New(fault.Misconfigured, fmt.Sprintf("the database file %s can be read by others (mode %v)", path, info.Mode().Perm())).
			WithMend("chmod 600 " + path)
	}
	dsn := func(more string) string {
		u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: "_pragma=busy_timeout(8000)" +
			"&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)" + more}
		return u.String()
	}
	if d.write, err = stdsql.Open("sqlite", dsn("&_txlock=immediate")); err != nil {
		return err
	}
	d.write.SetMaxOpenConns(1)
	if d.read, err = stdsql.Open("sqlite", dsn("&_pragma=query_only(1)")); err != nil {
		return errors.Join(err, d.write.Close())
	}
	d.read.SetMaxOpenConns(max(4, runtime.GOMAXPROCS(0)))
	d.read.SetMaxIdleConns(max(4, runtime.GOMAXPROCS(0)))
	d.ears = d.read
	return nil
}

// openPostgreSQL prepares the pools. Limits that the connection string sets
// itself are kept.
func (d *DB) openPostgreSQL(dsn secret.Text) error {
	c, err := pgx.ParseConfig(dsn.Reveal())
	if err != nil {
		// The parser's error may repeat the password.
		return fault.New(fault.Misconfigured, "the PostgreSQL connection string can't be read")
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = 5 * time.Second
	}
	for name, value := range map[string]string{
		"application_name": "carnet", "statement_timeout": "10000",
		// A server that stands still, or whose line was cut, must not hold the rows
		// that others wait for. Ours never rest between two statements.
		"idle_in_transaction_session_timeout": "4000",
	} {
		if _, set := c.RuntimeParams[name]; !set {
			c.RuntimeParams[name] = value
		}
	}
	d.postgres = true
	// In a serializable transaction a scan of a table meets every writer of it, and the
	// planner scans small tables though they have an index (PostgreSQL, 13.2.3).
	writes := c.Copy()
	if _, set := writes.RuntimeParams["enable_seqscan"]; !set {
		writes.RuntimeParams["enable_seqscan"] = "off"
		// Where a scan is the only way it is taken, at a price at which PostgreSQL before
		// 18 compiles the statement first: for up to half a second.
		if _, set := writes.RuntimeParams["jit"]; !set {
			writes.RuntimeParams["jit"] = "off"
		}
	}
	d.write = stdlib.OpenDB(*writes)
	d.write.SetMaxOpenConns(2)
	d.read = stdlib.OpenDB(*c)
	d.read.SetMaxOpenConns(8)
	d.read.SetMaxIdleConns(8)
	d.ears = stdlib.OpenDB(*c)
	d.ears.SetMaxOpenConns(2) // one looks, one listens
	return nil
}

func (d *DB) writeOptions() *stdsql.TxOptions {
	if d.postgres {
		return &stdsql.TxOptions{Isolation: stdsql.LevelSerializable}
	}
	return nil // SQLite knows nothing weaker
}

func (d *DB) readOptions() *stdsql.TxOptions {
	if d.postgres {
		return &stdsql.TxOptions{Isolation: stdsql.LevelRepeatableRead, ReadOnly: true}
	}
	return nil // the connections are query_only
}

// conflicting reports an error after which nothing was committed and the same
// transaction may well succeed.
func (d *DB) conflicting(err error) bool {
	if errors.Is(err, errLost) {
		return true
	}
	var p *pgconn.PgError
	if errors.As(err, &p) {
		return p.Code == "40001" || p.Code == "40P01"
	}
	var s *sqlite.Error
	return errors.As(err, &s) && s.Code()&0xff == sqlite3.SQLITE_BUSY
}

// away reports an error that says the database can't be reached or is too slow.
func (d *DB) away(err error) bool {
	var n net.Error
	var c *pgconn.ConnectError
	if errors.As(err, &n) || errors.As(err, &c) || errors.Is(err, driver.ErrBadConn) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, stdsql.ErrConnDone) {
		return true
	}
	var p *pgconn.PgError
	if errors.As(err, &p) {
		// Connection lost, out of resources, shutting down, statement or idle timeout.
		for _, class := range []string{"08", "53", "57P", "57014", "25P03"} {
			if strings.HasPrefix(p.Code, class) {
				return true
			}
		}
	}
	// The driver says "conn closed", by a type of its own, where it found out before
	// anything was sent.
	return pgconn.Timeout(err) || pgconn.SafeToRetry(err)
}

// IsDuplicate reports that a statement broke a primary key or unique rule.
func IsDuplicate(err error) bool {
	var p *pgconn.PgError
	if errors.As(err, &p) {
		return p.Code == "23505"
	}
	var s *sqlite.Error
	return errors.As(err, &s) &&
		(s.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY || s.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE)
}
