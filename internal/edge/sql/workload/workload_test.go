package workload_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	sqlworkload "carnet.dev/carnet/internal/edge/sql/workload"
	"carnet.dev/carnet/internal/service/workload"
)

func at(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

func both(t *testing.T, test func(t *testing.T, s, other sqlworkload.Store)) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		test(t, sqlworkload.Store{DB: sqltest.OpenWith(t, c)}, sqlworkload.Store{DB: sqltest.OpenWith(t, c)})
	})
}

func policy(name string, sp identity.ServicePrincipalID) workload.FederationPolicy {
	p := workload.FederationPolicy{ID: identity.NewFederationPolicyID(), Name: name, Issuer: "https://issuer.example", Audiences: []string{"a", "b"},
		Subject: "repo:x", SubjectClaim: "sub", ServicePrincipal: sp, Created: at(5)}
	if sp == "" {
		p.IdP, p.Subject, p.JWKS = "idp_x", "", []byte("{\"keys\":[]}\x00\xff")
	} else {
		p.JWKSURL = "https://issuer.example/keys"
	}
	return p
}

// TestPolicies is the conformance suite of workload.Policies.
func TestPolicies(t *testing.T) {
	both(t, func(t *testing.T, s, other sqlworkload.Store) {
		changed := make(chan struct{}, 20)
		if err := other.WatchPolicies(t.Context(), func() { changed <- struct{}{} }); err != nil {
			t.Fatal(err)
		}
		first, people := policy("GitHub", "spn_a"), policy("github", "")
		people.Audiences = []string{}
		for _, p := range []workload.FederationPolicy{first, people} {
			if err := s.AddPolicy(t.Context(), p, 2); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case <-changed:
		case <-time.After(5 * time.Second):
			t.Error("another server was not told")
		}
		code := func(err error, want string) {
			t.Helper()
			if !errors.Is(err, fault.Coded(fault.Conflict, want, "")) {
				t.Errorf("error %v: want a conflict %s", err, want)
			}
		}
		code(s.AddPolicy(t.Context(), policy("gitHUB", "spn_a"), 2), "federation-policy.name")
		if err := s.AddPolicy(t.Context(), policy("GitHub", "spn_b"), 2); err != nil {
			t.Errorf("another service principal may have the name: %v", err)
		}
		second := policy("second", "spn_a")
		if err := s.AddPolicy(t.Context(), second, 2); err != nil {
			t.Error(err)
		}
		code(s.AddPolicy(t.Context(), policy("third", "spn_a"), 2), "federation-policy.most")
		if err := other.ForgetServicePrincipal(t.Context(), "spn_b"); err != nil {
			t.Error(err)
		}
		if err := other.ForgetServicePrincipal(t.Context(), ""); err != nil { // takes nothing of people's
			t.Error(err)
		}
		for _, want := range []bool{true, false} {
			if gone, err := other.RemovePolicy(t.Context(), second.ID); err != nil || gone != want {
				t.Errorf("RemovePolicy = %v, %v; want %v", gone, err, want)
			}
		}
		got, err := s.Policies(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := []workload.FederationPolicy{first, people}
		if first.ID > people.ID {
			want = []workload.FederationPolicy{people, first}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("policies (-want +got):\n%s", diff)
		}
	})
}

func delegation(person identity.PersonID, sp identity.ServicePrincipalID, created, expires int64) workload.Delegation {
	role, err := arn.ParseRole("arn:aws:iam::111122223333:role/team/analyst")
	if err != nil {
		panic(err)
	}
	return workload.Delegation{ID: identity.NewDelegationID(), Person: person, IdP: "idp_x", Role: role, ServicePrincipal: sp, Label: "näightly ☾",
		Created: at(created), Expires: at(expires), Epoch: 7,
		Evidence: workload.Evidence{LoginSession: "lgn_x", UserName: "alice@example.com", SignedIn: at(3)}}
}

// TestDelegations is the conformance suite of workload.Delegations.
func TestDelegations(t *testing.T) {
	both(t, func(t *testing.T, s, other sqlworkload.Store) {
		a, b, c := delegation("psn_a", "spn_a", 10, 100), delegation("psn_a", "spn_b", 20, 1000), delegation("psn_b", "spn_a", 30, 1000)
		c.IdP, c.Cluster = "idp_y", "cls_1"
		for _, d := range []workload.Delegation{a, b, c} {
			if err := s.AddDelegation(t.Context(), d, 2); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.AddDelegation(t.Context(), delegation("psn_a", "spn_a", 40, 500), 2); !errors.Is(err, fault.Coded(fault.Conflict, "delegation.most", "")) {
			t.Errorf("a third that stands: %v", err)
		}
		d := delegation("psn_a", "spn_c", 100, 2000) // the first has ended by then
		if err := s.AddDelegation(t.Context(), d, 2); err != nil {
			t.Error(err)
		}
		for _, want := range []bool{true, false} {
			if done, err := other.EndDelegation(t.Context(), b.ID, at(50)); err != nil || done != want {
				t.Errorf("EndDelegation = %v, %v; want %v", done, err, want)
			}
		}
		if done, err := other.EndDelegation(t.Context(), "dlg_none", at(50)); err != nil || done {
			t.Errorf("EndDelegation of none = %v, %v", done, err)
		}
		b.Revoked = at(50)
		for name, c := range map[string]struct {
			of   workload.Of
			want []workload.Delegation
		}{
			"all":                    {workload.Of{}, []workload.Delegation{a, b, c, d}},
			"of a person":            {workload.Of{Person: "psn_a"}, []workload.Delegation{a, b, d}},
			"of an IdP":              {workload.Of{IdP: "idp_y"}, []workload.Delegation{c}},
			"to a service principal": {workload.Of{ServicePrincipal: "spn_a"}, []workload.Delegation{a, c}},
			"both":                   {workload.Of{Person: "psn_a", ServicePrincipal: "spn_b"}, []workload.Delegation{b}},
			"nobody's":               {workload.Of{Person: "psn_z"}, nil},
		} {
			got, err := s.Delegations(t.Context(), c.of)
			if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
				t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
			}
		}
		if got, err := other.Delegation(t.Context(), b.ID); err != nil || !cmp.Equal(got, b) {
			t.Errorf("Delegation = %+v, %v", got, err)
		}
		if _, err := other.Delegation(t.Context(), "dlg_none"); fault.KindOf(err) != fault.NotFound {
			t.Errorf("Delegation of none: %v", err)
		}
		if err := s.SweepDelegations(t.Context(), at(101)); err != nil {
			t.Fatal(err)
		}
		if err := s.ForgetServicePrincipal(t.Context(), "spn_c"); err != nil {
			t.Fatal(err)
		}
		got, err := s.Delegations(t.Context(), workload.Of{})
		if diff := cmp.Diff([]workload.Delegation{c}, got); err != nil || diff != "" {
			t.Errorf("after sweeping and forgetting: %v (-want +got):\n%s", err, diff)
		}
	})
}

// TestBoundsHoldUnderRace: two that come at once don't both pass the bound.
func TestBoundsHoldUnderRace(t *testing.T) {
	both(t, func(t *testing.T, s, other sqlworkload.Store) {
		results := make(chan error, 8)
		for i := range 8 {
			store := s
			if i%2 == 1 {
				store = other
			}
			go func() {
				results <- store.AddPolicy(t.Context(), policy(fmt.Sprint("policy ", i), "spn_a"), 3)
			}()
		}
		stored := 0
		for range 8 {
			err := <-results
			if err == nil {
				stored++
			} else if fault.KindOf(err) != fault.Conflict {
				t.Error(err)
			}
		}
		if stored != 3 {
			t.Errorf("%d were stored: want 3", stored)
		}
	})
}
