//go:build unix

package cli

import (
	"fmt"
	"syscall"
)

// become replaces this process by the command, so that signals, terminal and
// exit code are the command's own.
func (r *run) become(path string, args, env []string) error {
	err := syscall.Exec(path, args, env)
	fmt.Fprintf(r.Stderr, "carnet: can't run %s: %v\n", path, err)
	return &exitError{exitOfCommand(err)}
}
