//go:build interop

package web_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"carnet.dev/carnet/internal/service/login"
)

// picture leaves a picture of the window, where CARNET_SHOTS wants them.
func picture(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	shots := os.Getenv("CARNET_SHOTS")
	if shots == "" {
		return
	}
	for size, width := range map[string]int64{"wide": 1280, "narrow": 390} {
		run(t, ctx, chromedp.EmulateViewport(width, 844))
		if err := os.WriteFile(filepath.Join(shots, name+"-"+size+".png"), see(t, ctx, chromedp.FullScreenshot(100)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func at(t *testing.T, ctx context.Context) string {
	t.Helper()
	return see(t, ctx, chromedp.Location())
}

func says(t *testing.T, ctx context.Context, texts ...string) {
	t.Helper()
	page := see(t, ctx, chromedp.Evaluate[string](`document.querySelector("main").innerText`))
	for _, want := range texts {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q: %s", want, page)
		}
	}
}

// TestUnsolicitedSignInInChromium: the cookie that binds it to its browser is
// set by the answer to a cross-site post, and sent on the way on. A live login
// session stays.
func TestUnsolicitedSignInInChromium(t *testing.T) {
	w := newWorld(t, nil)
	ctx := chromium(t)
	bring := w.idp + "/sso?unasked&RelayState=x%7C%2F"
	run(t, ctx, chromedp.Navigate(bring), chromedp.WaitVisible("#go"), chromedp.Click("#go"), chromedp.WaitVisible(".buttons"))
	says(t, ctx, "Continue as Alice Example?", "Dev IdP", "alice@example.com")
	picture(t, ctx, "continue")
	if len(w.sessions) != 0 {
		t.Error("a sign-in was opened before anybody said yes")
	}
	run(t, ctx, chromedp.Click(".buttons button"), chromedp.WaitVisible(".cards"))
	if to := at(t, ctx); to != w.base+"/" {
		t.Errorf("continued at %s", to)
	}

	w.person = "bob"
	run(t, ctx, chromedp.Navigate(bring), chromedp.WaitVisible("#go"), chromedp.Click("#go"), chromedp.WaitVisible(".door"))
	says(t, ctx, "You are signed in as Alice Example", "It was not taken", "Stay signed in as Alice Example")
	picture(t, ctx, "continue-already")
	run(t, ctx, chromedp.Click(".door .button"), chromedp.WaitVisible(".cards"))
	says(t, ctx, "Alice Example")
}

// TestPostBindingInChromium: the page's form may go to the identity provider,
// by script and without.
func TestPostBindingInChromium(t *testing.T) {
	w := newWorld(t, func(w *world) { w.post = true })
	ctx := chromium(t)
	run(t, ctx, chromedp.Navigate(w.base+"/sign-in"), chromedp.WaitVisible("#go"))
	if to := at(t, ctx); !strings.HasPrefix(to, w.idp) {
		t.Errorf("the request went to %s", to)
	}
}

// TestSignOutLeadsToTheIdentityProviderInChromium: a form of ours must not end
// at another site, so a page leads on: by itself, in both bindings.
func TestSignOutLeadsToTheIdentityProviderInChromium(t *testing.T) {
	w := newWorld(t, nil)
	ctx := chromium(t)
	for _, errand := range []login.Errand{
		{RedirectURL: w.idp + "/slo?x=1&y=2"},
		{Form: &login.PostForm{Action: w.idp + "/slo", Fields: []login.Field{{Name: "SAMLRequest", Value: "a+b"}}}},
	} {
		w.errand = errand
		run(t, ctx, chromedp.Navigate(w.base+"/sign-in"), chromedp.WaitVisible("#go"), chromedp.Click("#go"), chromedp.WaitVisible(".who button"),
			chromedp.Click(".who button"), chromedp.WaitVisible("#go"))
		if to := at(t, ctx); !strings.HasPrefix(to, w.idp+"/slo") {
			t.Errorf("the sign-out led to %s", to)
		}
		run(t, ctx, chromedp.Navigate(w.base+"/"), chromedp.WaitVisible("#go")) // signed out here
	}
}

// TestTestSignInInChromium: from the page to the identity provider and back to
// the report, with the administrator still signed in.
func TestTestSignInInChromium(t *testing.T) {
	w := newWorld(t, func(w *world) { w.person = "carol" })
	w.reports("good")
	ctx := chromium(t)
	run(t, ctx, chromedp.Navigate(w.base+"/admin/sso"), chromedp.WaitVisible("#go"), chromedp.Click("#go"), chromedp.WaitVisible("#providers"),
		chromedp.Click(`button[value="test"]`), chromedp.WaitVisible("#go"), chromedp.Click("#go"), chromedp.WaitVisible(".checks"))
	says(t, ctx, "Test sign-in", "Alice Example would be signed in", "saml.audience")
	if who := see(t, ctx, chromedp.Evaluate[string](`document.querySelector(".who span").innerText`)); who != "Carol Example" {
		t.Errorf("signed in as %s", who)
	}
}

// TestSettingsAreSavedInChromium: what is set comes back set; a warning is
// shown before it is saved; what somebody else changed is not written over.
func TestSettingsAreSavedInChromium(t *testing.T) {
	w := newWorld(t, func(w *world) { w.person = "carol" })
	ctx := chromium(t)
	page := w.base + "/admin/sso/providers/idp_dev"
	run(t, ctx, chromedp.Navigate(page), chromedp.WaitVisible("#go"), chromedp.Click("#go"), chromedp.WaitVisible("#provider"))
	save := func() { run(t, ctx, chromedp.Click("#provider > p:last-child button")) }
	run(t, ctx, chromedp.SetValue("#signed", "both"), chromedp.SetValue("#role_templates", "aws-{role} => 111122223333 {role} corp"), chromedp.Click(`[name="sign_requests"]`))
	save()
	run(t, ctx, chromedp.WaitVisible(".note.good"))
	if p := w.List()[0]; p.Signed != "both" || !p.SignRequests || len(p.RoleTemplates) != 1 || p.RoleTemplates[0].Role != "{role}" || p.Revision != 2 {
		t.Errorf("stored %+v", p)
	}
	run(t, ctx, chromedp.Click(`[name="allow_unsolicited"]`))
	save()
	run(t, ctx, chromedp.WaitVisible(`[role="alert"]`))
	picture(t, ctx, "sso-warned")
	says(t, ctx, "Before this is saved", "Sign-ins that nobody asked for", "Save all the same")
	if w.List()[0].AllowUnsolicited {
		t.Error("saved before the warning was seen")
	}
	run(t, ctx, chromedp.Click(`[role="alert"] button`), chromedp.WaitVisible(".note.good"))
	if !w.List()[0].AllowUnsolicited {
		t.Error("not saved")
	}
	w.mu.Lock()
	w.idps[0].Revision++
	w.mu.Unlock()
	save()
	run(t, ctx, chromedp.WaitVisible(`[role="alert"]`))
	says(t, ctx, "was changed by somebody else meanwhile")
}
