package gatewaykeys

import (
	"crypto/sha256"
	"net/netip"
	"slices"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/service/cluster"
)

// Binding says where a key works, as it does for a cluster.
type Binding = cluster.Binding

// Fingerprint is the SHA-256 of a certificate in DER.
type Fingerprint = cluster.Fingerprint

func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// admits says why a peer is not where a key is bound; nil: it is.
func admits(b Binding, from Peer) *fault.Fault {
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

func clip(s string) string { return fault.Clip(s) }
