package provisioning_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	sqldirectory "carnet.dev/carnet/internal/edge/sql/directory"
	sqlprovisioning "carnet.dev/carnet/internal/edge/sql/provisioning"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/protocol/scim"
	"carnet.dev/carnet/internal/service/directory"
	. "carnet.dev/carnet/internal/service/provisioning"
)

const corp, lab = identity.IdPID("idp_corp"), identity.IdPID("idp_lab")

var now = time.UnixMilli(1_800_000_000_000).UTC()

func both(t *testing.T, test func(t *testing.T, s sqlprovisioning.Store, d *directory.Directory)) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		db := sqltest.OpenWith(t, c)
		test(t, sqlprovisioning.Store{DB: db}, sqldirectory.On(db, func() time.Time { return now }))
	})
}

func person(idp identity.IdPID, name string) Row {
	return Row{Kind: User, ID: string(identity.NewPersonID()), IdP: idp, Name: name, Active: true, Version: 1, Created: now, Changed: now}
}

func group(idp identity.IdPID, name string, members ...string) Row {
	r := Row{Kind: Group, ID: string(identity.NewGroupID()), IdP: idp, Name: name, Version: 1, Active: true, Created: now, Changed: now}
	for _, m := range members {
		r.Members = append(r.Members, Member{ID: m})
	}
	return r
}

func add(t *testing.T, s Store, r Row) Row {
	t.Helper()
	out, err := s.Add(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func role(t *testing.T, name string) arn.Role {
	t.Helper()
	r, err := arn.ParseRole("arn:aws:iam::111122223333:role/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func uniqueness(err error) bool { return fault.Of(err).Code == scim.CodeUniqueness }

// TestStore is the conformance suite of provisioning.Store.
func TestStore(t *testing.T) {
	both(t, func(t *testing.T, s sqlprovisioning.Store, d *directory.Directory) {
		ann := person(corp, "Ann@example.com")
		ann.ExternalID, ann.DisplayName, ann.Mail, ann.Rest, ann.Roles = "e1", "Ann", "a@x", []byte(`{"title":"T"}`), []arn.Role{role(t, "b"), role(t, "a")}
		got := add(t, s, ann)
		if got.ID != ann.ID || got.Name != ann.Name || string(got.Rest) != string(ann.Rest) || !slices.Equal(got.Roles, []arn.Role{role(t, "a"), role(t, "b")}) || got.Version != 1 || !got.Created.Equal(now) {
			t.Errorf("%+v", got)
		}
		bob := add(t, s, person(corp, "bob"))
		add(t, s, person(lab, "bob")) // another provider's
		team := add(t, s, group(corp, "Team", ann.ID, bob.ID))
		if len(team.Members) != 2 {
			t.Errorf("%+v", team)
		}
		if got, err := s.Rows(t.Context(), Page{Kind: User, IdP: corp, By: "userName", Value: "ANN@EXAMPLE.COM", Most: 5}); err != nil || len(got) != 1 || len(got[0].Groups) != 1 || got[0].Groups[0].Name != "Team" {
			t.Errorf("%+v %v", got, err)
		}
		if got, err := s.Rows(t.Context(), Page{Kind: User, IdP: corp, By: "externalId", Value: "e1", Most: 5}); err != nil || len(got) != 1 {
			t.Errorf("%+v %v", got, err)
		}
		if n, err := s.Count(t.Context(), User, corp); err != nil || n != 2 {
			t.Errorf("%d %v", n, err)
		}
		if got, err := s.Rows(t.Context(), Page{Kind: User, IdP: corp, Skip: 1, Most: 5}); err != nil || len(got) != 1 || got[0].Name != "bob" {
			t.Errorf("%+v %v", got, err)
		}
		for name, r := range map[string]Row{"name": person(corp, "BOB"), "external id": func() Row { r := person(corp, "new"); r.ExternalID = "e1"; return r }(), "group": group(corp, "TEAM"), "group of another": group(lab, "team")} {
			if _, err := s.Add(t.Context(), r); !uniqueness(err) {
				t.Errorf("a taken %s: %v", name, err)
			}
		}
		before, after, err := s.Change(t.Context(), User, corp, ann.ID, func(r Row) (Row, error) {
			r.Active, r.Roles, r.Changed = false, []arn.Role{role(t, "a")}, now.Add(time.Second)
			return r, nil
		})
		if err != nil || !before.Active || after.Active || after.Version != 2 || len(after.Roles) != 1 || !after.Changed.Equal(now.Add(time.Second)) {
			t.Errorf("%+v %+v %v", before, after, err)
		}
		if _, same, err := s.Change(t.Context(), User, corp, ann.ID, func(r Row) (Row, error) { r.Changed = now.Add(time.Hour); return r, nil }); err != nil || same.Version != 2 || same.Changed.Equal(now.Add(time.Hour)) {
			t.Errorf("nothing changed: %+v %v", same, err)
		}
		if _, _, err := s.Change(t.Context(), User, corp, ann.ID, func(r Row) (Row, error) { r.Name = "bob"; return r, nil }); !uniqueness(err) {
			t.Errorf("a taken name: %v", err)
		}
		if err := s.Delete(t.Context(), User, corp, ann.ID); err != nil {
			t.Fatal(err)
		}
		anew := add(t, s, person(corp, "ann@example.com"))
		if len(anew.Roles) != 0 || len(anew.Groups) != 0 || anew.ID == ann.ID {
			t.Errorf("a name that came again inherits: %+v", anew)
		}
	})
}

// TestOthersAreNotSeen: neither another provider's, nor what an administrator made.
func TestOthersAreNotSeen(t *testing.T) {
	both(t, func(t *testing.T, s sqlprovisioning.Store, d *directory.Directory) {
		ann := add(t, s, person(corp, "ann"))
		admins, err := d.NewGroup(t.Context(), "Admins", "")
		if err != nil {
			t.Fatal(err)
		}
		notFound := func(what string, err error) {
			t.Helper()
			if !errors.Is(err, fault.New(fault.NotFound, "")) {
				t.Errorf("%s: %v", what, err)
			}
		}
		touch := func(r Row) (Row, error) { r.Name = "mine"; return r, nil }
		_, _, err = s.Change(t.Context(), User, lab, ann.ID, touch)
		notFound("another provider's person", err)
		_, _, err = s.Change(t.Context(), Group, corp, string(admins.ID), touch)
		notFound("an administrator's group", err)
		notFound("another provider's person", s.Delete(t.Context(), User, lab, ann.ID))
		notFound("an administrator's group", s.Delete(t.Context(), Group, corp, string(admins.ID)))
		notFound("a person as a group", s.Delete(t.Context(), Group, corp, ann.ID))
		eve := add(t, s, person(lab, "eve"))
		for _, member := range []string{eve.ID, string(admins.ID), "psn_nobody", "xyz"} {
			if _, err := s.Add(t.Context(), group(corp, "G", member)); fault.Of(err).Code != scim.CodeValue {
				t.Errorf("member %s: %v", member, err)
			}
		}
		// What an administrator gave is not the provider's to show or take.
		if err := d.MapRole(t.Context(), ann.ID, role(t, "x"), directory.FromAdmin, ""); err != nil {
			t.Fatal(err)
		}
		_, after, err := s.Change(t.Context(), User, corp, ann.ID, func(r Row) (Row, error) { r.Roles, r.DisplayName = nil, "A"; return r, nil })
		if err != nil || len(after.Roles) != 0 {
			t.Errorf("%+v %v", after, err)
		}
		if held, err := d.EffectiveRoles(t.Context(), ann.ID); err != nil || len(held) != 1 {
			t.Errorf("%+v %v", held, err)
		}
	})
}

// TestFirstSignInClaims: the identity that a provider proves under the announced
// name, and no other.
func TestFirstSignInClaims(t *testing.T) {
	both(t, func(t *testing.T, s sqlprovisioning.Store, d *directory.Directory) {
		ann, bob := person(corp, "Ann@example.com"), person(corp, "bob@example.com")
		bob.ExternalID = "0042"
		ann, bob = add(t, s, ann), add(t, s, bob)
		if _, err := d.KnownPerson(t.Context(), lab, "ann@example.com", "ann@example.com", "", ""); fault.Of(err).Code != "directory.unknown" {
			t.Errorf("another provider claims: %v", err)
		}
		if _, _, err := d.EnsurePerson(t.Context(), corp, "opaque", "ann@example.com", "", ""); fault.Of(err).Code != "directory.user-name" {
			t.Errorf("an attribute claims: %v", err)
		}
		p, err := d.KnownPerson(t.Context(), corp, "ann@example.com", "Ann@example.com", "Ann", "")
		if err != nil || string(p.ID) != ann.ID {
			t.Errorf("%+v %v", p, err)
		}
		if p, err := d.KnownPerson(t.Context(), corp, "0042", "bob@example.com", "Bob", ""); err != nil || string(p.ID) != bob.ID {
			t.Errorf("%+v %v", p, err)
		}
		if _, err := d.KnownPerson(t.Context(), corp, "bob@example.com", "bob@example.com", "", ""); err == nil {
			t.Error("a second identity claims")
		}
		if _, _, err := s.Change(t.Context(), User, corp, ann.ID, func(r Row) (Row, error) { r.Active = false; return r, nil }); err != nil {
			t.Fatal(err)
		}
		if _, err := d.KnownPerson(t.Context(), corp, "ann@example.com", "Ann@example.com", "", ""); fault.Of(err).Code != "directory.inactive" {
			t.Errorf("one who is switched off: %v", err)
		}
	})
}

// TestRaces: of many that make one name one succeeds, and of many that add
// members nobody's is lost.
func TestRaces(t *testing.T) {
	both(t, func(t *testing.T, s sqlprovisioning.Store, _ *directory.Directory) {
		const many = 20
		var made sync.WaitGroup
		results := make([]error, many)
		for i := range many {
			made.Go(func() { _, results[i] = s.Add(t.Context(), person(corp, "same")) })
		}
		made.Wait()
		ok := 0
		for _, err := range results {
			if err == nil {
				ok++
			} else if !uniqueness(err) {
				t.Errorf("refused otherwise: %v", err)
			}
		}
		if ok != 1 {
			t.Errorf("%d of %d succeeded", ok, many)
		}
		team := add(t, s, group(corp, "Team"))
		people := make([]Row, many)
		for i := range people {
			people[i] = add(t, s, person(corp, fmt.Sprint("p", i)))
		}
		var joined sync.WaitGroup
		for i := range many {
			joined.Go(func() {
				_, _, results[i] = s.Change(t.Context(), Group, corp, team.ID, func(r Row) (Row, error) {
					r.Members = append(r.Members, Member{ID: people[i].ID})
					return r, nil
				})
			})
		}
		joined.Wait()
		for _, err := range results {
			if err != nil {
				t.Error(err)
			}
		}
		got, err := s.Rows(t.Context(), Page{Kind: Group, IdP: corp, By: "id", Value: team.ID, Most: 1, Members: true})
		if err != nil || len(got) != 1 || len(got[0].Members) != many || got[0].Version != many+1 {
			t.Errorf("%d members, version %d, %v", len(got[0].Members), got[0].Version, err)
		}
	})
}
