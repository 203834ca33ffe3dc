//go:build unix

package systemd

import (
	"errors"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// take makes a listener of a descriptor, if it is a stream socket that listens.
func take(fd int) (net.Listener, error) {
	unix.CloseOnExec(fd)
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return nil, errors.New("it is no socket")
	}
	if kind != unix.SOCK_STREAM {
		return nil, errors.New("it is no stream socket")
	}
	if accepts, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || accepts != 1 {
		return nil, errors.New("it does not listen (a connection was handed over: Accept has to be no)")
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return nil, err
	}
	switch name.(type) {
	case *unix.SockaddrInet4, *unix.SockaddrUnix:
	case *unix.SockaddrInet6:
		if only, err := unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY); err != nil || only != 1 {
			return nil, errors.New("it listens for IPv4, too (BindIPv6Only has to be ipv6-only)")
		}
	default:
		return nil, errors.New("it is of another family than IPv4, IPv6 and unix")
	}
	f := os.NewFile(uintptr(fd), "")
	l, err := net.FileListener(f) // a copy of it
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // its name is the manager's
	}
	return l, errors.Join(err, f.Close())
}
