//go:build interop

package web_test

import (
	"context"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"carnet.dev/carnet/internal/core/fault"
)

// fits holds a page to what every page is held to: wide and narrow, light and dark.
func fits(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		feature := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}
		if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: feature}); err != nil {
			t.Fatal(err)
		}
		if dark := see(t, ctx, chromedp.Evaluate[bool](`matchMedia("(prefers-color-scheme: dark)").matches`)); dark != (scheme == "dark") {
			t.Fatalf("%s: the browser prefers dark: %v", scheme, dark)
		}
		for size, width := range map[string]int64{"wide": 1280, "narrow": 390} {
			run(t, ctx, chromedp.EmulateViewport(width, 900))
			for what, script := range map[string]string{"runs over the side": overflow, "too faint": contrast} {
				if bad := see(t, ctx, chromedp.Evaluate[string](script)); bad != "" {
					t.Errorf("%s, %s, %s: %s: %s", name, size, scheme, what, bad)
				}
			}
		}
		picture(t, ctx, name+"-"+scheme)
	}
}

// TestAttachInChromium: type the code, see which machine and account ask, say yes; it
// stands on My access and can be ended there.
func TestAttachInChromium(t *testing.T) {
	w := newWorld(t, nil)
	w.shared.populate(t)
	ctx := chromium(t)
	run(t, ctx, chromedp.Navigate(w.base+"/attach?user_code=BCDF-GHJK"), chromedp.WaitVisible("#go"), chromedp.Click("#go"), chromedp.WaitVisible("#user_code"))
	if v := see(t, ctx, chromedp.Evaluate[string](`document.querySelector("#user_code").value`)); v != "" {
		t.Errorf("the address filled the code in: %q", v)
	}
	picture(t, ctx, "attach")
	run(t, ctx, chromedp.SendKeys("#user_code", "BBBB BBBB\r"), chromedp.WaitVisible(`[role="alert"]`))
	says(t, ctx, "No login waits under this code")
	picture(t, ctx, "attach-wrong")
	run(t, ctx, chromedp.SendKeys("#user_code", "bcdf-ghjk\r"), chromedp.WaitVisible(`button[value="approve"]`))
	says(t, ctx, "BCDF-GHJK", "research", "login-1 <b>", "uid 1000", "analyst")
	fits(t, ctx, "attach-review")
	run(t, ctx, chromedp.Click(`button[value="approve"]`), chromedp.WaitVisible(".button"))
	says(t, ctx, "The login is attached")
	picture(t, ctx, "attach-done")
	run(t, ctx, chromedp.Navigate(w.base+"/"), chromedp.WaitVisible("#attachments"))
	fits(t, ctx, "access-attachments")
	run(t, ctx, chromedp.Click("#attachments .danger"), chromedp.WaitVisible("#attachments .note.good"))
	says(t, ctx, "The login works as you no more")
}

// TestClustersInChromium: every state of the pages fits the screen, and what is
// pressed is done.
func TestClustersInChromium(t *testing.T) {
	w := newWorld(t, func(w *world) { w.person = "carol" })
	ctx := chromium(t)
	run(t, ctx, chromedp.Navigate(w.base+"/admin/clusters"), chromedp.WaitVisible("#go"), chromedp.Click("#go"), chromedp.WaitVisible(".empty"))
	fits(t, ctx, "clusters-empty")
	run(t, ctx, chromedp.SendKeys("#c-name", "two words\r"), chromedp.WaitVisible(`[role="alert"]`))
	fits(t, ctx, "clusters-refused")
	run(t, ctx, chromedp.SetValue("#c-name", "warehouse"), chromedp.Click(".panel form button"), chromedp.WaitVisible("#nodes"))
	says(t, ctx, "The cluster is there", "No machine has joined")
	fits(t, ctx, "cluster-new")
	many, _ := w.shared.populate(t)
	if err := w.shared.reload(t); err != nil {
		t.Fatal(err)
	}
	run(t, ctx, chromedp.Navigate(w.base+"/admin/clusters"), chromedp.WaitVisible("#clusters"))
	fits(t, ctx, "clusters")
	run(t, ctx, chromedp.Navigate(w.base+"/admin/clusters/"+string(many.ID)), chromedp.WaitVisible("#nodes"), chromedp.Click(`button[value="join"]`), chromedp.WaitVisible("#joining"))
	says(t, ctx, "The join token, this once", "carnet-join-", "Not heard of", "In trouble")
	fits(t, ctx, "cluster")
	run(t, ctx, chromedp.SetValue("#f-people", "nobody@example.com"), chromedp.Click("form.sheet > p button"), chromedp.WaitVisible(`#who ~ [role="alert"]`))
	says(t, ctx, `Nobody is called "nobody@example.com"`)
	fits(t, ctx, "cluster-refused")
	w.shared.away = fault.New(fault.Unavailable, "the database doesn't answer")
	run(t, ctx, chromedp.Navigate(w.base+"/admin/clusters/"+string(many.ID)), chromedp.WaitVisible("#nodes"))
	fits(t, ctx, "cluster-away")
	w.shared.away = nil
	run(t, ctx, chromedp.Navigate(w.base+"/admin/clusters/"+string(many.ID)), chromedp.WaitVisible("#logins"), chromedp.Click(`button[value="end"]`), chromedp.WaitVisible(".note.good"))
	says(t, ctx, "The login is ended")
	if !strings.Contains(see(t, ctx, chromedp.Evaluate[string](`location.href`)), "#logins") {
		t.Error("the page is not at the logins")
	}
}
