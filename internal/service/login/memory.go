package login

import (
	"sync"

	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/broker"
)

// live is a login session in memory, keys and all. Immutable.
type live struct {
	Record
	outcomes []broker.Outcome
}

// size is about the number of bytes that it takes in memory.
func (l *live) size() int {
	const record = 1 << 10
	n := record
	for _, note := range l.Notes {
		n += len(note)
	}
	for _, o := range l.outcomes {
		if n += record + len(o.Session.Credentials.SessionToken.Reveal()); o.Basis != nil {
			n += record
		}
	}
	return n
}

// The bounds of the memory: a usual login session takes some kilobytes, one of
// 900 roles some megabytes.
const (
	mostLive  = 10_000
	mostBytes = 64 << 20
)

type memoryKey struct {
	by     By
	digest [32]byte
}

// memory keeps open login sessions, so that a fetch of credentials asks no
// database. It is found by digest, never by the secret itself. Whenever a login
// session ends anywhere all that it holds is in doubt: each is read again before
// it counts, and what was read before the doubt is not kept after it.
type memory struct {
	mu    sync.RWMutex
	since uint64
	bytes int
	byKey map[memoryKey]kept
}

// kept is a login session as it was read at a time.
type kept struct {
	*live
	since uint64
}

func (m *memory) generation() uint64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.since
}

// find gives what is kept, if anything is. It is fresh while nothing has ended
// since it was read.
func (m *memory) find(by By, digest [32]byte) (l *live, fresh bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	k, ok := m.byKey[memoryKey{by, digest}]
	return k.live, ok && k.since == m.since
}

func (m *memory) keep(by By, digest [32]byte, l *live, since uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.since != since {
		return
	}
	m.drop(memoryKey{by, digest})
	for k := range m.byKey { // any will do: what is dropped is read again
		if len(m.byKey) < mostLive && m.bytes+l.size() <= mostBytes {
			break
		}
		m.drop(k)
	}
	m.byKey[memoryKey{by, digest}] = kept{l, since}
	m.bytes += l.size()
}

func (m *memory) drop(k memoryKey) {
	if old, ok := m.byKey[k]; ok {
		delete(m.byKey, k)
		m.bytes -= old.size()
	}
}

// forget drops one that is no more.
func (m *memory) forget(by By, digest [32]byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop(memoryKey{by, digest})
}

// doubt says that some login session ended.
func (m *memory) doubt() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.since++
}

// end drops a login session that ended here, and doubts the rest.
func (m *memory) end(id identity.LoginSessionID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.since++
	for k, l := range m.byKey {
		if l.ID == id {
			m.drop(k)
		}
	}
}

// clear drops all.
func (m *memory) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.since++
	m.bytes, m.byKey = 0, map[memoryKey]kept{}
}
