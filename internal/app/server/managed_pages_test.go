package server_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/app/visitor"
	"carnet.dev/carnet/internal/edge/api"
	"carnet.dev/carnet/internal/edge/nodeapi/nodedoc"
)

// press sends a form as the page at an address would.
func press(t *testing.T, v *visitor.Visitor, on *visitor.Page, address string, set map[string]string) *visitor.Page {
	t.Helper()
	to, err := url.Parse(address)
	must(t, err)
	p, err := v.Submit(t.Context(), on, visitor.Form{Method: http.MethodPost, Action: to, Fields: url.Values{}}, set)
	must(t, err)
	return p
}

// TestAttackClustersOfOthersByPage: a manager ends logins and makes join tokens of
// their own cluster; a manager of another one, and who manages nothing, find no such
// cluster and end nothing there.
func TestAttackClustersOfOthersByPage(t *testing.T) {
	t.Parallel()
	w := newLab(t)
	bob, eve := visitor.New(nil), visitor.New(nil)
	w.signIn(t, bob, "bob@example.com")
	w.signIn(t, eve, "eve@example.com")
	lab := w.words(t, "id", "cluster", "set", "lab", "--managers", "bob@example.com")
	bench := w.words(t, "id", "cluster", "add", "bench", "--kind", "standard", "--managers", "eve@example.com")
	m := w.join(t, "lab", "n1")
	a := w.attach(t, m, place(1001))
	here := w.base + "/clusters/" + lab
	for name, v := range map[string]*visitor.Visitor{"manages nothing": w.ann, "manages another cluster": eve} {
		p := open(t, v, here)
		if p.Status != http.StatusNotFound || strings.Contains(p.Body, "n1") || !strings.Contains(p.Body, "You manage no such cluster") {
			t.Errorf("who %s: %d %s", name, p.Status, p.Body)
		}
		if p := open(t, v, w.base+"/clusters"); p.Status != http.StatusOK || strings.Contains(p.Body, lab) {
			t.Errorf("the list of who %s: %d", name, p.Status)
		}
		own := open(t, v, w.base+"/")
		for _, set := range []map[string]string{{"act": "end", "attachment": a.ID}, {"act": "join"}, {"act": "remove-node", "node": m.id}, {"act": "assign", "assigned": ""}} {
			if p := press(t, v, own, here, set); p.Status != http.StatusNotFound || strings.Contains(p.Body, "carnet-join-") {
				t.Errorf("who %s did %v: %d", name, set, p.Status)
			}
		}
		if p := open(t, v, w.base+"/admin/clusters/"+lab); p.Status != http.StatusForbidden {
			t.Errorf("who %s: %d", name, p.Status)
		}
	}
	// A login of another cluster is ended by neither page.
	theirs := open(t, eve, w.base+"/clusters/"+bench)
	if p := press(t, eve, theirs, w.base+"/clusters/"+bench, map[string]string{"act": "end", "attachment": a.ID}); p.Status != http.StatusNotFound {
		t.Errorf("ended from another cluster's page: %d", p.Status)
	}
	m.works(t, "credentials", nodedoc.Fetch{Attachment: a.ID}, nil)
	p := press(t, eve, theirs, w.base+"/clusters/"+bench, map[string]string{"act": "assign", "assigned": "ann@example.com"})
	if !strings.Contains(p.Body, "It is assigned") || !strings.Contains(p.Body, `value="ann@example.com"`) {
		t.Errorf("assigned: %d %s", p.Status, p.Body)
	}

	p = open(t, bob, here)
	for _, want := range []string{"n1", "ann@example.com", "Everybody who signs in", "nightly", "bob@example.com"} {
		if !strings.Contains(strings.ToLower(p.Body), strings.ToLower(want)) {
			t.Errorf("the page of who manages it lacks %q: %s", want, p.Body)
		}
	}
	p = press(t, bob, p, here, map[string]string{"act": "join"})
	if !strings.Contains(p.Body, "carnet-join-") {
		t.Errorf("no join token: %d %s", p.Status, p.Body)
	}
	p = press(t, bob, p, here, map[string]string{"act": "end", "attachment": a.ID})
	if !strings.Contains(p.Body, "The login is ended") {
		t.Errorf("ended: %d %s", p.Status, p.Body)
	}
	m.refused(t, http.StatusNotFound, "attachment.ended", "credentials", nodedoc.Fetch{Attachment: a.ID})
}

// TestAttackGatewayKeysOfOthersByPage: people see and revoke the keys that work as
// them, and no others; administrators every one.
func TestAttackGatewayKeysOfOthersByPage(t *testing.T) {
	t.Parallel()
	w := newMachineWorld(t)
	root, eve := visitor.New(nil), visitor.New(nil)
	w.signIn(t, root, "root@example.com")
	w.signIn(t, eve, "eve@example.com")
	key := func(args ...string) api.MadeGatewayKey {
		t.Helper()
		var made api.MadeGatewayKey
		must(t, json.Unmarshal([]byte(w.must(t, append([]string{"gateway-key", "make", "--network", "127.0.0.0/8", "--output", "json"}, args...)...)), &made))
		return made
	}
	anns, machines := key("--person", "ann@example.com"), key("--service-principal", "nightly")
	state := func(k api.MadeGatewayKey) string {
		t.Helper()
		var all api.GatewayKeyList
		if status := ask(t, root, http.MethodGet, w.base+"/api/v1/gateway-keys", "", &all); status != http.StatusOK {
			t.Fatal(status)
		}
		for _, one := range all.GatewayKeys {
			if one.ID == k.GatewayKey.ID {
				return one.State
			}
		}
		return "gone"
	}
	p := await(t, w.ann, w.base+"/", anns.GatewayKey.AccessKeyID)
	if strings.Contains(p.Body, machines.GatewayKey.AccessKeyID) || strings.Contains(p.Body, anns.SecretAccessKey) {
		t.Error("the page shows another's key, or a secret")
	}
	home := open(t, eve, w.base+"/")
	if strings.Contains(home.Body, "GWKA") {
		t.Error("eve sees a key")
	}
	for _, k := range []api.MadeGatewayKey{anns, machines} {
		if p := press(t, eve, home, w.base+"/gateway-keys/revoke", map[string]string{"id": k.GatewayKey.ID}); p.Status != http.StatusNotFound || state(k) != "active" {
			t.Errorf("eve revoked: %d, it is %s", p.Status, state(k))
		}
		if p := press(t, eve, home, w.base+"/admin/gateway-keys", map[string]string{"act": "revoke", "id": k.GatewayKey.ID}); p.Status != http.StatusForbidden || state(k) != "active" {
			t.Errorf("eve revoked as an administrator: %d, it is %s", p.Status, state(k))
		}
	}
	if p := press(t, w.ann, p, w.base+"/gateway-keys/revoke", map[string]string{"id": machines.GatewayKey.ID}); p.Status != http.StatusNotFound || state(machines) != "active" {
		t.Errorf("ann revoked the machine's: %d", p.Status)
	}
	p = press(t, w.ann, p, w.base+"/gateway-keys/revoke", map[string]string{"id": anns.GatewayKey.ID})
	if !strings.Contains(p.Body, "The key is revoked") || strings.Contains(p.Body, anns.GatewayKey.AccessKeyID) || state(anns) != "revoked" {
		t.Errorf("ann revoked her own: %d, it is %s", p.Status, state(anns))
	}

	p = open(t, root, w.base+"/admin/gateway-keys?owner=nightly")
	if !strings.Contains(p.Body, machines.GatewayKey.AccessKeyID) || strings.Contains(p.Body, machines.SecretAccessKey) || !strings.Contains(p.Body, "From 127.0.0.0/8") {
		t.Errorf("the administrators' page: %s", p.Body)
	}
	p = submit(t, root, p, "id", map[string]string{"act": "revoke"})
	if !strings.Contains(p.Body, "The key is revoked") || !strings.Contains(p.Body, "The server has applied it") || state(machines) != "revoked" {
		t.Errorf("revoked by an administrator: %d, it is %s: %s", p.Status, state(machines), p.Body)
	}
	if p := open(t, root, w.base+"/admin/gateway-keys?ended=on"); strings.Count(p.Body, `>Revoked</span>`) != 2 {
		t.Errorf("the keys that ended: %s", p.Body)
	}
}

// await loads a page until it says something: what a command did reaches the server
// in a moment.
func await(t *testing.T, v *visitor.Visitor, address, want string) (p *visitor.Page) {
	t.Helper()
	for range 200 {
		if p = open(t, v, address); strings.Contains(p.Body, want) {
			return p
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%s never says %q: %s", address, want, p.Body)
	return nil
}
