package imds

import (
	"fmt"
	"net"
	"syscall"
)

// OneHop is for net.ListenConfig.Control: answers go no further than this host, as
// those of a real service with hop limit 1, so that nothing that routes (a container's
// network, a VPN) carries them on.
func OneHop(network, address string, raw syscall.RawConn) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	six := net.ParseIP(host).To4() == nil
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = oneHop(fd, six) }); err != nil {
		return err
	}
	if failed != nil {
		return fmt.Errorf("the hop limit of %s %s can't be set: %w", network, address, failed)
	}
	return nil
}
