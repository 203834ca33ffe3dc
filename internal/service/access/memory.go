package access

import (
	"crypto/sha256"
	"sync"

	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/policy"
	"carnet.dev/carnet/internal/protocol/sessiontoken"
)

// proven is a session token that opened, with its session policies compiled and
// the condition keys that are the same for all of its requests. Immutable.
type proven struct {
	claims    sessiontoken.Claims
	caller    Caller // without its proven
	principal policy.Principal
	known     []known // the principal's condition keys
	context   policy.Context
	session   []*policy.Document
}

// known is one condition key that no request of a principal can change.
type known struct {
	key    string
	values []string
}

// knows adds a key; an empty value leaves it absent.
func (o *proven) knows(key, value string) {
	if value != "" {
		o.is(key, value)
	}
}

// is adds a key that is there even with an empty value, as that of a tag.
func (o *proven) is(key string, values ...string) {
	o.known = append(o.known, known{key, values})
	o.context.Set(key, values...)
}

// mostOpened bounds the remembered tokens: at most twice as many are kept, a
// few KiB each.
const mostOpened = 4096

// digestOf keys the memory. The token itself is never a key: memory dumps and
// map printing would show it.
func digestOf(id string, token secret.Text) [sha256.Size]byte {
	var stack [2048]byte // most tokens fit
	b := append(append(stack[:0], id...), 0)
	return sha256.Sum256(append(b, token.Reveal()...))
}

// memory keeps what opened lately, in two generations: when the young one is
// full the old one is dropped. Only genuine tokens get in, so strangers can't
// fill it.
type memory struct {
	mu         sync.Mutex
	most       int
	young, old map[[sha256.Size]byte]*proven
}

func newMemory(most int) *memory {
	return &memory{most: most, young: map[[sha256.Size]byte]*proven{}}
}

func (m *memory) get(d [sha256.Size]byte) *proven {
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

func (m *memory) put(d [sha256.Size]byte, o *proven) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(d, o)
}

func (m *memory) add(d [sha256.Size]byte, o *proven) {
	if len(m.young) >= m.most {
		m.young, m.old = map[[sha256.Size]byte]*proven{}, m.young
	}
	m.young[d] = o
}
