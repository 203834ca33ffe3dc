package binding

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
)

const reader = "arn:aws:iam::111122223333:role/reader"

// server is the other side: it counts what it is asked and says no on demand.
type server struct {
	mu     sync.Mutex
	asked  map[string]int
	at     []time.Time // when keys were asked for
	life   time.Duration
	wait   time.Duration
	err    error
	ended  map[identity.AttachmentID]Why
	atOnce atomic.Int32
	most   atomic.Int32
}

func newServer() *server {
	return &server{asked: map[string]int{}, life: time.Hour, ended: map[identity.AttachmentID]Why{}}
}

func (s *server) set(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *server) count(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[what]
}

func (s *server) Credentials(_ context.Context, id identity.AttachmentID, role string) (Keys, error) {
	n := s.atOnce.Add(1)
	defer s.atOnce.Add(-1)
	for m := s.most.Load(); n > m && !s.most.CompareAndSwap(m, n); m = s.most.Load() {
	}
	time.Sleep(s.wait)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[string(id)+" "+role]++
	s.at = append(s.at, time.Now())
	if s.err != nil {
		return Keys{}, s.err
	}
	arn := reader
	if role != "" {
		arn = role
	}
	n1 := s.asked[string(id)+" "+role]
	return Keys{
		AccessKeyID: "ASIA" + strings.ToUpper(string(id)) + string(rune('0'+n1%10)), SecretAccessKey: secret.New("secret-of-" + string(id)), SessionToken: secret.New("token/of+" + string(id)),
		Expiration: time.Now().Add(s.life), Role: arn, AccountID: "111122223333", Region: "us-east-1",
	}, nil
}

func (s *server) IDToken(_ context.Context, id identity.AttachmentID, role string) (IDToken, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked["token "+string(id)+" "+role]++
	return IDToken{Token: secret.New("jwt-of-" + string(id)), Expires: time.Now().Add(5 * time.Minute), Role: reader}, s.err
}

func (s *server) Roles(context.Context, identity.AttachmentID) ([]Role, error) {
	return []Role{{ARN: reader, Current: true}}, nil
}

func (s *server) SetRole(_ context.Context, _ identity.AttachmentID, role string) ([]Role, error) {
	return []Role{{ARN: role, Current: true}}, nil
}

func (s *server) End(_ context.Context, id identity.AttachmentID, why Why) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.ended[id] = why
	return nil
}

// groups is a tree of control groups: child to parent.
type groups map[uint64]uint64

func (g groups) Within(id uint64, _ string, scope uint64) bool {
	for ; id != 0; id = g[id] {
		if id == scope {
			return true
		}
	}
	return false
}

func newService(srv Server, change ...func(*Config)) *Service {
	c := Config{
		Server: srv, Groups: groups{12: 11, 13: 12, 31: 30, 15: 12}, Now: time.Now, Logger: slog.New(slog.DiscardHandler), TokenKey: [32]byte{1},
	}
	for _, f := range change {
		f(&c)
	}
	return New(c)
}

func attached(id string, uid uint32, scope string, scopeID uint64) Attachment {
	return Attachment{ID: identity.AttachmentID(id), UID: uid, Scope: scope, ScopeID: scopeID, Name: id, Expires: time.Now().Add(12 * time.Hour)}
}

func code(err error) string {
	if err == nil {
		return ""
	}
	return fault.Of(err).Code
}

func TestWhoseProcesses(t *testing.T) {
	s := newService(newServer())
	if _, err := s.Of(Caller{UID: 1000, Cgroup: 11}); code(err) != CodeStale {
		t.Errorf("before anything is known: %v", err)
	}
	over := attached("over", 1003, "/over", 50)
	over.Expires = time.Now().Add(-time.Second)
	s.Confirm(View{Revision: 1, Attachments: []Attachment{
		attached("ann-login", 1000, "/user.slice/session-1.scope", 11),
		attached("ann-pod", 1000, "/pods/a", 30),
		attached("ann-inner", 1000, "/user.slice/session-1.scope/inner", 15),
		attached("bob", 1001, "/", 1),
		attached("no-ids", 1002, "/a/b", 0),
		over,
	}})
	for name, x := range map[string]struct {
		caller Caller
		want   string
		code   string
	}{
		"in the scope":                     {Caller{UID: 1000, Cgroup: 11}, "ann-login", ""},
		"below it":                         {Caller{UID: 1000, Cgroup: 13}, "ann-login", ""},
		"in a scope within a scope":        {Caller{UID: 1000, Cgroup: 15}, "ann-inner", ""},
		"the same uid in another scope":    {Caller{UID: 1000, Cgroup: 31}, "ann-pod", ""},
		"a container under the host's uid": {Caller{UID: 1000, Cgroup: 99}, "", CodeScope},
		"the group above":                  {Caller{UID: 1000, Cgroup: 1}, "", CodeScope},
		"no group":                         {Caller{UID: 1000}, "", CodeScope},
		"no group, but a path":             {Caller{UID: 1000, Group: "/user.slice/session-1.scope"}, "", CodeScope},
		"another uid in that scope":        {Caller{UID: 1009, Cgroup: 11}, "", CodeUnattached},
		"root group":                       {Caller{UID: 1001, Cgroup: 1}, "bob", ""},
		"below the root group":             {Caller{UID: 1001, Cgroup: 11}, "", CodeScope},
		"a scope without an id":            {Caller{UID: 1002, Group: "/a/b"}, "", CodeScope},
		"a scope without an id, by an id":  {Caller{UID: 1002, Cgroup: 7, Group: "/a/b"}, "", CodeScope},
		"ended":                            {Caller{UID: 1003, Cgroup: 50}, "", CodeUnattached},
	} {
		a, err := s.Of(x.caller)
		if code(err) != x.code || err == nil && string(a.ID) != x.want {
			t.Errorf("%s: got %v, %v", name, a, err)
		}
	}
}

func TestAnswersAsSDKsReadThem(t *testing.T) {
	a, err := NewAnswer(Keys{
		AccessKeyID: "ASIAEXAMPLE", SecretAccessKey: secret.New("a/b+c"), SessionToken: secret.New("t<&>=="), AccountID: "111122223333", Role: reader,
		Expiration: time.Date(2030, 1, 2, 4, 4, 5, 999, time.FixedZone("", 3600)),
	}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"AccessKeyId":"ASIAEXAMPLE","SecretAccessKey":"a/b+c","Token":"t<&>==","Expiration":"2030-01-02T03:04:05Z","AccountId":"111122223333","RoleArn":"` + reader + `"}`
	if a.Container != want {
		t.Errorf("got  %s\nwant %s", a.Container, want)
	}
	if a.SecretAccessKey.Reveal() != "a/b+c" || a.SessionToken.Reveal() != "t<&>==" || a.Role != reader {
		t.Error("the parts are others")
	}
	if _, err := NewAnswer(Keys{AccessKeyID: "A", SecretAccessKey: secret.New("s")}, time.Now()); err == nil {
		t.Error("keys without an end were taken: SDKs would never renew them")
	}
}

func TestOneUpstreamCallForABurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer()
		srv.wait = 50 * time.Millisecond
		s := newService(srv)
		s.Confirm(View{Revision: 1, Attachments: []Attachment{attached("ann", 1000, "/s", 11)}})
		a, err := s.Of(Caller{UID: 1000, Cgroup: 11})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if _, err := s.Keys(t.Context(), a, ""); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := srv.count("ann "); n != 1 {
			t.Errorf("%d calls", n)
		}
	})
}

func TestRenewedAheadOfTheirEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer()
		s := newService(srv)
		ctx, stop := context.WithCancel(t.Context())
		go s.Run(ctx)
		confirm := func() { s.Confirm(View{Revision: 1, Attachments: []Attachment{attached("ann", 1000, "/s", 11)}}) }
		confirm()
		a, err := s.Of(Caller{UID: 1000, Cgroup: 11})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 * 60 * 2 { // three hours, in half minutes
			k, err := s.Keys(ctx, a, "")
			if err != nil {
				t.Fatal(err)
			}
			if left := time.Until(k.Expiration); left < 15*time.Minute {
				t.Fatalf("keys have %s left: an SDK would want others", left)
			}
			time.Sleep(30 * time.Second)
			confirm()
		}
		if n := srv.count("ann "); n < 4 || n > 6 {
			t.Errorf("%d calls in three hours", n)
		}
		// What nobody asks for is not renewed for ever.
		for range 10 * 60 {
			time.Sleep(30 * time.Second)
			confirm()
		}
		n := srv.count("ann ")
		for range 10 * 60 {
			time.Sleep(30 * time.Second)
			confirm()
		}
		if m := srv.count("ann "); m != n {
			t.Errorf("renewed %d times for nobody", m-n)
		}
		stop()
	})
}

func TestOfflineRule(t *testing.T) {
	for name, refuse := range map[string]bool{"what was given is given again": false, "nothing": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := newServer()
				s := newService(srv, func(c *Config) { c.Refuse = refuse })
				ctx := t.Context()
				s.Confirm(View{Revision: 1, Attachments: []Attachment{attached("ann", 1000, "/s", 11), attached("bob", 1001, "/s", 11)}})
				ann, _ := s.Of(Caller{UID: 1000, Cgroup: 11})
				bob, _ := s.Of(Caller{UID: 1001, Cgroup: 11})
				given, err := s.Keys(ctx, ann, "")
				if err != nil {
					t.Fatal(err)
				}
				srv.set(fault.New(fault.Unavailable, "away"))
				time.Sleep(59 * time.Second)
				if _, err := s.Keys(ctx, ann, ""); err != nil {
					t.Errorf("while the view counts: %v", err)
				}
				time.Sleep(2 * time.Second)
				got, err := s.Keys(ctx, ann, "")
				switch {
				case refuse && code(err) != CodeStale:
					t.Errorf("got %v, %v", got, err)
				case !refuse && (err != nil || got != given):
					t.Errorf("got %v, %v: want the same keys again", got, err)
				}
				for _, role := range []string{reader, "reader"} { // the same role by its other names
					if got, err := s.Keys(ctx, ann, role); (err == nil) == refuse || err == nil && got != given {
						t.Errorf("%s: got %v, %v", role, got, err)
					}
				}
				if _, err := s.Keys(ctx, bob, ""); code(err) != CodeStale {
					t.Errorf("who was given nothing: %v", err)
				}
				if _, err := s.Keys(ctx, ann, "arn:aws:iam::111122223333:role/other"); code(err) != CodeStale {
					t.Errorf("a role that was not given: %v", err)
				}
				if _, err := s.IDToken(ctx, ann, ""); code(err) != CodeStale {
					t.Errorf("a token that was not given: %v", err)
				}
				time.Sleep(time.Hour)
				if _, err := s.Keys(ctx, ann, ""); code(err) != CodeStale {
					t.Errorf("keys past their end: %v", err)
				}
				if n := srv.count("ann "); n != 1 {
					t.Errorf("a server that is away was asked %d times", n-1)
				}
			})
		})
	}
}

// TestRenewedAndNotGiven: what was renewed and not given yet is new, so offline the
// older ones are given again.
func TestRenewedAndNotGiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(newServer())
		ctx, stop := context.WithCancel(t.Context())
		go s.Run(ctx)
		confirm := func() { s.Confirm(View{Revision: 1, Attachments: []Attachment{attached("ann", 1000, "/s", 11)}}) }
		confirm()
		ann, _ := s.Of(Caller{UID: 1000, Cgroup: 11})
		first, err := s.Keys(ctx, ann, "")
		if err != nil {
			t.Fatal(err)
		}
		for range 41 { // renewed by now
			time.Sleep(time.Minute)
			confirm()
		}
		time.Sleep(2 * time.Minute)
		if got, err := s.Keys(ctx, ann, ""); err != nil || got != first {
			t.Errorf("offline: got others than were given: %v", err)
		}
		confirm()
		if got, err := s.Keys(ctx, ann, ""); err != nil || got == first {
			t.Errorf("back again: got the old ones: %v", err)
		}
		stop()
	})
}

func TestNoStampedeAfterAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer()
		srv.wait = 20 * time.Millisecond
		s := newService(srv)
		ctx, stop := context.WithCancel(t.Context())
		var all []Attachment
		for i := range 200 {
			all = append(all, attached("p"+string(rune('A'+i/26))+string(rune('a'+i%26)), uint32(1000+i), "/s", 11))
		}
		s.Confirm(View{Revision: 1, Attachments: all})
		for i := range all {
			a, err := s.Of(Caller{UID: all[i].UID, Cgroup: 11})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Keys(ctx, a, ""); err != nil {
				t.Fatal(err)
			}
		}
		go s.Run(ctx)
		srv.set(fault.New(fault.Unavailable, "away"))
		time.Sleep(50 * time.Minute) // longer than the window; the keys still live
		srv.set(nil)
		srv.mu.Lock()
		srv.at = nil
		srv.mu.Unlock()
		srv.most.Store(0)
		back := time.Now()
		for range 4 {
			s.Confirm(View{Revision: 1, Attachments: all})
			time.Sleep(25 * time.Second)
		}
		srv.mu.Lock()
		defer srv.mu.Unlock()
		if len(srv.at) != len(all) {
			t.Errorf("%d of %d were renewed", len(srv.at), len(all))
		}
		perSecond := map[int]int{}
		for _, at := range srv.at {
			perSecond[int(at.Sub(back)/time.Second)]++
		}
		for second, n := range perSecond {
			if n > len(all)/8 {
				t.Errorf("%d renewals in second %d: a stampede", n, second)
			}
		}
		if most := srv.most.Load(); most > mostRenewing {
			t.Errorf("%d renewals at a time", most)
		}
		stop()
	})
}

func TestRefusalsEndKeys(t *testing.T) {
	for _, kind := range fault.Kinds() {
		t.Run(kind.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := newServer()
				s := newService(srv)
				ctx, stop := context.WithCancel(t.Context())
				go s.Run(ctx)
				confirm := func() { s.Confirm(View{Revision: 1, Attachments: []Attachment{attached("ann", 1000, "/s", 11)}}) }
				confirm()
				ann, _ := s.Of(Caller{UID: 1000, Cgroup: 11})
				if _, err := s.Keys(ctx, ann, ""); err != nil {
					t.Fatal(err)
				}
				srv.set(fault.New(kind, "no"))
				for range 45 {
					time.Sleep(time.Minute)
					confirm()
				}
				_, err := s.Keys(ctx, ann, "")
				lives := kind == fault.Unavailable || kind == fault.Limited || kind == fault.Internal || kind == fault.Misconfigured
				if (err == nil) != lives {
					t.Errorf("after the server said %s: %v", kind, err)
				}
				stop()
			})
		})
	}
}

func TestViewsReplace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer()
		s := newService(srv)
		ctx := t.Context()
		ann := attached("ann", 1000, "/s", 11)
		s.Confirm(View{Revision: 1, Attachments: []Attachment{ann}})
		a, _ := s.Of(Caller{UID: 1000, Cgroup: 11})
		if _, err := s.Keys(ctx, a, ""); err != nil {
			t.Fatal(err)
		}
		token := a.Token
		ann.Role = reader
		s.Confirm(View{Revision: 2, Attachments: []Attachment{ann, attached("bob", 1001, "/s", 11)}})
		b, err := s.Of(Caller{UID: 1001, Cgroup: 11})
		if err != nil || b.Token.Equal(token) || b.Token.IsZero() {
			t.Fatalf("another attachment: %v, %v", b, err)
		}
		if a, _ = s.Of(Caller{UID: 1000, Cgroup: 11}); !a.Token.Equal(token) {
			t.Error("the second factor changed")
		}
		if _, err := s.Keys(ctx, a, ""); err != nil || srv.count("ann ") != 1 {
			t.Errorf("what was kept is gone: %v, %d calls", err, srv.count("ann "))
		}
		ann.Role = "arn:aws:iam::111122223333:role/other"
		s.Confirm(View{Revision: 3, Attachments: []Attachment{ann}})
		if _, err := s.Keys(ctx, a, ""); err != nil || srv.count("ann ") != 2 {
			t.Errorf("keys of the former role: %v, %d calls", err, srv.count("ann "))
		}
		s.Confirm(View{Revision: 4})
		if _, err := s.Of(Caller{UID: 1000, Cgroup: 11}); code(err) != CodeUnattached {
			t.Errorf("detached by the server: %v", err)
		}
		if _, err := s.Keys(ctx, a, ""); code(err) != CodeUnattached {
			t.Errorf("what was found before and has ended: %v", err)
		}
		s.Confirm(View{Revision: 5, Attachments: []Attachment{ann}})
		s.Dismiss()
		if _, err := s.Of(Caller{UID: 1000, Cgroup: 11}); err == nil {
			t.Error("a dismissed node still serves")
		}
	})
}

func TestEndsHereAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer()
		s := newService(srv)
		ctx, stop := context.WithCancel(t.Context())
		go s.Run(ctx)
		view := View{Revision: 1, Attachments: []Attachment{attached("ann", 1000, "/s", 11)}}
		s.Confirm(view)
		srv.set(fault.New(fault.Unavailable, "away"))
		s.End("ann", ScopeEnded)
		if _, err := s.Of(Caller{UID: 1000, Cgroup: 11}); code(err) != CodeUnattached {
			t.Errorf("got %v", err)
		}
		view.Revision = 2 // the server does not know yet
		s.Confirm(view)
		if _, err := s.Of(Caller{UID: 1000, Cgroup: 11}); code(err) != CodeUnattached {
			t.Errorf("it came back: %v", err)
		}
		srv.set(nil)
		time.Sleep(30 * time.Second)
		srv.mu.Lock()
		if srv.ended["ann"] != ScopeEnded {
			t.Errorf("the server heard %v", srv.ended)
		}
		srv.mu.Unlock()
		stop()
	})
}

// TestAttackMachineStartedAnew: numbers of groups begin anew with the machine, so what was
// attached before is nobody's, also while the server has not heard.
func TestAttackMachineStartedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer()
		s := newService(srv, func(c *Config) { c.Former = true })
		ctx, stop := context.WithCancel(t.Context())
		go s.Run(ctx)
		if s.Told() {
			t.Error("nothing was seen, and all was told")
		}
		srv.set(fault.New(fault.Unavailable, "away"))
		before := []Attachment{attached("ann", 1000, "/s", 11), attached("bob", 1001, "/", 1)}
		s.Confirm(View{Revision: 1, Attachments: before})
		for _, c := range []Caller{{UID: 1000, Cgroup: 11}, {UID: 1001, Cgroup: 1}} {
			if _, err := s.Of(c); code(err) != CodeUnattached {
				t.Errorf("uid %d: %v", c.UID, err)
			}
		}
		if s.Told() {
			t.Error("the server could not hear")
		}
		// What is attached from here on counts, and what ended stays so.
		s.Confirm(View{Revision: 2, Attachments: append(before, attached("new", 1000, "/s", 11))})
		if a, err := s.Of(Caller{UID: 1000, Cgroup: 11}); err != nil || a.ID != "new" {
			t.Errorf("attached since: %+v, %v", a, err)
		}
		srv.set(nil)
		time.Sleep(30 * time.Second)
		srv.mu.Lock()
		if srv.ended["ann"] != ScopeEnded || srv.ended["bob"] != ScopeEnded || len(srv.ended) != 2 {
			t.Errorf("the server heard %v", srv.ended)
		}
		srv.mu.Unlock()
		if !s.Told() {
			t.Error("the server heard all")
		}
		stop()
	})
}

func TestFailuresAreNotALoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer()
		srv.set(fault.New(fault.NotFound, "no such role"))
		s := newService(srv)
		s.Confirm(View{Revision: 1, Attachments: []Attachment{attached("ann", 1000, "/s", 11)}})
		a, _ := s.Of(Caller{UID: 1000, Cgroup: 11})
		for range 1000 {
			if _, err := s.Keys(t.Context(), a, "nothing"); fault.KindOf(err) != fault.NotFound {
				t.Fatal(err)
			}
		}
		if n := srv.count("ann nothing"); n != 1 {
			t.Errorf("%d calls for one refusal", n)
		}
		for i := range 10 * mostRoles {
			_, _ = s.Keys(t.Context(), a, strings.Repeat("x", i))
		}
		if n := len(s.table.Load().byID["ann"].kept.keys); n > mostRoles {
			t.Errorf("%d names of roles are kept", n)
		}
	})
}

func BenchmarkKeysThatLieReady(b *testing.B) {
	s := newService(newServer())
	s.Confirm(View{Revision: 1, Attachments: []Attachment{attached("ann", 1000, "/s", 11)}})
	caller := Caller{UID: 1000, Cgroup: 11}
	b.ReportAllocs()
	for b.Loop() {
		a, err := s.Of(caller)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Keys(b.Context(), a, ""); err != nil {
			b.Fatal(err)
		}
	}
}

// TestAttackKeysTakenBack: an agent drops what it keeps of a role, or of an access key,
// that was taken back, also from what it hears of a server that is behind the others.
func TestAttackKeysTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer()
		s := newService(srv)
		ann, revision := attached("ann", 1000, "/s", 11), int64(0)
		confirm := func(revoked ...Revoked) {
			revision++
			s.Confirm(View{Revision: revision, Attachments: []Attachment{ann}, Revoked: revoked})
		}
		fetched := func(calls int) *Answer {
			t.Helper()
			a, err := s.Keys(t.Context(), &ann, "")
			if err != nil || srv.count("ann ") != calls {
				t.Fatalf("%v after %d fetches, want %d", err, srv.count("ann "), calls)
			}
			return a
		}
		confirm(Revoked{"role", reader, 7}) // from before anything was fetched
		fetched(1)
		if _, err := s.IDToken(t.Context(), &ann, ""); err != nil {
			t.Fatal(err)
		}
		confirm(Revoked{"role", reader, 7}, Revoked{"role", reader + "2", 8}, Revoked{"access-key", "ASIAELSE", 9})
		fetched(1)
		confirm(Revoked{"role", reader, 10})
		keys := fetched(2)
		if _, err := s.IDToken(t.Context(), &ann, ""); err != nil || srv.count("token ann ") != 2 {
			t.Errorf("the token of a role that was taken back is kept: %v", err)
		}
		confirm() // of a server that has not heard
		confirm(Revoked{"role", reader, 10})
		fetched(2)
		confirm(Revoked{"role", reader, 10}, Revoked{"access-key", keys.AccessKeyID, 11})
		fetched(3)
	})
}
