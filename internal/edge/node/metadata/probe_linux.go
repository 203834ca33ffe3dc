package metadata

import (
	"errors"
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// connects tries a TCP connection as uid. The kernel's rules know a socket by the file
// system uid of the thread that made it (setfsuid(2)), so a thread takes that on and is
// given up afterwards. Without the right to do so the socket is the agent's own.
func connects(uid uint32, to netip.AddrPort, wait time.Duration) bool {
	runtime.LockOSThread()
	own, _ := unix.SetfsuidRetUid(-1)
	_, _ = unix.SetfsuidRetUid(int(uid))
	now, _ := unix.SetfsuidRetUid(-1)
	if now == own {
		defer runtime.UnlockOSThread()
	} // else the thread ends with its goroutine
	return dial(to, wait) == nil
}

func dial(to netip.AddrPort, wait time.Duration) error {
	family, address := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Port: int(to.Port())})
	if to.Addr().Is4() {
		address.(*unix.SockaddrInet4).Addr = to.Addr().As4()
	} else {
		family, address = unix.AF_INET6, &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, address); err == nil || !errors.Is(err, unix.EINPROGRESS) {
		return err
	}
	end := time.Now().Add(wait)
	for {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		n, err := unix.Poll(poll, int(max(time.Until(end), 0).Milliseconds()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return unix.ETIMEDOUT
		}
		if code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || code != 0 {
			return errors.Join(err, unix.Errno(code))
		}
		return nil
	}
}
