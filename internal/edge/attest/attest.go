// Package attest says which process is at the other end of a local connection.
//
// It believes the kernel and nothing that a caller sends. Over a unix socket
// that is a process: its uid, its control group and a handle that stays with it.
// Over loopback TCP it is a socket: the uid, control group and network namespace
// of whoever created it, which another process may hold by now; so no process id
// is ever worked out there. What the kernel does not say is refused: the error
// names it. Only Linux tells enough; elsewhere everything is refused.
//
// It must never answer for a socket other than the one asked about, for a
// connection that its client has closed (it reads as uid 0), or for a caller that
// has no name in our own user namespace.
package attest

import (
	"fmt"

	"carnet.dev/carnet/internal/core/fault"
)

// Caller is what the kernel says of the other end.
type Caller struct {
	// UID is the user id, as our own user namespace calls it.
	UID uint32
	// Cgroup is the id of the control group (version 2): of the process, or of
	// the socket when it was made. That of the root group is 1.
	Cgroup uint64
	// Group is that group's path, such as /user.slice/user-1000.slice; empty over TCP.
	Group string
	// Process is nil over TCP, where only the socket is known.
	Process *Process
}

// Mount is where control groups of version 2 are mounted on this machine; empty: they
// are not, and callers over unix sockets are known in the root group alone.
type Mount string

// The uids that nobody may act under: root reaches everything anyway, and the
// overflow uid stands for everybody whom our user namespace has no name for.
const (
	Root     uint32 = 0
	Overflow uint32 = 65534
)

// Code is the fault code of each refusal.
const (
	// CodeUnsupported: this system does not tell who is calling.
	CodeUnsupported = "attest.unsupported"
	// CodeGone: the other end is not there any more, or not the same.
	CodeGone = "attest.gone"
	// CodeNobody: the other end has a uid that nobody may act under.
	CodeNobody = "attest.nobody"
)

// Allowed refuses the uids that nobody may act under.
func (c Caller) Allowed() error {
	switch c.UID {
	case Root:
		return fault.Coded(fault.Denied, CodeNobody, "Processes of root get no keys here").
			WithMend("run it under the account of the person whom it works for")
	case Overflow, ^uint32(0):
		return fault.Coded(fault.Denied, CodeNobody, "The caller's account has no name outside of its user namespace").
			WithMend("map the container's accounts into the node's, or use a unix socket in the container")
	}
	return nil
}

func gone(format string, args ...any) error {
	return fault.Coded(fault.Denied, CodeGone, "It can't be proven who is calling: "+fmt.Sprintf(format, args...)).WithMend("connect again")
}

func unsupported(what string) error {
	return fault.Coded(fault.Unsupported, CodeUnsupported, "This system does not say who is calling: "+what)
}
