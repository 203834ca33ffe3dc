package federation_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/devidp"
	"carnet.dev/carnet/internal/edge/devidp/forge"
	sqlfederation "carnet.dev/carnet/internal/edge/sql/federation"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/federation"
)

const account = "111122223333"

func open(t *testing.T) *federation.Service {
	t.Helper()
	s, err := federation.New(t.Context(), federation.Config{
		Store: sqlfederation.Store{DB: sqltest.Open(t)}, Accounts: []federation.Account{{ID: account}, {ID: "444455556666"}}, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func entered(t *testing.T) federation.IdP {
	t.Helper()
	return federation.IdP{Name: "Example", Metadata: forge.NewECDSA(t, time.Now()).Metadata(), Enabled: true,
		Accounts: []string{account}, RolePatterns: []string{"arn:aws:iam::*:role/data-*"}, UserNameDomains: []string{"@Example.COM"}}
}

func TestAddListRemove(t *testing.T) {
	t.Parallel()
	s := open(t)
	p, err := s.Add(t.Context(), entered(t))
	if err != nil {
		t.Fatal(err)
	}
	if p.ID == "" || p.EntityID != forge.EntityID || p.Created.IsZero() || p.UserNameDomains[0] != "example.com" {
		t.Errorf("stored form: %+v", p)
	}
	got, err := s.Get(t.Context(), p.ID)
	if err != nil || got.Name != "Example" {
		t.Errorf("Get = %+v, %v", got, err)
	}
	if all := s.List(); len(all) != 1 {
		t.Errorf("List = %v", all)
	}
	if empty, err := s.Empty(); err != nil || empty {
		t.Errorf("Empty = %v, %v", empty, err)
	}
	again := entered(t)
	again.Name = "Another"
	if _, err := s.Add(t.Context(), again); !errors.Is(err, fault.Coded(fault.Conflict, "federation.taken", "")) {
		t.Errorf("a second identity provider with the same entity id: %v", err)
	}
	if err := s.Remove(t.Context(), p.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Speaker(p.ID); fault.KindOf(err) != fault.NotFound {
		t.Errorf("after its removal: %v", err)
	}
	if err := s.Remove(t.Context(), p.ID); fault.KindOf(err) != fault.NotFound {
		t.Errorf("second removal: %v", err)
	}
}

func TestAddRefuses(t *testing.T) {
	t.Parallel()
	s, honest, certificate := open(t), entered(t), forge.NewECDSA(t, time.Now()).Certificate
	for name, tt := range map[string]struct {
		change func(*federation.IdP)
		want   string
	}{
		"no name":             {func(p *federation.IdP) { p.Name = "  " }, "name"},
		"control in name":     {func(p *federation.IdP) { p.Name = "a\nb" }, "name"},
		"no metadata":         {func(p *federation.IdP) { p.Metadata = nil }, "metadata"},
		"huge metadata":       {func(p *federation.IdP) { p.Metadata = make([]byte, 1_000_001) }, "metadata"},
		"not metadata":        {func(p *federation.IdP) { p.Metadata = []byte("<html/>") }, ""},
		"no account":          {func(p *federation.IdP) { p.Accounts = nil }, "no account"},
		"blank account":       {func(p *federation.IdP) { p.Accounts = []string{" "} }, "no account"},
		"account of 11":       {func(p *federation.IdP) { p.Accounts = []string{"11112222333"} }, "12 digits"},
		"account star":        {func(p *federation.IdP) { p.Accounts = []string{"*"} }, "12 digits"},
		"unknown account":     {func(p *federation.IdP) { p.Accounts = []string{"999999999999"} }, "no such account"},
		"no pattern":          {func(p *federation.IdP) { p.RolePatterns = nil }, "no role pattern"},
		"pattern without arn": {func(p *federation.IdP) { p.RolePatterns = []string{"data-*"} }, "ARN"},
		"pattern not ascii":   {func(p *federation.IdP) { p.RolePatterns = []string{"arn:aws:iam::*:role/dätä"} }, "ASCII"},
		"no domain":           {func(p *federation.IdP) { p.UserNameDomains = nil }, "no user-name domain"},
		"domain wildcard":     {func(p *federation.IdP) { p.UserNameDomains = []string{"*.example.com"} }, "domain"},
		"domain with user":    {func(p *federation.IdP) { p.UserNameDomains = []string{"a@example.com"} }, "domain"},
		"too many entries":    {func(p *federation.IdP) { p.RolePatterns = make([]string, 1001) }, "at most"},
		"control in group":    {func(p *federation.IdP) { p.AdministratorGroups = []string{"a\x00"} }, "group"},
		"control in groups":   {func(p *federation.IdP) { p.GroupsAttribute = "a\nb" }, "groups attribute"},
		"sign-on by http": {func(p *federation.IdP) {
			p.Metadata = devidp.Describe(forge.EntityID, "http://idp.example.com/sso", certificate)
		}, "not https"},
		"sign-on by script": {func(p *federation.IdP) {
			p.Metadata = devidp.Describe(forge.EntityID, "javascript:alert(1)", certificate)
		}, ""},
	} {
		p := honest
		tt.change(&p)
		_, err := s.Add(t.Context(), p)
		if err == nil || fault.KindOf(err) == fault.Internal || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, tt.want)
		}
	}
	if empty, err := s.Empty(); err != nil || !empty {
		t.Errorf("something was stored: %v, %v", s.List(), err)
	}
}

func TestDisabledSpeaksForNobody(t *testing.T) {
	t.Parallel()
	s := open(t)
	p := entered(t)
	p.Enabled = false
	p, err := s.Add(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Speaker(p.ID); !errors.Is(err, fault.Coded(fault.Denied, "federation.disabled", "")) {
		t.Errorf("Speaker = %v", err)
	}
}

func TestAnotherServerSeesChanges(t *testing.T) {
	t.Parallel()
	db := sqltest.Open(t)
	var servers [2]*federation.Service
	for i := range servers {
		var err error
		if servers[i], err = federation.New(t.Context(), federation.Config{Store: sqlfederation.Store{DB: db}, Now: time.Now}); err != nil {
			t.Fatal(err)
		}
	}
	p, err := servers[0].Add(t.Context(), entered(t))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { _, err := servers[1].Speaker(p.ID); return err == nil })
	if err := servers[0].Remove(t.Context(), p.ID); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { _, err := servers[1].Speaker(p.ID); return err != nil })
}

func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	for range 200 {
		if holds() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Error("a change did not reach the other server within a second")
}

// TestUnreadableListSilencesAll: a change that can't be read may have been a
// removal, so nobody's word counts until it is read.
func TestUnreadableListSilencesAll(t *testing.T) {
	meta := forge.NewECDSA(t, time.Now()).Metadata()
	synctest.Test(t, func(t *testing.T) {
		store := &failing{all: []federation.IdP{{ID: "idp_a", Name: "A", Metadata: meta, Enabled: true}}}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s, err := federation.New(ctx, federation.Config{Store: store, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Speaker("idp_a"); err != nil {
			t.Fatal(err)
		}
		store.fail(errors.New("the database is away"))
		go store.changed()
		synctest.Wait()
		if _, err := s.Speaker("idp_a"); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("with an unreadable list: %v", err)
		}
		if _, err := s.Empty(); fault.KindOf(err) != fault.Unavailable || len(s.List()) != 0 {
			t.Errorf("an unreadable list passed for an empty one: %v", err)
		}
		store.fail(nil)
		time.Sleep(2 * time.Second)
		if _, err := s.Speaker("idp_a"); err != nil {
			t.Errorf("after the list could be read again: %v", err)
		}
	})
}

type failing struct {
	federation.Store
	all     []federation.IdP
	changed func()

	mu  sync.Mutex
	err error
}

func (f *failing) All(context.Context) ([]federation.IdP, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.all, f.err
}

func (f *failing) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *failing) Watch(_ context.Context, changed func()) error {
	f.changed = changed
	return nil
}

func TestDamagedMetadataLeavesTheOthers(t *testing.T) {
	t.Parallel()
	good := forge.NewECDSA(t, time.Now()).Metadata()
	store := &failing{all: []federation.IdP{{ID: "idp_a", Name: "A", Metadata: []byte("<"), Enabled: true}, {ID: "idp_b", Name: "B", Metadata: good, Enabled: true}}}
	s, err := federation.New(t.Context(), federation.Config{Store: store, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Speaker("idp_a"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("the damaged one: %v", err)
	}
	if _, err := s.Speaker("idp_b"); err != nil {
		t.Errorf("the other one: %v", err)
	}
}

func TestMayAssertRole(t *testing.T) {
	t.Parallel()
	const role = "arn:aws:iam::111122223333:role/data-sales"
	for _, tt := range []struct {
		accounts, patterns []string
		role               string
		want               bool
	}{
		{[]string{account}, []string{"*"}, role, true},
		{[]string{account}, []string{"arn:aws:iam::*:role/data-*"}, role, true},
		{[]string{account}, []string{role}, role, true},
		{[]string{account}, []string{"arn:aws:iam::*:role/*-*-x", "arn:*sales"}, role, true},
		{[]string{account}, []string{"arn:aws:iam::*:role/data-*"}, "arn:aws:iam::111122223333:role/admin", false},
		{[]string{account}, []string{"arn:aws:iam::111122223333:role/data"}, role, false},
		{[]string{account}, []string{"arn:aws:iam::111122223333:role/DATA-*"}, role, false},
		{[]string{account}, []string{"arn:aws:iam::111122223333:role/d*a*s*t"}, role, false},
		{[]string{account}, nil, role, false},
		{nil, []string{"*"}, role, false},
		{[]string{"*"}, []string{"*"}, role, false},
		{[]string{"444455556666"}, []string{"*"}, role, false},
		{[]string{account}, []string{"arn:aws:iam::*:role/data-*"}, "arn:aws-cn:iam::111122223333:role/data-sales", false},
	} {
		r, err := arn.ParseRole(tt.role)
		if err != nil {
			t.Fatal(err)
		}
		sp := &federation.Speaker{IdP: federation.IdP{Name: "x", Accounts: tt.accounts, RolePatterns: tt.patterns}}
		if bound := sp.MayAssertRole(r); (bound == "") != tt.want {
			t.Errorf("accounts %v, patterns %v, role %s: %q", tt.accounts, tt.patterns, tt.role, bound)
		}
	}
}

func TestMayAssertUser(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		domains []string
		user    string
		want    bool
	}{
		{[]string{"example.com"}, "ann@example.com", true},
		{[]string{"example.com"}, "Ann@EXAMPLE.com", true},
		{[]string{"a.org", "example.com"}, "ann@example.com", true},
		{[]string{"*"}, "ann", true},
		{[]string{"example.com"}, "ann", false},
		{[]string{"example.com"}, "example.com", false},
		{[]string{"example.com"}, "ann@sub.example.com", false},
		{[]string{"example.com"}, "ann@badexample.com", false},
		{[]string{"example.com"}, "ann@example.com.evil.org", false},
		{[]string{"example.com"}, "ann@example.com@evil.org", false},
		{[]string{"example.com"}, "ann@evil.org@example.com", true}, // the last domain is the domain
		{[]string{"kk.com"}, "ann@\u212a\u212a.com", false},         // Kelvin signs
		{nil, "ann@example.com", false},
	} {
		sp := &federation.Speaker{IdP: federation.IdP{Name: "x", UserNameDomains: tt.domains}}
		if bound := sp.MayAssertUser(tt.user); (bound == "") != tt.want {
			t.Errorf("domains %v, user %q: %q", tt.domains, tt.user, bound)
		}
	}
}

func TestMakesAdministrator(t *testing.T) {
	t.Parallel()
	sp := &federation.Speaker{IdP: federation.IdP{AdministratorGroups: []string{"carnet-admins"}}}
	for group, want := range map[string]bool{"carnet-admins": true, "Carnet-Admins": false, "carnet-admins ": false, "": false} {
		if got := sp.MakesAdministrator([]string{"staff", group}); got != want {
			t.Errorf("group %q: %v", group, got)
		}
	}
	none := &federation.Speaker{}
	if none.MakesAdministrator([]string{""}) {
		t.Error("an identity provider without administrator groups made an administrator")
	}
	if identity.IdPID("") != sp.IdP.ID || sp.GroupsAttribute() != "groups" {
		t.Error("the groups attribute has no default")
	}
}
