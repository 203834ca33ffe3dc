package syslog

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// unsent gives how many bytes the other end's kernel has not acknowledged (tcp(7),
// SIOCOUTQ).
func unsent(c net.Conn) (n int, err error) {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return 0, nil
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return 0, err
	}
	var asked error
	err = raw.Control(func(fd uintptr) { n, asked = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
	return n, errors.Join(err, asked)
}
