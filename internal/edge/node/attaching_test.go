package node

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/nodeapi/nodedoc"
	"carnet.dev/carnet/internal/service/binding"
)

// asking is a server where everybody has yet to say yes.
type asking struct {
	begun, polled atomic.Int32
	open          chan struct{} // closed: it answers
	now           time.Time
	refuse        error
}

func (s *asking) Attach(context.Context, nodedoc.AttachRequest) (nodedoc.AttachBegun, error) {
	s.begun.Add(1)
	<-s.open
	return nodedoc.AttachBegun{Request: "r", UserCode: "BBBB-BBBB", Expires: s.now.Add(10 * time.Minute), Interval: 2}, s.refuse
}

func (s *asking) Poll(context.Context, string) (nodedoc.AttachState, error) {
	s.polled.Add(1)
	return nodedoc.AttachState{State: "pending"}, nil
}

func newAttaching(s *asking) *Attaching {
	s.now, s.open = time.Now(), make(chan struct{})
	return &Attaching{
		Server: s, ScopeID: func(string) (uint64, error) { return 7, nil }, Reachable: func(uint32) bool { return false }, Now: func() time.Time { return s.now },
		Account: func(uid uint32) string {
			if uid < 100_000 {
				return "somebody"
			}
			return ""
		},
	}
}

func caller(uid uint32) binding.Caller {
	return binding.Caller{UID: uid, Cgroup: 7, Group: "/session-1.scope"}
}

// TestAttackAllPlacesToAttach: one account, asking over many connections at the same time,
// and one person with the thousands of nameless uids that they may map, leave places to
// others.
func TestAttackAllPlacesToAttach(t *testing.T) {
	t.Parallel()
	s := &asking{}
	a := newAttaching(s)
	var refused atomic.Int32
	var all sync.WaitGroup
	begin := func(uid uint32) {
		all.Go(func() {
			if _, _, err := a.begin(t.Context(), nil, caller(uid), false); err != nil {
				if fault.Of(err).Code != "node.requests" {
					t.Error(err)
				}
				refused.Add(1)
			}
		})
	}
	for range 500 {
		begin(1000)
	}
	for uid := range uint32(500) {
		begin(100_000 + uid)
	}
	for refused.Load() < 1000-mostPendingOfUID-mostNameless {
		time.Sleep(time.Millisecond)
	}
	close(s.open)
	all.Wait()
	if n := s.begun.Load(); n != mostPendingOfUID+mostNameless {
		t.Errorf("the server was asked %d times", n)
	}
	begun, _, err := a.begin(t.Context(), nil, caller(1001), false)
	if err != nil {
		t.Fatalf("somebody else: %v", err)
	}
	if _, _, err := a.poll(t.Context(), caller(1000), begun.Request); fault.KindOf(err) != fault.NotFound {
		t.Errorf("another account asks: %v", err)
	}
}

// TestAttackAskingWithoutPause: who asks what became of a request in a loop does not make
// the agent ask the server so.
func TestAttackAskingWithoutPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asking{}
		a := newAttaching(s)
		a.Now = time.Now
		close(s.open)
		begun, _, err := a.begin(t.Context(), nil, caller(1001), false)
		if err != nil {
			t.Fatal(err)
		}
		end := time.Now().Add(time.Minute)
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				for time.Now().Before(end) {
					if state, _, err := a.poll(t.Context(), caller(1001), begun.Request); state != "pending" || err != nil {
						t.Error(state, err)
					}
					time.Sleep(10 * time.Millisecond)
				}
			})
		}
		all.Wait()
		if n := s.polled.Load(); n < 30 || n > 70 {
			t.Errorf("the server was asked %d times in a minute", n)
		}
	})
}

// TestPlacesToAttachComeBack: what the server refused, and what nobody approved, takes none.
func TestPlacesToAttachComeBack(t *testing.T) {
	t.Parallel()
	s := &asking{refuse: fault.New(fault.Denied, "no")}
	a := newAttaching(s)
	close(s.open)
	for range 2 * mostPendingOfUID {
		if _, _, err := a.begin(t.Context(), nil, caller(1000), false); fault.KindOf(err) != fault.Denied {
			t.Fatal(err)
		}
	}
	s.refuse = nil
	for range mostPendingOfUID {
		if _, _, err := a.begin(t.Context(), nil, caller(1000), false); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := a.begin(t.Context(), nil, caller(1000), false); fault.KindOf(err) != fault.Limited {
		t.Errorf("one more: %v", err)
	}
	s.now = s.now.Add(11 * time.Minute)
	if _, _, err := a.begin(t.Context(), nil, caller(1000), false); err != nil {
		t.Errorf("later: %v", err)
	}
}
