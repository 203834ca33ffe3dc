package cluster

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
)

// MostBindings bounds the networks, and the certificates, of one binding.
const MostBindings = 32

// Fingerprint is the SHA-256 of a certificate in DER.
type Fingerprint [sha256.Size]byte

// String gives lower-case hex.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// Binding says where engines call the gateway from, and so where a gateway key works:
// in one of the networks, where there are any, and with one of the certificates,
// where there are any.
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
			return Binding{}, fault.Coded(fault.Invalid, "gateway-key.certificate", fmt.Sprintf("%q is not the SHA-256 of a certificate: want 64 hex digits", fault.Clip(text))).
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
			return p, fault.Coded(fault.Invalid, "gateway-key.network", fmt.Sprintf("%q is not an address or a network such as 10.1.0.0/16", fault.Clip(text)))
		}
		return Only(a), nil
	}
	least := widestIPv4
	switch {
	case p.Addr().Is4In6():
		return p, fault.Coded(fault.Invalid, "gateway-key.network", fmt.Sprintf("%q: write IPv4 networks as such", fault.Clip(text)))
	case p.Addr().Is6():
		least = widestIPv6
	}
	if p.Masked() != p {
		return p, fault.Coded(fault.Invalid, "gateway-key.network", fmt.Sprintf("%q has bits beyond its length", fault.Clip(text))).WithMend("did you mean " + p.Masked().String() + "?")
	}
	if p.Bits() < least {
		return p, fault.Coded(fault.Invalid, "gateway-key.network", fmt.Sprintf("%q is so wide that it binds to nothing", fault.Clip(text))).
			WithMend(fmt.Sprintf("name the networks of the engine: /%d or longer for IPv4, /%d for IPv6", widestIPv4, widestIPv6))
	}
	return p, nil
}

// Only is the network of one address.
func Only(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	return netip.PrefixFrom(a, a.BitLen())
}

// Equal reports whether two bindings name the same places, in the same order.
func (b Binding) Equal(o Binding) bool {
	return slices.Equal(b.Networks, o.Networks) && slices.Equal(b.Certificates, o.Certificates)
}

// Detail names the places, for a record.
func (b Binding) Detail() map[string]string {
	d := map[string]string{}
	for _, p := range b.Networks {
		d["networks"] = strings.TrimSpace(d["networks"] + " " + p.String())
	}
	for _, f := range b.Certificates {
		d["certificates"] = strings.TrimSpace(d["certificates"] + " " + f.String())
	}
	return d
}
