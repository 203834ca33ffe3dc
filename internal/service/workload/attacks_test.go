package workload_test

import (
	"testing"

	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/workload"
)

// TestAttackPersonsTokenOfADeliveredAccount: where a role's own keys stay in the
// server, a person has no token that buys them, by a policy as little as by their
// login session (TestAttackTokenOfADeliveredAccount of the broker).
func TestAttackPersonsTokenOfADeliveredAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	who, ask := workload.Principal{Person: w.alice.ID, IdP: okta}, workload.Ask{Audience: issuer.AudienceAWS, Role: analyst}
	w.must(w.dir.MapRole(t.Context(), string(w.alice.ID), role(analyst), directory.FromAdmin, ""))
	account := w.Accounts["111122223333"]
	for _, c := range []struct {
		deliver string
		local   bool
		refused bool
	}{{"direct", false, false}, {"gateway", false, true}, {"gateway", true, false}} {
		account.Deliver, account.Local = c.deliver, c.local
		w.Accounts["111122223333"] = account
		if _, err := w.ask(who, ask); (code(err) == workload.CodeTarget) != c.refused || err != nil && !c.refused {
			t.Errorf("deliver %s, local %v: %v", c.deliver, c.local, err)
		}
	}
	// A service principal trades by itself, and so does the server for its gateway keys.
	account.Deliver, account.Local = "gateway", false
	w.Accounts["111122223333"] = account
	d := w.delegation()
	if _, err := w.ask(workload.Principal{ServicePrincipal: d.ServicePrincipal, Delegation: d.ID}, workload.Ask{Audience: issuer.AudienceAWS}); err != nil {
		t.Error(err)
	}
}
