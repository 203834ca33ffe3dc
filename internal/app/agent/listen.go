package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"

	"carnet.dev/carnet/internal/core/fault"
)

// special are the addresses that AWS gave container credentials (Amazon ECS, EKS Pod
// Identity) and instance metadata: they may be served there too, where this machine has
// them on an interface of its own.
func special(a netip.Addr) bool {
	switch a.String() {
	case "169.254.170.2", "169.254.170.23", "fd00:ec2::23", "169.254.169.254", "fd00:ec2::254":
		return true
	}
	return false
}

// control sets options of a socket before it listens; nil: none.
type control = func(network, address string, raw syscall.RawConn) error

// listen opens one loopback face. Faults: Misconfigured for an address or a port that
// must not be, Unavailable where the system does not let us.
func (c Config) listen(address string, options control) (net.Listener, error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil || !at.Addr().IsLoopback() && !special(at.Addr()) || at.Addr().Is4In6() || at.Addr().Zone() != "" {
		return nil, misconfigured("listen", fmt.Sprintf("%q: want an address of loopback with its port, such as 127.0.0.1:1018", address))
	}
	if l := c.handed.take("tcp", at.String()); l != nil {
		if err := set(l, options); err != nil {
			return nil, fault.Wrap(err, fault.Unavailable, "the socket at "+address+" can't be set up").WithCode("agent.listen")
		}
		return l, nil
	}
	if !c.InsecurePorts && at.Port() >= firstFree() {
		return nil, misconfigured("listen", fmt.Sprintf("any account of this machine may listen at port %d, and could stand in for the agent: want one below %d", at.Port(), firstFree()))
	}
	network := "tcp4"
	if at.Addr().Is6() {
		network = "tcp6" // bound to IPv6 alone
	}
	lc := net.ListenConfig{Control: options}
	lc.SetMultipathTCP(false) // whose kernel tables are others
	l, err := lc.Listen(context.Background(), network, address)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "it can't listen at "+address).WithCode("agent.listen").
			WithMend("look for what listens there, and for the capability CAP_NET_BIND_SERVICE of the agent")
	}
	return l, nil
}

// firstFree is the first port that every account may listen at.
func firstFree() uint16 {
	const usual = 1024
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	if err != nil {
		return usual
	}
	v, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 16)
	if err != nil {
		return usual
	}
	return min(uint16(v), usual)
}

// listenUnix opens the socket, which every account may connect to: the kernel says who
// does. A socket that nobody listens at any more is replaced. Where others could put one
// of theirs in its place there is none.
func (c Config) listenUnix(path string) (net.Listener, error) {
	if l := c.handed.take("unix", path); l != nil {
		return l, nil
	}
	if why := othersIn(path); why != "" {
		return nil, fault.Coded(fault.Misconfigured, "agent.listen", "it can't listen at "+path+": "+why).WithMend("give its folder to the agent's account, with mode 0755")
	}
	if c, err := net.Dial("unix", path); err == nil {
		_ = c.Close()
		return nil, fault.Coded(fault.Conflict, "agent.runs", "an agent listens at "+path+" already").WithMend("stop it first, or name another socket with --socket")
	}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode().Type() != os.ModeSocket {
			return nil, misconfigured("socket", path+" is something else than a socket")
		}
		if err := os.Remove(path); err != nil {
			return nil, unbound(path, err)
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, unbound(path, err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		return nil, unbound(path, errors.Join(err, l.Close()))
	}
	return l, nil
}

func unbound(path string, err error) error {
	return fault.Wrap(err, fault.Misconfigured, "it can't listen at "+path).WithCode("agent.listen").WithMend("give its folder to the agent's account, with mode 0755")
}
