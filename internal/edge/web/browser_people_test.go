//go:build interop

package web_test

import (
	"testing"

	"github.com/chromedp/chromedp"
)

// TestPeopleInChromium: every state of the pages fits the screen, and what is pressed,
// and confirmed, is done.
func TestPeopleInChromium(t *testing.T) {
	w := newWorld(t, func(w *world) { w.person = "carol" })
	ctx := chromium(t)
	run(t, ctx, chromedp.Navigate(w.base+"/admin/people"), chromedp.WaitVisible("#go"), chromedp.Click("#go"), chromedp.WaitVisible(".empty"))
	fits(t, ctx, "people-empty")
	w.folk.populate()
	run(t, ctx, chromedp.Navigate(w.base+"/admin/people"), chromedp.WaitVisible("#found"))
	fits(t, ctx, "people")
	run(t, ctx, chromedp.SendKeys("#q", "nobody of that name\r"), chromedp.WaitVisible(".empty"))
	fits(t, ctx, "people-none")
	run(t, ctx, chromedp.Navigate(w.base+"/admin/people/psn_01"), chromedp.WaitVisible("#revoke"))
	fits(t, ctx, "person-off")
	run(t, ctx, chromedp.Navigate(w.base+"/admin/people/psn_00"), chromedp.WaitVisible("#revoke"))
	fits(t, ctx, "person")
	run(t, ctx, chromedp.Click(`button[value="revoke"]`)) // without the tick the browser stays
	if len(w.folk.taken) != 0 {
		t.Errorf("without a yes: %v", w.folk.taken)
	}
	run(t, ctx, chromedp.Click(`#login-session ~ ul summary`), chromedp.WaitVisible(`#login-session ~ ul button[value="end"]`))
	fits(t, ctx, "person-end")
	run(t, ctx, chromedp.Click(`#login-session ~ ul button[value="end"]`), chromedp.WaitVisible(".note.good"))
	says(t, ctx, "It is ended", "1 of 2 servers have applied it")
	run(t, ctx, chromedp.Click(`#revoke ~ form input[name="sure"]`), chromedp.Click(`button[value="revoke"]`), chromedp.WaitVisible(".note.good"))
	says(t, ctx, "is taken back")
	fits(t, ctx, "person-revoked")
	if len(w.folk.taken) != 2 || w.folk.taken[1] != "person psn_00" {
		t.Errorf("taken back: %v", w.folk.taken)
	}
	run(t, ctx, chromedp.Navigate(w.base+"/sign-ins"), chromedp.WaitVisible("#keys"))
	fits(t, ctx, "sign-ins")
}
