package federation_test

import (
	"errors"
	"reflect"
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
		AdministratorGroups: []string{"admins"}, GroupsAttribute: "g", AllowAutoCreate: true, Created: time.UnixMilli(1_700_000_000_123).UTC(), Revision: 1,
		Settings: federation.Settings{RequestBinding: "post", SignRequests: true, ForceAuthn: true, AuthnContexts: []string{"urn:x"}, AllowUnsolicited: true,
			Signed: "both", Encryption: "required", AllowCBC: true, AllowSHA1: true, CertificateDates: "ignore", MapSessionName: true,
			UserNameAttribute: "uid", DisplayNameAttribute: "cn", MailAttribute: "mail", MetadataURL: "https://idp/m", MetadataPin: []string{"ab"},
			RoleTemplates: []federation.RoleTemplate{{Group: "g-{r}", Account: "111122223333", Role: "{r}", Provider: "p"}}},
		Kept: federation.Kept{Fetched: time.UnixMilli(1_700_000_000_123).UTC(), Error: "away", Failed: 2, Pending: []byte("<new/>"),
			PendingSince: time.UnixMilli(1_700_000_000_124).UTC(), Why: "new", Warned: []string{"x"}}}
}

// openID is an OpenID provider with every field set.
func openID(name, issuer, client string) federation.IdP {
	p := full(name, issuer)
	age := 0
	p.Protocol, p.Metadata, p.Settings = federation.OIDC, nil, federation.Settings{RoleTemplates: p.RoleTemplates}
	p.OIDC = federation.OIDCSettings{Issuer: issuer, ClientID: client, SealedSecret: []byte("sealed\x00"), ClientAuth: "post", Scopes: []string{"a"},
		UserNameClaim: "u", DisplayNameClaim: "d", MailClaim: "m", GroupsClaim: "g", RolesClaim: "r", ACRValues: []string{"high"}, MaxAge: &age}
	return p
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
		b, a, op := full("b", "https://b"), full("A", "https://a"), openID("op", "https://a", "one")
		a.Enabled, a.AllowAutoCreate, a.AdministratorGroups, a.GroupsAttribute = false, false, nil, ""
		a.Settings, a.Kept = federation.Settings{}, federation.Kept{}
		for _, p := range []federation.IdP{b, a, op} {
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
		if diff := cmp.Diff([]federation.IdP{a, b, op}, got, cmp.Exporter(func(reflect.Type) bool { return true })); diff != "" {
			t.Errorf("read back (-want +got):\n%s", diff)
		}
		for _, taken := range []federation.IdP{full("B", "https://new"), full("new", "https://a"), openID("new", "https://a", "one")} {
			if err := s.Add(t.Context(), taken); !errors.Is(err, fault.New(fault.Conflict, "")) {
				t.Errorf("name %s, entity id %s: %v", taken.Name, taken.EntityID, err)
			}
		}
		for _, want := range []bool{true, false} {
			if found, err := s.Remove(t.Context(), b.ID); err != nil || found != want {
				t.Errorf("Remove = %v, %v; want %v", found, err, want)
			}
		}
		if err := s.Add(t.Context(), openID("second client", "https://a", "two")); err != nil {
			t.Errorf("another client of one issuer: %v", err)
		}
		if got, err = s.All(t.Context()); err != nil || len(got) != 3 || !slices.Equal(got[0].Metadata, a.Metadata) {
			t.Errorf("left: %v, %v", got, err)
		}
	})
}

// TestUpdate: of two who change the same state one wins, and no name or entity
// id is taken twice.
func TestUpdate(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		s := sqlfederation.Store{DB: sqltest.OpenWith(t, c)}
		a, b := full("a", "https://a"), full("b", "https://b")
		for _, p := range []federation.IdP{a, b} {
			if err := s.Add(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		changed := a
		changed.Name, changed.Enabled, changed.Settings = "A2", false, federation.Settings{Signed: "response"}
		for _, want := range []bool{true, false} {
			if stood, err := s.Update(t.Context(), changed, 2); err != nil || stood != want {
				t.Errorf("Update = %v, %v; want %v", stood, err, want)
			}
		}
		changed.Revision = 2
		got, err := s.All(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]federation.IdP{changed, b}, got, cmp.Exporter(func(reflect.Type) bool { return true })); diff != "" {
			t.Errorf("after the change (-want +got):\n%s", diff)
		}
		for _, p := range []federation.IdP{{ID: a.ID, Name: "B", EntityID: "https://x", Revision: 2}, {ID: a.ID, Name: "x", EntityID: "https://b", Revision: 2}} {
			if _, err := s.Update(t.Context(), p, 3); !errors.Is(err, fault.New(fault.Conflict, "")) {
				t.Errorf("another's name or entity id: %v", err)
			}
		}
		if stood, err := s.Update(t.Context(), full("gone", "https://gone"), 2); stood || err != nil {
			t.Errorf("an update of nothing: %v, %v", stood, err)
		}
	})
}

// TestInstallation: the first row stays, whoever comes second.
func TestInstallation(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		s, other := sqlfederation.Store{DB: sqltest.OpenWith(t, c)}, sqlfederation.Store{DB: sqltest.OpenWith(t, c)}
		first := federation.Installation{Organisation: "one", Switches: federation.Switches{UnifiedLogin: true}}
		for _, st := range []sqlfederation.Store{s, other} {
			if got, err := st.Installation(t.Context(), first); err != nil || got != first {
				t.Errorf("Installation = %v, %v", got, err)
			}
		}
		if err := other.SetSwitches(t.Context(), federation.Switches{}); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Installation(t.Context(), federation.Installation{Organisation: "two"}); err != nil || got.Organisation != "one" || got.UnifiedLogin {
			t.Errorf("after the switch: %v, %v", got, err)
		}
	})
}
