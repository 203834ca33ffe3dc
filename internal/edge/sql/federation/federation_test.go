package federation_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	sqlfederation "carnet.dev/carnet/internal/edge/sql/federation"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/federation"
)

func full(name, entityID string) federation.IdP {
	return federation.IdP{ID: identity.NewIdPID(), Name: name, EntityID: entityID, Metadata: []byte("<md>\x00\xff</md>"), Enabled: true,
		Accounts: []string{"111122223333"}, RolePatterns: []string{"*", `a"b`}, UserNameDomains: []string{"example.com"},
		AdministratorGroups: []string{"admins"}, GroupsAttribute: "g", AllowAutoCreate: true, Created: time.UnixMilli(1_700_000_000_123).UTC()}
}

// TestStore is the conformance suite of federation.Store.
func TestStore(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		s := sqlfederation.Store{DB: sqltest.OpenWith(t, c)}
		other := sqlfederation.Store{DB: sqltest.OpenWith(t, c)}
		changed := make(chan struct{}, 10)
		if err := other.Watch(t.Context(), func() { changed <- struct{}{} }); err != nil {
			t.Fatal(err)
		}
		b, a := full("b", "https://b"), full("A", "https://a")
		a.Enabled, a.AllowAutoCreate, a.AdministratorGroups, a.GroupsAttribute = false, false, nil, ""
		for _, p := range []federation.IdP{b, a} {
			if err := s.Add(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case <-changed:
		case <-time.After(5 * time.Second):
			t.Error("another server was not told")
		}
		got, err := other.All(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]federation.IdP{a, b}, got); diff != "" {
			t.Errorf("read back (-want +got):\n%s", diff)
		}
		for _, taken := range []federation.IdP{full("B", "https://new"), full("new", "https://a")} {
			if err := s.Add(t.Context(), taken); !errors.Is(err, fault.New(fault.Conflict, "")) {
				t.Errorf("name %s, entity id %s: %v", taken.Name, taken.EntityID, err)
			}
		}
		for _, want := range []bool{true, false} {
			if found, err := s.Remove(t.Context(), b.ID); err != nil || found != want {
				t.Errorf("Remove = %v, %v; want %v", found, err, want)
			}
		}
		if got, err = s.All(t.Context()); err != nil || len(got) != 1 || !slices.Equal(got[0].Metadata, a.Metadata) {
			t.Errorf("left: %v, %v", got, err)
		}
	})
}
