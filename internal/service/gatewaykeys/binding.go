package gatewaykeys

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
)

// Binding says where a key works: in one of the networks, where there are any,
// and with one of the certificates, where there are any.
type Binding struct {
	Networks     []netip.Prefix
	Certificates []Fingerprint
}

// IsZero reports whether nothing is bound.
func (b Binding) IsZero() bool { return len(b.Networks) == 0 && len(b.Certificates) == 0 }

// The widest networks: what is wider binds to nothing.
const (
	widestIPv4 = 8
	widestIPv6 = 32
)

// ParseBinding reads networks, each an address or a CIDR, and the fingerprints of
// certificates: SHA-256 in hex, colons and letter case aside. Faults: Invalid.
func ParseBinding(networks, certificates []string) (b Binding, err error) {
	for _, text := range networks {
		p, err := parseNetwork(strings.TrimSpace(text))
		if err != nil {
			return Binding{}, err
		}
		if !slices.Contains(b.Networks, p) {
			b.Networks = append(b.Networks, p)
		}
	}
	for _, text := range certificates {
		raw, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(text), ":", ""))
		if err != nil || len(raw) != sha256.Size {
			return Binding{}, fault.Coded(fault.Invalid, "gateway-key.certificate", fmt.Sprintf("%q is not the SHA-256 of a certificate: want 64 hex digits", clip(text))).
				WithMend("openssl x509 -in CERTIFICATE -noout -fingerprint -sha256 shows it")
		}
		if f := Fingerprint(raw); !slices.Contains(b.Certificates, f) {
			b.Certificates = append(b.Certificates, f)
		}
	}
	if len(b.Networks) > MostBindings || len(b.Certificates) > MostBindings {
		return Binding{}, fault.Coded(fault.Invalid, "gateway-key.binding", fmt.Sprintf("a binding has at most %d networks and %d certificates", MostBindings, MostBindings))
	}
	return b, nil
}

func parseNetwork(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		a, bad := netip.ParseAddr(text)
		if bad != nil || a.Zone() != "" {
			return p, fault.Coded(fault.Invalid, "gateway-key.network", fmt.Sprintf("%q is not an address or a network such as 10.1.0.0/16", clip(text)))
		}
		return only(a), nil
	}
	least := widestIPv4
	switch {
	case p.Addr().Is4In6():
		return p, fault.Coded(fault.Invalid, "gateway-key.network", fmt.Sprintf("%q: write IPv4 networks as such", clip(text)))
	case p.Addr().Is6():
		least = widestIPv6
	}
	if p.Masked() != p {
		return p, fault.Coded(fault.Invalid, "gateway-key.network", fmt.Sprintf("%q has bits beyond its length", clip(text))).WithMend("did you mean " + p.Masked().String() + "?")
	}
	if p.Bits() < least {
		return p, fault.Coded(fault.Invalid, "gateway-key.network", fmt.Sprintf("%q is so wide that it binds to nothing", clip(text))).
			WithMend(fmt.Sprintf("name the networks of the engine: /%d or longer for IPv4, /%d for IPv6", widestIPv4, widestIPv6))
	}
	return p, nil
}

// only is the network of one address.
func only(a netip.Addr) netip.Prefix {
	a = plain(a)
	return netip.PrefixFrom(a, a.BitLen())
}

func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// admits says why a peer is not where a key is bound; nil: it is.
func (b Binding) admits(from Peer) *fault.Fault {
	source := plain(from.Source)
	if len(b.Networks) > 0 && !slices.ContainsFunc(b.Networks, func(p netip.Prefix) bool { return p.Contains(source) }) {
		return misplaced("This gateway key is not for requests from " + source.String())
	}
	if len(b.Certificates) > 0 {
		if len(from.Certificate) == 0 {
			return misplaced("This gateway key asks for the client certificate that it is bound to, and the connection has none")
		}
		if !slices.Contains(b.Certificates, Fingerprint(sha256.Sum256(from.Certificate))) {
			return misplaced("This gateway key is bound to another client certificate")
		}
	}
	return nil
}

func misplaced(why string) *fault.Fault {
	return fault.Coded(fault.Denied, "AccessDenied", why).WithMend("use it where it was made for; carnet gateway-key list shows an administrator where that is")
}

func clip(s string) string {
	const most = 100
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
