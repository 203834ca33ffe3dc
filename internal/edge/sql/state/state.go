// Package state takes the whole database out and puts it back: sealed
// (backup, restore) or readable (export, import), from either engine into
// either.
//
// What is taken is one consistent snapshot with its schema; it is put into an
// empty database only, in one transaction, and brought to this release's schema
// there. The key-encryption key is in neither form; secrets are in both only as
// the database has them, sealed. It must never write into a database that holds
// anything, nor leave a half-restored one.
package state

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"os"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/keyring"
)

const (
	sealedFormat   = "carnet-backup-v1"
	readableFormat = "carnet-export-v1"
	maxHeader      = 1 << 20
)

// header is the first line of both forms.
type header struct {
	Format  string            `json:"format"`
	Created time.Time         `json:"created"`
	KEK     string            `json:"kek,omitempty"`  // id, sealed form only
	Salt    []byte            `json:"salt,omitempty"` // sealed form only
	Schema  map[string]string `json:"schema"`         // steps and checksums
}

// Backup writes a sealed backup.
func Backup(ctx context.Context, db *sql.DB, keks keyring.KEKs, now time.Time, w io.Writer) error {
	h := header{Format: sealedFormat, Created: now.UTC(), KEK: keks[0].ID(), Salt: make([]byte, 32)}
	rand.Read(h.Salt)
	key, err := keks.BackupKey(h.KEK, h.Salt)
	if err != nil {
		return err
	}
	aead, err := newAEAD(key)
	if err != nil {
		return err
	}
	return db.Snapshot(ctx, func(t *sql.Tx) error {
		line, err := h.line(t)
		if err != nil {
			return err
		}
		if _, err := w.Write(line); err != nil {
			return err
		}
		bound := sha256.Sum256(line)
		s := &sealer{w: w, aead: aead, header: bound[:]}
		z := gzip.NewWriter(s)
		if err := dump(t, z); err != nil {
			return err
		}
		return errors.Join(z.Close(), s.Close())
	})
}

// Export writes the readable form: a header line and one JSON line per row.
func Export(ctx context.Context, db *sql.DB, now time.Time, w io.Writer) error {
	h := header{Format: readableFormat, Created: now.UTC()}
	return db.Snapshot(ctx, func(t *sql.Tx) error {
		line, err := h.line(t)
		if err != nil {
			return err
		}
		if _, err := w.Write(line); err != nil {
			return err
		}
		return dump(t, w)
	})
}

func (h header) line(t *sql.Tx) ([]byte, error) {
	var err error
	if h.Schema, err = t.Schema(); err != nil {
		return nil, err
	}
	line, err := json.Marshal(h)
	return append(line, '\n'), err
}

// Verify reads a sealed backup to its end and proves that every byte of it is
// whole and opens under keks; it touches no database. Faults as for Restore.
func Verify(keks keyring.KEKs, r io.Reader) (created time.Time, err error) {
	h, rows, err := unseal(keks, r)
	if err != nil {
		return time.Time{}, err
	}
	if _, err := io.Copy(io.Discard, rows); err != nil {
		return time.Time{}, damaged(err)
	}
	return h.Created, nil
}

// Restore puts a sealed backup into an empty database. finish runs inside the
// transaction, on the newest schema: what the backup can't know, such as that
// everything issued after it has to be revoked. Faults: Misconfigured
// ("keyring.kek") for the wrong key-encryption key, Invalid ("state.backup")
// for a damaged file, Conflict for a database that isn't empty; each leaves the
// database as it was.
func Restore(ctx context.Context, db *sql.DB, keks keyring.KEKs, r io.Reader, finish func(context.Context) error) error {
	h, rows, err := unseal(keks, r)
	if err != nil {
		return err
	}
	return rebuild(ctx, db, h, rows, finish)
}

// unseal gives the rows of a sealed backup.
func unseal(keks keyring.KEKs, r io.Reader) (header, io.Reader, error) {
	in, h, line, err := open(r, sealedFormat)
	if err != nil {
		return h, nil, err
	}
	key, err := keks.BackupKey(h.KEK, h.Salt)
	if err != nil {
		return h, nil, err
	}
	aead, err := newAEAD(key)
	if err != nil {
		return h, nil, err
	}
	bound := sha256.Sum256(line)
	z, err := gzip.NewReader(&opener{r: in, aead: aead, header: bound[:]})
	if err != nil {
		return h, nil, damaged(err)
	}
	return h, z, nil
}

// Import puts an export into an empty database; see Restore.
func Import(ctx context.Context, db *sql.DB, r io.Reader, finish func(context.Context) error) error {
	in, h, _, err := open(r, readableFormat)
	if err != nil {
		return err
	}
	return rebuild(ctx, db, h, in, finish)
}

func rebuild(ctx context.Context, db *sql.DB, h header, rows io.Reader, finish func(context.Context) error) error {
	return db.Rebuild(ctx, h.Schema,
		func(t *sql.Tx) error { return load(t, rows) },
		func(t *sql.Tx) error { return finish(t.Context()) })
}

func open(r io.Reader, format string) (*bufio.Reader, header, []byte, error) {
	in := bufio.NewReaderSize(r, 1<<16)
	var line []byte
	for len(line) == 0 || line[len(line)-1] != '\n' {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) || len(line) > maxHeader {
			return nil, header{}, nil, notOurs(format)
		}
	}
	var h header
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if d.Decode(&h) != nil || h.Format != format || len(h.Schema) == 0 {
		return nil, header{}, nil, notOurs(format)
	}
	return in, h, line, nil
}

func notOurs(format string) error {
	return fault.Coded(fault.Invalid, "state.format", "the file is not of the form "+format).
		WithMend("`carnet state restore` reads backups, `carnet state import` reads exports")
}

// damaged keeps a fault and makes one of everything that parsing says.
func damaged(err error) error {
	var f *fault.Fault
	if errors.As(err, &f) {
		return err
	}
	return errStream.WithCause(err)
}

// WriteFile makes a new private file with what write gives, whole and synced
// or not at all. It never writes over a file.
func WriteFile(path string, write func(io.Writer) error) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fault.Wrap(err, fault.Misconfigured, path+" can't be made").WithMend("name a new file in an existing folder")
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	buffered := bufio.NewWriterSize(f, 1<<18)
	return errors.Join(write(buffered), buffered.Flush(), f.Sync(), f.Close())
}
