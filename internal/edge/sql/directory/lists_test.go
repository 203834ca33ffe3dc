package directory_test

import (
	"fmt"
	"testing"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/service/directory"
)

func TestLists(t *testing.T) {
	each(t, func(t *testing.T, d *directory.Directory) {
		alice := ensure(t, d, okta, "00u1", "alice")
		robot, err := d.NewServicePrincipal(t.Context(), "Robot", "")
		must(t, err)
		inner, err := d.NewGroup(t.Context(), "Analysts", "ext-1")
		must(t, err)
		outer, err := d.NewGroup(t.Context(), "data", "")
		must(t, err)
		for _, member := range []string{string(alice.ID), string(inner.ID), string(robot.ID)} {
			must(t, d.Groups.AddMember(t.Context(), outer.ID, member))
		}
		must(t, d.Groups.AddMember(t.Context(), inner.ID, string(alice.ID)))

		var names []string
		for after := (directory.Group{}); ; {
			page, err := d.Lists.ListGroups(t.Context(), after, 1)
			must(t, err)
			if len(page) == 0 {
				break
			}
			after = page[0]
			names = append(names, after.Name)
		}
		if fmt.Sprint(names) != "[Analysts data]" {
			t.Errorf("groups: %v", names)
		}
		members, err := d.Lists.Members(t.Context(), outer.ID)
		must(t, err)
		want := []directory.Member{{ID: string(inner.ID), Name: "Analysts"}, {ID: string(alice.ID), Name: "alice"}, {ID: string(robot.ID), Name: "Robot"}}
		if fmt.Sprint(members) != fmt.Sprint(want) {
			t.Errorf("members: %v", members)
		}
		if in, err := d.Lists.MemberOf(t.Context(), string(alice.ID)); err != nil || len(in) != 2 || in[0].Name != "Analysts" || in[1].Name != "data" {
			t.Errorf("alice is in %v, %v", in, err)
		}
		if g, err := d.Lists.Group(t.Context(), inner.ID); err != nil || g != inner && g.ExternalID != "ext-1" {
			t.Errorf("%+v, %v", g, err)
		}
		_, err = d.Lists.Group(t.Context(), "grp_nobody")
		wantFault(t, err, fault.NotFound, "")
	})
}

// TestOwnMappingsOfWhomeverIsOff: what would count again is still told.
func TestOwnMappingsOfWhomeverIsOff(t *testing.T) {
	each(t, func(t *testing.T, d *directory.Directory) {
		alice := ensure(t, d, okta, "00u1", "alice")
		must(t, d.MapRole(t.Context(), string(alice.ID), role("analyst"), directory.FromAdmin, ""))
		must(t, d.SetActive(t.Context(), alice.ID, false))
		if got, err := d.EffectiveRoles(t.Context(), string(alice.ID)); err != nil || len(got) != 0 {
			t.Errorf("%v, %v", got, err)
		}
		if got, err := d.Mappings.Own(t.Context(), string(alice.ID)); err != nil || len(got) != 1 || got[0].Role != role("analyst") {
			t.Errorf("%v, %v", got, err)
		}
	})
}
