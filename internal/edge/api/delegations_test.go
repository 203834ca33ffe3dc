package api_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/api/client"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/workload"
)

// delegations keeps them in a list.
type delegations struct {
	mu  sync.Mutex
	all []workload.Listed
}

func (d *delegations) Delegate(_ context.Context, l login.LoginSession, n workload.NewDelegation) (workload.Listed, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n.Role != "analyst" {
		return workload.Listed{}, fault.Coded(fault.NotFound, "role.unheld", "you don't hold that role")
	}
	x := workload.Listed{State: workload.Active, MachineName: n.ServicePrincipal, Delegation: workload.Delegation{ID: "dlg_1", Person: l.Person.ID, Role: analyst,
		ServicePrincipal: "spn_1", Label: n.Label, Created: start, Expires: start.Add(n.Lifetime)}}
	d.all = append(d.all, x)
	return x, nil
}

func (d *delegations) Own(context.Context, login.LoginSession) ([]workload.Listed, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]workload.Listed{}, d.all...), nil
}

func (d *delegations) EndOwn(_ context.Context, _ login.LoginSession, id identity.DelegationID) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.all {
		if d.all[i].ID == id {
			d.all[i].State, d.all[i].Revoked = workload.Revoked, start.Add(time.Minute)
			return nil
		}
	}
	return fault.New(fault.NotFound, "you have no such delegation")
}

func TestDelegations(t *testing.T) {
	t.Parallel()
	_, base, _ := serve(t)
	c, err := client.New(base, secret.New("cli-bob"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if all, err := c.Delegations(t.Context()); err != nil || len(all) != 0 {
		t.Fatal(all, err)
	}
	d, err := c.Delegate(t.Context(), client.NewDelegation{Role: "analyst", ServicePrincipal: "nightly", Label: "report", LifetimeSeconds: 3600})
	if err != nil || d.ID != "dlg_1" || d.Role != analyst.String() || d.State != "active" || d.Expires.Sub(d.Created) != time.Hour || d.Revoked != nil {
		t.Errorf("%+v, %v", d, err)
	}
	for name, n := range map[string]client.NewDelegation{
		"a role that is not held": {Role: "root"}, "backwards": {Role: "analyst", LifetimeSeconds: -1}, "for ever": {Role: "analyst", LifetimeSeconds: 1 << 40},
	} {
		if _, err := c.Delegate(t.Context(), n); err == nil {
			t.Error(name)
		}
	}
	if err := c.EndDelegation(t.Context(), "dlg_1"); err != nil {
		t.Error(err)
	}
	if err := c.EndDelegation(t.Context(), "../session"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("%v", err)
	}
	all, err := c.Delegations(t.Context())
	if err != nil || len(all) != 1 || all[0].State != "revoked" || all[0].Revoked == nil {
		t.Errorf("%+v, %v", all, err)
	}
}
