// Package jsonlines appends the audit trail to a file, an event a line.
//
// The file may be renamed or removed at any time: the next lines go to a new one
// of its name. Lines are on the disk before they count. The file is private to its
// owner when it is made here; one that others can write, that is a link or has
// another name, or that is no file, is refused, since whoever made it could read or
// change the lines elsewhere. It must never change a line that stands.
package jsonlines

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/service/audit"
)

// File is a target that appends lines. For one goroutine.
type File struct {
	name, path string
	out        *os.File // nil: not open
}

var _ audit.Target = (*File)(nil)

// New makes a target of a file, which is opened with the first lines.
func New(name, path string) *File { return &File{name: name, path: path} }

// Name is the target's name.
func (f *File) Name() string { return f.name }

// Put appends lines and syncs them. Fault: Unavailable.
func (f *File) Put(_ context.Context, documents []audit.Document) error {
	lines, err := audit.Lines(documents)
	if err != nil {
		return err
	}
	if err := f.ready(); err != nil {
		return f.fail(err)
	}
	if _, err = f.out.Write(lines); err == nil {
		err = f.out.Sync()
	}
	if err != nil {
		// The line that broke off is ended when the file is opened again.
		return f.fail(errors.Join(err, f.Close()))
	}
	return nil
}

func (f *File) fail(err error) error {
	public := "the file " + f.path + " takes no lines"
	var refused *refusal
	if errors.As(err, &refused) {
		return fault.Wrap(err, fault.Unavailable, "the file "+f.path+" "+refused.why).WithMend("move it away, or choose another one for this audit target")
	}
	var cause *fs.PathError
	if errors.As(err, &cause) {
		public += ": " + cause.Err.Error()
	}
	return fault.Wrap(err, fault.Unavailable, public).WithMend("its folder must exist, have room and be writable")
}

// Close closes the file, if it is open.
func (f *File) Close() error {
	if f.out == nil {
		return nil
	}
	err := f.out.Close()
	f.out = nil
	return err
}

// ready has the file open that the name leads to now.
func (f *File) ready() error {
	if f.out != nil {
		named, err := os.Lstat(f.path)
		open, openErr := f.out.Stat()
		if err == nil && openErr == nil && os.SameFile(named, open) {
			return nil
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return f.open()
}

// refusal says why a file is not written to.
type refusal struct{ why string }

func (r *refusal) Error() string { return "the file " + r.why }

func (f *File) open() error {
	_, missing := os.Lstat(f.path)
	out, err := os.OpenFile(f.path, os.O_RDWR|os.O_APPEND|os.O_CREATE|noFollow, 0o600)
	if err != nil {
		if isLink(err) {
			return &refusal{"is a link"}
		}
		return err
	}
	info, err := out.Stat()
	if err == nil {
		err = accept(info)
	}
	if err == nil {
		err = endLine(out, info.Size())
	}
	if err == nil && errors.Is(missing, fs.ErrNotExist) {
		err = syncFolder(filepath.Dir(f.path))
	}
	if err != nil {
		return errors.Join(err, out.Close())
	}
	f.out = out
	return nil
}

func accept(info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return &refusal{"is no regular file"}
	}
	if info.Mode().Perm()&0o022 != 0 && permissions {
		return &refusal{fmt.Sprintf("can be written by others (mode %04o)", info.Mode().Perm())}
	}
	if why := foreign(info); why != "" {
		return &refusal{why}
	}
	return nil
}

// endLine ends a line that broke off, so that the next one stands on its own.
func endLine(f *os.File, size int64) error {
	if size == 0 {
		return nil
	}
	var last [1]byte
	if _, err := f.ReadAt(last[:], size-1); err != nil || last[0] == '\n' {
		return err
	}
	_, err := f.Write([]byte{'\n'})
	return err
}
