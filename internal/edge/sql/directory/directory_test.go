package directory_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	sqldirectory "carnet.dev/carnet/internal/edge/sql/directory"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/directory"
)

const okta, entra identity.IdPID = "idp_okta", "idp_entra"

func role(name string) arn.Role {
	return arn.Role{Partition: "aws", Account: "111122223333", Path: "/", Name: name}
}

// each runs fn on a directory on every engine.
func each(t *testing.T, fn func(t *testing.T, d *directory.Directory)) {
	t.Helper()
	sqltest.Each(t, func(t *testing.T, c sql.Config) { fn(t, sqldirectory.On(sqltest.OpenWith(t, c), time.Now)) })
}

func ensure(t *testing.T, d *directory.Directory, idp identity.IdPID, subject, name string) directory.Person {
	t.Helper()
	p, _, err := d.EnsurePerson(t.Context(), idp, subject, name, "", name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantFault(t *testing.T, err error, kind fault.Kind, code string) {
	t.Helper()
	if !errors.Is(err, fault.Coded(kind, code, "")) {
		t.Errorf("%v, want %v %s", err, kind, code)
	}
}

// held gives role names with their explanations.
func held(t *testing.T, d *directory.Directory, subject string) string {
	t.Helper()
	roles, err := d.EffectiveRoles(t.Context(), subject)
	must(t, err)
	var lines []string
	for _, r := range roles {
		for _, s := range r.Sources {
			lines = append(lines, r.Role.Name+": "+s.Explain())
		}
	}
	return strings.Join(lines, "; ")
}

func TestAPersonIsIdPAndSubject(t *testing.T) {
	each(t, func(t *testing.T, d *directory.Directory) {
		alice := ensure(t, d, okta, "00u1", "Alice@example.com")
		if again := ensure(t, d, okta, "00u1", "Alice@example.com"); again != alice {
			t.Errorf("%+v came back as %+v", alice, again)
		}
		if other := ensure(t, d, entra, "00u1", "Alice@example.com"); other.ID == alice.ID {
			t.Error("the same subject, name and mail at another IdP is the same person")
		}
		_, _, err := d.EnsurePerson(t.Context(), okta, "00U1", "alice@EXAMPLE.com", "", "")
		wantFault(t, err, fault.Conflict, "directory.user-name")
		renamed := ensure(t, d, okta, "00u1", "alice.smith@example.com")
		if renamed.ID != alice.ID || renamed.UserName != "alice.smith@example.com" {
			t.Errorf("a renamed person is %+v", renamed)
		}
		if p, err := d.Identities.ByUserName(t.Context(), okta, "ALICE.smith@example.com"); err != nil || p.ID != alice.ID {
			t.Errorf("by name: %+v, %v", p, err)
		}
	})
}

func TestOnePersonHoweverManyArrive(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		servers := []*directory.Directory{
			sqldirectory.On(sqltest.OpenWith(t, c), time.Now), sqldirectory.On(sqltest.OpenWith(t, c), time.Now),
		}
		var ids sync.Map
		var created atomic.Int64
		var wg sync.WaitGroup
		for i := range 12 {
			wg.Go(func() {
				p, fresh, err := servers[i%2].EnsurePerson(t.Context(), okta, "00u1", "alice", "", "")
				if err != nil {
					t.Error(err)
				}
				if fresh {
					created.Add(1)
				}
				ids.Store(p.ID, true)
			})
		}
		wg.Wait()
		n := 0
		ids.Range(func(any, any) bool { n++; return true })
		if n != 1 || created.Load() != 1 {
			t.Errorf("%d persons, made %d times", n, created.Load())
		}
	})
}

func TestJustInTimeSwitchAndActiveFlag(t *testing.T) {
	each(t, func(t *testing.T, d *directory.Directory) {
		_, err := d.KnownPerson(t.Context(), okta, "00u1", "alice", "", "")
		wantFault(t, err, fault.Denied, "directory.unknown")
		alice := ensure(t, d, okta, "00u1", "alice")
		if p, err := d.KnownPerson(t.Context(), okta, "00u1", "alice", "Alice", ""); err != nil || p.ID != alice.ID || p.DisplayName != "Alice" {
			t.Errorf("%+v, %v", p, err)
		}
		must(t, d.MapRole(t.Context(), string(alice.ID), role("analyst"), directory.FromAdmin, ""))
		must(t, d.SetActive(t.Context(), alice.ID, false))
		_, _, err = d.EnsurePerson(t.Context(), okta, "00u1", "alice", "", "")
		wantFault(t, err, fault.Denied, "directory.inactive")
		if got := held(t, d, string(alice.ID)); got != "" {
			t.Errorf("who is switched off holds %s", got)
		}
		must(t, d.SetActive(t.Context(), alice.ID, true))
		if got := held(t, d, string(alice.ID)); got != "analyst: given by an administrator" {
			t.Errorf("switched on again: %q", got)
		}
	})
}

func TestARemadeNameInheritsNothing(t *testing.T) {
	each(t, func(t *testing.T, d *directory.Directory) {
		alice := ensure(t, d, okta, "00u1", "alice")
		g, err := d.NewGroup(t.Context(), "Analysts", "")
		must(t, err)
		must(t, d.Groups.AddMember(t.Context(), g.ID, string(alice.ID)))
		must(t, d.MapRole(t.Context(), string(alice.ID), role("own"), directory.FromAdmin, ""))
		must(t, d.MapRole(t.Context(), string(g.ID), role("group"), directory.FromAdmin, ""))
		must(t, d.SetAdministrator(t.Context(), alice.ID, true))
		must(t, d.Identities.Link(t.Context(), alice.ID, entra, "e1"))
		must(t, d.People.Delete(t.Context(), alice.ID))
		again := ensure(t, d, okta, "00u1", "alice")
		if again.ID == alice.ID || again.Administrator || held(t, d, string(again.ID)) != "" {
			t.Errorf("the new alice is %+v and holds %q", again, held(t, d, string(again.ID)))
		}
		if linked := ensure(t, d, entra, "e1", "alice"); linked.ID == again.ID {
			t.Error("the old link leads to the new alice")
		}
		must(t, d.Groups.AddMember(t.Context(), g.ID, string(again.ID)))
		must(t, d.Groups.DeleteGroup(t.Context(), g.ID))
		anew, err := d.NewGroup(t.Context(), "analysts", "")
		must(t, err)
		must(t, d.MapRole(t.Context(), string(anew.ID), role("new"), directory.FromAdmin, ""))
		if got := held(t, d, string(again.ID)); got != "" {
			t.Errorf("a group made anew under the old name gives %s", got)
		}
		if got := held(t, d, string(alice.ID)); got != "" {
			t.Errorf("a deleted person holds %s", got)
		}
	})
}

func TestLinkingNeverTakesAPersonOver(t *testing.T) {
	each(t, func(t *testing.T, d *directory.Directory) {
		alice, mallory := ensure(t, d, okta, "a", "alice"), ensure(t, d, entra, "m", "alice")
		wantFault(t, d.Identities.Link(t.Context(), alice.ID, entra, "m"), fault.Conflict, "")
		must(t, d.Identities.Link(t.Context(), alice.ID, entra, "a2"))
		p, _, err := d.EnsurePerson(t.Context(), entra, "a2", "someone-else", "Changed", "")
		if err != nil || p.ID != alice.ID || p.UserName != "alice" || p.DisplayName != "" {
			t.Errorf("the linked identity is %+v, %v", p, err)
		}
		must(t, d.SetExternalID(t.Context(), alice.ID, "x"))
		must(t, d.SetExternalID(t.Context(), mallory.ID, "x")) // another IdP's space
		if p, err := d.Identities.ByExternalID(t.Context(), okta, "x"); err != nil || p.ID != alice.ID {
			t.Errorf("%+v, %v", p, err)
		}
		if p, err := d.Subject(t.Context(), entra, "a2", "other", false); err != nil || p.ID != alice.ID {
			t.Errorf("%+v, %v", p, err)
		}
		if p, err := d.Subject(t.Context(), entra, "n2", "new", true); err != nil || p.UserName != "new" || p.ID == alice.ID {
			t.Errorf("%+v, %v", p, err)
		}
		_, err = d.Subject(t.Context(), entra, "unknown", "unknown", false)
		wantFault(t, err, fault.Denied, "directory.unknown")
		must(t, d.SetActive(t.Context(), alice.ID, false))
		_, err = d.Subject(t.Context(), okta, "a", "x", true)
		wantFault(t, err, fault.Denied, "directory.inactive")
		must(t, d.SetActive(t.Context(), alice.ID, true))
		bob := ensure(t, d, okta, "b", "bob")
		wantFault(t, d.SetExternalID(t.Context(), bob.ID, "x"), fault.Conflict, "")
		_, err = d.Identities.ByExternalID(t.Context(), okta, "")
		wantFault(t, err, fault.NotFound, "")
	})
}

func TestRolesThroughNestedGroups(t *testing.T) {
	each(t, func(t *testing.T, d *directory.Directory) {
		alice := ensure(t, d, okta, "a", "alice")
		groups := map[string]directory.Group{}
		for _, name := range []string{"team", "department", "company", "guild"} {
			g, err := d.NewGroup(t.Context(), name, "")
			must(t, err)
			groups[name] = g
		}
		add := func(g, member string) error { return d.Groups.AddMember(t.Context(), groups[g].ID, member) }
		must(t, add("team", string(alice.ID)))
		must(t, add("department", string(groups["team"].ID)))
		must(t, add("company", string(groups["department"].ID)))
		must(t, add("guild", string(alice.ID)))
		must(t, add("company", string(groups["guild"].ID))) // a second, shorter way
		must(t, d.MapRole(t.Context(), string(groups["company"].ID), role("reader"), directory.FromSCIM, okta))
		must(t, d.MapRole(t.Context(), string(groups["department"].ID), role("writer"), directory.FromAdmin, ""))
		must(t, d.MapRole(t.Context(), string(alice.ID), role("reader"), directory.FromAdmin, ""))
		want := "reader: through groups guild in company, given by provisioning (SCIM) by idp_okta; reader: given by an administrator; " +
			"writer: through groups team in department, given by an administrator"
		if got := held(t, d, string(alice.ID)); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		roles, err := d.EffectiveRoles(t.Context(), string(alice.ID))
		must(t, err)
		if got := roles[1].Sources[0].TakenAwayBy(); got != "leaving groups team in department, or an administrator taking it away" {
			t.Errorf("taken away by %q", got)
		}
		for _, inner := range []string{"company", "department", "team"} {
			wantFault(t, add("team", string(groups[inner].ID)), fault.Conflict, "directory.circle")
		}
		must(t, d.Groups.RemoveMember(t.Context(), groups["team"].ID, string(alice.ID)))
		must(t, d.Groups.RemoveMember(t.Context(), groups["guild"].ID, string(alice.ID)))
		if got := held(t, d, string(alice.ID)); got != "reader: given by an administrator" {
			t.Errorf("after leaving: %s", got)
		}
	})
}

// TestNoCircleFromBothSides: two servers each close half of a circle at once.
func TestNoCircleFromBothSides(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		a, b := sqldirectory.On(sqltest.OpenWith(t, c), time.Now), sqldirectory.On(sqltest.OpenWith(t, c), time.Now)
		for round := range 10 {
			g, err := a.NewGroup(t.Context(), fmt.Sprint("g", round), "")
			must(t, err)
			h, err := a.NewGroup(t.Context(), fmt.Sprint("h", round), "")
			must(t, err)
			var refused atomic.Int64
			var wg sync.WaitGroup
			join := func(d *directory.Directory, outer, inner directory.Group) {
				if err := d.Groups.AddMember(t.Context(), outer.ID, string(inner.ID)); err != nil {
					wantFault(t, err, fault.Conflict, "directory.circle")
					refused.Add(1)
				}
			}
			wg.Go(func() { join(a, g, h) })
			wg.Go(func() { join(b, h, g) })
			wg.Wait()
			if refused.Load() != 1 {
				t.Errorf("round %d: %d of 2 refused", round, refused.Load())
			}
		}
	})
}

func TestSyncReplacesWithinTheList(t *testing.T) {
	each(t, func(t *testing.T, d *directory.Directory) {
		alice := ensure(t, d, okta, "a", "alice")
		id := string(alice.ID)
		outside := role("outside")
		within := func(r arn.Role) bool { return r != outside }
		for _, r := range []arn.Role{role("a"), role("b"), outside} {
			must(t, d.MapRole(t.Context(), id, r, directory.FromAdmin, ""))
		}
		issued := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
		sync := func(at time.Time, roles ...arn.Role) directory.Change {
			t.Helper()
			c, err := d.SyncRoles(t.Context(), directory.Sync{Person: alice.ID, IdP: okta, Subject: "a",
				Issued: at, Roles: roles, Within: within, Origin: directory.FromSAML})
			must(t, err)
			return c
		}
		c := sync(issued, role("b"), role("c"), outside, role("c"))
		if fmt.Sprint(c.Added, c.Removed) != fmt.Sprint([]arn.Role{role("c")}, []arn.Role{role("a")}) {
			t.Errorf("added %v, removed %v", c.Added, c.Removed)
		}
		want := "b: given by the last SAML sign-in through idp_okta; c: given by the last SAML sign-in through idp_okta; outside: given by an administrator"
		if got := held(t, d, id); got != want {
			t.Errorf("got %s", got)
		}
		if c := sync(issued.Add(-time.Second), role("a")); !c.Stale || held(t, d, id) != want {
			t.Errorf("an older assertion changed %+v to %s", c, held(t, d, id))
		}
		if c := sync(issued.Add(time.Second)); len(c.Removed) != 2 || held(t, d, id) != "outside: given by an administrator" {
			t.Errorf("absent roles: %+v, %s", c, held(t, d, id))
		}
		if _, err := d.SyncRoles(t.Context(), directory.Sync{Person: alice.ID, IdP: okta, Subject: "a", Origin: directory.FromSAML}); err == nil {
			t.Error("a sync without bounds was taken")
		}
	})
}

func TestArrivalsThatCantBeKept(t *testing.T) {
	d := sqldirectory.On(sqltest.Open(t), time.Now)
	for name, a := range map[string]directory.Arrival{
		"no subject":          {IdP: okta, UserName: "x"},
		"subject not UTF-8":   {IdP: okta, Subject: "\xff", UserName: "x"},
		"NUL in the subject":  {IdP: okta, Subject: "a\x00b", UserName: "x"},
		"subject too long":    {IdP: okta, Subject: strings.Repeat("x", 1025), UserName: "x"},
		"no name":             {IdP: okta, Subject: "s"},
		"space around":        {IdP: okta, Subject: "s", UserName: "x "},
		"control character":   {IdP: okta, Subject: "s", UserName: "x\ny"},
		"unseen character":    {IdP: okta, Subject: "s", UserName: "ali\u200bce"},
		"text turned around":  {IdP: okta, Subject: "s", UserName: "ali\u202ece"},
		"name too long":       {IdP: okta, Subject: "s", UserName: strings.Repeat("x", 257)},
		"display not UTF-8":   {IdP: okta, Subject: "s", UserName: "x", DisplayName: "\xff"},
		"display with a NUL":  {IdP: okta, Subject: "s", UserName: "x", DisplayName: "a\x00"},
		"mail over the limit": {IdP: okta, Subject: "s", UserName: "x", Mail: strings.Repeat("x", 257)},
	} {
		a.MayCreate = true
		if _, _, err := d.Arrive(t.Context(), a); !errors.Is(err, fault.New(fault.Invalid, "")) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if p, err := d.People.People(t.Context(), directory.Person{}, 10); err != nil || len(p) != 0 {
		t.Errorf("refused arrivals left %v, %v", p, err)
	}
}

func TestFold(t *testing.T) {
	for _, same := range [][2]string{{"Alice", "aLICE"}, {"\u212Aelvin", "kelvin"}, {"ΣΊΣΥΦΟΣ", "σίσυφος"}} {
		if directory.Fold(same[0]) != directory.Fold(same[1]) {
			t.Errorf("%q and %q are apart", same[0], same[1])
		}
	}
	for _, apart := range [][2]string{{"straße", "strasse"}, {"a", "b"}, {"i", "ı"}} {
		if directory.Fold(apart[0]) == directory.Fold(apart[1]) {
			t.Errorf("%q and %q are one", apart[0], apart[1])
		}
	}
}

func TestServicePrincipalsHoldRolesToo(t *testing.T) {
	each(t, func(t *testing.T, d *directory.Directory) {
		s, err := d.NewServicePrincipal(t.Context(), "nightly", "")
		must(t, err)
		_, err = d.NewServicePrincipal(t.Context(), "NIGHTLY", "")
		wantFault(t, err, fault.Conflict, "")
		must(t, d.MapRole(t.Context(), string(s.ID), role("pipeline"), directory.FromAdmin, ""))
		if got := held(t, d, string(s.ID)); got != "pipeline: given by an administrator" {
			t.Errorf("%q", got)
		}
		s.Active = false
		must(t, d.ServicePrincipals.PutServicePrincipal(t.Context(), s))
		if got := held(t, d, string(s.ID)); got != "" {
			t.Errorf("switched off: %q", got)
		}
		for _, on := range []bool{true, false} {
			must(t, d.SetServicePrincipalActive(t.Context(), s.ID, on))
			held, err := d.EffectiveRoles(t.Context(), string(s.ID))
			must(t, err)
			if p, err := d.ServicePrincipals.ServicePrincipal(t.Context(), s.ID); err != nil || p.Active != on || (len(held) > 0) != on {
				t.Errorf("switched to %v: %+v, %v, holds %v", on, p, err, held)
			}
		}
		if err := d.SetServicePrincipalActive(t.Context(), "spn_none", true); fault.KindOf(err) != fault.NotFound {
			t.Errorf("switching nobody on: %v", err)
		}
		must(t, d.ServicePrincipals.DeleteServicePrincipal(t.Context(), s.ID))
		_, err = d.ServicePrincipals.ServicePrincipal(t.Context(), s.ID)
		wantFault(t, err, fault.NotFound, "")
		wantFault(t, d.MapRole(t.Context(), string(s.ID), role("x"), directory.FromAdmin, ""), fault.NotFound, "")
	})
}

func TestPagesLoseNobody(t *testing.T) {
	each(t, func(t *testing.T, d *directory.Directory) {
		for _, idp := range []identity.IdPID{okta, entra} {
			for i := range 5 {
				ensure(t, d, idp, fmt.Sprint(i), fmt.Sprintf("User%d", i))
			}
		}
		seen := map[identity.PersonID]bool{}
		var last directory.Person
		for {
			page, err := d.People.People(t.Context(), last, 3)
			must(t, err)
			if len(page) == 0 {
				break
			}
			for _, p := range page {
				seen[p.ID] = true
			}
			last = page[len(page)-1]
		}
		if len(seen) != 10 {
			t.Errorf("pages showed %d of 10", len(seen))
		}
	})
}
