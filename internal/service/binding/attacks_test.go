package binding

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"carnet.dev/carnet/internal/core/fault"
)

// TestAttackRolesThatAreNone: somebody asks for ever other roles, in a loop. The server is
// not asked so, and others are served on.
func TestAttackRolesThatAreNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer()
		srv.set(fault.New(fault.NotFound, "no such role"))
		s := newService(srv)
		s.Confirm(View{Revision: 1, Attachments: []Attachment{attached("ann", 1000, "/s", 11), attached("bob", 1001, "/t", 30)}})
		a, _ := s.Of(Caller{UID: 1000, Cgroup: 11})
		for i := range 2000 {
			if _, err := s.Keys(t.Context(), a, fmt.Sprint("none-", i)); err == nil {
				t.Fatal("keys of no role")
			}
			if _, err := s.IDToken(t.Context(), a, fmt.Sprint("none-", i)); err == nil {
				t.Fatal("a token of no role")
			}
		}
		srv.mu.Lock()
		asked := len(srv.asked)
		srv.mu.Unlock()
		if asked > 2*mostRoles {
			t.Errorf("the server was asked %d times", asked)
		}
		srv.set(nil)
		b, _ := s.Of(Caller{UID: 1001, Cgroup: 30})
		if _, err := s.Keys(t.Context(), b, ""); err != nil {
			t.Errorf("somebody else: %v", err)
		}
		time.Sleep(mostAgain + time.Second)
		if _, err := s.Keys(t.Context(), a, reader); err != nil {
			t.Errorf("later: %v", err)
		}
	})
}
