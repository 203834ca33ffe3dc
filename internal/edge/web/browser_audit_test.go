//go:build interop

package web_test

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestAuditInChromium: every state of the page fits the screen, an event opens without
// script, a filter is an address, and what an attacker is called runs nothing.
func TestAuditInChromium(t *testing.T) {
	w := newWorld(t, func(w *world) { w.person = "carol" })
	ctx := chromium(t)
	run(t, ctx, chromedp.Navigate(w.base+"/admin/audit"), chromedp.WaitVisible("#go"), chromedp.Click("#go"), chromedp.WaitVisible("#events"))
	run(t, ctx, chromedp.Navigate(w.base+"/admin/audit?who=nobody"), chromedp.WaitVisible(".empty"))
	fits(t, ctx, "audit-empty")
	w.fillTrail(t)
	run(t, ctx, chromedp.Navigate(w.base+"/admin/audit"), chromedp.WaitVisible("#picture"))
	if n := see(t, ctx, chromedp.Evaluate[int](`document.querySelectorAll("svg.bars rect.denied").length`)); n == 0 {
		t.Error("no denial is drawn")
	}
	if n := see(t, ctx, chromedp.Evaluate[int](`document.querySelectorAll("#events script, #events img, #events svg, main svg:not(.bars)").length`)); n != 0 {
		t.Errorf("%d elements of an attacker", n)
	}
	fits(t, ctx, "audit")
	run(t, ctx, chromedp.Click("#events li:first-child summary"), chromedp.Click("#events li:nth-child(12) summary"), chromedp.Click("#picture summary"), chromedp.Click("#filter summary"))
	says(t, ctx, "Why was this denied?")
	see(t, ctx, chromedp.Evaluate[string](`document.querySelectorAll("details").forEach(d => d.setAttribute("open", "")); ""`))
	fits(t, ctx, "audit-open")
	run(t, ctx, chromedp.Navigate(w.base+"/admin/audit"), chromedp.WaitVisible("#who"), chromedp.SendKeys("#who", "bob@example.com"), chromedp.SendKeys("#event", "exch*\r"), chromedp.WaitVisible("#picture"))
	if at := see(t, ctx, chromedp.Location()); !strings.Contains(at, "who=bob%40example.com") || !strings.Contains(at, "event=exch") {
		t.Errorf("the filter is at %s", at)
	}
	fits(t, ctx, "audit-filtered")
	run(t, ctx, chromedp.Navigate(w.base+"/admin/audit?from=yesterday"), chromedp.WaitVisible(`[role="alert"]`))
	says(t, ctx, "is no time")
	fits(t, ctx, "audit-refused")
}
