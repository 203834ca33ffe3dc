package localclient

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"carnet.dev/carnet/internal/core/fault"
)

// dial connects, and looks whose socket it is: another account's could hand out
// its own keys, and receive what is uploaded with them.
func dial(ctx context.Context, socket string) (net.Conn, error) {
	folder := filepath.Dir(socket)
	info, err := os.Stat(folder)
	if err != nil {
		return nil, err
	}
	if m := info.Mode().Perm(); m&0o022 != 0 && ownable {
		return nil, untrusted(socket, fmt.Sprintf("others can write in %s (mode %04o)", folder, m))
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	if err := trusted(c, socket, info); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func untrusted(socket, why string) error {
	return fault.Coded(fault.Denied, CodeForeign, "the socket "+socket+" need not be the agent's: "+why).
		WithMend("ask the administrator of this node where its agent listens")
}
