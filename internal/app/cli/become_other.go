//go:build !unix

package cli

import (
	"errors"
	"fmt"
	"os/exec"
)

// become runs the command and passes its exit code on.
func (r *run) become(path string, args, env []string) error {
	cmd := exec.Command(path, args[1:]...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = env, r.Stdin, r.Stdout, r.Stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return &exitError{exit.ExitCode()}
	}
	if err != nil {
		fmt.Fprintf(r.Stderr, "carnet: can't run %s: %v\n", path, err)
		return &exitError{exitOfCommand(err)}
	}
	return nil
}
