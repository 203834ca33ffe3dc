// Package metadata keeps the people of a node away from the node's own identity: the
// instance metadata service of its cloud, which gives its keys to whoever reaches it.
//
// It asks whether a uid reaches one (Prober), and writes the rule that keeps all but
// root away from it (Rule). Where the agent may act as another user it asks as that
// one; else it asks as itself, which tells the same as long as the rule treats all
// accounts but root alike, as ours does.
//
// It must never take its own word for the kernel's: a rule counts only once a
// connection was refused.
package metadata

import (
	"net/netip"
	"sync"
	"time"
)

// Addresses are where instance metadata services answer (EC2 User Guide; other clouds
// use the first one, too).
func Addresses() []netip.AddrPort {
	return []netip.AddrPort{netip.MustParseAddrPort("169.254.169.254:80"), netip.MustParseAddrPort("[fd00:ec2::254]:80")}
}

// DefaultWait is how long a service may take to accept a connection. It lies on the
// same machine or one hop away.
const DefaultWait = time.Second

// mostAsking bounds the connections that are tried at a time.
const mostAsking = 8

// Prober asks whether a service is reached. Safe for concurrent use.
type Prober struct {
	// Own reports whether the agent itself listens at an address: then it is no real
	// service. nil: nowhere.
	Own func(netip.AddrPort) bool
	// Addresses are asked; nil: Addresses().
	Addresses []netip.AddrPort
	// Wait is for each connection; 0: DefaultWait.
	Wait time.Duration

	once   sync.Once
	places chan struct{}
}

// Reachable reports whether processes of uid reach a service of the node.
func (p *Prober) Reachable(uid uint32) bool {
	p.once.Do(func() { p.places = make(chan struct{}, mostAsking) })
	addresses, wait := p.Addresses, p.Wait
	if addresses == nil {
		addresses = Addresses()
	}
	if wait == 0 {
		wait = DefaultWait
	}
	answers := make(chan bool, len(addresses))
	for _, a := range addresses {
		if p.Own != nil && p.Own(a) {
			answers <- false
			continue
		}
		p.places <- struct{}{}
		go func() {
			reached := connects(uid, a, wait)
			<-p.places
			answers <- reached
		}()
	}
	reached := false
	for range addresses {
		reached = <-answers || reached
	}
	return reached
}
