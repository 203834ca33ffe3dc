package attest

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// TCP says who made the socket at the other end of a loopback connection, by
// the kernel's own table of sockets (sock_diag(7)), asked for the exact four
// addresses from the client's side. The client must be in our network namespace:
// the table holds no other. Errors are faults.
//
// What it says is true of the socket's creator at any time, so it is read once
// per connection. It is not asked about connections that came from elsewhere:
// both addresses must be loopback.
func TCP(c *net.TCPConn) (Caller, error) {
	ours, ok := c.LocalAddr().(*net.TCPAddr)
	theirs, ok2 := c.RemoteAddr().(*net.TCPAddr)
	if !ok || !ok2 {
		return Caller{}, gone("the connection has no addresses")
	}
	to, from := ours.AddrPort(), theirs.AddrPort()
	to, from = netip.AddrPortFrom(to.Addr().Unmap(), to.Port()), netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	if !local(to.Addr()) || !local(from.Addr()) || to.Addr().Is4() != from.Addr().Is4() {
		return Caller{}, gone("it does not come over loopback")
	}
	who, err := lookUp(from, to)
	if err != nil {
		return Caller{}, err
	}
	// Asked last: the client may have cut the connection and left its address to somebody
	// else, whom the table then has. As long as our end is open nobody else had it.
	if err := stillOpen(c); err != nil {
		return Caller{}, err
	}
	return who, nil
}

// stillOpen refuses a connection whose client has cut or closed it: our end never comes
// back to be open.
func stillOpen(c *net.TCPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return gone("%v", err)
	}
	var info *unix.TCPInfo
	var failed error
	if err := raw.Control(func(fd uintptr) {
		info, failed = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	}); err != nil {
		return gone("%v", err)
	}
	if failed != nil {
		return gone("%v", failed)
	}
	if info.State != established {
		return gone("the connection is not open any more")
	}
	return nil
}

// local also admits the addresses that AWS gave container credentials and instance
// metadata: where an agent serves them they are on an interface of this machine, which
// the table of this namespace proves by having the client's end too.
func local(a netip.Addr) bool {
	return a.IsLoopback() || a.IsLinkLocalUnicast() ||
		a == netip.AddrFrom16([16]byte{0: 0xfd, 2: 0x0e, 3: 0xc2, 15: 0x23}) || // fd00:ec2::23, EKS Pod Identity
		a == netip.AddrFrom16([16]byte{0: 0xfd, 2: 0x0e, 3: 0xc2, 14: 0x02, 15: 0x54}) // fd00:ec2::254, instance metadata
}

const (
	sockDiagByFamily = 20 // SOCK_DIAG_BY_FAMILY
	established      = 1  // TCP_ESTABLISHED
	attrCgroup       = 21 // INET_DIAG_CGROUP_ID
	requestSize      = 56 // struct inet_diag_req_v2
	messageSize      = 72 // struct inet_diag_msg
	noCookie         = 0xffffffff
)

// lookUp asks the kernel for one socket: that of the client, whose own address
// is from and which is connected to to.
func lookUp(from, to netip.AddrPort) (Caller, error) {
	answer, err := ask(from, to)
	if err != nil {
		return Caller{}, err
	}
	return read(answer, from, to)
}

// ask gives the kernel's answer as it is.
func ask(from, to netip.AddrPort) ([]byte, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, unsupported("its table of sockets can't be asked (" + err.Error() + ")")
	}
	defer unix.Close(fd)
	limit := unix.Timeval{Sec: 2}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		return nil, gone("%v", err)
	}
	if err := unix.Sendto(fd, request(from, to), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, gone("%v", err)
	}
	answer := make([]byte, 8<<10)
	n, sender, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return nil, gone("%v", err)
	}
	if k, ok := sender.(*unix.SockaddrNetlink); !ok || k.Pid != 0 {
		return nil, gone("the answer is not the kernel's")
	}
	return answer[:n], nil
}

// request is one struct nlmsghdr with a struct inet_diag_req_v2.
func request(from, to netip.AddrPort) []byte {
	b := make([]byte, unix.SizeofNlMsghdr+requestSize)
	native := binary.NativeEndian
	native.PutUint32(b[0:], uint32(len(b)))
	native.PutUint16(b[4:], sockDiagByFamily)
	native.PutUint16(b[6:], unix.NLM_F_REQUEST)
	r := b[unix.SizeofNlMsghdr:]
	r[0], r[1] = family(from.Addr()), unix.IPPROTO_TCP
	native.PutUint32(r[4:], 1<<established)
	id := r[8:]
	binary.BigEndian.PutUint16(id[0:], from.Port())
	binary.BigEndian.PutUint16(id[2:], to.Port())
	copy(id[4:20], from.Addr().AsSlice())
	copy(id[20:36], to.Addr().AsSlice())
	native.PutUint32(id[40:], noCookie)
	native.PutUint32(id[44:], noCookie)
	return b
}

func family(a netip.Addr) byte {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// read holds the kernel's answer to what was asked: it falls back to a listening
// socket where no connection matches, and a socket that its process has closed
// has no inode and reads as root's.
func read(b []byte, from, to netip.AddrPort) (Caller, error) {
	native := binary.NativeEndian
	if len(b) < unix.SizeofNlMsghdr || int(native.Uint32(b)) > len(b) || int(native.Uint32(b)) < unix.SizeofNlMsghdr {
		return Caller{}, gone("the answer is cut short")
	}
	kind := native.Uint16(b[4:])
	b = b[unix.SizeofNlMsghdr:native.Uint32(b)]
	if kind == unix.NLMSG_ERROR {
		if len(b) >= 4 && errors.Is(unix.Errno(-int32(native.Uint32(b))), unix.ENOENT) {
			return Caller{}, gone("the connection's other end is not on this machine, or not in this network namespace")
		}
		return Caller{}, unsupported("it does not answer for sockets")
	}
	if kind != sockDiagByFamily || len(b) < messageSize {
		return Caller{}, gone("the answer is of another kind")
	}
	id := b[4:]
	src, ok := address(b[0], id[4:20])
	dst, ok2 := address(b[0], id[20:36])
	switch {
	case !ok || !ok2,
		netip.AddrPortFrom(src, binary.BigEndian.Uint16(id[0:])) != from,
		netip.AddrPortFrom(dst, binary.BigEndian.Uint16(id[2:])) != to:
		return Caller{}, gone("the answer is for another socket")
	case b[1] != established:
		return Caller{}, gone("the connection is not open any more")
	case native.Uint32(b[68:]) == 0:
		return Caller{}, gone("the client has closed its socket")
	}
	who := Caller{UID: native.Uint32(b[64:])}
	found := false
	for rest := b[messageSize:]; len(rest) >= 4; {
		size := int(native.Uint16(rest))
		if size < 4 || size > len(rest) {
			return Caller{}, gone("the answer is malformed")
		}
		if native.Uint16(rest[2:])&^uint16(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER) == attrCgroup && size == 12 {
			who.Cgroup, found = native.Uint64(rest[4:]), true
		}
		rest = rest[min((size+3)&^3, len(rest)):]
	}
	if !found {
		return Caller{}, unsupported("sockets carry no control group of version 2; use the unix socket")
	}
	return who, nil
}

// address reads one end; IPv4 inside IPv6, as a client on a dual-stack socket
// has it, is IPv4.
func address(family byte, b []byte) (netip.Addr, bool) {
	switch family {
	case unix.AF_INET:
		return netip.AddrFrom4([4]byte(b[:4])), true
	case unix.AF_INET6:
		return netip.AddrFrom16([16]byte(b[:16])).Unmap(), true
	}
	return netip.Addr{}, false
}
