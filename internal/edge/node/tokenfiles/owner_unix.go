//go:build unix

package tokenfiles

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// ours demands a folder that this account owns and nobody else writes to.
func ours(info fs.FileInfo) error {
	if !info.IsDir() {
		return errors.New("it is no folder")
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || int(st.Uid) != os.Geteuid() {
		return errors.New("it belongs to another account")
	}
	if m := info.Mode().Perm(); m&0o022 != 0 {
		return fmt.Errorf("others can write to it (mode %04o)", m)
	}
	return nil
}
