package storeproc

import (
	"os/exec"
	"syscall"
)

// endWithParent has the kernel end the child with the thread that starts it, in
// a process group of its own, so that a Ctrl-C meant for us doesn't end the
// store under requests that are being drained.
func endWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
