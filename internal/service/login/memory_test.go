package login

import (
	"strings"
	"testing"

	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/service/broker"
)

// TestMemoryIsBounded: by number and by size, and what was kept last is there.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	large := broker.Outcome{Session: credential.RoleSession{Credentials: credential.Temporary{SessionToken: secret.New(strings.Repeat("t", 4<<10))}}}
	for name, l := range map[string]*live{"small": {}, "large": {outcomes: []broker.Outcome{large, large, large, large, large, large, large, large}}} {
		var m memory
		m.clear()
		for i := range mostLive + 10 {
			digest := [32]byte{byte(i >> 8), byte(i)}
			m.keep(ByCookie, digest, l, m.generation())
			m.keep(ByCookie, digest, l, m.generation()) // replaced, not counted twice
			if _, fresh := m.find(ByCookie, digest); !fresh {
				t.Fatalf("%s: the latest is not kept", name)
			}
			if len(m.byKey) > mostLive || m.bytes > mostBytes || m.bytes != len(m.byKey)*l.size() {
				t.Fatalf("%s: %d entries counted as %d bytes", name, len(m.byKey), m.bytes)
			}
		}
		if m.clear(); m.bytes != 0 || len(m.byKey) != 0 {
			t.Errorf("%s: %d bytes after an emptying", name, m.bytes)
		}
	}
}
