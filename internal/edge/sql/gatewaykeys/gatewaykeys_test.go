package gatewaykeys_test

import (
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	sqlgatewaykeys "carnet.dev/carnet/internal/edge/sql/gatewaykeys"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/gatewaykeys"
)

func at(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

func role(name string) arn.Role {
	return arn.Role{Partition: "aws", Account: "111122223333", Path: "/", Name: name}
}

func both(t *testing.T, test func(t *testing.T, s, other sqlgatewaykeys.Store)) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		test(t, sqlgatewaykeys.Store{DB: sqltest.OpenWith(t, c)}, sqlgatewaykeys.Store{DB: sqltest.OpenWith(t, c)})
	})
}

func key(owner identity.LoginSessionID, made, expires int64) gatewaykeys.Stored {
	return gatewaykeys.Stored{Sealed: []byte("\x00\xffsealed"), Key: gatewaykeys.Key{
		ID: identity.NewGatewayKeyID(), AccessKeyID: identity.NewGatewayAccessKeyID(),
		Owner:   gatewaykeys.Owner{LoginSession: owner, Person: "psn_a", IdP: "idp_a", Name: "ann@example.com"},
		Cluster: "trino", Binding: gatewaykeys.Binding{
			Networks:     []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/48")},
			Certificates: []gatewaykeys.Fingerprint{{1, 2}, {0xff}},
		},
		Roles: []arn.Role{role("analyst"), role("hr")}, Default: role("hr"),
		Made: at(made), Expires: at(expires), Epoch: 7,
	}}
}

func conflict(t *testing.T, err error, code string) {
	t.Helper()
	if !errors.Is(err, fault.Coded(fault.Conflict, code, "")) {
		t.Errorf("error %v: want a conflict %s", err, code)
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

var exact = cmp.Options{cmpopts.EquateComparable(netip.Prefix{}, arn.Role{})}

// TestKeys is the conformance suite of gatewaykeys.Keys.
func TestKeys(t *testing.T) {
	both(t, func(t *testing.T, s, other sqlgatewaykeys.Store) {
		ctx := t.Context()
		changed := make(chan struct{}, 20)
		if err := other.Watch(ctx, func() { changed <- struct{}{} }); err != nil {
			t.Fatal(err)
		}
		first, second := key("lgn_a", 100, 1000), key("lgn_a", 200, 2000)
		second.Cluster, second.Binding.Certificates, second.Default, second.Delivered, second.Attachment = "", nil, arn.Role{}, true, "att_1"
		second.Node = "nod_1"
		second.Owner = gatewaykeys.Owner{Delegation: "dlg_a", ServicePrincipal: "spn_a", Person: "psn_b", IdP: "idp_b", Name: "bob"}
		for _, k := range []gatewaykeys.Stored{first, second} {
			if err := s.AddKey(ctx, k, time.Time{}, 2); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case <-changed:
		case <-time.After(5 * time.Second):
			t.Error("another server was not told")
		}
		keys := must[[]gatewaykeys.Stored](t)
		if diff := cmp.Diff([]gatewaykeys.Stored{first, second}, keys(other.Keys(ctx, time.Time{})), exact); diff != "" {
			t.Errorf("what was stored is read otherwise:\n%s", diff)
		}
		if got := keys(other.Keys(ctx, at(1000))); len(got) != 1 || got[0].ID != second.ID {
			t.Errorf("later than the end of the first: %v", got)
		}
		// The first is rolled, once.
		next := key("lgn_a", 300, 3000)
		next.Follows = first.ID
		if err := other.AddKey(ctx, next, at(500), 2); err != nil {
			t.Fatal(err)
		}
		if got := keys(s.Keys(ctx, time.Time{})); !got[0].Expires.Equal(at(500)) || got[2].Follows != first.ID {
			t.Errorf("rolled: %v, follows %q", got[0].Expires, got[2].Follows)
		}
		again := key("lgn_b", 300, 3000)
		again.Follows = first.ID
		err := s.AddKey(ctx, again, at(400), 2)
		conflict(t, err, "gateway-key.rolled")
		if strings.Contains(strings.ToLower(err.Error()), "constraint") {
			t.Errorf("a refusal in the database's words: %v", err)
		}
		if got := keys(s.Keys(ctx, time.Time{})); !got[0].Expires.Equal(at(500)) || len(got) != 3 {
			t.Error("a roll that was refused changed something")
		}
		// A roll never lets a key live longer.
		last := key("lgn_c", 350, 3000)
		last.Follows = next.ID
		if err := s.AddKey(ctx, last, at(9000), 2); err != nil {
			t.Fatal(err)
		}
		if got := keys(s.Keys(ctx, time.Time{})); !got[2].Expires.Equal(at(3000)) {
			t.Errorf("a roll moved the end to %v", got[2].Expires)
		}
		// Two of the owner stand at 300; at 600 the first has ended.
		conflict(t, s.AddKey(ctx, key("lgn_a", 301, 3000), time.Time{}, 2), "gateway-key.most")
		if err := s.AddKey(ctx, key("lgn_a", 600, 3000), time.Time{}, 2); err != nil {
			t.Errorf("an ended key counts: %v", err)
		}
		marked := must[bool](t)
		for _, want := range []bool{true, false} {
			if got := marked(other.RevokeKey(ctx, next.ID, at(700))); got != want {
				t.Errorf("revoked: %v, want %v", got, want)
			}
			if got := marked(other.UseKey(ctx, second.ID, at(800))); got != want {
				t.Errorf("first use: %v, want %v", got, want)
			}
		}
		if marked(s.RevokeKey(ctx, "gwk_none", at(1))) || marked(s.UseKey(ctx, "gwk_none", at(1))) {
			t.Error("a key that is not there was marked")
		}
		if err := s.AddKey(ctx, key("lgn_a", 600, 3000), time.Time{}, 2); err != nil {
			t.Errorf("a revoked key counts: %v", err)
		}
		if err := s.SweepKeys(ctx, at(2000)); err != nil {
			t.Fatal(err)
		}
		got := keys(s.Keys(ctx, time.Time{}))
		if len(got) != 5 || got[0].ID != second.ID || !got[0].Used.Equal(at(800)) || !got[1].Revoked.Equal(at(700)) {
			t.Errorf("after the sweep: %d keys, the first %s", len(got), got[0].ID)
		}
	})
}

// TestOneRollWins: of rolls at the same moment by several servers one is stored.
func TestOneRollWins(t *testing.T) {
	both(t, func(t *testing.T, s, other sqlgatewaykeys.Store) {
		first := key("lgn_a", 100, 9000)
		if err := s.AddKey(t.Context(), first, time.Time{}, 100); err != nil {
			t.Fatal(err)
		}
		const n = 8
		var won, lost int
		var mu sync.Mutex
		var all sync.WaitGroup
		for i := range n {
			all.Go(func() {
				next := key("lgn_a", 200, 9000)
				next.Follows = first.ID
				err := []sqlgatewaykeys.Store{s, other}[i%2].AddKey(t.Context(), next, at(500), 100)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					won++
				} else if fault.Of(err).Code == "gateway-key.rolled" {
					lost++
				} else {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if won != 1 || lost != n-1 {
			t.Errorf("%d rolls won, %d lost", won, lost)
		}
	})
}

// TestGrants is the conformance suite of gatewaykeys.Grants.
func TestGrants(t *testing.T) {
	both(t, func(t *testing.T, s, other sqlgatewaykeys.Store) {
		ctx := t.Context()
		grant := func(bucket, prefix, r string) gatewaykeys.Grant {
			return gatewaykeys.Grant{ID: identity.NewPrefixGrantID(), Bucket: bucket, Prefix: prefix, Role: role(r), Made: at(5)}
		}
		all := []gatewaykeys.Grant{grant("a", "", "analyst"), grant("a", "hr/", "analyst"), grant("a", "hr/", "hr"), grant("b", "Ünï code\\%_/", "hr")}
		for _, i := range []int{3, 1, 0, 2} {
			if err := s.AddGrant(ctx, all[i]); err != nil {
				t.Fatal(err)
			}
		}
		conflict(t, other.AddGrant(ctx, grant("a", "hr/", "hr")), "prefix-grant.there")
		list := must[[]gatewaykeys.Grant](t)
		if diff := cmp.Diff(all, list(other.Grants(ctx)), exact); diff != "" {
			t.Error(diff)
		}
		for _, want := range []bool{true, false} {
			if got := must[bool](t)(s.RemoveGrant(ctx, all[1].ID)); got != want {
				t.Errorf("removed: %v, want %v", got, want)
			}
		}
		if err := other.AddGrant(ctx, grant("a", "hr/", "analyst")); err != nil {
			t.Errorf("granted again: %v", err)
		}
	})
}
