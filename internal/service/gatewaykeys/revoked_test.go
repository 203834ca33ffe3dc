package gatewaykeys_test

import (
	"slices"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/gatewaykeys"
	"carnet.dev/carnet/internal/service/revocation"
)

// TestAttackRolesTakenBack: what a server keeps for a gateway key ends with the role,
// and with the very keys, that were taken back; others are asked for at once.
func TestAttackRolesTakenBack(t *testing.T) {
	w := newWorld(t)
	revoke := func(kind, id string) {
		t.Helper()
		_, err := w.feed.Revoke(t.Context(), kind, id)
		w.must(err)
		w.must(w.feed.Confirm(t.Context()))
	}
	h := w.holder(w.make(w.ann("1/analyst", "7/reader")))
	keys := func(asked int) string {
		t.Helper()
		k, err := w.Keys(t.Context(), h, role("7/reader"))
		w.must(err)
		if n := w.count("credentials"); n != asked {
			t.Errorf("asked %d times, want %d", n, asked)
		}
		return k.AccessKeyID
	}
	id := keys(1)
	keys(1)
	revoke(revocation.Role, role("1/hr").String())
	keys(1)
	revoke(revocation.AccessKey, id)
	keys(2)
	keys(2)
	before := w.count("heard")
	revoke(revocation.Role, role("7/reader").String())
	keys(3)
	if w.count("heard") == before {
		t.Error("what the owner holds is not asked anew")
	}
}

// TestAttackAClusterTakenBack: a gateway key for a cluster ends when that is taken back.
func TestAttackAClusterTakenBack(t *testing.T) {
	w := newWorld(t)
	c, err := w.clusters.Add(t.Context(), cluster.Cluster{Name: "lab", Kind: cluster.HighConcurrency, Binding: cluster.Binding{Networks: w.ann().Binding.Networks}})
	w.must(err)
	of := func() gatewaykeys.NewKey { n := w.ann("1/analyst"); n.Cluster = "LAB"; return n }
	bound, free := w.make(of()), w.make(w.ann("1/analyst"))
	h, other := w.holder(bound), w.holder(free)
	_, err = w.feed.Revoke(t.Context(), revocation.Cluster, string(c.ID))
	w.must(err)
	w.must(w.feed.Confirm(t.Context()))
	wantFault(t, "in use", w.Holds(h), "ExpiredToken")
	_, _, err = w.Find(t.Context(), bound.AccessKeyID)
	wantFault(t, "found anew", err, "ExpiredToken")
	w.must(w.Holds(other))
	w.holder(w.make(of()))
}

// TestAttackKeysUnderWayWhileTheirRoleIsTakenBack: who waits for keys gets none that
// were asked for before the role was taken back.
func TestAttackKeysUnderWayWhileTheirRoleIsTakenBack(t *testing.T) {
	w := newWorld(t)
	h := w.holder(w.make(w.ann("7/reader")))
	w.set(func() { w.slow = 300 * time.Millisecond })
	done := make(chan error)
	go func() {
		_, err := w.Keys(t.Context(), h, role("7/reader"))
		done <- err
	}()
	for w.count("credentials") == 0 {
		time.Sleep(time.Millisecond)
	}
	_, err := w.feed.Revoke(t.Context(), revocation.Role, role("7/reader").String())
	w.must(err)
	w.must(w.feed.Confirm(t.Context()))
	w.must(<-done)
	if n := w.count("credentials"); n != 2 {
		t.Errorf("asked %d times: the keys are from before", n)
	}
}

// TestKeysOfAPerson: those that work as the person and stand, whatever they rest on, and
// nobody else's.
func TestKeysOfAPerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.make(w.ann())
	person := first.Owner.Person
	if person == "" {
		t.Fatalf("%+v", first)
	}
	rolled, err := w.Roll(t.Context(), first.ID, time.Hour)
	w.must(err)
	if got := w.OfPerson(person); len(got) != 2 || !slices.ContainsFunc(got, func(l gatewaykeys.Listed) bool { return l.ID == first.ID && l.RolledTo == rolled.ID }) {
		t.Errorf("%+v", got)
	}
	w.must(w.Revoke(t.Context(), first.ID))
	if got := w.OfPerson(person); len(got) != 1 || got[0].ID != rolled.ID || got[0].State != gatewaykeys.Active {
		t.Errorf("%+v", got)
	}
	for _, other := range []identity.PersonID{"", "psn_nobody"} {
		if got := w.OfPerson(other); len(got) != 0 {
			t.Errorf("%q has %+v", other, got)
		}
	}
	_, err = w.feed.Revoke(t.Context(), revocation.GatewayKey, string(rolled.ID))
	w.must(err)
	w.must(w.feed.Confirm(t.Context()))
	if got := w.OfPerson(person); len(got) != 0 {
		t.Errorf("a key that was revoked by the feed stands: %+v", got)
	}
}
