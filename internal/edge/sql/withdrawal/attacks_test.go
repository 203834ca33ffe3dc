package withdrawal_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/sql"
	sqlrevocation "carnet.dev/carnet/internal/edge/sql/revocation"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	sqlwithdrawal "carnet.dev/carnet/internal/edge/sql/withdrawal"
	"carnet.dev/carnet/internal/service/revocation"
	"carnet.dev/carnet/internal/service/withdrawal"
)

// paper is a trail, and delegations of which nobody has any.
type paper struct{}

func (paper) Record(context.Context, event.Event) error        { return nil }
func (paper) EndWith(context.Context, withdrawal.Target) error { return nil }

// serve is one server's part.
func serve(t *testing.T, c sql.Config, name string) *withdrawal.Service {
	t.Helper()
	db := sqltest.OpenWith(t, c)
	f, err := revocation.Open(t.Context(), revocation.Config{Store: sqlrevocation.Store{DB: db}, Server: name, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	s := sqlwithdrawal.Store{DB: db}
	return withdrawal.New(withdrawal.Config{Feed: f, Delegations: paper{}, Ledger: s, Denies: s, Holder: name, State: db, Trail: paper{}, Now: time.Now,
		Accounts: map[string]withdrawal.Account{"777788889999": {Partition: "aws", Writable: true, Margin: time.Second}}})
}

// given asks a server whether keys may be handed out, as one does that asked at epoch
// whether somebody may have them.
func given(ctx context.Context, s *withdrawal.Service, id, person string, epoch uint64) error {
	k := noted(id, person, role("analyst"), time.Now().Unix()+3600, 0).Key
	k.Person, k.Subject, k.Delegation, k.ServicePrincipal, k.Epoch = "psn_x", "user:psn_x", "", "", epoch
	k.Issued = time.Now()
	return s.Issued(ctx, "", k)
}

// TestAttackKeysFetchedWhileTheyAreTakenBack: a server that has not heard of a
// revocation yet, or is in the middle of fetching, gives no keys of AWS that nobody
// denies there.
func TestAttackKeysFetchedWhileTheyAreTakenBack(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		near, far := serve(t, c, "near"), serve(t, c, "far")
		ctx := t.Context()
		for i, target := range []withdrawal.Target{
			{Kind: revocation.Person, ID: "psn_x"}, {Kind: revocation.LoginSession, ID: "lgn_x"}, {Kind: revocation.Role, ID: role("analyst").String()},
			{Kind: revocation.Everything, ID: revocation.Everything},
		} {
			epoch, err := far.Epoch()
			if err != nil {
				t.Fatal(err)
			}
			if err := given(ctx, far, fmt.Sprint("ASIABEFORE", i), "ann", epoch); err != nil {
				t.Fatal(err)
			}
			if _, err := near.Revoke(ctx, target); err != nil {
				t.Fatal(err)
			}
			if err := given(ctx, far, fmt.Sprint("ASIALATE", i), "ann", epoch); fault.KindOf(err) != fault.Revoked {
				t.Errorf("%s: keys that were fetched meanwhile: %v", target.Kind, err)
			}
			if err := far.Feed.(*revocation.Feed).Confirm(ctx); err != nil {
				t.Fatal(err)
			}
			if epoch, err = far.Epoch(); err != nil {
				t.Fatal(err)
			}
			if err := given(ctx, far, fmt.Sprint("ASIAAFTER", i), "ann", epoch); err != nil {
				t.Errorf("%s: keys that were asked for afterwards: %v", target.Kind, err)
			}
		}
	})
}

// TestAttackKeysRaceTheirRevocation: whatever comes first, keys that were given are
// denied by the revocation.
func TestAttackKeysRaceTheirRevocation(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		near, far := serve(t, c, "near"), serve(t, c, "far")
		ctx := t.Context()
		for i := range 20 {
			epoch, err := far.Epoch()
			if err != nil {
				t.Fatal(err)
			}
			var all sync.WaitGroup
			var late error
			name := fmt.Sprintf("ann%d", i) // a deny of its own
			all.Go(func() { late = given(ctx, far, fmt.Sprint("ASIARACE", i), name, epoch) })
			all.Go(func() {
				if _, err := near.Revoke(ctx, withdrawal.Target{Kind: revocation.Person, ID: "psn_x"}); err != nil {
					t.Error(err)
				}
			})
			all.Wait()
			standing, err := near.Denies.Denies(ctx, role("analyst"))
			if err != nil {
				t.Fatal(err)
			}
			denied := false
			for _, d := range standing {
				denied = denied || d.Form == withdrawal.ByName && d.Value == name
			}
			if late == nil && !denied {
				t.Fatalf("round %d: keys were given, and nobody denies them", i)
			}
			if late != nil && fault.KindOf(late) != fault.Revoked {
				t.Fatal(errors.Join(late))
			}
			if err := far.Feed.(*revocation.Feed).Confirm(ctx); err != nil {
				t.Fatal(err)
			}
		}
	})
}
