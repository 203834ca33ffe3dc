package httpd

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
)

// Proxies are reverse proxies of ours in front of a listener. Nobody else's
// X-Forwarded-For, -Proto and -Host are looked at, and RFC 7239's Forwarded is
// nobody's.
type Proxies struct {
	// From are the networks that the proxies speak from; empty: there are none.
	From []netip.Prefix
	// Own is the host, with port, that clients reach this listener by and sign;
	// names below it are as good. A proxy that changes the Host header, or its
	// port, gets it back from here.
	Own string
	// Refuse answers a request whose forwarding headers can't be read.
	Refuse func(http.ResponseWriter, *http.Request, *fault.Fault)
}

// Before gives next each request as its client sent it to the proxy: RemoteAddr
// is the client's address, TLS is set where the client spoke it (without
// certificates: they would be the proxy's own), Host is what the client named.
func (p Proxies) Before(next http.Handler) http.Handler {
	if len(p.From) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil || !p.ours(peer.Addr()) {
			next.ServeHTTP(w, r)
			return
		}
		seen, f := p.asSent(r)
		if f != nil {
			p.Refuse(w, r, f)
			return
		}
		next.ServeHTTP(w, seen)
	})
}

func (p Proxies) ours(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, n := range p.From {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// asSent reads the forwarding headers of one of our proxies.
func (p Proxies) asSent(r *http.Request) (*http.Request, *fault.Fault) {
	seen := *r
	client, f := p.client(r.Header["X-Forwarded-For"])
	if f != nil {
		return nil, f
	}
	if client.IsValid() {
		seen.RemoteAddr = netip.AddrPortFrom(client, 0).String()
	}
	switch proto, f := onlyOne(r, "X-Forwarded-Proto"); {
	case f != nil:
		return nil, f
	case strings.EqualFold(proto, "https"):
		seen.TLS = &tls.ConnectionState{HandshakeComplete: true}
	case strings.EqualFold(proto, "http"):
		seen.TLS = nil
	case proto != "":
		return nil, forwarded("X-Forwarded-Proto is neither http nor https")
	case r.TLS != nil:
		seen.TLS = &tls.ConnectionState{HandshakeComplete: true}
	}
	host, f := onlyOne(r, "X-Forwarded-Host")
	if f != nil {
		return nil, f
	}
	if seen.Host = p.named(host); seen.Host == "" {
		seen.Host = p.named(r.Host)
	}
	if seen.Host == "" {
		seen.Host = p.Own
	}
	return &seen, nil
}

// client finds who came to the outermost of our proxies: each proxy adds on the
// right whom it was reached by, and what stands left of the first stranger is
// that stranger's own word.
func (p Proxies) client(lines []string) (netip.Addr, *fault.Fault) {
	var last netip.Addr
	hops := strings.Split(strings.Join(lines, ","), ",")
	if len(lines) == 0 {
		return last, nil
	}
	for i := len(hops) - 1; i >= 0; i-- {
		a, ok := hop(strings.TrimSpace(hops[i]))
		if !ok {
			return netip.Addr{}, forwarded("X-Forwarded-For holds something that is no address")
		}
		last = a.Unmap().WithZone("")
		if !p.ours(last) {
			break
		}
	}
	return last, nil
}

// hop reads an address, with or without a port.
func hop(s string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return a, true
	}
	ap, err := netip.ParseAddrPort(s)
	return ap.Addr(), err == nil
}

func onlyOne(r *http.Request, name string) (string, *fault.Fault) {
	v := r.Header[name]
	if len(v) > 1 || len(v) == 1 && strings.Contains(v[0], ",") {
		return "", forwarded(name + " has more than one value: let the outermost proxy set it and drop what clients send")
	}
	if len(v) == 0 {
		return "", nil
	}
	return strings.TrimSpace(v[0]), nil
}

func forwarded(why string) *fault.Fault {
	return fault.Coded(fault.Invalid, "InvalidRequest", "A proxy in front of this server sends a header that can't be read: "+why).
		WithMend("mend the proxy, or take its address out of listen.proxies")
}

// named gives a Host of ours as clients write it, with our own port; empty for
// any other.
func (p Proxies) named(host string) string {
	name, own := strings.ToLower(hostOnly(host)), strings.ToLower(hostOnly(p.Own))
	if below, ok := strings.CutSuffix(name, "."+own); ok && below != "" {
		return below + "." + p.Own
	}
	if name == own {
		return p.Own
	}
	return ""
}

func hostOnly(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.Trim(host, "[]")
}
