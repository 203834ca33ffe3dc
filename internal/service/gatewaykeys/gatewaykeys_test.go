package gatewaykeys_test

import (
	"context"
	"crypto/sha256"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/gatewaykeys"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/revocation"
)

// TestMake: what a key may be, and what it may not.
func TestMake(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.make(w.ann())
	if len(m.Secret.Reveal()) != 40 || !strings.HasPrefix(m.AccessKeyID, "GWKA") || len(m.AccessKeyID) != 20 {
		t.Errorf("%s, a secret of %d characters", m.AccessKeyID, len(m.Secret.Reveal()))
	}
	if !m.Expires.Equal(w.session.Expires) || !slices.Equal(m.Roles, roles("1/analyst", "1/hr", "7/reader")) || m.Owner.Name != "ann" || m.Owner.Person != "psn_ann" {
		t.Errorf("%+v", m.Key)
	}
	job := w.make(gatewaykeys.NewKey{Owner: gatewaykeys.Owner{Delegation: "dlg_ann"}, Binding: w.ann().Binding})
	if !job.Expires.Equal(w.job.Expires.UTC().Truncate(time.Second)) || !slices.Equal(job.Roles, roles("1/hr")) || job.Owner.ServicePrincipal != "spn_n" || job.Owner.Kind() != "delegation" {
		t.Errorf("%+v", job.Key)
	}
	// An account that takes no web identity serves nobody who is not signed in.
	machine := w.make(gatewaykeys.NewKey{Owner: gatewaykeys.Owner{ServicePrincipal: "spn_n"}, Binding: w.ann().Binding})
	if !slices.Equal(machine.Roles, roles("1/analyst")) || machine.Owner.Name != "nightly" {
		t.Errorf("%+v", machine.Key)
	}
	for what, c := range map[string]struct {
		change func(*gatewaykeys.NewKey)
		code   string
	}{
		"no owner":                {func(n *gatewaykeys.NewKey) { n.Owner = gatewaykeys.Owner{} }, ""},
		"somebody who is away":    {func(n *gatewaykeys.NewKey) { n.Owner.LoginSession = "lgn_bob" }, "login.required"},
		"a role that failed":      {func(n *gatewaykeys.NewKey) { n.Roles = roles("1/failed") }, "gateway-key.role"},
		"a role of others":        {func(n *gatewaykeys.NewKey) { n.Roles = roles("1/analyst", "1/boss") }, "gateway-key.role"},
		"a default of others":     {func(n *gatewaykeys.NewKey) { n.Roles, n.Default = roles("1/analyst"), role("1/hr") }, "gateway-key.default"},
		"unbound":                 {func(n *gatewaykeys.NewKey) { n.Binding = gatewaykeys.Binding{} }, "gateway-key.unbound"},
		"a cluster of no name":    {func(n *gatewaykeys.NewKey) { n.Cluster = "x" }, "gateway-key.cluster"},
		"a life of more than 24h": {func(n *gatewaykeys.NewKey) { n.Lifetime = 24*time.Hour + 1 }, "gateway-key.lifetime"},
		"a life of a moment":      {func(n *gatewaykeys.NewKey) { n.Lifetime = time.Second }, "gateway-key.lifetime"},
	} {
		n := w.ann()
		c.change(&n)
		if _, err := w.Make(t.Context(), n); err == nil || c.code != "" && fault.Of(err).Code != c.code {
			t.Errorf("%s: %v, want %s", what, err, c.code)
		}
	}
	w.set(func() { w.session.Person = login.Person{} })
	_, err := w.Make(t.Context(), w.ann())
	wantFault(t, "the bearer of a set-up link", err, "gateway-key.nobody")
}

// TestAttackStolenKey: whoever has a key but not its place has nothing, and is
// noticed.
func TestAttackStolenKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	certificate := []byte("a certificate in DER")
	fingerprint := gatewaykeys.Fingerprint(sha256.Sum256(certificate))
	_, err := w.clusters.Place(t.Context(), "Trino", gatewaykeys.Binding{Networks: []netip.Prefix{netip.MustParsePrefix("10.1.7.0/24")}, Certificates: []gatewaykeys.Fingerprint{fingerprint}})
	w.must(err)
	n := w.ann("1/analyst")
	n.Cluster = "trino"
	m := w.make(n)
	h, _, err := w.Find(t.Context(), m.AccessKeyID)
	w.must(err)
	with := func(p gatewaykeys.Peer, certificate []byte) gatewaykeys.Peer {
		p.Certificate = certificate
		return p
	}
	for what, p := range map[string]gatewaykeys.Peer{
		"outside":                   with(from("192.0.2.1"), certificate),
		"in the key's network only": with(from("10.1.8.1"), certificate),
		"without the certificate":   from("10.1.7.1"),
		"with another certificate":  with(from("10.1.7.1"), []byte("b")),
		"from nowhere":              with(gatewaykeys.Peer{}, certificate),
	} {
		wantFault(t, what, w.Admit(t.Context(), h, p), "AccessDenied")
	}
	w.must(w.Admit(t.Context(), h, with(from("10.1.7.1"), certificate)))
	w.must(w.Admit(t.Context(), h, with(from("::ffff:10.1.7.1"), certificate)))
	for began := time.Now(); w.trail.count("gateway-key.strayed") != 1 || w.trail.count("gateway-key.first-use") != 1; time.Sleep(time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			t.Fatalf("%d strayed uses and %d first uses are recorded", w.trail.count("gateway-key.strayed"), w.trail.count("gateway-key.first-use"))
		}
	}
	gone, err := w.clusters.Find("TRINO")
	w.must(err)
	w.must(w.clusters.Remove(t.Context(), gone.ID))
	wantFault(t, "a cluster that is gone", w.Admit(t.Context(), h, with(from("10.1.7.1"), certificate)), "AccessDenied")
	time.Sleep(2 * time.Millisecond) // clusters remember milliseconds
	_, err = w.clusters.Place(t.Context(), "Trino", gone.Binding)
	w.must(err)
	wantFault(t, "another cluster of its name", w.Admit(t.Context(), h, with(from("10.1.7.1"), certificate)), "AccessDenied")
}

// TestRevocations: everything that a key rests on ends it, at a server that never
// heard of it too.
func TestRevocations(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	machine := gatewaykeys.NewKey{Owner: gatewaykeys.Owner{ServicePrincipal: "spn_n"}, Binding: w.ann().Binding}
	job := gatewaykeys.NewKey{Owner: gatewaykeys.Owner{Delegation: "dlg_ann"}, Binding: w.ann().Binding}
	for _, c := range []struct {
		of       gatewaykeys.NewKey
		kind, id string
	}{
		{w.ann(), revocation.LoginSession, "lgn_ann"}, {w.ann(), revocation.Person, "psn_ann"}, {w.ann(), revocation.Everything, revocation.Everything},
		{machine, revocation.ServicePrincipal, "spn_n"}, {job, revocation.Delegation, "dlg_ann"}, {job, revocation.Person, "psn_ann"}, {job, revocation.ServicePrincipal, "spn_n"},
		{w.ann(), revocation.GatewayKey, ""}, {w.ann(), revocation.AccessKey, ""},
	} {
		w.must(w.feed.Confirm(t.Context()))
		m := w.make(c.of)
		h := w.holder(m)
		id := c.id
		switch {
		case c.kind == revocation.GatewayKey:
			w.must(w.Revoke(t.Context(), m.ID))
		case c.kind == revocation.AccessKey:
			id = m.AccessKeyID
			fallthrough
		default:
			_, err := w.feed.Revoke(t.Context(), c.kind, id)
			w.must(err)
		}
		w.must(w.feed.Confirm(t.Context()))
		if err := w.Holds(h); fault.KindOf(err) != fault.Revoked {
			t.Errorf("%s %s: a transfer under way goes on: %v", c.kind, id, err)
		}
		if _, _, err := w.Find(t.Context(), m.AccessKeyID); err == nil {
			t.Errorf("%s %s: the key is found", c.kind, id)
		}
		all, err := w.List(t.Context())
		w.must(err)
		if i := slices.IndexFunc(all, func(l gatewaykeys.Listed) bool { return l.ID == m.ID }); i < 0 || all[i].State != gatewaykeys.Revoked {
			t.Errorf("%s %s: it is listed as %v", c.kind, id, all[max(i, 0)].State)
		}
		if _, err := w.Roll(t.Context(), m.ID, time.Hour); fault.KindOf(err) != fault.Revoked {
			t.Errorf("%s %s: rolled: %v", c.kind, id, err)
		}
		w.must(w.feed.Confirm(t.Context()))
	}
}

// TestChoose: the longest prefix of a role that is held wins.
func TestChoose(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, g := range [][2]string{{"s3://sales", "1/analyst"}, {"s3://sales/hr/", "1/hr"}, {"s3://sales/hr/pay", "1/boss"}, {"s3://sales/x", "1/hr"}, {"s3://sales/x", "1/analyst"}} {
		_, err := w.AddGrant(t.Context(), g[0], role(g[1]))
		w.must(err)
	}
	h := w.holder(w.make(w.ann()))
	for _, c := range []struct{ bucket, part, want string }{
		{"sales", "a", "1/analyst"}, {"sales", "", "1/analyst"}, {"sales", "hr", "1/analyst"}, {"sales", "hr-old/y", "1/analyst"},
		{"sales", "hr/", "1/hr"}, {"sales", "hr/payroll", "1/hr"}, // boss is held by others
		{"sales", "HR/", "1/analyst"}, {"sales", "/hr/", "1/analyst"},
		{"sales", "xy", "AccessDenied: Two prefix grants for s3://sales/x have equal claim: " + role("1/analyst").String() + ", " + role("1/hr").String()},
		{"lake", "x", "7/reader"}, // the only one of the bucket's account
		{"", "", "AccessDenied: No prefix grant covers this request, and the gateway key has no default role: " + role("1/analyst").String() + ", " + role("1/hr").String() + ", " + role("7/reader").String()},
	} {
		if got := w.chosen(h, c.bucket, c.part); got != c.want {
			t.Errorf("s3://%s/%s: %s, want %s", c.bucket, c.part, got, c.want)
		}
	}
	for part, mend := range map[string]string{"xy": "carnet prefix-grant remove", "": "carnet prefix-grant add"} {
		bucket := map[string]string{"xy": "sales"}[part]
		_, err := w.Choose(t.Context(), h, gatewaykeys.Want{Bucket: bucket, Part: part})
		if got := fault.Of(err).Mend; !strings.HasSuffix(got, mend) {
			t.Errorf("what to do about s3://%s/%s: %q, want %s", bucket, part, got, mend)
		}
	}
	n := w.ann()
	n.Default = role("1/hr")
	if got := w.chosen(w.holder(w.make(n)), "", ""); got != "1/hr" {
		t.Errorf("the default: %s", got)
	}
	if got := w.chosen(w.holder(w.make(w.ann("1/hr"))), "sales", "a"); got != "1/hr" {
		t.Errorf("the key's one role: %s", got)
	}
	if got := w.chosen(w.holder(w.make(w.ann("1/hr"))), "lake", "a"); !strings.Contains(got, "not where the bucket is") {
		t.Errorf("a local role for a bucket at AWS: %s", got)
	}
	for what, g := range map[string][2]string{"no rule": {"s3://nowhere", "1/hr"}, "at AWS": {"s3://lake", "1/hr"}, "no account": {"s3://sales", "5/hr"}, "no place": {"sales/x", "1/hr"}, "a pattern": {"s3://*", "1/hr"}} {
		if _, err := w.AddGrant(t.Context(), g[0], role(g[1])); fault.KindOf(err) != fault.Invalid {
			t.Errorf("a grant of %s: %v", what, err)
		}
	}
	_, err := w.AddGrant(t.Context(), "s3://sales", role("1/analyst"))
	wantFault(t, "the same grant twice", err, "prefix-grant.there")
}

// TestChoiceStaysWithin is a property: whatever grants say, no role is chosen, and
// no keys are had, beyond what the owner holds and the key's set has.
func TestChoiceStaysWithin(t *testing.T) {
	t.Parallel()
	names := []string{"1/a", "1/b", "1/c", "7/d", "7/e"}
	prefixes := []string{"", "h", "hr", "hr/", "hr/x", "z"}
	some := func(r *rand.Rand, from []string) (out []arn.Role) {
		for _, n := range from {
			if r.IntN(2) == 0 {
				out = append(out, role(n))
			}
		}
		return out
	}
	w := newWorld(t)
	w.session.Roles = nil
	for _, x := range roles(names...) {
		w.session.Roles = append(w.session.Roles, login.RoleStatus{Role: x, State: login.RoleReady})
	}
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 1))
		w.set(func() { w.heard = roles(names...) })
		grants, err := w.ListGrants(t.Context())
		w.must(err)
		for _, g := range grants {
			w.must(w.RemoveGrant(t.Context(), g.ID))
		}
		for range r.IntN(8) {
			_, _ = w.AddGrant(t.Context(), "s3://"+[]string{"sales", "lake"}[r.IntN(2)]+"/"+prefixes[r.IntN(len(prefixes))], role(names[r.IntN(len(names))]))
		}
		n := w.ann()
		if n.Roles = some(r, names); len(n.Roles) == 0 {
			continue
		}
		if r.IntN(2) == 0 {
			n.Default = n.Roles[r.IntN(len(n.Roles))]
		}
		h := w.holder(w.make(n))
		held := some(r, names)
		w.set(func() { w.heard = held })
		for range 20 {
			bucket := []string{"sales", "lake", "nowhere", ""}[r.IntN(4)]
			account := map[string]string{"sales": "111111111111", "lake": "777777777777"}[bucket]
			c, err := w.Choose(t.Context(), h, gatewaykeys.Want{Bucket: bucket, Account: account, Part: prefixes[r.IntN(len(prefixes))] + "q"})
			if err != nil {
				continue
			}
			if !slices.Contains(n.Roles, c.Role) || !slices.Contains(held, c.Role) {
				t.Fatalf("seed %d: %s was chosen; the key has %v, held are %v", seed, c.Role, n.Roles, held)
			}
			if account != "" && account[0] != c.Role.Account[0] {
				t.Fatalf("seed %d: %s was chosen for %s", seed, c.Role, bucket)
			}
		}
		for _, x := range names {
			_, err := w.Keys(t.Context(), h, role(x))
			if within := slices.Contains(n.Roles, role(x)) && slices.Contains(held, role(x)); (err == nil) != within {
				t.Fatalf("seed %d: keys of %s: %v", seed, x, err)
			}
		}
	}
}

// TestRoleIsLost: what the identity provider takes back is gone within a minute,
// and within one request more where the key is used; nobody waits for the question.
func TestRoleIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h := w.holder(w.make(w.ann("1/analyst", "7/reader")))
		if got := w.chosen(h, "sales", "x"); got != "1/analyst" {
			t.Fatal(got)
		}
		_, err := w.Keys(t.Context(), h, role("1/analyst"))
		w.must(err)
		asked := w.count("heard")
		for range 100 {
			w.chosen(h, "sales", "x")
			_, err := w.Keys(t.Context(), h, role("1/analyst"))
			w.must(err)
		}
		if got := w.count("heard"); got != asked || w.count("credentials") != 1 {
			t.Errorf("a hundred uses asked %d times more, and %d times for keys", got-asked, w.count("credentials"))
		}
		w.set(func() { w.heard, w.slow = roles("7/reader"), 2*time.Second })
		time.Sleep(31 * time.Second)
		w.must(w.feed.Confirm(t.Context()))
		before := time.Now()
		if got := w.chosen(h, "sales", "x"); got != "1/analyst" || time.Since(before) != 0 {
			t.Errorf("%s after %s: the first use after half a minute waits", got, time.Since(before))
		}
		time.Sleep(6 * time.Second)
		if got := w.chosen(h, "sales", "x"); got == "1/analyst" {
			t.Error("a role that is lost is chosen")
		}
		if _, err := w.Keys(t.Context(), h, role("1/analyst")); err == nil {
			t.Error("a role that is lost has keys")
		}
		// After an idle while the question comes first.
		w.set(func() { w.heard = nil })
		time.Sleep(10 * time.Minute)
		w.must(w.feed.Confirm(t.Context()))
		if got := w.chosen(h, "lake", "x"); !strings.Contains(got, "holds none") {
			t.Error(got)
		}
		w.set(func() { w.session.ID = "lgn_other" })
		time.Sleep(2 * time.Minute)
		w.must(w.feed.Confirm(t.Context()))
		if got := w.chosen(h, "lake", "x"); !strings.Contains(got, "can't act now: you are not signed in") {
			t.Error(got)
		}
	})
}

// TestKeysOfAMachine: one trade for all who wait, renewed beside, and given on while
// STS is away.
func TestKeysOfAMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.slow = time.Second
		h := w.holder(w.make(gatewaykeys.NewKey{Owner: gatewaykeys.Owner{Delegation: "dlg_ann"}, Binding: w.ann().Binding}))
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				k, err := w.Keys(t.Context(), h, role("1/hr"))
				if err != nil || k.SessionToken.Reveal() != "job:dlg_ann "+role("1/hr").String()+" (token)" {
					t.Errorf("%v, %v", k, err)
				}
			})
		}
		all.Wait()
		if w.count("sts") != 1 || w.count("token") != 1 {
			t.Errorf("%d trades for fifty requests", w.count("sts"))
		}
		keys := func() error {
			w.must(w.feed.Confirm(t.Context()))
			began := time.Now()
			_, err := w.Keys(t.Context(), h, role("1/hr"))
			if err == nil && time.Since(began) != 0 {
				t.Errorf("a use waited for %s", time.Since(began))
			}
			return err
		}
		for began := time.Now(); time.Since(began) < 39*time.Minute; time.Sleep(20 * time.Second) {
			w.must(keys())
		}
		for range 10 {
			w.must(keys())
			time.Sleep(20 * time.Second)
		}
		if w.count("sts") != 2 {
			t.Errorf("%d trades in the life of one", w.count("sts"))
		}
		time.Sleep(15 * time.Second)
		w.must(keys()) // asks anew, beside
		time.Sleep(5 * time.Second)
		w.set(func() { w.away = fault.New(fault.Unavailable, "the database is away") })
		for range 4 { // as long as the feed would decide without the database
			time.Sleep(20 * time.Second)
			w.must(keys())
		}
		time.Sleep(20 * time.Second)
		if err := keys(); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("what nobody could say for so long is taken as it was: %v", err)
		}
	})
}

// TestRoll: one successor, bound alike, with what is still held.
func TestRoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.ann("1/analyst", "1/hr")
		n.Default, n.Lifetime = role("1/hr"), time.Hour
		old := w.make(n)
		h := w.holder(old)
		time.Sleep(10 * time.Minute)
		w.must(w.feed.Confirm(t.Context()))
		w.set(func() { w.heard = roles("1/analyst") })
		next, err := w.Roll(t.Context(), old.ID, 5*time.Minute)
		w.must(err)
		if next.Follows != old.ID || !slices.Equal(next.Roles, roles("1/analyst")) || !next.Default.IsZero() || next.Expires.Sub(next.Made) > time.Hour || !slices.Equal(next.Binding.Networks, old.Binding.Networks) {
			t.Errorf("%+v", next.Key)
		}
		_, err = w.Roll(t.Context(), old.ID, time.Hour)
		wantFault(t, "rolled twice", err, "gateway-key.rolled")
		time.Sleep(4 * time.Minute)
		w.must(w.feed.Confirm(t.Context()))
		w.holder(old)
		w.holder(next)
		time.Sleep(2 * time.Minute)
		w.must(w.feed.Confirm(t.Context()))
		_, _, err = w.Find(t.Context(), old.AccessKeyID)
		wantFault(t, "after the overlap", err, "ExpiredToken")
		w.must(w.Holds(h)) // a transfer that began in time may finish
		_, err = w.Roll(t.Context(), old.ID, time.Hour)
		wantFault(t, "a key that ended", err, "gateway-key.ended")
		w.set(func() { w.heard = nil })
		_, err = w.Roll(t.Context(), next.ID, time.Hour)
		wantFault(t, "no role is left", err, "gateway-key.role")
	})
}

// TestOtherServers: a key works at a server that has not heard of it yet, at once;
// guesses cost the database little.
func TestOtherServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		other := w.server()
		m := w.make(w.ann("1/analyst"))
		if _, key, err := other.Find(t.Context(), m.AccessKeyID); err != nil || key.Reveal() != m.Secret.Reveal() {
			t.Fatal(err)
		}
		began := time.Now()
		var all sync.WaitGroup
		for range 200 {
			all.Go(func() {
				if _, _, err := other.Find(t.Context(), "GWKAAAAAAAAAAAAAAAAA"); fault.Of(err).Code != "InvalidAccessKeyId" {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if time.Since(began) > 100*time.Millisecond {
			t.Errorf("guesses wait for %s", time.Since(began))
		}
		w.must(w.Revoke(t.Context(), m.ID))
		w.must(w.feed.Confirm(t.Context()))
		if _, _, err := other.Find(t.Context(), m.AccessKeyID); err == nil {
			t.Error("a key that another server revoked is found")
		}
	})
}

// TestDeliver: one young key for each role and address.
func TestDeliver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		deliver := func(r, address string) gatewaykeys.Made {
			w.must(w.feed.Confirm(t.Context()))
			m, err := w.Deliver(t.Context(), w.session, role(r), netip.MustParseAddr(address))
			w.must(err)
			return m
		}
		first := deliver("7/reader", "10.1.2.3")
		if !first.Delivered || !slices.Equal(first.Roles, roles("7/reader")) || time.Until(first.Expires) > time.Hour || first.Binding.Networks[0].String() != "10.1.2.3/32" {
			t.Errorf("%+v", first.Key)
		}
		if again := deliver("7/reader", "::ffff:10.1.2.3"); again.AccessKeyID != first.AccessKeyID || again.Secret.Reveal() != first.Secret.Reveal() {
			t.Error("the same question has another answer")
		}
		if deliver("7/reader", "10.1.2.4").ID == first.ID || deliver("1/hr", "10.1.2.3").ID == first.ID {
			t.Error("another address or role has the same key")
		}
		time.Sleep(29 * time.Minute)
		if deliver("7/reader", "10.1.2.3").ID != first.ID {
			t.Error("a young key is replaced")
		}
		time.Sleep(2 * time.Minute)
		if deliver("7/reader", "10.1.2.3").ID == first.ID {
			t.Error("an old key is given")
		}
		if _, err := w.Deliver(t.Context(), w.session, role("7/reader"), netip.Addr{}); err == nil {
			t.Error("a key is bound to an address that is not known")
		}
		w.set(func() { w.away = fault.Coded(fault.Denied, "AccessDenied", "the role can't be had") })
		_, err := w.Deliver(t.Context(), w.session, role("7/reader"), netip.MustParseAddr("10.1.2.3"))
		wantFault(t, "a role that can't be had", err, "AccessDenied")
	})
}

// TestDeliverAttached: a key for an attachment is bound to its cluster, allows what that
// allows, and ends with it.
func TestDeliverAttached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		lab, err := w.clusters.Add(t.Context(), cluster.Cluster{Name: "lab", Kind: cluster.HighConcurrency})
		w.must(err)
		bound, err := w.clusters.Add(t.Context(), cluster.Cluster{Name: "bound", Kind: cluster.HighConcurrency, Binding: gatewaykeys.Binding{Networks: []netip.Prefix{home}}})
		w.must(err)
		deliver := func(c cluster.Cluster, id identity.AttachmentID, o gatewaykeys.Owner, r string) gatewaykeys.Made {
			t.Helper()
			m, err := w.DeliverAttached(t.Context(), gatewaykeys.Attached{Owner: o, Attachment: id, Cluster: c}, role(r), netip.MustParseAddr("10.1.2.3"))
			w.must(err)
			return m
		}
		ann := gatewaykeys.Owner{LoginSession: "lgn_ann"}
		first := deliver(lab, "att_1", ann, "1/analyst")
		if first.Cluster != "lab" || first.Attachment != "att_1" || first.Binding.Networks[0].String() != "10.1.2.3/32" || time.Until(first.Expires) > time.Hour {
			t.Errorf("%+v", first.Key)
		}
		if again := deliver(lab, "att_1", ann, "1/analyst"); again.ID != first.ID {
			t.Error("the same question has another answer")
		}
		if deliver(lab, "att_2", ann, "1/analyst").ID == first.ID || deliver(lab, "att_1", ann, "1/hr").ID == first.ID {
			t.Error("another attachment or role has the same key")
		}
		if m := deliver(bound, "att_1", ann, "1/analyst"); m.Cluster != "bound" || !m.Binding.IsZero() {
			t.Errorf("%+v", m.Key)
		}
		h := w.holder(first)
		w.must(w.Holds(h))
		lab.Roles = []string{role("1/hr").String()}
		_, err = w.clusters.Update(t.Context(), lab)
		w.must(err)
		time.Sleep(time.Minute + time.Second)
		w.must(w.feed.Confirm(t.Context()))
		if got := w.chosen(h, "sales", "a"); !strings.Contains(got, "AccessDenied") {
			t.Errorf("a role that the cluster does not allow any more: %s", got)
		}
		_, err = w.feed.Revoke(t.Context(), revocation.Attachment, "att_1")
		w.must(err)
		w.must(w.feed.Confirm(t.Context()))
		wantFault(t, "after the attachment", w.Holds(h), "ExpiredToken")

		// Of a delegation to a cluster nobody makes a key but an attachment.
		w.set(func() { w.job.ServicePrincipal, w.job.Cluster = "", bound.ID })
		_, err = w.Make(t.Context(), gatewaykeys.NewKey{Owner: gatewaykeys.Owner{Delegation: "dlg_ann"}, Binding: gatewaykeys.Binding{Networks: []netip.Prefix{home}}})
		wantFault(t, "by hand", err, "gateway-key.delegation")
		if m := deliver(bound, "att_3", gatewaykeys.Owner{Delegation: "dlg_ann", Cluster: bound.ID}, "1/hr"); m.Owner.Delegation != "dlg_ann" {
			t.Errorf("%+v", m.Key)
		}
	})
}

// TestTrinoRules: everyone's newest key, rolled in time, and no name for two people.
func TestTrinoRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, err := w.clusters.Place(t.Context(), "trino", gatewaykeys.Binding{Networks: []netip.Prefix{home}})
		w.must(err)
		w.set(func() { w.session.Person.UserName = `ann.b+c (x)@example.com` })
		n := w.ann()
		n.Cluster = "trino"
		old := w.make(n)
		w.make(w.ann()) // of no cluster
		rules := func() gatewaykeys.TrinoRules {
			w.must(w.feed.Confirm(t.Context()))
			r, err := w.TrinoRules(t.Context(), "Trino", 0, 5*time.Minute)
			w.must(err)
			return r
		}
		r := rules()
		if len(r.Rules) != 1 || r.Rules[0].UserPattern != `ann\.b\+c\ \(x\)@example\.com` || r.Rules[0].AccessKeyID != old.AccessKeyID || r.Rules[0].Secret.Reveal() != old.Secret.Reveal() {
			t.Errorf("%+v", r)
		}
		time.Sleep(5 * time.Hour)
		if r := rules(); r.Rules[0].AccessKeyID != old.AccessKeyID {
			t.Error("a young key is rolled")
		}
		time.Sleep(time.Hour) // half of what the sign-in left it
		r = rules()
		if r.Rules[0].AccessKeyID == old.AccessKeyID || rules().Rules[0].AccessKeyID != r.Rules[0].AccessKeyID {
			t.Error("an old key is not rolled, or is rolled at each look")
		}
		time.Sleep(6 * time.Minute)
		w.must(w.feed.Confirm(t.Context()))
		if _, _, err := w.Find(t.Context(), old.AccessKeyID); err == nil {
			t.Error("the old key lives on")
		}
		namesake := w.session
		namesake.ID, namesake.Person.ID = "lgn_bob", "psn_bob"
		annsOwn := w.session
		w.set(func() { w.session = namesake })
		n.Owner.LoginSession = "lgn_bob"
		w.make(n)
		if r := rules(); len(r.Rules) != 0 || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "two people") {
			t.Errorf("two people of one name: %+v", r)
		}
		w.set(func() { w.session = annsOwn })
		_, err = w.feed.Revoke(t.Context(), revocation.Person, "psn_bob")
		w.must(err)
		if r := rules(); len(r.Rules) != 1 {
			t.Errorf("one of the two is gone: %+v", r)
		}
		time.Sleep(4 * time.Hour)
		w.set(func() { w.heard = nil })
		if r := rules(); len(r.Rules) != 0 || len(r.Notes) != 1 {
			t.Errorf("no role is left: %+v", r)
		}
		_, err = w.TrinoRules(context.Background(), "x", 0, 0)
		wantFault(t, "no such cluster", err, "gateway-key.cluster")
		_, err = w.TrinoRules(context.Background(), "trino", 13*time.Hour, 0)
		wantFault(t, "too seldom", err, "trino.roll")
	})
}

// BenchmarkUse is what a request by a gateway key costs beside one by role keys, with
// a hundred grants in memory.
func BenchmarkUse(b *testing.B) {
	w := newWorld(b)
	for i := range 100 {
		_, err := w.AddGrant(b.Context(), "s3://sales/"+strings.Repeat("p", i), role("1/hr"))
		w.must(err)
	}
	m := w.make(w.ann())
	b.ResetTimer()
	for b.Loop() {
		h, _, err := w.Find(b.Context(), m.AccessKeyID)
		w.must(err)
		w.must(w.Admit(b.Context(), h, from("10.1.2.3")))
		c, err := w.Choose(b.Context(), h, gatewaykeys.Want{Bucket: "sales", Account: "111111111111", Part: "other/key"})
		w.must(err)
		_, err = w.Keys(b.Context(), h, c.Role)
		w.must(err)
	}
}
