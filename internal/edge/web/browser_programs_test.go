//go:build interop

package web_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

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
