package administrator_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/policy"
	"carnet.dev/carnet/internal/protocol/sessiontoken"
	"carnet.dev/carnet/internal/service/administrator"
	"carnet.dev/carnet/internal/service/iam"
	"carnet.dev/carnet/internal/service/login"
)

const account = "111122223333"

var start = time.Date(2026, 11, 22, 9, 0, 0, 123456789, time.UTC)

// world is everything that keys of carnet-admin stand on.
type world struct {
	snapshot *iam.Snapshot
	ended    error // of the login session
	trailErr error
	events   []event.Event
	order    []string
}

type ring struct{}

func (ring) Current() (string, [32]byte)     { return "k1", [32]byte{7} }
func (ring) ByID(id string) ([32]byte, bool) { return [32]byte{7}, id == "k1" }

func (w *world) Current() (*iam.Snapshot, error) { return w.snapshot, nil }

func (w *world) Epoch() (uint64, error) {
	w.order = append(w.order, "epoch")
	return 42, nil
}

func (w *world) Holds(login.LoginSession) error {
	w.order = append(w.order, "holds")
	return w.ended
}

func (w *world) Record(_ context.Context, e event.Event) error {
	w.events = append(w.events, e)
	return w.trailErr
}

// store keeps a state in memory.
type store struct{ state iam.State }

func (s *store) Load(context.Context) (iam.State, error) { return s.state, nil }

func (s *store) Since(context.Context, int64) (iam.Change, bool, error) {
	return iam.Change{}, false, nil
}

func (s *store) Apply(ctx context.Context, c iam.Change, note func(context.Context) error) error {
	next := iam.State{Revision: s.state.Revision + 1}
	for _, r := range s.state.Records() {
		kept := true
		for _, ref := range c.Delete {
			kept = kept && r.Ref() != ref
		}
		for _, p := range c.Put {
			kept = kept && r.Ref() != p.Ref()
		}
		if kept {
			next.Add(r)
		}
	}
	for _, p := range c.Put {
		next.Add(p)
	}
	s.state = next
	return note(ctx)
}

func authority(t *testing.T, s *store) *iam.Service {
	t.Helper()
	a, err := iam.Open(t.Context(), iam.Config{Store: s, Accounts: []iam.Account{{ID: account}}, Now: func() time.Time { return start }})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.EnsureAdministratorRoles(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a
}

func newWorld(t *testing.T) (*world, *administrator.Service) {
	t.Helper()
	w := &world{}
	var err error
	if w.snapshot, err = authority(t, &store{}).Current(); err != nil {
		t.Fatal(err)
	}
	return w, administrator.New(administrator.Config{
		IAM: w, LoginSessions: w, Keys: ring{}, Revocations: w, Trail: w, Now: func() time.Time { return start },
		Accounts: []administrator.Account{{ID: account, Name: "analytics", Partition: "aws"}},
	})
}

func session(administers bool, expires time.Duration) login.LoginSession {
	return login.LoginSession{ID: "lgn_1", Person: login.Person{ID: "psn_1", IdP: "idp_1", UserName: "carol"}, Administrator: administers, Expires: start.Add(expires)}
}

func TestKeysOfTheAdministrator(t *testing.T) {
	t.Parallel()
	w, s := newWorld(t)
	for _, named := range []string{account, "analytics", "Analytics"} {
		rs, err := s.Credentials(t.Context(), session(true, 12*time.Hour), named, administrator.Lifetime)
		if err != nil {
			t.Fatal(err)
		}
		c, err := sessiontoken.Open(ring{}, rs.Credentials.AccessKeyID, rs.Credentials.SessionToken, start)
		if err != nil {
			t.Fatal(err)
		}
		if c.Role != (arn.Role{Partition: "aws", Account: account, Path: "/", Name: "carnet-admin"}) || c.Person != "psn_1" || c.LoginSession != "lgn_1" ||
			c.Epoch != 42 || c.SessionName != "carol" || c.SourceIdentity != "carol" || !c.Expires.Equal(start.Truncate(time.Second).Add(time.Hour)) ||
			!c.SecretKey.Equal(rs.Credentials.SecretAccessKey) {
			t.Errorf("%+v", c)
		}
		e := w.events[len(w.events)-1]
		if e.Action != "administrator-credentials" || e.AccessKeyID != rs.Credentials.AccessKeyID || e.Person != "psn_1" || e.LoginSession != "lgn_1" || e.Role != c.Role.String() {
			t.Errorf("%+v", e)
		}
	}
	if w.order[0] != "epoch" || w.order[1] != "holds" {
		t.Errorf("asked in the order %q: what is revoked in between would be missed", w.order)
	}
	if roles := s.Roles(session(true, time.Hour)); len(roles) != 1 || roles[0].ARN.Name != "carnet-admin" {
		t.Errorf("%+v", roles)
	}
}

func TestLifetimeOfTheKeys(t *testing.T) {
	t.Parallel()
	_, s := newWorld(t)
	for _, tc := range []struct{ session, asked, want time.Duration }{
		{12 * time.Hour, time.Hour, time.Hour},
		{12 * time.Hour, 20 * time.Minute, 20 * time.Minute},
		{12 * time.Hour, 9 * time.Hour, time.Hour},
		{10 * time.Minute, time.Hour, 10 * time.Minute},
	} {
		rs, err := s.Credentials(t.Context(), session(true, tc.session), account, tc.asked)
		if err != nil || !rs.Credentials.Expiration.Equal(start.Truncate(time.Second).Add(tc.want)) {
			t.Errorf("%+v: %s %v", tc, rs.Credentials.Expiration, err)
		}
	}
}

func TestWhoGetsNoKeys(t *testing.T) {
	t.Parallel()
	w, s := newWorld(t)
	_, err := s.Credentials(t.Context(), session(false, time.Hour), account, time.Hour)
	if fault.KindOf(err) != fault.Denied || len(s.Roles(session(false, time.Hour))) != 0 {
		t.Errorf("no administrator: %v", err)
	}
	if _, err := s.Credentials(t.Context(), session(true, time.Hour), "444455556666", time.Hour); fault.KindOf(err) != fault.NotFound {
		t.Errorf("another account: %v", err)
	}
	w.ended = fault.Coded(fault.Unauthenticated, "login.required", "ended")
	if _, err := s.Credentials(t.Context(), session(true, time.Hour), account, time.Hour); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("an ended login session: %v", err)
	}
	w.ended, w.trailErr = nil, errors.New("the disk is full")
	if _, err := s.Credentials(t.Context(), session(true, time.Hour), account, time.Hour); err == nil {
		t.Error("keys left without their record")
	}
}

func TestSessionNameOfOddPeople(t *testing.T) {
	t.Parallel()
	_, s := newWorld(t)
	for name, want := range map[string]string{
		"carol@example.com": "carol@example.com", "Jörg Müller": "J-rg-M-ller-", strings.Repeat("x", 70): strings.Repeat("x", 51) + "-", "": "-",
	} {
		l := session(true, time.Hour)
		l.Person.UserName = name
		rs, err := s.Credentials(t.Context(), l, account, time.Hour)
		if err != nil || !strings.HasPrefix(rs.SessionName, want) || len(rs.SessionName) > 64 {
			t.Errorf("%q: %q %v", name, rs.SessionName, err)
		}
	}
	l := session(true, time.Hour)
	l.Person = login.Person{}
	if rs, err := s.Credentials(t.Context(), l, account, time.Hour); err != nil || rs.SessionName != "setup-link" {
		t.Errorf("%q %v", rs.SessionName, err)
	}
}

// TestNobodyIsTrustedWithTheRole: no assertion, ID token or role gets it, and
// one that somebody else made in its place gives way under another id.
func TestNobodyIsTrustedWithTheRole(t *testing.T) {
	t.Parallel()
	const trusting = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"sts:AssumeRole"}]}`
	s := &store{}
	s.state.Add(&iam.RoleRecord{
		ID: "AROAEXAMPLEEXAMPLE000", Account: account, Path: "/", Name: "Carnet-Admin", MaxSession: time.Hour,
		Trust: iam.Policy{Name: "trust", Document: trusting},
	})
	a := authority(t, s)
	snapshot, err := a.Current()
	if err != nil {
		t.Fatal(err)
	}
	role, ok := snapshot.Role(arn.Role{Partition: "aws", Account: account, Path: "/", Name: "carnet-admin"})
	if !ok || role.ID == "AROAEXAMPLEEXAMPLE000" || len(snapshot.View().Roles(account)) != 1 {
		t.Fatalf("%+v", snapshot.View().Roles(account))
	}
	for _, p := range []policy.Principal{
		{Account: account, ARN: "arn:aws:iam::" + account + ":root"}, {Account: account, ARN: "arn:aws:iam::" + account + ":role/x", UniqueID: "AROAX"},
		{Provider: "arn:aws:iam::" + account + ":saml-provider/idp"}, {Provider: "arn:aws:iam::" + account + ":oidc-provider/i"},
	} {
		for _, action := range []string{"sts:AssumeRole", "sts:AssumeRoleWithSAML", "sts:AssumeRoleWithWebIdentity"} {
			if v := role.Trust.Trusts(&policy.Request{Principal: p, Action: action, Resource: role.ARN.String(), ResourceAccount: account}); v.Allow || !v.Explicit {
				t.Errorf("%+v may %s", p, action)
			}
		}
	}
	revision := s.state.Revision
	if err := a.EnsureAdministratorRoles(t.Context()); err != nil || s.state.Revision != revision {
		t.Errorf("made again: revision %d, %v", s.state.Revision, err)
	}
	err = a.Edit(t.Context(), event.Event{Action: "test"}, func(d *iam.Draft) error {
		d.Delete(iam.Ref{Kind: iam.KindRole, Account: account, Key: "carnet-admin"})
		return nil
	})
	if fault.Of(err).Code != "UnmodifiableEntity" {
		t.Errorf("an edit took it out: %v", err)
	}
}
