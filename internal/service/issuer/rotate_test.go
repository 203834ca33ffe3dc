package issuer_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/protocol/oidc"
	"carnet.dev/carnet/internal/service/issuer"
)

// states lists the keys of one level and algorithm, oldest first.
func states(s *issuer.Service, l issuer.Level, algorithm string) string {
	var all []string
	for _, k := range s.Keys() {
		if k.Level == l && k.Algorithm == algorithm {
			all = append(all, string(k.State))
		}
	}
	return strings.Join(all, " ")
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for range 1000 {
		if holds() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("never: " + what)
}

// TestRotation walks a key through its life. Another server does the same by
// the rows alone, without a word between them.
func TestRotation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, other := w.server(t), w.server(t)
	old := mint(t, s, forAWS())
	next, err := s.Rotate(t.Context(), issuer.Workspace, oidc.RS256, issuer.Rotation{})
	if err != nil || next.State != issuer.Published {
		t.Fatalf("%+v, %v", next, err)
	}
	eventually(t, "the other server follows", func() bool { return len(other.Keys()) == 5 })
	if _, err := s.Rotate(t.Context(), issuer.Workspace, oidc.RS256, issuer.Rotation{}); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a second next key: %v", err)
	}
	url := s.URL(issuer.Workspace)
	for _, step := range []struct {
		pass   time.Duration
		states string
		signs  string
		takes  bool
	}{
		{0, "used published", old.KeyID, true},
		{24*time.Hour - time.Second, "used published", old.KeyID, true},
		{time.Second, "retired used", next.ID, true},
		{24*time.Hour - time.Second, "retired used", next.ID, true},
		{time.Second, "gone used", next.ID, false},
	} {
		w.pass(step.pass)
		for i, server := range []*issuer.Service{s, other} {
			if got := states(server, issuer.Workspace, oidc.RS256); got != step.states {
				t.Errorf("server %d after %s: %q, want %q", i, step.pass, got, step.states)
			}
			m := mint(t, server, forAWS())
			keys, _ := server.KeySet(url)
			if _, err := check(m.Token.Reveal(), url, issuer.AudienceAWS, keys, w.Now()); err != nil || m.KeyID != step.signs {
				t.Errorf("server %d: %v, signed by %s, want %s", i, err, m.KeyID, step.signs)
			}
			// By its times alone the old token would hold: its key decides.
			if _, err := check(old.Token.Reveal(), url, issuer.AudienceAWS, keys, old.Issued); (err == nil) != step.takes {
				t.Errorf("server %d after %s: the old key: %v", i, step.pass, err)
			}
		}
	}
	if states(s, issuer.Account, oidc.RS256) != "used" || states(s, issuer.Workspace, oidc.ES256) != "used" {
		t.Error("other keys were touched")
	}
}

// TestScheduledRotation: keys rotate by themselves, once, though two servers see
// that it is time, and the private half of what is gone is destroyed.
func TestScheduledRotation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	quick := func(c *issuer.Config) {
		c.Every, c.Prepublish, c.Grace = time.Hour, 400*time.Millisecond, 10*time.Minute
	}
	both := []*issuer.Service{w.server(t, quick), w.server(t, quick)}
	ctx, stop := context.WithCancel(t.Context())
	var runs sync.WaitGroup
	defer func() { stop(); runs.Wait() }()
	for _, s := range both {
		runs.Go(func() { s.Run(ctx) })
	}
	w.pass(time.Hour)
	eventually(t, "four rotations", func() bool { return len(both[0].Keys()) == 8 && len(both[1].Keys()) == 8 })
	time.Sleep(200 * time.Millisecond)
	if n := w.trail.count("issuer-key.rotate"); n != 4 {
		t.Errorf("%d rotations were recorded", n)
	}
	w.pass(time.Second)
	if got := states(both[1], issuer.Account, oidc.ES256); got != "retired used" {
		t.Errorf("%q", got)
	}
	w.pass(10 * time.Minute)
	eventually(t, "private halves are destroyed", func() bool {
		n := 0
		if err := w.db.Read(t.Context(), func(tx *sql.Tx) error {
			return tx.QueryRow(`SELECT COUNT(*) FROM issuer_key WHERE LENGTH(sealed) = 0`).Scan(&n)
		}); err != nil {
			t.Fatal(err)
		}
		return n == 4
	})
	mint(t, both[0], forAWS())
}

// TestRotateNow: with Now the new key signs at once and the old one is taken on;
// with Drop nothing that was signed before is taken any more.
func TestRotateNow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.server(t)
	url := s.URL(issuer.Workspace)
	old := mint(t, s, forAWS())
	if _, err := s.Rotate(t.Context(), issuer.Workspace, oidc.RS256, issuer.Rotation{}); err != nil {
		t.Fatal(err)
	}
	// One that waits is hurried, not joined by another.
	now, err := s.Rotate(t.Context(), issuer.Workspace, oidc.RS256, issuer.Rotation{Now: true})
	if err != nil || now.State != issuer.Used || states(s, issuer.Workspace, oidc.RS256) != "retired used" {
		t.Fatalf("%+v, %v, %s", now, err, states(s, issuer.Workspace, oidc.RS256))
	}
	taken := func(m issuer.Minted) bool {
		keys, _ := s.KeySet(url)
		_, err := check(m.Token.Reveal(), url, issuer.AudienceAWS, keys, w.Now())
		return err == nil
	}
	leaked := mint(t, s, forAWS())
	if !taken(old) || !taken(leaked) || leaked.KeyID != now.ID {
		t.Error("a valid token is refused")
	}
	if _, err := s.Rotate(t.Context(), issuer.Workspace, oidc.RS256, issuer.Rotation{Drop: true}); err != nil {
		t.Fatal(err)
	}
	if taken(old) || taken(leaked) || !taken(mint(t, s, forAWS())) {
		t.Error("after a leak: what older keys signed is taken, or what the new one signs is not")
	}
	if got := states(s, issuer.Workspace, oidc.RS256); got != "gone gone used" {
		t.Errorf("%q", got)
	}
	for _, bad := range []struct {
		l issuer.Level
		a string
	}{{"moon", oidc.RS256}, {issuer.Account, "none"}} {
		if _, err := s.Rotate(t.Context(), bad.l, bad.a, issuer.Rotation{}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

// TestNoTokenOutlivesItsKey: however long it was asked for.
func TestNoTokenOutlivesItsKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.server(t, func(c *issuer.Config) { c.Prepublish, c.Grace = time.Minute, 10*time.Minute })
	long := issuer.IDToken{Subject: "user:psn_a", Audience: "vault.example.com", Lifetime: 1000 * time.Hour}
	if m := mint(t, s, long); m.Expires.Sub(m.Issued) != 10*time.Minute {
		t.Errorf("lives %s", m.Expires.Sub(m.Issued))
	}
	if _, err := s.Rotate(t.Context(), issuer.Workspace, oidc.RS256, issuer.Rotation{}); err != nil {
		t.Fatal(err)
	}
	w.pass(30 * time.Second)
	m := mint(t, s, long)
	for _, k := range s.Keys() {
		if k.ID == m.KeyID && m.Expires.After(k.GoneAfter) {
			t.Errorf("lives until %s, its key until %s", m.Expires, k.GoneAfter)
		}
	}
}

// TestNoKeyNoToken: without a key of the issuer nothing is minted, and nothing
// takes its place.
func TestNoKeyNoToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.server(t)
	if err := w.db.Write(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.Exec(`UPDATE issuer_key SET retired_from = 1, gone_after = 1 WHERE level = 'workspace'`)
		tx.Changed("issuer")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the key is gone", func() bool { return states(s, issuer.Workspace, oidc.RS256) == "gone" })
	_, err := s.MintID(forAWS())
	wants(t, "an ID token", err, issuer.CodeKey)
	_, err = s.MintAccess(issuer.AccessToken{Subject: "user:psn_a", ClientID: "oac_1"})
	wants(t, "an access token", err, issuer.CodeKey)
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(string(s.JWKS(issuer.Workspace).Body), `"keys": []`) {
		t.Errorf("%v, %s", err, s.JWKS(issuer.Workspace).Body)
	}
	if _, err := s.MintID(issuer.IDToken{Subject: "user:psn_a", Audience: "vault.example.com", Level: issuer.Account}); err != nil {
		t.Errorf("the other issuer: %v", err)
	}
}

// Another server follows within half a second on a quiet machine; a twelfth of
// this is what it has on a busy one.
var rotation = flag.Duration("rotation", 24*time.Second, "how long TestRotationUnderLoad uses tokens")

// TestRotationUnderLoad: three rotations while tokens are minted by one server
// and taken by another, which follows by the database, and by a relying party
// that keeps the key set for as long as it may. No valid token is refused, and
// no key is taken once it is gone.
func TestRotationUnderLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	part := *rotation / 12
	timed := func(c *issuer.Config) {
		c.Now, c.Every, c.Prepublish, c.Grace = time.Now, time.Hour, max(part, 300*time.Millisecond), max(2*part, 2200*time.Millisecond)
	}
	mints, takes := w.server(t, timed), w.server(t, timed)
	l := &load{mints: mints, takes: takes, url: mints.URL(issuer.Workspace)}
	end := time.Now().Add(*rotation)
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() { l.use(t, end) })
	}
	for range 3 {
		time.Sleep(max(part, 300*time.Millisecond) * 11 / 10) // the one before is in use by then
		for _, a := range issuer.Algorithms() {
			if _, err := mints.Rotate(t.Context(), issuer.Workspace, a, issuer.Rotation{}); err != nil {
				t.Error(err)
			}
		}
	}
	work.Wait()
	for _, problem := range l.problems {
		t.Error(problem)
	}
	ids := map[string]bool{}
	l.keys.Range(func(id, _ any) bool { ids[id.(string)] = true; return true })
	if len(ids) != 8 || l.taken.Load() == 0 || l.refused.Load() == 0 {
		t.Errorf("%d keys signed, %d tokens were taken, %d of keys that are gone were refused", len(ids), l.taken.Load(), l.refused.Load())
	}
	t.Logf("%d tokens taken, %d of keys that are gone refused, %d keys", l.taken.Load(), l.refused.Load(), len(ids))
}

// load is the use of tokens.
type load struct {
	mints, takes   *issuer.Service
	url            string
	keys           sync.Map // ids of keys that signed
	taken, refused atomic.Int64
	mu             sync.Mutex
	problems       []string
}

func (l *load) problem(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.problems) < 20 {
		l.problems = append(l.problems, fmt.Sprintf(format, args...))
	}
}

// use mints tokens and has them taken until the end: at once, by what a relying
// party keeps, and again later in their life and after it.
func (l *load) use(t *testing.T, end time.Time) {
	var kept *oidc.KeySet
	var until time.Time
	var earlier []issuer.Minted
	for i := 0; time.Now().Before(end); i++ {
		token := forAWS()
		token.Subject, token.Algorithm = fmt.Sprintf("user:%d", i), issuer.Algorithms()[i%2]
		m := mint(t, l.mints, token)
		l.keys.Store(m.KeyID, true)
		if now := time.Now(); now.After(until) {
			d := l.takes.JWKS(issuer.Workspace)
			var err error
			if kept, err = oidc.ParseKeySet(d.Body); err != nil {
				l.problem("the key set: %v", err)
			}
			until = now.Add(d.MaxAge)
		}
		l.take(m, kept, "with the key set that may be kept")
		own, _ := l.takes.KeySet(l.url)
		l.take(m, own, "at the other server")
		earlier = append(earlier, m)
		if len(earlier) > 2000 {
			earlier = earlier[1000:]
		}
		l.again(earlier[rand.IntN(len(earlier))])
		time.Sleep(5 * time.Millisecond) // other tests want the processors too
	}
	for _, m := range earlier {
		l.again(m)
	}
}

func (l *load) take(m issuer.Minted, keys *oidc.KeySet, where string) {
	now := time.Now()
	if !now.Before(m.Expires) {
		return
	}
	if _, err := check(m.Token.Reveal(), l.url, issuer.AudienceAWS, keys, now); err != nil && time.Now().Before(m.Expires) {
		l.problem("a valid token is refused %s: %v", where, err)
		return
	}
	l.taken.Add(1)
}

// again takes an earlier token, or sees to it that its key is not taken any
// more, even at the time at which the token was good.
func (l *load) again(m issuer.Minted) {
	for _, k := range l.takes.Keys() {
		if k.ID != m.KeyID {
			continue
		}
		own, _ := l.takes.KeySet(l.url)
		if k.State != issuer.Gone {
			l.take(m, own, "later")
			return
		}
		if _, err := check(m.Token.Reveal(), l.url, issuer.AudienceAWS, own, m.Issued); err == nil {
			l.problem("key %s is taken past its grace", k.ID)
		}
		l.refused.Add(1)
	}
}
