package broker

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/identity"
)

// place names one role of one login session.
type place struct {
	session identity.LoginSessionID
	role    arn.Role
}

// held is what this server knows of a role that it renews, while it is in use.
type held struct {
	place
	newest  atomic.Pointer[Outcome]
	fetched atomic.Int64 // when it was asked for last, in Unix nanoseconds

	mu     sync.Mutex
	flight chan struct{} // closed when the attempt under way has ended; nil: none is
	next   time.Time     // no attempt before
	failed int           // attempts in a row
	err    error         // of the last attempt; nil: it succeeded
}

// memory finds what is held.
type memory struct {
	mu      sync.RWMutex
	byPlace map[place]*held
}

// mostHeld bounds the memory: what is not held is read from its row at need.
const mostHeld = 20_000

func (m *memory) find(p place) *held {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.byPlace[p]
}

// hold gives what is held in a place, begun with o where nothing is.
func (m *memory) hold(p place, o Outcome, now time.Time) *held {
	h := &held{place: p}
	o.due = dueAt(&o, now)
	h.newest.Store(&o)
	m.mu.Lock()
	defer m.mu.Unlock()
	if already := m.byPlace[p]; already != nil {
		return already
	}
	if m.byPlace == nil {
		m.byPlace = map[place]*held{}
	}
	if len(m.byPlace) < mostHeld { // else it works, and is forgotten
		m.byPlace[p] = h
	}
	return h
}

func (m *memory) drop(p place) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.byPlace, p)
}

// forget drops all of a login session.
func (m *memory) forget(id identity.LoginSessionID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p := range m.byPlace {
		if p.session == id {
			delete(m.byPlace, p)
		}
	}
}

// all gives what is held at this moment.
func (m *memory) all() []*held {
	m.mu.RLock()
	defer m.mu.RUnlock()
	out := make([]*held, 0, len(m.byPlace))
	for _, h := range m.byPlace {
		out = append(out, h)
	}
	return out
}

// take keeps an outcome when it is newer than what is held.
func (h *held) take(o Outcome, now time.Time) {
	o.due = dueAt(&o, now)
	for {
		old := h.newest.Load()
		if !newer(old, &o) || h.newest.CompareAndSwap(old, &o) {
			return
		}
	}
}

// newer reports whether o came after old. Those that replace keys which were taken back
// may end no later than they: with the deadline, or in the same second.
func newer(old, o *Outcome) bool {
	if was, is := old.Session.Credentials.Expiration, o.Session.Credentials.Expiration; !was.Equal(is) {
		return was.Before(is)
	}
	return old.Obtained.Before(o.Obtained) && old.Session.Credentials.AccessKeyID != o.Session.Credentials.AccessKeyID
}

// settle notes how an attempt ended, and when the next may begin. The lock is
// held.
func (h *held) settle(err error, now time.Time) {
	h.err = err
	if err == nil {
		h.failed, h.next = 0, time.Time{}
		return
	}
	most := mostAway
	if !isAway(err) {
		most = mostRefused
	}
	if !h.newest.Load().Session.Credentials.Live(now) {
		most = mostWaited
	}
	h.next = now.Add(min(firstPause<<min(h.failed, 10), most))
	h.failed++
}

// dueAt says when keys are renewed: after two thirds of their life, but not more
// than 20 minutes before their end, and a little earlier by chance, so that what
// came together is not renewed together. Keys that there are not are due now.
func dueAt(o *Outcome, now time.Time) time.Time {
	keys := o.Session.Credentials
	if keys.AccessKeyID == "" {
		return now
	}
	from := o.Obtained
	if from.IsZero() || from.After(keys.Expiration) {
		from = keys.Expiration.Add(-longestRenewal)
	}
	margin := min(keys.Expiration.Sub(from)/3, 20*time.Minute)
	return keys.Expiration.Add(-margin - rand.N(margin/4+1))
}
