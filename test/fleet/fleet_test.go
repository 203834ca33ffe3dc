//go:build interop

package fleet

import (
	"net/http"
	"testing"
	"time"
)

// TestFleet holds the ground of every test that uses this package: keys of one server
// are good at all, and what was killed comes back.
func TestFleet(t *testing.T) {
	f := New(t, 3)
	alice := f.SignIn(t, 0, "alice")
	keys := alice.Keys(t, 1, "analyst")
	all := func(when string) {
		t.Helper()
		for i, s := range f.Servers() {
			for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
				err := s.Get(t.Context(), keys)
				if err == nil {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("%s server %d says %v\n%s", when, i, err, &s.Process().Log)
				}
			}
			alice.Must(t, i, http.MethodGet, "/api/v1/session", nil, nil)
		}
	}
	all("at first")
	f.Server(0).Kill(t)
	if f.Server(0).Process().Running() {
		t.Error("a server outlives SIGKILL")
	}
	f.Login(t, "bob") // by an address that all share
	f.Server(0).Start(t)
	all("after a server was killed")
	f.Postgres.Kill(t)
	for _, s := range f.Servers() {
		if err := s.Get(t.Context(), keys); err != nil {
			t.Errorf("while PostgreSQL is away: %v", err)
		}
	}
	f.Postgres.Start(t)
	all("after PostgreSQL was killed")
}
