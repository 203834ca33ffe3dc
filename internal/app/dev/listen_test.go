package dev_test

import (
	"net"
	"path/filepath"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/app/dev"
	"carnet.dev/carnet/internal/core/fault"
)

// TestSquatterOnTheOtherAddressOfLocalhost: another user of the machine takes
// the identity provider's port on ::1, where browsers look first. Dev must not
// start and let people give him the password. Without IPv6 he can't.
func TestSquatterOnTheOtherAddressOfLocalhost(t *testing.T) {
	squatter, err := net.Listen("tcp", "[::1]:0")
	o := options(t, filepath.Join(t.TempDir(), "data"))
	if err != nil {
		o.Check = true
		check(t, o)
		return
	}
	defer squatter.Close()
	o.Ports.IdP = squatter.Addr().(*net.TCPAddr).Port
	err = dev.Run(t.Context(), o, &log{}, &log{})
	if fault.KindOf(err) != fault.Conflict || !strings.Contains(fault.Of(err).Mend, "--idp-port,") {
		t.Errorf("a squatter on ::1: %v, mend %q", err, fault.Of(err).Mend)
	}
}
