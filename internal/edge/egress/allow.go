package egress

import (
	"net/netip"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
)

// Allow is what may be reached though it isn't public. The zero value is empty.
type Allow struct {
	prefixes []netip.Prefix
	names    map[string]bool
}

// ParseAllow reads entries of egress.allow: an address ("127.0.0.1"), a network
// ("10.0.0.0/8") or a host name ("idp.corp.example"), which stands for itself
// alone and for whatever address it has.
func ParseAllow(entries []string) (Allow, error) {
	a := Allow{names: map[string]bool{}}
	for _, e := range entries {
		if p, err := netip.ParsePrefix(e); err == nil {
			if p != p.Masked() {
				return Allow{}, fault.New(fault.Misconfigured, "egress.allow: "+e+" has bits beyond its length").
					WithMend("did you mean " + p.Masked().String() + "?")
			}
			a.prefixes = append(a.prefixes, p)
			continue
		}
		if addr, err := netip.ParseAddr(e); err == nil && addr.Zone() == "" {
			addr = addr.Unmap()
			a.prefixes = append(a.prefixes, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		name := strings.ToLower(strings.TrimSuffix(e, "."))
		if !hostName(name) {
			return Allow{}, fault.New(fault.Misconfigured, "egress.allow: "+e+" is neither an address, a network nor a host name")
		}
		a.names[name] = true
	}
	return a, nil
}

func hostName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	letters := false
	for _, label := range strings.Split(s, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for i := range len(label) {
			c := label[i]
			switch {
			case c >= 'a' && c <= 'z', c == '_':
				letters = true
			case c >= '0' && c <= '9', c == '-':
			default:
				return false
			}
		}
	}
	return letters // 127.1 and 0x7f.1-like numbers are no names
}

func (a Allow) contains(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, p := range a.prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// special lists what is not public beside what net/netip knows: IANA's
// special-purpose registries (RFC 6890 and updates), among them the ranges that
// carry an IPv4 address inside.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("3fff::/20"), netip.MustParsePrefix("5f00::/16"), netip.MustParsePrefix("fec0::/10"),
	netip.MustParsePrefix("::/96"),
}

// Public reports whether an address is one of the open Internet.
func Public(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	if !addr.IsGlobalUnicast() || addr.IsPrivate() {
		return false // also loopback, link-local, multicast, unspecified, broadcast
	}
	for _, p := range special {
		if p.Contains(addr) {
			return false
		}
	}
	return true
}
