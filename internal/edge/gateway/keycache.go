package gateway

import (
	"crypto/sha256"
	"sync"

	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/sigv4"
)

// keyCache remembers derived signing keys. It is keyed by a digest of the
// secret key and scope, so a changed secret is another entry and nothing has
// to be invalidated; it holds at most twice size entries.
type keyCache struct {
	size int

	mu         sync.Mutex
	young, old map[[32]byte]sigv4.Key
}

// newKeyCache makes a cache of about size keys.
func newKeyCache(size int) *keyCache {
	return &keyCache{size: size, young: make(map[[32]byte]sigv4.Key)}
}

// derive is sigv4.DeriveKey with memory.
func (c *keyCache) derive(secretKey secret.Text, date, region, service string) sigv4.Key {
	id := cacheID(secretKey, date, region, service)
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.young[id]
	if ok {
		return k
	}
	if k, ok = c.old[id]; !ok {
		k = sigv4.DeriveKey(secretKey, date, region, service)
	}
	c.put(id, k)
	return k
}

// put forgets the older half when the younger is full: no list, no clock.
func (c *keyCache) put(id [32]byte, k sigv4.Key) {
	if len(c.young) >= c.size {
		c.old, c.young = c.young, make(map[[32]byte]sigv4.Key, c.size)
	}
	c.young[id] = k
}

// cacheID digests the parts with their lengths, so no two sets run together.
func cacheID(secretKey secret.Text, date, region, service string) [32]byte {
	var stack [256]byte
	b := stack[:0]
	for _, s := range [...]string{secretKey.Reveal(), date, region, service} {
		b = append(b, byte(len(s)>>8), byte(len(s)))
		b = append(b, s...)
	}
	return sha256.Sum256(b)
}
