//go:build unix

package jsonlines

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// noFollow refuses a link in the place of the file, and does not wait for whoever
// reads a pipe.
const noFollow = syscall.O_NOFOLLOW | syscall.O_NONBLOCK

// permissions says that modes mean something here.
const permissions = true

func isLink(err error) bool { return errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.EMLINK) }

// foreign says why a file is not ours alone; empty: it is.
func foreign(info fs.FileInfo) string {
	s, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok:
		return ""
	case int(s.Uid) != os.Geteuid():
		return "belongs to another user"
	case s.Nlink > 1:
		return "has another name, too"
	}
	return ""
}

// syncFolder has the name of a new file on the disk.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
