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
	slot := &l.empty[slotOf(l.seed, source)]
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

// places counts the requests of each source that run now, in constant memory.
// The bound is per source: one that sends its bodies slowly shuts out itself
// alone.
type places struct {
	most int32
	seed maphash.Seed
	busy [slots]atomic.Int32
}

func newPlaces(most int) *places { return &places{most: int32(most), seed: maphash.MakeSeed()} }

// enter takes a place for a request of source; leave gives it back.
func (p *places) enter(source netip.Addr) (leave func(), ok bool) {
	slot := &p.busy[slotOf(p.seed, source)]
	if slot.Add(1) > p.most {
		slot.Add(-1)
		return nil, false
	}
	return func() { slot.Add(-1) }, true
}

// slotOf finds the counter of a source: its IPv4 address, or its IPv6 /64,
// which one customer of a provider has for himself.
func slotOf(seed maphash.Seed, source netip.Addr) uint64 {
	b := source.As16()
	if source.Is6() && !source.Is4In6() {
		binary.BigEndian.PutUint64(b[8:], 0)
	}
	return maphash.Bytes(seed, b[:]) % slots
}
