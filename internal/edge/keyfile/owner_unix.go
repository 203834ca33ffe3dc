//go:build unix

package keyfile

import (
	"io/fs"
	"os"
	"syscall"
)

// foreign reports a file of another user. Root's are fine: it reads everything
// anyway, and systemd's credentials are its own.
func foreign(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return !ok || st.Uid != 0 && int(st.Uid) != os.Geteuid()
}
