//go:build unix

package storeproc

import "golang.org/x/sys/unix"

// private lets nothing that this process makes be read by others.
func private() { unix.Umask(0o077) }
