package login

import (
	"sync"
	"time"

	"carnet.dev/carnet/internal/core/identity"
)

// How many people may lose all their roles within an hour before it looks like a
// mistake at the identity provider.
const (
	manyLost = 10
	lostSpan = time.Hour
)

// lost counts people whose sign-in left them without any role, at this server.
type lost struct {
	mu     sync.Mutex
	at     map[identity.PersonID]time.Time
	warned time.Time
}

// note counts one, and warns once an hour when they are many.
func (l *lost) note(s *Service, who Subject) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := s.Now()
	if l.at == nil {
		l.at = map[identity.PersonID]time.Time{}
	}
	l.at[who.ID] = now
	for id, at := range l.at {
		if now.Sub(at) > lostSpan {
			delete(l.at, id)
		}
	}
	if len(l.at) >= manyLost && (l.warned.IsZero() || now.Sub(l.warned) > lostSpan) {
		l.warned = now
		s.Logger.Error("many people lost all their roles within an hour: look at the role attribute of the identity provider, or switch role sync off",
			"people", len(l.at), "identity_provider", who.IdP)
	}
}
