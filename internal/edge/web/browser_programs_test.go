//go:build interop

package web_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/service/device"
)

// TestDeviceInChromium: type the code, see who asks, say yes.
func TestDeviceInChromium(t *testing.T) {
	w := newWorld(t, nil)
	begun := w.programs.begin(t, "198.51.100.23")
	ctx := chromium(t)
	run(t, ctx, chromedp.Navigate(w.base+"/device?user_code="+begun.UserCode), chromedp.WaitVisible("#go"), chromedp.Click("#go"), chromedp.WaitVisible("#user_code"))
	if v := see(t, ctx, chromedp.Evaluate[string](`document.querySelector("#user_code").value`)); v != "" {
		t.Errorf("the address filled the code in: %q", v)
	}
	if focus := see(t, ctx, chromedp.Evaluate[string](`document.activeElement.id`)); focus != "user_code" {
		t.Errorf("the focus is on %q", focus)
	}
	run(t, ctx, chromedp.SendKeys("#user_code", "BBBB BBBB\r"), chromedp.WaitVisible(`[role="alert"]`))
	says(t, ctx, "No device waits under this code")
	picture(t, ctx, "device-wrong")
	run(t, ctx, chromedp.SendKeys("#user_code", strings.ToLower(begun.UserCode)+"\r"), chromedp.WaitVisible(`button[value="approve"]`))
	picture(t, ctx, "device-review")
	says(t, ctx, begun.UserCode, "198.51.100.23", "Not this browser’s address", "<b>trust me</b>", "Act as you in Carnet")
	run(t, ctx, chromedp.Click(`button[value="approve"]`), chromedp.WaitVisible(".button"))
	says(t, ctx, "The device is connected")
	picture(t, ctx, "device-connected")
	if a, code := w.programs.poll(t, begun); code != "" || a.LoginSession == "" {
		t.Errorf("the device got %+v, %q", a, code)
	}
	refused := w.programs.begin(t, "198.51.100.23")
	run(t, ctx, chromedp.Navigate(w.base+"/device"), chromedp.WaitVisible("#user_code"), chromedp.SendKeys("#user_code", refused.UserCode+"\r"),
		chromedp.WaitVisible(`button[value="refuse"]`), chromedp.Click(`button[value="refuse"]`), chromedp.WaitVisible(".button"))
	says(t, ctx, "The device was refused")
	picture(t, ctx, "device-refused")
	if _, code := w.programs.poll(t, refused); code != device.AccessDenied {
		t.Errorf("the device hears %q", code)
	}
}

// TestConsentInChromium: the answer reaches the program, and where the program
// sends its visitor next; a no does too.
func TestConsentInChromium(t *testing.T) {
	for _, word := range []string{"approve", "refuse"} {
		t.Run(word, func(t *testing.T) {
			home := newListener(t, "127.0.0.1", func(rw http.ResponseWriter, _ *http.Request) {
				fmt.Fprint(rw, `<!doctype html><p id="home">At home.</p>`)
			})
			home = strings.Replace(home, "127.0.0.1", "localhost", 1)
			got := make(chan string, 1)
			app := newListener(t, "127.0.0.1", func(rw http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/callback" {
					got <- r.URL.RawQuery
					http.Redirect(rw, r, home+"/", http.StatusFound) // to another site
				}
			})
			w := newWorld(t, nil)
			w.programs.redirect = app + "/callback"
			ctx := chromium(t)
			run(t, ctx, chromedp.Navigate(w.base+"/consent?request=waits"), chromedp.WaitVisible("#go"), chromedp.Click("#go"), chromedp.WaitVisible(`button[value="approve"]`))
			says(t, ctx, "Let Notebook <server> act for you?", strings.TrimPrefix(app, "http://"))
			run(t, ctx, chromedp.Click(`button[value="`+word+`"]`), chromedp.WaitVisible("#home"))
			want := map[string]string{"approve": "code=x&state=a%26b", "refuse": "error=access_denied"}[word]
			if q := <-got; q != want {
				t.Errorf("the program got %q", q)
			}
		})
	}
}

// TestFormsOfOIDCFederationInChromium: what a form's answer shows fits the
// screen too, and what is made or ended is.
func TestFormsOfOIDCFederationInChromium(t *testing.T) {
	w := newWorld(t, func(w *world) { w.person = "carol"; fill(w) })
	ctx := chromium(t)
	fits := func(name string) {
		t.Helper()
		for size, width := range map[string]int64{"wide": 1280, "narrow": 390} {
			run(t, ctx, chromedp.EmulateViewport(width, 900))
			if over := see(t, ctx, chromedp.Evaluate[string](overflow)); over != "" {
				t.Errorf("%s, %s: runs over the side: %s", name, size, over)
			}
		}
		picture(t, ctx, name)
	}
	run(t, ctx, chromedp.Navigate(w.base+"/admin/oidc/clients/oac_dashboard"), chromedp.WaitVisible("#go"), chromedp.Click("#go"), chromedp.WaitVisible("#credentials"),
		chromedp.Click("#credentials ~ details > summary"), chromedp.SendKeys("#c-owner", "bob@example.com"), chromedp.Click(`button[value="secret"]`), chromedp.WaitVisible("#made"))
	says(t, ctx, "The secret, this once", "carnet_s_only-once", "bob@example.com")
	fits("oidc-secret")
	run(t, ctx, chromedp.Navigate(w.base+"/admin/oidc"), chromedp.WaitVisible("#issuers"), chromedp.Click(`#delegations ~ ul .danger`), chromedp.WaitVisible(".note.good"))
	says(t, ctx, "The delegation is revoked")
	w.machinery.away = fault.New(fault.Unavailable, "the database doesn't answer").WithMend("try again in a moment")
	w.machinery.halted = fault.Coded(fault.Unavailable, "issuer.halted", "a key that is not ours stands where the issuer's keys are published").WithMend("find out who wrote it; then: carnet issuer publish --replace")
	run(t, ctx, chromedp.Navigate(w.base+"/admin/oidc"), chromedp.WaitVisible("#issuers"))
	fits("oidc-halted")
	w.machinery.away, w.machinery.halted, w.machinery.clients, w.machinery.machines, w.machinery.policies, w.machinery.delegations = nil, nil, nil, nil, nil, nil
	run(t, ctx, chromedp.Navigate(w.base+"/admin/oidc"), chromedp.WaitVisible("#issuers"))
	fits("oidc-empty")
}

// TestDelegationInChromium: refused with what was typed kept, made, taken back.
func TestDelegationInChromium(t *testing.T) {
	w := newWorld(t, nil)
	ctx := chromium(t)
	run(t, ctx, chromedp.Navigate(w.base+"/"), chromedp.WaitVisible("#go"), chromedp.Click("#go"), chromedp.WaitVisible("#delegations"))
	says(t, ctx, "Nobody works as you while you are away.")
	run(t, ctx, chromedp.Click("#delegations summary"), chromedp.SendKeys("#d-label", "nightly report"), chromedp.SendKeys("#d-sp", "nobody"), chromedp.Click("#delegations form > p button"),
		chromedp.WaitVisible(`#delegations [role="alert"]`))
	says(t, ctx, "No service principal is called \"nobody\"")
	picture(t, ctx, "delegation-refused")
	if v := see(t, ctx, chromedp.Evaluate[string](`document.querySelector("#d-label").value`)); v != "nightly report" {
		t.Errorf("the label came back as %q", v)
	}
	run(t, ctx, chromedp.SetValue("#d-sp", "etl"), chromedp.Click("#delegations form > p button"), chromedp.WaitVisible("#delegations .note.good"))
	says(t, ctx, "etl may work as you in analyst, for another 29 days")
	picture(t, ctx, "delegation-made")
	run(t, ctx, chromedp.Click("#delegations .danger"), chromedp.WaitNotPresent("#delegations .danger"), chromedp.WaitVisible("#delegations .note.good"))
	says(t, ctx, "The delegation is revoked", "Nobody works as you while you are away.")
}
