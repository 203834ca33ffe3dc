package httpd

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"sync/atomic"
	"time"
)

// slots is the number of counters of one rate. Sources that fall on the same
// slot share it; the seed is random, so nobody can aim at another's slot.
const slots = 1 << 14

// limiter counts requests per source in constant memory, without a lock. Each
// slot holds the time at which its queue would be empty again (the generic
// cell rate algorithm, ITU-T I.371).
type limiter struct {
	every, most int64 // ns
	seed        maphash.Seed
	empty       [slots]atomic.Int64 // unix ns
}

func newLimiter(r Rate) *limiter {
	return &limiter{every: int64(r.Every), most: int64(r.Every) * int64(r.Burst), seed: maphash.MakeSeed()}
}

// take counts one request of source at now. It gives how long to wait when the
// request is one too many, else 0.
func (l *limiter) take(source netip.Addr, now time.Time) time.Duration {
	slot := &l.empty[l.slot(source)]
	at := now.UnixNano()
	for {
		old := slot.Load()
		next := max(old, at) + l.every
		if over := next - at - l.most; over > 0 {
			return time.Duration(over)
		}
		if slot.CompareAndSwap(old, next) {
			return 0
		}
	}
}

// slot finds the counter of a source: its IPv4 address, or its IPv6 /64, which
// one customer of a provider has for himself.
func (l *limiter) slot(source netip.Addr) uint64 {
	b := source.As16()
	if source.Is6() && !source.Is4In6() {
		binary.BigEndian.PutUint64(b[8:], 0)
	}
	return maphash.Bytes(l.seed, b[:]) % slots
}
