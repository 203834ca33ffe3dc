//go:build interop

package web_test

import (
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"carnet.dev/carnet/internal/core/fault"
)

// TestNavigationInChromium: without script an administrator's pages stand in a row of
// their own, on a wide window each row in one line; on a narrow one every entry is as
// large as a finger needs. The page that one is at is marked, and the keyboard reaches all.
func TestNavigationInChromium(t *testing.T) {
	w := newWorld(t, func(w *world) { w.person = "carol"; w.folk.populate() })
	ctx := chromium(t)
	run(t, ctx, chromedp.Navigate(w.base+"/admin/people"), chromedp.WaitVisible("#go"), chromedp.Click("#go"), chromedp.WaitVisible("#found"))
	if _, err := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
		t.Fatal(err)
	}
	for _, p := range []struct{ path, wait, here string }{
		{"/", "h1", "My access"}, {"/sign-ins", "h1", "Sign-ins"}, {"/admin/sso", "#providers", "Single sign-on"}, {"/admin/oidc", "#issuers", "OIDC federation"}, {"/admin/people", "#found", "People"},
		{"/admin/people/psn_00", "#about", "People"}, {"/admin/clusters", ".empty", "Clusters"}, {"/admin/gateway-keys", ".empty", "Gateway keys"}, {"/admin/denials", "#request", "Denials"}, {"/admin/audit", "#filter", "Audit"},
	} {
		run(t, ctx, chromedp.EmulateViewport(1280, 900), chromedp.Navigate(w.base+p.path), chromedp.WaitVisible(p.wait))
		if here := see(t, ctx, chromedp.Evaluate[string](`[...document.querySelectorAll("nav [aria-current=page]")].map(a => a.textContent).join(", ")`)); here != p.here {
			t.Errorf("%s: marked is %q", p.path, here)
		}
		if rows := see(t, ctx, chromedp.Evaluate[string](`[...document.querySelectorAll("nav")].map(n => new Set([...n.querySelectorAll("a")].map(a => Math.round(a.getBoundingClientRect().top))).size).join(" ")`)); rows != "1 1" {
			t.Errorf("%s: lines of the rows: %s", p.path, rows)
		}
		run(t, ctx, chromedp.EmulateViewport(390, 844))
		if low := see(t, ctx, chromedp.Evaluate[string](`[...document.querySelectorAll("nav a")].filter(a => a.getBoundingClientRect().height < 24 || a.getBoundingClientRect().right > innerWidth).map(a => a.textContent).join(", ")`)); low != "" {
			t.Errorf("%s: too small, or outside: %s", p.path, low)
		}
	}
	run(t, ctx, chromedp.EmulateViewport(1280, 900), chromedp.Navigate(w.base+"/"), chromedp.WaitVisible(".admin"))
	reached := map[string]bool{}
	for range 16 {
		run(t, ctx, chromedp.KeyEvent(kb.Tab))
		reached[see(t, ctx, chromedp.Evaluate[string](`document.activeElement.getAttribute("href") ?? ""`))] = true
	}
	for _, path := range []string{"/", "/sign-ins", "/admin/sso", "/admin/oidc", "/admin/people", "/admin/clusters", "/admin/gateway-keys", "/admin/denials", "/admin/audit"} {
		if !reached[path] {
			t.Errorf("the keyboard does not reach %s", path)
		}
	}
}

// TestGatewayKeysInChromium: every state of the pages fits the screen, and what is
// pressed, and confirmed, is done.
func TestGatewayKeysInChromium(t *testing.T) {
	w := newWorld(t, func(w *world) { w.person = "carol"; w.folk.populate() })
	ctx := chromium(t)
	run(t, ctx, chromedp.Navigate(w.base+"/admin/gateway-keys"), chromedp.WaitVisible("#go"), chromedp.Click("#go"), chromedp.WaitVisible(".empty"))
	fits(t, ctx, "gateway-keys-empty")
	w.folk.fillKeys(60)
	run(t, ctx, chromedp.Navigate(w.base+"/"), chromedp.WaitVisible(".admin"), chromedp.Click(`nav a[href="/admin/gateway-keys"]`), chromedp.WaitVisible("#found"))
	run(t, ctx, chromedp.Click(".buttons a.small"), chromedp.WaitVisible("#found"))
	says(t, ctx, "64 keys", "From the beginning")
	run(t, ctx, chromedp.SendKeys("#owner", "nobody of that name\r"), chromedp.WaitVisible(".empty"))
	fits(t, ctx, "gateway-keys-none")
	w.folk.fillKeys(0)
	run(t, ctx, chromedp.Navigate(w.base+"/admin/gateway-keys?ended=on"), chromedp.WaitVisible("#found"))
	fits(t, ctx, "gateway-keys")
	run(t, ctx, chromedp.Click("li:nth-child(2) details.more summary"), chromedp.WaitVisible(`li:nth-child(2) button[value="revoke"]`))
	fits(t, ctx, "gateway-keys-revoke")
	run(t, ctx, chromedp.Click(`li:nth-child(2) button[value="revoke"]`), chromedp.WaitVisible(".note.good"))
	says(t, ctx, "The key is revoked", "1 of 2 servers have applied it")
	fits(t, ctx, "gateway-keys-revoked")
	w.folk.away = fault.New(fault.Unavailable, "the database doesn't answer")
	run(t, ctx, chromedp.Navigate(w.base+"/admin/gateway-keys"), chromedp.WaitVisible(".door"))
	fits(t, ctx, "gateway-keys-away")
	w.folk.away = nil
	run(t, ctx, chromedp.Navigate(w.base+"/"), chromedp.WaitVisible("#gateway-keys"))
	fits(t, ctx, "access-gateway-keys")
	run(t, ctx, chromedp.Click("#gateway-keys summary"), chromedp.WaitVisible("#gateway-keys form button"), chromedp.Click("#gateway-keys form button"), chromedp.WaitVisible("#gateway-keys .note.good"))
	fits(t, ctx, "access-gateway-keys-revoked")
	if len(w.folk.taken) != 2 || w.folk.taken[0] != "gateway-key gwk_trino" || w.folk.taken[1] != "own gwk_trino" {
		t.Errorf("taken back: %v", w.folk.taken)
	}
}

// TestManagedClustersInChromium: every state of a manager's pages fits the screen, and
// what is pressed is done.
func TestManagedClustersInChromium(t *testing.T) {
	w := newWorld(t, nil)
	ctx := chromium(t)
	run(t, ctx, chromedp.Navigate(w.base+"/clusters"), chromedp.WaitVisible("#go"), chromedp.Click("#go"), chromedp.WaitVisible(".empty"))
	fits(t, ctx, "managed-empty")
	many, one := w.shared.populate(t)
	w.shared.managedBy(t, many, "psn_x", "psn_bob")
	w.shared.managedBy(t, one, "psn_x")
	run(t, ctx, chromedp.Navigate(w.base+"/"), chromedp.WaitVisible("nav"), chromedp.Click(`nav a[href="/clusters"]`), chromedp.WaitVisible("#clusters h2"))
	fits(t, ctx, "managed")
	run(t, ctx, chromedp.Click(`#clusters a[href$="`+string(many.ID)+`"]`), chromedp.WaitVisible("#nodes"), chromedp.Click(`button[value="join"]`), chromedp.WaitVisible("#joining"))
	says(t, ctx, "The join token, this once", "carnet-join-", "Not heard of", "In trouble", "Data Engineers")
	fits(t, ctx, "managed-cluster")
	run(t, ctx, chromedp.Click(`button[value="end"]`), chromedp.WaitVisible("p.note.good"))
	says(t, ctx, "The login is ended")
	if !strings.HasSuffix(at(t, ctx), "#logins") {
		t.Errorf("the page is at %s", at(t, ctx))
	}
	run(t, ctx, chromedp.Navigate(w.base+"/clusters/"+string(one.ID)), chromedp.WaitVisible("#person"))
	run(t, ctx, chromedp.SendKeys("#f-assigned", "nobody@example.com\r"), chromedp.WaitVisible(`#person ~ [role="alert"]`))
	says(t, ctx, `Nobody is called "nobody@example.com"`)
	fits(t, ctx, "managed-cluster-refused")
	run(t, ctx, chromedp.SetValue("#f-assigned", "bob@example.com"), chromedp.Click(`button[value="assign"]`), chromedp.WaitVisible("p.note.good"))
	says(t, ctx, "It is assigned")
	fits(t, ctx, "managed-cluster-assigned")
	w.shared.away = fault.New(fault.Unavailable, "the database doesn't answer")
	run(t, ctx, chromedp.Navigate(w.base+"/clusters"), chromedp.WaitVisible("#clusters h2"))
	fits(t, ctx, "managed-away")
	run(t, ctx, chromedp.Navigate(w.base+"/clusters/"+string(many.ID)), chromedp.WaitVisible("#nodes"))
	fits(t, ctx, "managed-cluster-away")
	w.shared.managedBy(t, many, "psn_bob")
	run(t, ctx, chromedp.Navigate(w.base+"/clusters/"+string(many.ID)), chromedp.WaitVisible(".door"))
	says(t, ctx, "You manage no such cluster")
	fits(t, ctx, "managed-not")
}
