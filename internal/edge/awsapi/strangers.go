package awsapi

import (
	"net/netip"
	"sync"
)

const (
	mostUnproven = 256 // at once: each may hold up to awsquery.MaxBody bytes
	// mostOfOne is the share of one address, so that one stranger who dawdles
	// does not keep all others out.
	mostOfOne = mostUnproven / 4
)

// strangers counts the requests that are read before anything is proven.
type strangers struct {
	mu     sync.Mutex
	all    int
	places map[netip.Prefix]int
}

// enter lets a request from a socket's address in; leave must be called once it
// is over. Not ok where there are too many, of that address or together.
func (s *strangers) enter(remote string) (leave func(), ok bool) {
	from := placeOf(remote)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all >= mostUnproven || s.places[from] >= mostOfOne {
		return nil, false
	}
	if s.places == nil {
		s.places = map[netip.Prefix]int{}
	}
	s.all++
	s.places[from]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all--
		if s.places[from]--; s.places[from] == 0 {
			delete(s.places, from)
		}
	}, true
}

// placeOf is one IPv4 address, or the /64 that a host of IPv6 has to itself.
func placeOf(remote string) netip.Prefix {
	a, _ := netip.ParseAddrPort(remote)
	addr := a.Addr().Unmap().WithZone("")
	if addr.Is6() {
		return netip.PrefixFrom(addr, 64).Masked()
	}
	return netip.PrefixFrom(addr, 32)
}
