package metadata

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestProber(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	open := l.Addr().(*net.TCPAddr).AddrPort()
	six, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = six.Close() })
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := gone.Addr().(*net.TCPAddr).AddrPort()
	_ = gone.Close()
	own := func(a netip.AddrPort) bool { return a == open }
	for name, c := range map[string]struct {
		p    *Prober
		want bool
	}{
		"one answers":         {&Prober{Addresses: []netip.AddrPort{closed, open}}, true},
		"one answers by IPv6": {&Prober{Addresses: []netip.AddrPort{six.Addr().(*net.TCPAddr).AddrPort()}}, true},
		"none answers":        {&Prober{Addresses: []netip.AddrPort{closed}}, false},
		"it is our own":       {&Prober{Addresses: []netip.AddrPort{closed, open}, Own: own}, false},
		"none is asked":       {&Prober{Addresses: []netip.AddrPort{}}, false},
	} {
		c.p.Wait = 10 * time.Second
		for range 3 {
			if got := c.p.Reachable(4711); got != c.want {
				t.Errorf("%s: %v", name, got)
			}
		}
	}
}

func TestRules(t *testing.T) {
	t.Parallel()
	plain, more := Rule{}, Rule{Allow: []uint32{998, 0, 107, 998}, Forwarded: true}
	for what, c := range map[string]struct {
		text string
		has  []string
		not  []string
	}{
		"nft":         {plain.NFTables(), []string{"meta skuid { 0 } accept", `oifname "lo" accept`, "ip daddr 169.254.169.254 tcp", "ip6 daddr fd00:ec2::254 tcp", "delete table inet carnet_metadata"}, []string{"hook forward", "<no value>"}},
		"nft, more":   {more.NFTables(), []string{"meta skuid { 0, 107, 998 } accept", "hook forward"}, nil},
		"iptables":    {plain.IPTables(), []string{"--uid-owner 0 -j RETURN", "ip6tables -I OUTPUT", "-d fd00:ec2::254/128"}, []string{"FORWARD", "<no value>"}},
		"iptables, …": {more.IPTables(), []string{"--uid-owner 107 -j RETURN", "ip6tables -I FORWARD"}, nil},
	} {
		for _, s := range c.has {
			if !strings.Contains(c.text, s) {
				t.Errorf("%s: no %q in\n%s", what, s, c.text)
			}
		}
		for _, s := range c.not {
			if strings.Contains(c.text, s) {
				t.Errorf("%s: %q in\n%s", what, s, c.text)
			}
		}
	}
	if accept, reject := strings.Index(plain.NFTables(), "skuid"), strings.Index(plain.NFTables(), "reject"); accept > reject {
		t.Error("root is refused")
	}
}
