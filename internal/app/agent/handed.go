package agent

import (
	"net"
	"os"
	"strings"
	"syscall"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/systemd"
)

// handed are sockets that the service manager holds for the agent. They are bound also
// while the agent restarts, so the rule about ports does not concern them.
type handed struct {
	left []systemd.Socket
}

// takeHanded takes what the service manager handed over, and keeps the words about it
// from programs that the agent starts.
func takeHanded() (*handed, error) {
	sockets, err := systemd.Sockets(os.Getenv, os.Getpid())
	for _, name := range []string{systemd.EnvPID, systemd.EnvFDs, systemd.EnvNames} {
		_ = os.Unsetenv(name)
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Misconfigured, "The sockets that the service manager handed over can't be used").WithCode("agent.sockets").
			WithMend("compare its socket unit with: carnet agent systemd --unit socket")
	}
	return &handed{left: sockets}, nil
}

// take gives the socket at an address, once; nil: there is none.
func (h *handed) take(network, address string) net.Listener {
	if h == nil {
		return nil
	}
	for i, s := range h.left {
		if s.Addr().Network() == network && s.Addr().String() == address {
			h.left = append(h.left[:i:i], h.left[i+1:]...)
			return s.Listener
		}
	}
	return nil
}

// all demands that none is left over: whoever connects there would wait for ever.
func (h *handed) all() error {
	if h == nil || len(h.left) == 0 {
		return nil
	}
	var at []string
	for _, s := range h.left {
		at = append(at, s.Addr().String())
	}
	return fault.Coded(fault.Misconfigured, "agent.sockets", "The service manager holds sockets at which no face of the agent answers: "+strings.Join(at, ", ")).
		WithMend("name the same addresses in the socket unit and in agent.yaml")
}

// set applies options to a socket that listens already.
func set(l net.Listener, c control) error {
	if c == nil {
		return nil
	}
	s, ok := l.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	return c(l.Addr().Network(), l.Addr().String(), raw)
}
