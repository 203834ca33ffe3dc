//go:build unix

package nodeclient

import (
	"io/fs"
	"os"
	"syscall"
)

// foreign reports what belongs to another account than ours.
func foreign(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return !ok || int(st.Uid) != os.Geteuid()
}
