//go:build unix && !linux

package storeproc

import (
	"os/exec"
	"syscall"
)

// endWithParent keeps a Ctrl-C meant for us from the store; the end of its
// standard input ends it.
func endWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}
