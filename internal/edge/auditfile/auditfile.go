// Package auditfile keeps audit checkpoints in a file beside the database: on
// another disk, a write-once mount, or watched by a log shipper.
//
// Each checkpoint is one JSON line, synced before it counts. With it, whoever
// can write the database can't cut the trail back unnoticed. It must never
// rewrite what is in the file.
package auditfile

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/service/audit"
)

// File appends checkpoints. Safe for concurrent use.
type File struct {
	mu sync.Mutex
	f  *os.File
}

var _ audit.Outside = (*File)(nil)

// line is a checkpoint as it is written.
type line struct {
	Writer    string `json:"writer"`
	Seq       int64  `json:"seq"`
	Hash      []byte `json:"hash"`
	At        int64  `json:"at"` // ms UTC
	Signer    string `json:"signer"`
	Signature []byte `json:"signature"`
}

// Open opens the file for appending, or makes it, private to its owner.
func Open(path string) (*File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err == nil {
		err = endLine(f)
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Misconfigured, "the file for audit checkpoints can't be opened").
			WithMend("look at the audit section of the configuration")
	}
	return &File{f: f}, nil
}

// endLine ends a line that a power cut left unfinished, so that the next one
// begins on its own.
func endLine(f *os.File) error {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	var last [1]byte
	if _, err := f.ReadAt(last[:], info.Size()-1); err != nil || last[0] == '\n' {
		return err
	}
	_, err = f.Write([]byte{'\n'})
	return err
}

// Put appends a checkpoint and syncs it.
func (f *File) Put(_ context.Context, c audit.Checkpoint) error {
	b, err := json.Marshal(line{c.Writer, c.Seq, c.Hash[:], c.At.UnixMilli(), c.Signer, c.Signature})
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := f.f.Write(append(b, '\n')); err != nil {
		return err
	}
	return f.f.Sync()
}

// Close closes the file.
func (f *File) Close() error { return f.f.Close() }

// Read gives the checkpoints of a file, for audit.Verify, and how many lines are
// damaged: one after each power cut is no wonder.
func Read(path string) (all []audit.Checkpoint, damaged int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, fault.Wrap(err, fault.Misconfigured, "the file with audit checkpoints can't be read")
	}
	all, damaged, err = parse(f)
	return all, damaged, errors.Join(err, f.Close())
}

// longestLine is far beyond what a checkpoint takes.
const longestLine = 4 << 10

// parse reads checkpoints. Whoever may append there may append anything: a line that is
// no checkpoint, however long, is a damaged one.
func parse(r io.Reader) (all []audit.Checkpoint, damaged int, err error) {
	lines, long := bufio.NewReaderSize(r, longestLine), false
	for {
		text, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			long = true
			continue
		case err != nil && !errors.Is(err, io.EOF):
			return all, damaged, err
		}
		if c, ok := checkpointIn(text); ok && !long {
			all = append(all, c)
		} else if long || len(text) > 0 {
			damaged++
		}
		if long = false; err != nil {
			return all, damaged, nil
		}
	}
}

func checkpointIn(text []byte) (audit.Checkpoint, bool) {
	var l line
	if err := json.Unmarshal(text, &l); err != nil || len(l.Hash) != 32 {
		return audit.Checkpoint{}, false
	}
	return audit.Checkpoint{Head: audit.Head{Writer: l.Writer, Seq: l.Seq, Hash: [32]byte(l.Hash)},
		At: time.UnixMilli(l.At).UTC(), Signer: l.Signer, Signature: l.Signature}, true
}
