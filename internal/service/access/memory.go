package access

import (
	"crypto/sha256"
	"sync"

	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/policy"
	"carnet.dev/carnet/internal/protocol/sessiontoken"
)

// opened is a session token that opened, with its session policies compiled and
// the condition keys that are the same for all of its requests. Immutable.
type opened struct {
	claims    sessiontoken.Claims
	caller    Caller // without its opened
	principal policy.Principal
	context   policy.Context
	session   []*policy.Document
}

// mostOpened bounds the remembered tokens: at most twice as many are kept, a
// few KiB each.
const mostOpened = 4096

// digestOf keys the memory. The token itself is never a key: memory dumps and
// map printing would show it.
func digestOf(id string, token secret.Text) [sha256.Size]byte {
	h := sha256.New()
	h.Write([]byte(id))
	h.Write([]byte{0})
	h.Write([]byte(token.Reveal()))
	var d [sha256.Size]byte
	h.Sum(d[:0])
	return d
}

// memory keeps what opened lately, in two generations: when the young one is
// full the old one is dropped. Only genuine tokens get in, so strangers can't
// fill it.
type memory struct {
	mu         sync.Mutex
	most       int
	young, old map[[sha256.Size]byte]*opened
}

func newMemory(most int) *memory {
	return &memory{most: most, young: map[[sha256.Size]byte]*opened{}}
}

func (m *memory) get(d [sha256.Size]byte) *opened {
	m.mu.Lock()
	defer m.mu.Unlock()
	if o := m.young[d]; o != nil {
		return o
	}
	o := m.old[d]
	if o != nil {
		m.add(d, o)
	}
	return o
}

func (m *memory) put(d [sha256.Size]byte, o *opened) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(d, o)
}

func (m *memory) add(d [sha256.Size]byte, o *opened) {
	if len(m.young) >= m.most {
		m.young, m.old = map[[sha256.Size]byte]*opened{}, m.young
	}
	m.young[d] = o
}
