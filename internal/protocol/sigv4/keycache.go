package sigv4

import (
	"crypto/sha256"
	"sync"

	"carnet.dev/carnet/internal/core/secret"
)

// KeyCache remembers derived signing keys. It is keyed by a digest of the
// secret key and scope, so a changed secret is another entry and nothing has
// to be invalidated; it holds at most twice Size entries.
type KeyCache struct {
	size int

	mu         sync.Mutex
	young, old map[[32]byte]Key
}

// NewKeyCache makes a cache of about size keys.
func NewKeyCache(size int) *KeyCache {
	return &KeyCache{size: size, young: make(map[[32]byte]Key)}
}

// Derive is DeriveKey with memory.
func (c *KeyCache) Derive(secretKey secret.Text, date, region, service string) Key {
	id := cacheID(secretKey, date, region, service)
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.young[id]
	if ok {
		return k
	}
	if k, ok = c.old[id]; !ok {
		k = DeriveKey(secretKey, date, region, service)
	}
	c.put(id, k)
	return k
}

// put forgets the older half when the younger is full: no list, no clock.
func (c *KeyCache) put(id [32]byte, k Key) {
	if len(c.young) >= c.size {
		c.old, c.young = c.young, make(map[[32]byte]Key, c.size)
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
