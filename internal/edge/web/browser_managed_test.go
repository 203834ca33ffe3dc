//go:build interop

package web_test

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"carnet.dev/carnet/internal/core/fault"
)

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
