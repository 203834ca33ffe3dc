//go:build unix

package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// othersIn says why others can put something in the place of what lies at a path; empty:
// they can't.
func othersIn(path string) string {
	folder := filepath.Dir(path)
	info, err := os.Stat(folder)
	if err != nil {
		return err.Error()
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok:
		return "it can't be seen whose " + folder + " is"
	case st.Uid != 0 && int(st.Uid) != os.Geteuid():
		return fmt.Sprintf("%s belongs to another account (uid %d)", folder, st.Uid)
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Sprintf("others can write in %s (mode %04o)", folder, info.Mode().Perm())
	}
	return ""
}
