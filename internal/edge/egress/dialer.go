package egress

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"carnet.dev/carnet/internal/core/fault"
)

// Dialer connects to places outside this host: to public addresses and to
// private ones, as those of a VPC endpoint are, but neither to this host nor to
// its link, where clouds hand out a machine's credentials, unless they are
// listed. Each address is checked right before it is connected to. Its fault is
// Denied, "egress.address".
func (a Allow) Dialer(timeout time.Duration) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		named := a.names[strings.ToLower(strings.TrimSuffix(host, "."))]
		d := net.Dialer{Timeout: timeout, KeepAlive: 30 * time.Second, ControlContext: func(_ context.Context, _, resolved string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(resolved)
			if err != nil || named || a.contains(to.Addr()) || outside(to.Addr()) {
				return err
			}
			return fault.Coded(fault.Denied, "egress.address", fmt.Sprintf("%s is at %s, which is this host or its link", host, to.Addr())).
				WithMend("if it is meant, list that address, its network or the name in egress.allow")
		}}
		return d.DialContext(ctx, network, address)
	}
}

// outside reports whether an address is public, or private but not the one at
// which AWS machines find their credentials by IPv6 (EC2 User Guide, "Instance
// metadata").
func outside(to netip.Addr) bool {
	to = to.Unmap().WithZone("")
	return Public(to) || to.IsPrivate() && to != netip.MustParseAddr("fd00:ec2::254")
}
