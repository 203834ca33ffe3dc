package egress_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
)

// TestAttackMachineCredentials: neither this host nor the link-local address of
// a cloud's metadata service is reached as a store, whatever a name says.
func TestAttackMachineCredentials(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := strings.Cut(l.Addr().String(), ":")
	closed := allow(t).Dialer(time.Second)
	for _, to := range []string{"127.0.0.1:" + port, "localhost:" + port, "[::ffff:127.0.0.1]:" + port, "0.0.0.0:" + port, "[::]:" + port,
		"169.254.169.254:80", "[fe80::1]:80", "[fd00:ec2::254]:80", "224.0.0.1:80", "255.255.255.255:80"} {
		conn, err := closed(t.Context(), "tcp", to)
		if err == nil {
			conn.Close()
			t.Errorf("%s was connected to", to)
		}
		if strings.Contains(to, port) || strings.HasPrefix(to, "169") || strings.HasPrefix(to, "[fd00") {
			wantFault(t, err, fault.Denied, "egress.address")
		}
	}
	for _, entry := range []string{"127.0.0.1", "127.0.0.0/8"} {
		conn, err := allow(t, entry).Dialer(time.Second)(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Errorf("%s: %v", entry, err)
			continue
		}
		conn.Close()
	}
	conn, err := allow(t, "localhost").Dialer(time.Second)(t.Context(), "tcp4", "localhost:"+port)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}
