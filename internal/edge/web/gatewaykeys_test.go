package web_test

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/web"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/gatewaykeys"
)

var _ web.GatewayKeys = (*gatewaykeys.Service)(nil)

// fillKeys makes keys in every state, of every kind of owner.
func (f *folk) fillKeys(more int) {
	now := time.Now().UTC()
	analyst, other := role("111122223333", "analyst"), role("444455556666", "analyst")
	key := func(id string, o gatewaykeys.Owner, state gatewaykeys.State, age time.Duration) gatewaykeys.Listed {
		return gatewaykeys.Listed{State: state, Key: gatewaykeys.Key{ID: identity.GatewayKeyID("gwk_" + id), AccessKeyID: "GWKAEXAMPLE" + strings.ToUpper(id), Owner: o,
			Roles: []arn.Role{analyst}, Made: now.Add(-age), Expires: now.Add(8*time.Hour + time.Minute)}}
	}
	alice := gatewaykeys.Owner{LoginSession: "lgn_alice", Person: "psn_x", Name: "alice@example.com"}
	engine := key("trino", alice, gatewaykeys.Active, 2*time.Hour+time.Minute)
	engine.Cluster, engine.Roles, engine.Default, engine.Used = "trino", []arn.Role{analyst, other, role("111122223333", "nightly")}, analyst, now.Add(-time.Hour-time.Minute)
	tool := key("tool", alice, gatewaykeys.Active, time.Minute)
	tool.Delivered, tool.Binding, tool.Follows = true, cluster.Binding{Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("2001:db8::/48")}, Certificates: []cluster.Fingerprint{{1}}}, "gwk_old"
	away := key("away", gatewaykeys.Owner{Delegation: "dlg_1", ServicePrincipal: "spn_etl", Person: "psn_bob", Name: "bob@example.com"}, gatewaykeys.Active, 3*time.Hour)
	machine := key("spn", gatewaykeys.Owner{ServicePrincipal: "spn_etl", Name: "etl <b>"}, gatewaykeys.Active, 4*time.Hour)
	old := key("old", alice, gatewaykeys.Revoked, 5*time.Hour)
	old.RolledTo, old.Revoked = "gwk_tool", now.Add(-4*time.Hour-time.Second)
	gone := key("gone", alice, gatewaykeys.Revoked, 5*time.Hour)
	over := key("over", alice, gatewaykeys.Ended, 30*time.Hour)
	over.Expires = now.Add(-6 * time.Hour)
	f.keys = []gatewaykeys.Listed{engine, tool, away, machine, old, gone, over}
	for i := range more {
		f.keys = append(f.keys, key(fmt.Sprintf("n%03d", i), alice, gatewaykeys.Active, 6*time.Hour+time.Duration(i)*time.Second))
	}
}

// TestGatewayKeysAreListed: administrators see whose each is and where it works, find
// those of one owner, and revoke one.
func TestGatewayKeysAreListed(t *testing.T) {
	t.Parallel()
	w, b := administrator(t, nil)
	here := w.base + "/admin/gateway-keys"
	contains(t, b.get(here), "None stand now", "carnet gateway-key make", `<a href="/admin/gateway-keys" aria-current="page">`)
	w.folk.fillKeys(0)
	p := b.get(here)
	contains(t, p, "4 keys, newest first", "GWKAEXAMPLETRINO", `<a href="/admin/people/psn_x"><strong>alice@example.com</strong></a>`, "From where cluster trino calls; made by an administrator; rests on a sign-in",
		"Made 2 h 1 min ago, first used 1 h 1 min ago; for another 8 h 0 min", "arn:aws:iam::444455556666:role/analyst", "<strong>nightly</strong>",
		"From 192.0.2.7/32, 2001:db8::/48, with 1 client certificate; given to their tools; rests on a sign-in", "never used", "<code>gwk_tool, follows gwk_old</code>",
		"rests on a delegation", "Active", `<a href="/admin/people/psn_bob">`, "etl &lt;b&gt;", `<a href="/admin/oidc/clients/spn_etl">`, "service principal’s own")
	for _, not := range []string{"gwk_over", "GWKAEXAMPLEOLD", "Revoked"} {
		if strings.Contains(p.body, not) {
			t.Errorf("a key that ended stands there: %s", not)
		}
	}
	if strings.Index(p.body, "GWKAEXAMPLETOOL") > strings.Index(p.body, "GWKAEXAMPLETRINO") {
		t.Error("the newest is not first")
	}
	contains(t, b.get(here+"?ended=on"), "7 keys", "Revoked", "Ended", "never used; revoked 4 h 0 min ago; it would have ended <time", "never used; revoked with what it rested on", "never used; ended <time", "followed by gwk_tool</code>", "checked", "Show all that stand")
	for text, want := range map[string]string{"ALICE": "2 keys", "spn_etl": "2 keys", "dlg_1": "1 key,", "psn_bob": "1 key,", "GWKAEXAMPLESPN": "1 key,", "gwk_tool": "1 key,"} {
		contains(t, b.get(here+"?owner="+text), want, `value="`+text+`"`)
	}
	contains(t, b.get(here+"?owner=%3Ci%3Enobody"), "None", "&lt;i&gt;nobody")
	p = b.post(here, url.Values{"act": {"revoke"}, "id": {"gwk_trino"}, "owner": {"alice"}, "ended": {"on"}})
	if p.to() != "/admin/gateway-keys?done=key-revoked&ended=on&epoch=7&owner=alice" || len(w.folk.taken) != 1 || w.folk.taken[0] != "gateway-key gwk_trino" {
		t.Errorf("revoked: %d %q %v", p.status, p.to(), w.folk.taken)
	}
	contains(t, b.get(w.base+p.to()), "The key is revoked", "1 of 2 servers have applied it", `value="alice"`)
	for _, form := range []url.Values{{}, {"act": {"revoke"}}, {"id": {"gwk_trino"}}, {"act": {"make"}, "id": {"gwk_trino"}}} {
		if p := b.post(here, form); p.status != 400 {
			t.Errorf("%v: %d", form, p.status)
		}
	}
	if p := b.post(here, url.Values{"act": {"revoke"}, "id": {"gwk_tool"}}, "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"); p.status != 403 || len(w.folk.taken) != 1 {
		t.Errorf("another site's form: %d", p.status)
	}
	w.folk.away = fault.New(fault.Unavailable, "the database doesn't answer")
	if p := b.get(here); p.status != 503 {
		t.Errorf("away: %d", p.status)
	}
}

// TestManyGatewayKeys: pages of the list neither lose nor repeat one.
func TestManyGatewayKeys(t *testing.T) {
	t.Parallel()
	w, b := administrator(t, nil)
	w.folk.fillKeys(100)
	seen := map[string]int{}
	next := "/admin/gateway-keys?owner=alice"
	for pages := 1; next != ""; pages++ {
		p := b.get(w.base + next)
		contains(t, p, "102 keys")
		for _, part := range strings.Split(p.body, `name="id" value="`)[1:] {
			id, _, _ := strings.Cut(part, `"`)
			seen[id]++
		}
		_, after, found := strings.Cut(p.body, "From the beginning")
		if !found {
			after = p.body
		}
		next = ""
		if before, _, more := strings.Cut(after, `">More</a>`); more {
			next = strings.ReplaceAll(before[strings.LastIndex(before, `href="`)+6:], "&amp;", "&")
		}
		if pages > 3 {
			t.Fatalf("page %d leads to %q", pages, next)
		}
	}
	if len(seen) != 102 {
		t.Errorf("%d keys were seen", len(seen))
	}
	for _, from := range []string{"-5", "99999999", "x", "9223372036854775807"} {
		if p := b.get(w.base + "/admin/gateway-keys?from=" + from); p.status != 200 {
			t.Errorf("from %s: %d", from, p.status)
		}
	}
}

// TestOwnGatewayKeys: people see those that work as them and stand, and revoke those
// alone.
func TestOwnGatewayKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	b := newBrowser(t)
	b.signIn(w, "/")
	if p := b.get(w.base + "/"); strings.Contains(p.body, `id="gateway-keys"`) {
		t.Error("gateway keys are shown to somebody who has none")
	}
	w.folk.fillKeys(30)
	p := b.get(w.base + "/")
	contains(t, p, "Gateway keys that work as you", "GWKAEXAMPLETRINO", "made by an administrator; ends with another sign-in of yours", "given to your tools", "And 12 older")
	for _, not := range []string{"GWKAEXAMPLEAWAY", "GWKAEXAMPLESPN", "GWKAEXAMPLEOLD", "gwk_over"} {
		if strings.Contains(p.body, not) {
			t.Errorf("%s is shown", not)
		}
	}
	if p := b.post(w.base+"/gateway-keys/revoke", url.Values{"id": {"gwk_trino"}}); p.to() != "/?done=key-revoked#gateway-keys" {
		t.Errorf("revoked: %d %q", p.status, p.to())
	}
	contains(t, b.get(w.base+"/?done=key-revoked"), "The key is revoked")
	for _, id := range []string{"gwk_away", "gwk_spn", "gwk_old", "gwk_none", ""} {
		if p := b.post(w.base+"/gateway-keys/revoke", url.Values{"id": {id}}); p.status != 404 {
			t.Errorf("%q: %d", id, p.status)
		}
	}
	if p := b.post(w.base+"/gateway-keys/revoke", url.Values{"id": {"gwk_tool"}}, "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"); p.status != 403 {
		t.Errorf("another site's form: %d", p.status)
	}
	if p := b.get(w.base + "/admin/gateway-keys"); p.status != 403 || strings.Contains(p.body, "GWKAEXAMPLE") {
		t.Errorf("a person at the administrators' page: %d", p.status)
	}
	if p := b.post(w.base+"/admin/gateway-keys", url.Values{"act": {"revoke"}, "id": {"gwk_away"}}); p.status != 403 {
		t.Errorf("a person revokes as an administrator does: %d", p.status)
	}
	if len(w.folk.taken) != 1 || w.folk.taken[0] != "own gwk_trino" {
		t.Errorf("taken back: %v", w.folk.taken)
	}
	w.folk.away = fault.New(fault.Unavailable, "the database doesn't answer")
	if p := b.get(w.base + "/"); p.status != 200 {
		t.Errorf("away: %d", p.status)
	}
}
