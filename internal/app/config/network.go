package config

import (
	"fmt"
	"net/netip"
)

// Network is a range of addresses: written as an address or as CIDR.
type Network struct{ netip.Prefix }

// UnmarshalText reads 10.1.2.3 or 10.0.0.0/8. Bits beyond the mask must be
// zero, since such a line means something else to its writer than to us.
func (n *Network) UnmarshalText(text []byte) error {
	s := string(text)
	if a, err := netip.ParseAddr(s); err == nil {
		if a.Zone() != "" {
			return fmt.Errorf("%q: an address with a zone is not supported", s)
		}
		n.Prefix = netip.PrefixFrom(a, a.BitLen())
		return nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return fmt.Errorf("%q is neither an address nor a network such as 10.0.0.0/8", s)
	}
	if p.Masked() != p {
		return fmt.Errorf("%q has bits beyond its mask: did you mean %s", s, p.Masked())
	}
	n.Prefix = p
	return nil
}
