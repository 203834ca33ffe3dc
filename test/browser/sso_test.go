//go:build interop

package browser

import (
	"testing"

	"github.com/chromedp/chromedp"
)

// settings opens the page of the one identity provider as carol, who
// administers.
func (b *tab) settings() {
	b.t.Helper()
	b.open(b.Web + "/admin/sso")
	b.await("#providers")
	b.click(".card h3 a")
	b.await("#provider")
}

// save sends the settings, warnings and all.
func (b *tab) save() {
	b.t.Helper()
	b.click("#provider > p:last-child button")
	b.await(`.note.good, #provider [role="alert"]`)
	if b.text(`#provider [role="alert"]`) != "" {
		b.reads(`#provider [role="alert"]`, "Before this is saved")
		b.click(`#provider [role="alert"] button`)
		b.await(".note.good")
	}
	b.reads(".note.good", "The settings are saved")
}

// TestBrowserUnsolicitedSignIn: switched on by an administrator, a sign-in that
// begins at the identity provider asks first, and never replaces one that is
// open.
func TestBrowserUnsolicitedSignIn(t *testing.T) {
	b := start(t).browser(t, false)
	b.signIn("carol")
	b.settings()
	b.click(`[name="allow_unsolicited"]`)
	b.save()
	b.signOut()

	begin := func(user string) {
		t.Helper()
		b.open(b.IdP)
		b.click(`form[action="/sign-in"] button[type="submit"]`)
		b.answer(user)
		b.await(".door")
	}
	begin("alice")
	b.reads(".door", "Continue as Alice Analyst?", "Development identity provider", "alice")
	b.picture("continue")
	b.click(".door button")
	b.await(".cards")
	b.reads(".top", "Alice Analyst")

	begin("bob")
	b.reads(".door", "You are signed in as Alice Analyst", "It was not taken")
	b.click(".door .button")
	b.await(".cards")
	b.reads(".top", "Alice Analyst")
	b.signOut()
	begin("bob")
	b.click(".door button")
	b.await(".cards")
	b.reads(".top", "Bob")
}

// TestBrowserSignOutAtTheIdentityProvider ends the login session here.
func TestBrowserSignOutAtTheIdentityProvider(t *testing.T) {
	w := start(t)
	mine, other := w.browser(t, false), w.browser(t, false)
	mine.signIn("alice")
	other.signIn("bob")
	b := w.browser(t, false) // anywhere
	b.open(b.IdP)
	b.click(`form[action="/sign-out"] [name="user"][value="alice"], form[action="/sign-out"] [name="user"]`)
	if ask[string](b, `document.querySelector('form[action="/sign-out"] [name="user"]').tagName`) == "SELECT" {
		b.do(chromedp.SetValue(chromedp.CSS(`form[action="/sign-out"] [name="user"]`), "alice"))
	}
	b.write(`form[action="/sign-out"] [name="password"]`, b.Password)
	b.click(`form[action="/sign-out"] button`)
	b.await(`h1 + p + p > a.button[href$="/"]`) // the pages before have a heading too
	for _, tab := range []*tab{mine, other} {
		tab.open(tab.Web)
	}
	mine.await("#password")
	other.await(".cards")
}

// TestBrowserTestSignIn: an administrator tries a sign-in, one that works and
// one that fails, and stays who they are.
func TestBrowserTestSignIn(t *testing.T) {
	b := start(t).browser(t, false)
	b.signIn("carol")
	b.settings()
	b.click(`button[value="test"]`)
	b.answer("bob")
	b.await(".checks")
	b.reads("main", "would be signed in", "bob", "saml.signature", "saml.audience", "arn:aws:iam::111122223333:role/analyst", "The certificate that verified it")
	b.reads(".top", "Carol")
	b.picture("report")

	b.settings()
	b.do(chromedp.SetValue(chromedp.CSS("#signed"), "response"))
	b.save()
	b.click(`button[value="test"]`)
	b.answer("bob")
	b.await(".checks")
	b.reads("main", "This sign-in would fail", "saml.unsigned", "What to do")
	b.picture("report-refused")

	// Nobody but an administrator can begin one, and a report stays in its browser.
	other := b.world.browser(t, false)
	at := b.at()
	b.settings()
	b.do(chromedp.SetValue(chromedp.CSS("#signed"), "either"))
	b.save()
	other.signIn("carol")
	other.open(at)
	other.refused(401, "begun in another browser")
}

// TestBrowserPostBindingSigned: a request that is signed, and goes by a form.
func TestBrowserPostBindingSigned(t *testing.T) {
	for name, plain := range map[string]bool{"with script": false, "without": true} {
		t.Run(name, func(t *testing.T) {
			b := start(t).browser(t, plain)
			if plain {
				b.enter("carol")
			} else {
				b.signIn("carol")
			}
			b.settings()
			b.click(`[name="request_binding"][value="post"]`)
			b.click(`[name="sign_requests"]`)
			b.save()
			b.signOut()
			b.open(b.Web)
			if plain {
				b.await("#errand button")
				b.picture("errand")
				b.click("#errand button")
			}
			b.answer("alice")
			if plain {
				b.click("#deliver button")
			}
			b.await(".cards")
		})
	}
}
