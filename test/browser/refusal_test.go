//go:build interop

package browser

import (
	"context"
	"encoding/base64"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// refused checks a page of refusal: the status, what failed, what to do, and
// the request id of this very answer.
func (b *tab) refused(status int64, texts ...string) {
	b.t.Helper()
	b.await(".door .facts")
	b.reads(".door", append(texts, "Request id")...)
	b.reads(".door", "What to do")
	d := b.shown()
	if d.status != status {
		b.t.Errorf("%s answered %d, not %d", d.url, d.status, status)
	}
	if d.requestID == "" || !strings.Contains(b.text(".facts"), d.requestID) {
		b.t.Errorf("the page does not show its request id %q: %s", d.requestID, b.text(".facts"))
	}
	b.forgive(fmt.Sprintf("status of %d", status))
}

// response holds at the page that would post alice's response, and gives it.
// The browser runs no script.
func (b *tab) response() url.Values {
	b.t.Helper()
	b.open(b.Web)
	b.answer("alice")
	b.await("#deliver button")
	v := url.Values{}
	v.Set("SAMLResponse", ask[string](b, `document.querySelector("[name=SAMLResponse]").value`))
	return v
}

// TestBrowserSignInStaysInItsBrowser: what one browser began, no other can
// complete: not by the handle, not with a sign-in of its own, not by posting
// the response. The browser that began it is signed out by none of that.
func TestBrowserSignInStaysInItsBrowser(t *testing.T) {
	w := start(t)
	mine, other := w.browser(t, true), w.browser(t, true)

	address := w.post(t, mine.response())
	other.open(address)
	other.refused(401, "The sign-in was refused", "not begun in this browser")
	other.picture("refused-other-browser")
	mine.open(address)
	mine.await(".cards")

	mine.signOut()
	address = w.post(t, mine.response())
	other.open(w.Web)
	other.await("#password") // and so holds a cookie of a sign-in of its own
	other.open(address)
	other.refused(401, "The sign-in was refused", "begun in another browser")
	mine.open(address)
	mine.refused(401, "The sign-in was refused", "login.handle")

	evil := httptest.NewServer(form(w.Web+"/saml/consume", mine.response()))
	defer evil.Close()
	other.open(strings.Replace(evil.URL, "127.0.0.1", "localhost", 1))
	other.click("#evil")
	other.refused(401, "The sign-in was refused", "begun in another browser")
	other.open(w.Web)
	other.await("#password")
}

// post sends the response as a browser would and gives where it leads.
func (w *world) post(t *testing.T, response url.Values) string {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.Web+"/saml/consume", strings.NewReader(response.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if to := res.Header.Get("Location"); res.StatusCode == http.StatusSeeOther && strings.HasPrefix(to, "/sign-in/complete?handle=") {
		return w.Web + to
	}
	t.Fatalf("the response was answered with %s", res.Status)
	return ""
}

// form is a page of another site that posts fields to an address.
func form(action string, fields url.Values) http.HandlerFunc {
	return func(rw http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(rw, `<!doctype html><link rel="icon" href="data:,"><form method="post" action="%s">`, action)
		for name := range fields {
			fmt.Fprintf(rw, `<input type="hidden" name="%s" value="%s">`, name, html.EscapeString(fields.Get(name)))
		}
		fmt.Fprint(rw, `<button id="evil">Win a prize</button></form>`)
	}
}

// TestBrowserRefusedResponses: each bad response gets a page with the cause,
// what to do and the request id, and opens nothing.
func TestBrowserRefusedResponses(t *testing.T) {
	w := start(t)
	b := w.browser(t, true)
	good := b.response()
	xml, err := base64.StdEncoding.DecodeString(good.Get("SAMLResponse"))
	if err != nil {
		t.Fatal(err)
	}
	changed := func(from, to string) string {
		if !strings.Contains(string(xml), from) {
			t.Fatalf("the response holds no %q", from)
		}
		return base64.StdEncoding.EncodeToString([]byte(strings.ReplaceAll(string(xml), from, to)))
	}
	for _, c := range []struct{ name, response, code string }{
		{"changed", changed(">alice<", ">bob<"), "saml.signature"},
		{"not XML", base64.StdEncoding.EncodeToString([]byte("no response at all")), "saml.xml"},
		{"not base64", "!!!", "saml."},
	} {
		t.Run(c.name, func(t *testing.T) {
			b.response()
			b.do(chromedp.SetAttributeValue(chromedp.CSS("[name=SAMLResponse]"), "value", c.response))
			b.click("#deliver button")
			b.refused(b.status(), "The sign-in was refused", c.code)
			b.picture("refused-" + strings.ReplaceAll(c.name, " ", "-"))
			b.open(w.Web)
			b.await("#password")
		})
	}
	t.Run("replayed", func(t *testing.T) {
		used := b.response()
		b.click("#deliver button")
		b.await(".cards")
		b.signOut()
		b.response()
		for name := range used {
			b.do(chromedp.SetAttributeValue(chromedp.CSS("[name="+name+"]"), "value", used.Get(name)))
		}
		b.click("#deliver button")
		b.refused(403, "The sign-in was refused", "used before", "saml.replayed")
	})
}

// status is that of the answer in the window, which must be a refusal.
func (b *tab) status() int64 {
	b.t.Helper()
	b.await(".door .facts")
	s := b.shown().status
	if s < 400 || s >= 500 {
		b.t.Errorf("the answer has status %d", s)
	}
	return s
}

// TestBrowserComplaintsAreSeen: the ear of these tests hears script that the
// policy blocks, on Carnet's pages and on the identity provider's, else their
// silence would prove nothing.
func TestBrowserComplaintsAreSeen(t *testing.T) {
	b := start(t).browser(t, false)
	for _, page := range []string{b.Web + "/signed-out", b.IdP} {
		b.open(page)
		ask[bool](b, `document.body.append(Object.assign(document.createElement("script"), {textContent: "window.ran = true"})), true`)
		if ask[bool](b, "window.ran === true") {
			t.Errorf("%s runs inline script", page)
		}
		ask[bool](b, `document.body.append(Object.assign(document.createElement("img"), {src: "https://elsewhere.example/x.png"})), true`)
		b.forgive("script-src")
		b.forgive("img-src")
	}
}
