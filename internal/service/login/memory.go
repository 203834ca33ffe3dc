package login

import (
	"sync"

	"carnet.dev/carnet/internal/service/broker"
)

// live is a login session in memory, keys and all. Immutable.
type live struct {
	Record
	outcomes []broker.Outcome
}

// mostLive bounds the memory; one entry is some kilobytes per role.
const mostLive = 10_000

type memoryKey struct {
	by     By
	digest [32]byte
}

// memory keeps open login sessions, so that a fetch of credentials asks no
// database. It is found by digest, never by the secret itself, and is emptied
// whenever a login session ends anywhere. What was read before an emptying is
// not kept after it.
type memory struct {
	mu    sync.RWMutex
	since uint64
	byKey map[memoryKey]*live
}

func (m *memory) generation() uint64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.since
}

func (m *memory) find(by By, digest [32]byte) (*live, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	l, ok := m.byKey[memoryKey{by, digest}]
	return l, ok
}

func (m *memory) keep(by By, digest [32]byte, l *live, since uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.since != since {
		return
	}
	if len(m.byKey) >= mostLive {
		m.empty() // rare, and simpler than an order of use: all is read again
	}
	m.byKey[memoryKey{by, digest}] = l
}

func (m *memory) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.since++
	m.empty()
}

func (m *memory) empty() {
	m.byKey = map[memoryKey]*live{}
}
