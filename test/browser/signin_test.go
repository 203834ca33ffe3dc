//go:build interop

package browser

import (
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"
)

// TestBrowserSignInAndOut: the whole cross-site way, by keyboard where a form
// wants typing; then out again, and the way back needs the identity provider.
func TestBrowserSignInAndOut(t *testing.T) {
	b := start(t).browser(t, false)
	b.open(b.Web)
	b.await("#password")
	if at := b.at(); !strings.HasPrefix(at, b.IdP+"/") || strings.Contains(b.IdP, "127.0.0.1") {
		t.Fatalf("the sign-in is at %s: not another site", at)
	}
	b.click(`input[value="alice"]`)
	b.write("#password", b.Password+kb.Enter)
	b.await(".cards")
	if at := b.at(); at != b.Web+"/" {
		t.Errorf("after the sign-in at %s", at)
	}
	b.reads(".top", "Alice Analyst", "Sign out")
	b.reads(".card", "analyst", "analytics", "111122223333", "arn:aws:iam::111122223333:role/analyst", "Ready")
	if s := b.text(".card .state"); !regexp.MustCompile(`\b1[12] h \d+ min left, until `).MatchString(s) {
		t.Errorf("the role does not say how much time is left: %s", s)
	}
	b.reads(".title", "Alice Analyst (alice)", "This sign-in lasts another 1")
	b.reads(".panel", "carnet login --server "+b.Web, "carnet configure")
	if ask[int](b, `document.querySelectorAll("button.copy").length`) == 0 {
		t.Error("there are no copy buttons")
	}
	if c := ask[string](b, "document.cookie"); c != "" {
		t.Errorf("script reads cookies: %q", c)
	}
	b.click(".card summary")
	b.await(".card .snippets")
	b.reads(".card .snippets", "AWS CLI", "carnet exec --role analyst -- aws s3 ls s3://BUCKET/ --endpoint-url http://127.0.0.1:")

	b.signOut()
	if at := b.at(); !strings.HasPrefix(at, b.Web+"/signed-out?said=") {
		t.Errorf("after the sign-out at %s", at)
	}
	b.reads("main", "You are signed out", "Development identity provider says that it ended your sign-in there too")
	b.open(b.Web)
	b.await("#password")
	if at := b.at(); !strings.HasPrefix(at, b.IdP) {
		t.Errorf("signed out, and still at %s", at)
	}
}

// TestBrowserShowsEachTheirOwn: one window, one person after the other; nobody
// sees what the one before had.
func TestBrowserShowsEachTheirOwn(t *testing.T) {
	b := start(t).browser(t, false)
	b.signIn("bob")
	got := ask[[]string](b, `[...document.querySelectorAll(".card")].map(c => c.querySelector("h2").innerText + " " + c.querySelector(".row .soft").innerText + " " + c.querySelector(".badge").innerText)`)
	want := []string{"analyst analytics · 111122223333 Ready", "engineer analytics · 111122223333 Ready", "pipeline engineering · 444455556666 Ready"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("bob's roles are\n%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	b.reads("main", "name one with --role")
	b.noAdministrator()
	b.signOut()

	b.signIn("dave")
	b.reads(".empty", "You have no roles yet", "Ask your administrator", "dave", "Sign in again")
	if ask[int](b, `document.querySelectorAll(".card, .panel").length`) != 0 {
		t.Errorf("dave's page has more: %s", b.text("main"))
	}
	b.noAdministrator()
	b.signOut()

	b.signIn("carol")
	b.reads(".empty", "You administer Carnet, and hold no role")
	b.click(`nav a[href="/admin/sso"]`)
	b.await("#providers")
	b.reads("main", b.Web+"/saml/consume", b.Web+"/saml/metadata", b.IdP, "111122223333", "444455556666", "On", "Certificate", "In use")
	b.click(`a[href="/admin/sso/add"]`)
	b.await("#provider")
	b.write("#name", "Second")
	b.click("#provider details summary")
	b.write("#metadata", "<not-metadata/>")
	b.click(`#provider > p:last-child button`)
	b.await(`#provider [role="alert"]`)
	b.picture("sso-refused")
	b.reads(`#provider [role="alert"]`, "What to do")
	if v := ask[string](b, `document.querySelector("#name").value`); v != "Second" {
		t.Errorf("the refused form forgot its name: %q", v)
	}
	b.forgive("status of 4")
}

// noAdministrator: the page is not offered, and who types its address is told
// why it stays shut.
func (b *tab) noAdministrator() {
	b.t.Helper()
	if strings.Contains(b.text("header"), "Single sign-on") {
		b.t.Error("the administrator's page is offered")
	}
	b.open(b.Web + "/admin/sso")
	b.refused(403, "You may not do this", "login.not-administrator")
	b.click(".door .button")
	b.await(".who")
}

// TestBrowserWithoutScript: every step works by plain forms and links; where
// the identity provider would post by itself, its button does.
func TestBrowserWithoutScript(t *testing.T) {
	b := start(t).browser(t, true)
	b.open(b.Web)
	b.answer("carol")
	b.await("#deliver button")
	if at := b.at(); !strings.HasPrefix(at, b.IdP) {
		t.Fatalf("the page posted by itself without script: at %s", at)
	}
	b.click("#deliver button")
	b.await(".who")
	if n := ask[int](b, `document.querySelectorAll("button.copy").length`); n != 0 {
		t.Errorf("script ran: %d copy buttons", n)
	}
	b.click(`nav a[href="/admin/sso"]`)
	b.await("#providers")
	b.signOut()
	b.click(".choices a")
	b.answer("alice")
	b.click("#deliver button")
	b.click(".card summary")
	b.await(".card .snippets")
}

// TestBrowserWrongPassword: the identity provider says so, keeps the account
// chosen, and the right one goes on.
func TestBrowserWrongPassword(t *testing.T) {
	b := start(t).browser(t, false)
	b.open(b.Web)
	b.await("#password")
	b.click(`input[value="bob"]`)
	b.write("#password", "guess")
	b.click(`button[type="submit"]`)
	b.await(".problem")
	b.picture("idp-wrong-password")
	b.reads(".problem", "not the password", "carnet dev")
	if u := ask[string](b, `document.querySelector("input[name=user]:checked").value`); u != "bob" {
		t.Errorf("the page forgot the account: %q", u)
	}
	b.forgive("status of 403")
	b.write("#password", b.Password+kb.Enter)
	b.await(".cards")
}

// TestBrowserBeginsAtTheIdentityProvider: a response that nobody here asked
// for is refused, and the page leads to the way that works.
func TestBrowserBeginsAtTheIdentityProvider(t *testing.T) {
	b := start(t).browser(t, false)
	b.open(b.IdP)
	b.click(`button[type="submit"]`)
	b.answer("alice")
	b.await(".door")
	b.refused(403, "The sign-in was refused", "saml.unsolicited")
	b.click(".door .button")
	b.answer("alice")
	b.await(".cards")
}
