package cli_test

import (
	"context"
	"sync"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/workload"
)

// delegations keeps those of the scripts' person.
type delegations struct {
	mu  sync.Mutex
	all []workload.Listed
}

func (d *delegations) Delegate(_ context.Context, l login.LoginSession, n workload.NewDelegation) (workload.Listed, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	held, err := l.Role(n.Role)
	if err != nil {
		return workload.Listed{}, err
	}
	if n.ServicePrincipal != "nightly" {
		return workload.Listed{}, fault.Coded(fault.NotFound, "delegation.service-principal", "no service principal is called "+n.ServicePrincipal)
	}
	now := time.Now()
	x := workload.Listed{State: workload.Active, MachineName: "nightly", Delegation: workload.Delegation{ID: "dlg_one", Role: held.Role, ServicePrincipal: "spn_nightly",
		Label: n.Label, Created: now, Expires: now.Add(n.Lifetime)}}
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
			d.all[i].State, d.all[i].Revoked = workload.Revoked, time.Now()
			return nil
		}
	}
	return fault.Coded(fault.NotFound, "delegation.unknown", "you have no such delegation")
}
