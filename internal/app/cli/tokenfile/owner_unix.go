//go:build unix

package tokenfile

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// checkFolder refuses a folder in which somebody else could exchange the file.
func checkFolder(path string, info fs.FileInfo) error {
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || int(st.Uid) != os.Geteuid() && st.Uid != 0 {
		return fmt.Errorf("folder %s belongs to another user", path)
	}
	if m := info.Mode().Perm(); m&0o022 != 0 {
		return fmt.Errorf("others can write to folder %s (mode %04o): name a file in a folder of its own, such as %s/carnet/token", path, m, path)
	}
	return nil
}

// checkFile refuses to replace what another user put there.
func checkFile(path string, info fs.FileInfo) error {
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to another user", path)
	}
	return nil
}
