package localclient

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
)

// ownable: files have owners here.
const ownable = true

// trusted refuses a socket at which another account listens than root, the owner of
// its folder, or the caller's own.
func trusted(c net.Conn, socket string, folder fs.FileInfo) error {
	st, ok := folder.Sys().(*syscall.Stat_t)
	u, isUnix := c.(*net.UnixConn)
	if !ok || !isUnix {
		return untrusted(socket, "it can't be seen whose it is")
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return err
	}
	var cred *syscall.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) {
		cred, failed = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err != nil {
		return err
	}
	switch {
	case failed != nil:
		return failed
	case cred.Uid == 0, cred.Uid == st.Uid, int(cred.Uid) == os.Geteuid():
		return nil
	}
	return untrusted(socket, fmt.Sprintf("uid %d listens in a folder of uid %d", cred.Uid, st.Uid))
}
