package server

// Headroom is how much garbage, in bytes, a server lets come together before it
// collects, beside as much as it keeps. A server keeps little, a dozen MiB: by
// Go's own measure it would collect after as little again, every few hundred
// requests, which costs a seventh of what an exchange at STS does.
const Headroom = 32 << 20

// headroom is memory that is held and never touched, so that it takes no place:
// the collector counts it as kept. GOGC and GOMEMLIMIT work as ever beside it.
func headroom() []byte { return make([]byte, Headroom) }
